from __future__ import annotations

from django.urls import include, path

from . import alerts, api, breakage, views

app_name = "organisations"

api_urlpatterns = [
    path("organisations", api.organisations, name="api-list"),
    path("organisations/async", api.list_organisations_async, name="api-list-async"),
    path("organisations/export", api.export, name="api-export"),
    path("organisations/import", api.import_file, name="api-import"),
    path("organisations/<int:pk>", api.organisation, name="api-detail"),
    path("me", api.me, name="api-me"),
    path("kpis", api.kpis, name="api-kpis"),
    path("broken", api.broken, name="api-broken"),
    path("<path:rest>", api.not_found),
]

breakage_urlpatterns = [
    path("error/", breakage.unhandled_error, name="break-error"),
    path("handled/", breakage.handled_error, name="break-handled"),
    path("slow/", breakage.slow, name="break-slow"),
    path("missing/", breakage.missing, name="break-missing"),
    path("message/", breakage.message, name="break-message"),
    path("stream/", breakage.stream, name="break-stream"),
]

urlpatterns = [
    path("", views.home, name="home"),
    path("organisations/", views.organisation_list, name="list"),
    path("organisations/new/", views.organisation_create, name="create"),
    path("organisations/import/", views.organisation_import, name="import"),
    path("organisations/<int:pk>/", views.organisation_detail, name="detail"),
    path("kpis/", views.kpis, name="kpis"),
    path("alerts/", alerts.show, name="alerts"),
    path("alerts/break/", alerts.break_something, name="alerts-break"),
    path("break/", include(breakage_urlpatterns)),
    path("api/v1/", include(api_urlpatterns)),
]
