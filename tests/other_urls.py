from __future__ import annotations

from django.urls import path

from tests import views

handler500 = "crm_monitoring.views.server_error"
urlpatterns = [path("tenant/<int:pk>/", views.ok), path("tenant-fails/<int:pk>/", views.fails)]
