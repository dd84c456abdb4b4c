from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("monitoring/", include("crm_monitoring.dashboard.urls"))]
