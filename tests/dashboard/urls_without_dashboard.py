"""Addresses of a site that has not included the dashboard's."""

from __future__ import annotations

from django.urls import path

from tests.dashboard.pages.test_requests import fails

urlpatterns = [path("fails/", fails)]
handler500 = "crm_monitoring.views.server_error"
