"""`path("health/", include("crm_monitoring.urls"))`: each address with and without its final slash."""

from __future__ import annotations

from django.urls import path

from crm_monitoring import views

app_name = "crm_monitoring"

urlpatterns = [
    path("monitoring/", views.monitoring),
    path("monitoring", views.monitoring, name="monitoring"),
    path("live/", views.live),
    path("live", views.live, name="live"),
    path("ready/", views.ready),
    path("ready", views.ready, name="ready"),
]
