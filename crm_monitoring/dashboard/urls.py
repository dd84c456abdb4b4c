"""The dashboard's addresses: `path("monitoring/", include("crm_monitoring.dashboard.urls"))`."""

from __future__ import annotations

from django.urls import path

from crm_monitoring.dashboard.pages import figures, find, issue, issues, requests, transactions
from crm_monitoring.dashboard.pages.alerts import act_on_alert, show_alerts
from crm_monitoring.dashboard.pages.overview import show_overview

app_name = "crm_monitoring_dashboard"

urlpatterns = [
    path("", show_overview, name="overview"),
    path("figures.json", figures.show_figures, name="figures"),
    path("find/", find.find, name="find"),
    path("issues/", issues.list_issues, name="issues"),
    path("issues/act/", issues.act, name="act"),
    path("issues/<int:pk>/", issue.show_issue, name="issue"),
    path("issues/<int:pk>/events/<str:event_id>/", issue.show_event, name="event"),
    path("alerts/", show_alerts, name="alerts"),
    path("alerts/<int:pk>/act/", act_on_alert, name="act_on_alert"),
    path("requests/", requests.list_requests, name="requests"),
    path("requests/<path:request_id>/", requests.show_request, name="request"),
    path("transactions/", transactions.list_transactions, name="transactions"),
    path("transactions/<str:event_id>/", transactions.show_transaction, name="transaction"),
]
