"""What happens to a request, whoever serves it: it begins, finds its view, fails or is answered, and is concluded once."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponseBase
from django_structlog.app_settings import app_settings

from crm_monitoring import conf, hooks, work
from crm_monitoring.logs.logger import get_logger
from crm_monitoring.queries import tell_n_plus_one
from crm_monitoring.records import CLIENT_CLOSED_REQUEST, RequestRecord
from crm_monitoring.requests.client_ip import client_ip
from crm_monitoring.requests.request_id import request_id_of
from crm_monitoring.requests.routes import method_of
from crm_monitoring.sentry import capture_crash, report_handled, report_server_error, trace_request, units
from crm_monitoring.sentry.failures import send_held
from crm_monitoring.sentry.tracing import is_unmonitored
from crm_monitoring.work import RequestContext

logger = get_logger("crm_monitoring.requests")

_BOUND = ("request_id",)


def begin(request: HttpRequest) -> RequestContext:
    """Open the context of `request`, and make it the current one."""
    running = RequestContext(request, request_id_of(request), method_of(request))
    previous = work.current()
    if previous is not None:
        _step_over(previous, running)
    if running.outer is not None or units.current() is not None:
        # What runs around the request goes on when it is done.
        running.outer_bound = structlog.contextvars.get_contextvars()
    _bind(running)
    running.unmonitored = _is_unmonitored_path(request.path_info)
    running.trace = trace_request(request, running.request_id, running.method, unmonitored=running.unmonitored)
    work.use(running)
    return running


def _step_over(previous: RequestContext, running: RequestContext) -> None:
    if previous.handed_over:
        # Its server never closed the response.
        leave(previous)
    else:
        running.outer = previous


def _bind(running: RequestContext) -> None:
    # Where code of others (django-structlog's receivers for Celery and tasks among it) looks for the id.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=running.request_id)
    running.bound = _BOUND
    correlation_id = running.request.META.get("HTTP_X_CORRELATION_ID")
    if correlation_id and app_settings.TRUST_UPSTREAM_CORRELATION_ID:
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)


def _is_unmonitored_path(path: str) -> bool:
    paths = conf.get().UNMONITORED_PATHS
    return path.startswith(paths) and any(path == known or path.startswith(f"{known.rstrip('/')}/") for known in paths)


def report_answered(running: RequestContext, status: int) -> None:
    """Report what Django or the view answered itself, where the setting asks for it."""
    if running.event_id is not None or running.error is not None:
        return
    config = conf.get()
    if running.handled_error is not None:
        if status in config.FAILED_REQUEST_STATUS_CODES:
            running.event_id = report_handled(running.handled_error)
    elif status >= 500 and config.REPORT_SERVER_ERRORS:
        running.event_id = report_server_error(running.endpoint, status)


def abort(running: RequestContext, error: BaseException) -> None:
    """Conclude a request that ends without a response: cancelled, or by an exception that Django does not answer."""
    if isinstance(error, asyncio.CancelledError):
        conclude(running, CLIENT_CLOSED_REQUEST)
        return
    fail(running, error)
    conclude(running, 500)


def fail(running: RequestContext, error: BaseException) -> None:
    """Report an exception that nobody answers. Leaving with status 0 is none."""
    running.error = error
    if running.event_id is None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
        running.event_id = capture_crash(error)


def size_of(response: HttpResponseBase) -> int | None:
    """Return the number of bytes in the response's body, None where nobody knows before it is sent."""
    length = response.headers.get("Content-Length", "")
    if length.isdigit():
        return int(length)
    return len(response.content) if hasattr(response, "content") else None


def conclude(running: RequestContext, status: int, response_bytes: int | None = None) -> None:
    """Log the request's one line, hand its record to the hooks and close its trace. Only the first call counts."""
    if running.concluded:
        return
    running.concluded = True
    running.handed_over = True
    try:
        running.unmonitored = running.unmonitored or _has_unmonitored_view(running.request)
        tell_n_plus_one(running)
        record = _record(running, status, response_bytes)
        _log(running, record)
        if not running.unmonitored:
            hooks.emit(record)
    finally:
        _close(running, status)


def _has_unmonitored_view(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and is_unmonitored(match.func)


def _record(running: RequestContext, status: int, response_bytes: int | None) -> RequestRecord:
    request = running.request
    return RequestRecord(
        request_id=running.request_id,
        method=running.method,
        route=running.route,
        path=running.url_secrets.path,
        status=status,
        started=running.started,
        duration_ms=running.elapsed_ms(),
        db_queries=running.db_queries,
        db_ms=running.db_ms,
        response_bytes=response_bytes,
        user_id=running.user_id,
        client_ip=client_ip(request) if conf.get().LOG_CLIENT_IP else None,
        trace_id=running.trace_id,
        error=type(running.error).__name__ if running.error else None,
    )


def _log(running: RequestContext, record: RequestRecord) -> None:
    fields: dict[str, Any] = {
        **running.extra,
        "method": record.method,
        "route": record.route,
        "path": record.path,
        "status": record.status,
        "duration_ms": _to_microseconds(record.duration_ms),
        "db_queries": record.db_queries,
        "db_ms": _to_microseconds(record.db_ms),
    }
    if record.response_bytes is not None:
        fields["response_bytes"] = record.response_bytes
    if record.client_ip is not None:
        fields["ip"] = record.client_ip
    if running.error is not None:
        fields["exc_info"] = running.error
    write = getattr(logger, _level(running, record))
    write("request_finished" if running.error is None else "request_failed", **fields)


def _to_microseconds(duration_ms: float) -> float:
    # What round() does for any number of any size takes ten times as long.
    return int(duration_ms * 1000 + 0.5) / 1000


def _level(running: RequestContext, record: RequestRecord) -> str:
    if record.failed:
        return "error"
    if running.unmonitored:
        return "debug"
    return "warning" if record.status >= 400 else "info"


def _close(running: RequestContext, status: int) -> None:
    try:
        send_held(running)
    finally:
        _close_trace(running, status)
    if running.outer is not None:
        _give_back(running)


def _close_trace(running: RequestContext, status: int) -> None:
    if running.trace is None:
        return
    if running.unmonitored:
        running.trace.discard()
    running.trace.close(running.request, status, running.outcome)


def leave(running: RequestContext) -> None:
    """Forget the request: its server has closed the response, and no line of it can follow."""
    if running.status_on_leave is not None:
        conclude(running, running.status_on_leave, running.bytes_on_leave)
    _give_back(running)


def _give_back(running: RequestContext) -> None:
    work.use(running.outer)
    if running.outer_bound:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**running.outer_bound)
    else:
        # To clear them all means to look through all context variables. The next request does, before it binds its own.
        structlog.contextvars.unbind_contextvars(*running.bound)
