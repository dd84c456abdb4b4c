"""What an event says of its request: put together only when an event is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from django.core.exceptions import DisallowedHost
from sentry_sdk.scope import should_send_default_pii
from sentry_sdk.utils import walk_exception_chain

from crm_monitoring import context
from crm_monitoring.clients import client_ip
from crm_monitoring.names import endpoint_of

if TYPE_CHECKING:
    from django.http import HttpRequest

    from crm_monitoring.context import Query, RequestContext

FILTERED = "[Filtered]"
_PRIVATE_HEADERS = frozenset(
    (
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-csrftoken",
        "x-forwarded-for",
        "x-real-ip",
    )
)
_ENVIRONMENT = ("SERVER_NAME", "SERVER_PORT")
_METHODS_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_MAX_FRAMES = 50


def add_request_data(event: Any, hint: Any, request: HttpRequest, running: RequestContext | None) -> Any:
    """Add to `event` what is known of `request`; of what the event has already, nothing is replaced."""
    info = {**_request_info(request, running), **event.get("request", {})}
    event["request"] = info
    user_id = context.evaluated_user_id(request)
    if user_id is not None:
        event["user"] = {"id": user_id, **(event.get("user") or {})}
    if event.get("type") != "transaction":
        given_name = running.trace.given_name if running is not None and running.trace is not None else None
        event["transaction"] = given_name or endpoint_of(request)
        event["transaction_info"] = {"source": "custom" if given_name else "route"}
        _add_breadcrumbs(event, request, running)
    # Last, for it is the SDK's to change: without it the event is poorer by its body only.
    _add_body(event, hint, request)
    return event


def _request_info(request: HttpRequest, running: RequestContext | None) -> dict[str, Any]:
    # Before our middleware has begun, no one else knows what is secret in the path.
    secrets = context.url_secrets_of(request) if running is None else running.url_secrets
    return {
        "url": f"{request.scheme}://{_host(request)}{secrets.path}",
        "method": request.method,
        "query_string": request.META.get("QUERY_STRING", ""),
        "headers": {
            name: FILTERED if name.lower() in _PRIVATE_HEADERS else value for name, value in request.headers.items()
        },
        "env": {name: request.META[name] for name in _ENVIRONMENT if name in request.META},
    }


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except DisallowedHost:
        return str(request.META.get("SERVER_NAME", ""))


def _add_body(event: Any, hint: Any, request: HttpRequest) -> None:
    if not request.META.get("CONTENT_LENGTH") and (
        # Sent in chunks: the limit on a body's size goes by its announced length. Without PII there are no cookies to read either.
        request.method in _METHODS_WITH_BODY or not should_send_default_pii()
    ):
        return
    # The SDK's own reader: JSON and forms parsed, files and raw text left out, sizes limited, cookies only with PII.
    # Imported here, for its module is heavy and only an event needs it.
    from sentry_sdk.integrations.django import DjangoRequestExtractor

    readable: Any = _drf_request(hint, request) or request
    DjangoRequestExtractor(readable).extract_into_event(event)


def _drf_request(hint: Any, request: HttpRequest) -> Any | None:
    """Return Django REST framework's wrapper of `request`: it holds the body that it parsed and that cannot be read again."""
    exc_info = (hint or {}).get("exc_info")
    for local in islice(_locals(exc_info[2] if exc_info else None), _MAX_FRAMES):
        wrapper = local.get("request")
        if getattr(wrapper, "_request", None) is request:
            return wrapper
    return None


def _locals(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    while traceback is not None:
        yield traceback.tb_frame.f_locals
        traceback = traceback.tb_next


def _add_breadcrumbs(event: Any, request: HttpRequest, running: RequestContext | None) -> None:
    if running is None:
        return
    crumbs = event.setdefault("breadcrumbs", {})
    own = [_request_crumb(request, running), *_earlier_queries(running), *map(_query_crumb, running.recent_queries)]
    crumbs["values"] = sorted([*own, *crumbs.get("values", ())], key=lambda crumb: crumb["timestamp"])


def _request_crumb(request: HttpRequest, running: RequestContext) -> dict[str, Any]:
    return {
        "timestamp": datetime.fromtimestamp(running.started, UTC),
        "type": "http",
        "category": "http",
        "level": "info",
        "message": f"HTTP Request: {request.method} {request.path}",
        "data": {
            "method": request.method,
            "url": f"{request.scheme}://{_host(request)}{request.path}",
            "client_ip": client_ip(request),
        },
    }


def _earlier_queries(running: RequestContext) -> Iterator[dict[str, Any]]:
    shown = list(running.recent_queries)
    count = running.db_queries - len(shown)
    if count > 0:
        duration_ms = max(0.0, running.db_ms - sum(query.duration_ms for query in shown))
        plural = "y" if count == 1 else "ies"
        yield {
            "timestamp": datetime.fromtimestamp(shown[0].started, UTC),
            "type": "query",
            "category": "query",
            "level": "info",
            "message": f"{count} earlier quer{plural}, {duration_ms:.1f} ms",
        }


def _query_crumb(query: Query) -> dict[str, Any]:
    return {
        "timestamp": datetime.fromtimestamp(query.started, UTC),
        "type": "query",
        "category": "query",
        "level": "info",
        "message": query.sql,
        "data": {"duration_ms": round(query.duration_ms, 3), "database": query.alias},
    }


def with_template_frames(event: Any, hint: Any) -> Any:
    """Add to an exception raised in a template the frame of the template's own line."""
    exc_info = (hint or {}).get("exc_info")
    values = (event.get("exception") or {}).get("values")
    if exc_info is None or not values:
        return event
    for value, (_, error, _) in zip(reversed(values), walk_exception_chain(exc_info), strict=False):
        if getattr(error, "template_debug", None):
            _insert_template_frame(value, error)
    return event


def _insert_template_frame(value: dict[str, Any], error: Any) -> None:
    from sentry_sdk.integrations.django.templates import get_template_frame_from_exception

    frame = get_template_frame_from_exception(error)
    frames = value.setdefault("stacktrace", {}).setdefault("frames", [])
    rendering = [
        index
        for index, known in enumerate(frames)
        if known.get("module") == "django.template.base"
        and known.get("function") in ("Parser.parse", "parse", "render")
    ]
    frames.insert(rendering[-1] + 1 if rendering else len(frames), frame)
