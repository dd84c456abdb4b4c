from __future__ import annotations

from django.urls import include, path, re_path

from crm_monitoring.views import test_sentry
from tests import breakages, views

handler500 = "crm_monitoring.views.server_error"

nested = [path("<slug:name>/", views.ok, name="nested"), re_path(r"^old/(?P<year>[0-9]{4})/(\w+)$", views.ok)]

urlpatterns = [
    path("health/", include("crm_monitoring.urls")),
    path("test-sentry", test_sentry),
    path("ok/", views.ok),
    path("async-ok/", views.async_ok),
    path("organisations/<int:pk>/", views.ok),
    path("nested/<int:org>/", include((nested, "nested"))),
    re_path(r"^articles/(?P<year>[0-9]{4})/(?:page-(?P<page>\d+)/)?$", views.ok),
    path("fails/", views.fails),
    path("api/fails/", views.fails),
    path("async-fails/", views.async_fails),
    path("logs-error/", views.logs_error),
    path("logs-exception/", views.logs_exception),
    path("status/<int:code>/", views.status),
    path("answers/<str:how>/", views.answers),
    path("moves/", views.moves),
    path("reads-user/", views.reads_user),
    path("async-reads-user/", views.async_reads_user),
    path("queries/<int:count>/", views.queries),
    path("async-queries/<int:count>/", views.async_queries),
    path("stream/", views.stream),
    path("async-stream/", views.async_stream),
    path("file/", views.file),
    path("waits/", views.waits),
    path("exits/<int:code>/", views.exits),
    path("interrupts/", views.interrupts),
    path("meets/", views.meets),
    path("quiet/", views.quiet),
    path("reports/", views.reports),
    path("reads-body/", views.reads_body),
    path("drf/", views.drf),
    path("failing-stream/", views.failing_stream),
    path("failure/<str:how>/", breakages.sync),
    path("async-failure/<str:how>/", breakages.asynchronous),
    path("template/", views.template),
    path("fails-with/", views.fails_with),
    path("monitored-fails/", views.monitored_fails),
]
