"""What people and machines open: health, a test of the road to Sentry, and the page for a failed request."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from crm_monitoring import conf, context, faults
from crm_monitoring.health import check_monitoring_health, databases_ready, is_degraded
from crm_monitoring.performance import unmonitored
from crm_monitoring.sentry import capture_exception, capture_message

_JSON_TYPES = ("application/json", "application/problem+json")


def _for_machines(view: Any) -> Any:
    return unmonitored(transaction.non_atomic_requests(never_cache(require_safe(view))))


@_for_machines
def monitoring(request: HttpRequest) -> JsonResponse:
    """Tell whether the monitoring works: 200, or with `?strict=1` 503 where something needs attention."""
    health = check_monitoring_health()
    degraded = is_degraded(health)
    body = {"status": "degraded" if degraded else "ok", "monitoring": health}
    return JsonResponse(body, status=503 if degraded and request.GET.get("strict") == "1" else 200)


@_for_machines
def live(request: HttpRequest) -> JsonResponse:
    """Tell that the process serves requests, and do nothing else."""
    return JsonResponse({"status": "ok"})


@_for_machines
def ready(request: HttpRequest) -> JsonResponse:
    """Tell whether every database answers within a second: 200, or 503."""
    databases = databases_ready()
    is_ready = all(databases.values())
    return JsonResponse(
        {"status": "ok" if is_ready else "unavailable", "databases": databases}, status=200 if is_ready else 503
    )


@never_cache
@require_safe
def test_sentry(request: HttpRequest) -> JsonResponse:
    """Send a message and an exception on purpose, for staff or with DEBUG; for anybody else there is no such page."""
    if not (settings.DEBUG or _is_staff(request)):
        raise Http404
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
    running = context.current()
    request_id = running.request_id if running else None
    event_id = running.event_id if running else None
    try:
        if wants_json(request):
            return JsonResponse(
                {"detail": "Internal server error", "request_id": request_id, "event_id": event_id}, status=500
            )
        return HttpResponse(_page(request_id, event_id), status=500)
    except Exception as error:
        faults.record("server_error", error)
        return HttpResponse("Internal server error", content_type="text/plain", status=500)


def wants_json(request: HttpRequest) -> bool:
    """Whether the client expects JSON: it prefers it to HTML, or sent it, or the path is one of JSON_PATHS."""
    if request.path.startswith(conf.get().JSON_PATHS):
        return True
    if request.content_type in _JSON_TYPES:
        return True
    return any(request.accepts(kind) for kind in _JSON_TYPES) and not request.accepts("text/html")


def _page(request_id: str | None, event_id: str | None) -> str:
    return format_html(
        _PAGE,
        language=get_language() or "en",
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
