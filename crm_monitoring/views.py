"""What people and machines open: health, a test of the road to Sentry, and the page for a failed request."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from crm_monitoring import conf, faults
from crm_monitoring.health import check_monitoring_health, databases_ready, is_degraded
from crm_monitoring.performance import unmonitored
from crm_monitoring.sentry import capture_exception, capture_message
from crm_monitoring.work import current_request

_JSON_TYPES = ("application/json", "application/problem+json", "application/vnd.api+json")


def for_machines(view: Any) -> Any:
    """Make a view answer load balancers: unmonitored, uncached, read-only, without login and without transaction."""
    # A load balancer cannot log in, and asks with the database down too.
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return unmonitored(login_not_required(never_cache(require_safe(view))))


@for_machines
def monitoring(request: HttpRequest) -> JsonResponse:
    """Tell whether the monitoring works: 200, or with `?strict=1` 503 where something needs attention."""
    health = check_monitoring_health()
    degraded = is_degraded(health)
    body = {"status": "degraded" if degraded else "ok", "monitoring": health}
    return JsonResponse(body, status=503 if degraded and request.GET.get("strict") == "1" else 200)


@for_machines
def live(request: HttpRequest) -> JsonResponse:
    """Tell that the process serves requests, and do nothing else."""
    return JsonResponse({"status": "ok"})


@for_machines
def ready(request: HttpRequest) -> JsonResponse:
    """Tell whether every database answers within a second: 200, or 503."""
    databases = databases_ready()
    is_ready = all(databases.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "unavailable", "databases": databases}, status=200 if is_ready else 503
    )


@never_cache
def test_sentry(request: HttpRequest) -> HttpResponse:
    """Send a message and an exception on purpose, for staff or with DEBUG; for anybody else there is no such page."""
    if not (settings.DEBUG or _is_staff(request)):
        raise Http404
    return _send_test(request)


@require_safe
def _send_test(request: HttpRequest) -> JsonResponse:
    message_id = capture_message("Test message from CRM", level="info")
    try:
        1 / 0  # noqa: B018 - the division is the point
    except ZeroDivisionError as error:
        exception_id = capture_exception(error, extra={"test": "sentry"})
    return JsonResponse({"message": "Check Sentry dashboard!", "message_id": message_id, "exception_id": exception_id})


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)


def server_error(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """
    Answer a request that failed: `handler500 = "crm_monitoring.views.server_error"`.

    JSON for clients that want it (by Accept, by the content type they sent, or by JSON_PATHS), else a plain page; both with the
    request's id and the id of the event that reported the failure. Needs no template and no database, and never raises.
    """
    try:
        request_id, event_id = _ids(request)
        if wants_json(request):
            return JsonResponse(
                {"detail": "Internal server error", "request_id": request_id, "event_id": event_id}, status=500
            )
        return HttpResponse(_page(request_id, event_id), status=500)
    except Exception as error:
        faults.record("server_error", error)
        return HttpResponse("Internal server error", content_type="text/plain", status=500)


def _ids(request: HttpRequest) -> tuple[str | None, str | None]:
    work = current_request()
    # Outside the middleware there is none, or another request's.
    return (work.request_id, work.event_id) if work and work.request is request else (None, None)


def wants_json(request: HttpRequest) -> bool:
    """Whether the client expects JSON: it prefers it to HTML, or sent it, or the path is one of JSON_PATHS."""
    return (
        request.path.startswith(conf.get().JSON_PATHS)
        or request.content_type in _JSON_TYPES
        or request.get_preferred_type(["text/html", *_JSON_TYPES]) in _JSON_TYPES
    )


def _page(request_id: str | None, event_id: str | None) -> str:
    return format_html(
        _PAGE,
        language=get_language() or settings.LANGUAGE_CODE,
        title=gettext("Something went wrong"),
        text=gettext("The error has been recorded. If you contact us, please give these numbers:"),
        request=gettext("Request"),
        request_id=request_id or "–",
        event=gettext("Event"),
        event_id=event_id or "–",
    )


_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>body{{max-width:40rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}}code{{overflow-wrap:anywhere}}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
<dl><dt>{request}</dt><dd><code>{request_id}</code></dd><dt>{event}</dt><dd><code>{event_id}</code></dd></dl>
</main>
</body>
</html>
"""
