"""What people and machines open: health, a test of the road to Sentry, and the page for a failed request."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.utils.html import format_html
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from crm_monitoring import conf, faults
from crm_monitoring.health import check_monitoring_health, is_degraded
from crm_monitoring.hooks import request_page
from crm_monitoring.performance import unmonitored
from crm_monitoring.readiness import databases_ready
from crm_monitoring.requests import evaluated_user
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
    """
    Tell whether the monitoring works: 200, or with `?strict=1` 503 where something needs attention.

    With HEALTH_DETAILS = "staff" anybody else is told the status alone.
    """
    health = check_monitoring_health()
    degraded = is_degraded(health)
    body: dict[str, Any] = {"status": "degraded" if degraded else "ok"}
    if conf.get().HEALTH_DETAILS == "all" or _is_staff(request):
        body["monitoring"] = health
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
    """Send a message and an exception on purpose, by a button, for staff or with DEBUG; for anybody else there is no such page."""
    if not (settings.DEBUG or _is_staff(request)):
        raise Http404
    return _test(request)


@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def _test(request: HttpRequest) -> HttpResponse:
    return _send_test() if request.method == "POST" else _page(_test_form(request))


def _test_form(request: HttpRequest) -> str:
    return format_html(
        '<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{}"><button>{}</button></form>',
        get_token(request),
        gettext("Send a message and an error"),
    )


def _send_test() -> JsonResponse:
    message_id = capture_message("Test message from CRM", level="info")
    try:
        1 / 0  # noqa: B018 - the division is the point
    except ZeroDivisionError as error:
        exception_id = capture_exception(error, extra={"test": "sentry"})
    return JsonResponse({"message": "Check Sentry dashboard!", "message_id": message_id, "exception_id": exception_id})


def _is_staff(request: HttpRequest) -> bool:
    try:
        user = getattr(request, "user", None)
        return bool(user is not None and user.is_active and user.is_staff)
    except Exception as error:
        # A user model of another kind, or the database that holds the session does not answer.
        faults.record("Reading the user of a health view", error)
        return False


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
        return _page(_numbers(request_id, event_id, _page_of(request, request_id)), status=500)
    except Exception as error:
        faults.record("server_error", error)
        return HttpResponse("Internal server error", content_type="text/plain", status=500)


def _page_of(request: HttpRequest, request_id: str | None) -> str:
    """Return where staff can see what happened; empty for all others, and where it would take a query to know who asks."""
    user = evaluated_user(request)
    if request_id is None or not getattr(user, "is_staff", False):
        return ""
    return request_page(request_id)


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


def _numbers(request_id: str | None, event_id: str | None, page: str) -> str:
    link = format_html('<p><a href="{}">{}</a></p>', page, gettext("What happened in this request")) if page else ""
    return format_html(
        "<p>{}</p><dl><dt>{}</dt><dd><code>{}</code></dd><dt>{}</dt><dd><code>{}</code></dd></dl>{}",
        gettext("The error has been recorded. If you contact us, please give these numbers:"),
        gettext("Request"),
        request_id or "–",
        gettext("Event"),
        event_id or "–",
        link,
    )


def _page(content: str, status: int = 200) -> HttpResponse:
    title = gettext("Something went wrong") if status >= 500 else gettext("Test of the monitoring")
    page = format_html(
        _PAGE, language=get_language() or settings.LANGUAGE_CODE, title=title, style=_STYLE, content=content
    )
    return HttpResponse(page, status=status, headers={"Content-Security-Policy": _policy()})


@cache
def _policy() -> str:
    """Return a policy that lets the page do what it does, and nothing else."""
    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


_STYLE = "body{max-width:40rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 sans-serif}code{overflow-wrap:anywhere}"
_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
