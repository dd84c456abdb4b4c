"""A site in a process of its own, which starts sentry_sdk besides us: its argument says when. Prints what it answered, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import django
import sentry_sdk
import structlog
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.clients import ASGIClient, WSGIClient

ASKED = json.loads(sys.argv[1])
SECRET = "hunter2"


class Broken(Exception):
    pass


def fine(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine")


def raises(request: HttpRequest) -> HttpResponse:
    password = SECRET
    raise Broken(f"password={password}")


def logs(request: HttpRequest) -> HttpResponse:
    structlog.get_logger("project").error("sync_failed", password=SECRET, text=f"password={SECRET}")
    return HttpResponse()


def logs_and_raises(request: HttpRequest) -> HttpResponse:
    try:
        raise Broken("inner")
    except Broken as error:
        structlog.get_logger("project").exception("sync_failed")
        raise RuntimeError("outer") from error


def captures(request: HttpRequest) -> HttpResponse:
    """As code does that has known the SDK only."""
    try:
        raise Broken(f"password={SECRET}")
    except Broken:
        sentry_sdk.capture_exception()
    return HttpResponse()


def floods(request: HttpRequest) -> HttpResponse:
    for _ in range(50):
        sentry_sdk.capture_message(f"flooded password={SECRET}")
    return HttpResponse()


urlpatterns = [
    path("fine/", fine),
    path("raises/", raises),
    path("logs/", logs),
    path("logs_and_raises/", logs_and_raises),
    path("captures/", captures),
    path("floods/", floods),
]


def seen_first(event: Any, hint: Any) -> Any:
    event.setdefault("tags", {})["theirs"] = "saw the secret" if SECRET in str(event) else "saw none"
    return event


def django_integration(chosen_by: str) -> dict[str, Any]:
    if ASKED.get("django_integration") != chosen_by:
        return {}
    from sentry_sdk.integrations.django import DjangoIntegration

    return {"integrations": [DjangoIntegration()]}


THEIRS: dict[str, Any] = {
    "dsn": ASKED["their_dsn"],
    "environment": "theirs",
    "release": "their-1.0",
    "traces_sample_rate": 1.0,
    "before_send": seen_first,
    **django_integration("them"),
}


def theirs(moment: str) -> None:
    if moment not in ASKED["moments"]:
        return
    if ASKED["by"] == "init":
        sentry_sdk.init(**THEIRS)
    elif ASKED["by"] == "set_client":
        sentry_sdk.get_global_scope().set_client(sentry_sdk.Client(**THEIRS))
    elif ASKED["by"] == "close":
        sentry_sdk.get_client().close()


theirs("settings")
settings.configure(
    INSTALLED_APPS=["crm_monitoring"],
    MIDDLEWARE=["crm_monitoring.middleware.MonitoringMiddleware"],
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    CRM_MONITORING={
        "SENTRY_DSN": ASKED["our_dsn"],
        "EVENTS_BURST": 3,
        "LOG_LEVEL": "ERROR",
        "SENTRY_OPTIONS": django_integration("the setting"),
        **ASKED.get("setting", {}),
    },
)
django.setup()
theirs("setup")
site: WSGIClient = (
    WSGIClient(get_wsgi_application()) if ASKED["interface"] == "wsgi" else ASGIClient(get_asgi_application())
)
theirs("application")
if ASKED.get("is_early"):
    # Before any request: nobody of ours has seen their client yet.
    sentry_sdk.capture_message(f"early password={SECRET}")
statuses, ids = {}, {}
for name in ("fine", "raises", "logs", "logs_and_raises", "captures", "floods"):
    answer = site.get(f"/{name}/")
    statuses[name], ids[name] = answer.status, answer.headers["X-Request-ID"]
    theirs(f"after {name}")
sentry_sdk.flush(5)

from crm_monitoring import check_monitoring_health  # noqa: E402 - Django comes first

health = check_monitoring_health()
told = {"statuses": statuses, "ids": ids, "sentry": health["sentry"], "problems": health["problems"]}
sys.stdout.write(json.dumps(told) + "\n")
