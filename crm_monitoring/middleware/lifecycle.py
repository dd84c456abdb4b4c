"""What happens to a request, whoever serves it: it begins, finds its view, fails or is answered, and is concluded once."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.exceptions import RequestAborted
from django.http import HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django_structlog.app_settings import app_settings

from crm_monitoring import conf, faults, hooks
from crm_monitoring.ids import new_id
from crm_monitoring.logs import bind, bound, get_logger, rebind, unbind
from crm_monitoring.queries import tell_n_plus_one
from crm_monitoring.records import CLIENT_CLOSED_REQUEST, RequestRecord
from crm_monitoring.requests import client_ip, is_unmonitored_path, method_of, request_id_of
from crm_monitoring.sentry import (
    capture_crash,
    is_unmonitored,
    report_handled,
    report_server_error,
    send_held,
    trace_request,
)
from crm_monitoring.work import Request, RequestTrace, Work, current_request, current_work, show_to_keepers, use

logger = get_logger("crm_monitoring.requests")

_BOUND = ("request_id",)


def begin(request: HttpRequest) -> Request:
    """Open the context of `request`, and make it the current one."""
    work = Request(request, _request_id(request) or new_id(), method_of(request))
    work.outer = _what_runs_around()
    if work.outer is not None:
        # It goes on when the request is done.
        work.outer_bound = bound()
    _bind(work)
    work.unmonitored = bool(_is_unmonitored_path(request.path_info))
    work.trace = _trace(work)
    use(work)
    return work


# What follows reads what others have made, and each part that fails costs itself alone.


_request_id = faults.guarded(request_id_of)
_is_unmonitored_path = faults.guarded(is_unmonitored_path)
_tell_n_plus_one = faults.guarded(tell_n_plus_one)


@faults.guarded
def _trace(work: Request, /) -> RequestTrace:
    return trace_request(work.request, work.request_id, work.method, unmonitored=work.unmonitored)


def _what_runs_around() -> Work | None:
    request = current_request()
    if request is not None and request.handed_over:
        # Its server never closed the response.
        leave(request)
    return current_work()


@faults.guarded
def _bind(work: Request, /) -> None:
    # Where code of others (django-structlog's receivers for Celery and tasks among it) looks for the id.
    rebind({"request_id": work.request_id})
    work.bound = _BOUND
    correlation_id = work.request.META.get("HTTP_X_CORRELATION_ID")
    if correlation_id and app_settings.TRUST_UPSTREAM_CORRELATION_ID:
        bind({"correlation_id": correlation_id})


@faults.guarded
def send_id(work: Request, response: HttpResponseBase, /) -> None:
    """Tell the client the request's id."""
    response[conf.get().REQUEST_ID_HEADER] = work.request_id


def status_of(work: Request, response: HttpResponseBase) -> int:
    """Return what the client gets: 500 where the response has no status that can be sent, for the server fails on it."""
    if isinstance(work.error, UnreadablePostError):
        # The client went away while it sent its body.
        work.error = None
        return CLIENT_CLOSED_REQUEST
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else 500


@faults.guarded
def report_answered(work: Request, status: int, /) -> None:
    """Report what Django or the view answered itself, where the setting asks for it."""
    if work.event_id is not None or work.error is not None:
        return
    config = conf.get()
    if work.handled_error is not None:
        if status in config.FAILED_REQUEST_STATUS_CODES:
            work.event_id = report_handled(work.handled_error)
    elif status >= 500 and config.REPORT_SERVER_ERRORS:
        work.event_id = report_server_error(work.endpoint, status)


def abort(work: Request, error: BaseException) -> None:
    """Conclude a request that ends without a response: cancelled, or by an exception that Django does not answer."""
    if isinstance(error, asyncio.CancelledError | RequestAborted):
        conclude(work, CLIENT_CLOSED_REQUEST)
        return
    fail(work, error)
    conclude(work, 500)


def fail(work: Request, error: BaseException) -> None:
    """Report an exception that nobody answers. Leaving with status 0 is none."""
    work.error = error
    if work.event_id is None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
        work.event_id = capture_crash(error)


@faults.guarded
def size_of(response: object, /) -> int | None:
    """Return the number of bytes in the response's body, None where nobody knows before it is sent."""
    if not isinstance(response, HttpResponseBase):
        return None
    length = response.headers.get("Content-Length", "")
    if length.isdigit():
        return int(length)
    return len(response.content) if isinstance(response, HttpResponse) else None


def conclude(work: Request, status: int, response_bytes: int | None = None) -> None:
    """Log the request's one line, hand its record to the hooks and close its trace. Only the first call counts."""
    if work.concluded:
        return
    work.concluded = True
    work.handed_over = True
    work.unmonitored = work.unmonitored or bool(_has_unmonitored_view(work.request))
    _tell_n_plus_one(work)
    record = _record(work, status, response_bytes)
    _log(work, record)
    if not work.unmonitored:
        hooks.emit(record)
        show_to_keepers(work, record)
    send_held(work)
    _close_trace(work, status)
    if work.outer is not None:
        _give_back(work)


@faults.guarded
def _has_unmonitored_view(request: HttpRequest, /) -> bool:
    match = request.resolver_match
    return match is not None and is_unmonitored(match.func)


def _record(work: Request, status: int, response_bytes: int | None) -> RequestRecord:
    # First: what a middleware has answered gets its route by it.
    path = work.url_secrets.path
    return RequestRecord(
        request_id=work.request_id,
        method=work.method,
        route=work.route,
        path=path,
        status=status,
        started=work.started,
        duration_ms=work.elapsed_ms(),
        db_queries=work.db_queries,
        db_ms=work.db_ms,
        response_bytes=response_bytes,
        user_id=work.user_id,
        client_ip=_client_ip(work.request) if conf.get().LOG_CLIENT_IP else None,
        trace_id=work.trace_id,
        error=None if work.error is None else type(work.error).__name__,
    )


_client_ip = faults.guarded(client_ip)


@faults.guarded
def _log(work: Request, record: RequestRecord, /) -> None:
    fields: dict[str, Any] = {
        **work.extra,
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
    if work.error is not None:
        fields["exc_info"] = work.error
    write = getattr(logger, _level(work, record))
    write("request_finished" if work.error is None else "request_failed", **fields)


def _to_microseconds(duration_ms: float) -> float:
    # What round() does for any number of any size takes ten times as long.
    return int(duration_ms * 1000 + 0.5) / 1000


def _level(work: Request, record: RequestRecord) -> str:
    if record.failed:
        return "error"
    if work.unmonitored:
        return "debug"
    return "warning" if record.status >= 400 else "info"


@faults.guarded
def _close_trace(work: Request, status: int, /) -> None:
    if work.trace is None:
        return
    if work.unmonitored:
        work.trace.discard()
    work.trace.close(status, work.outcome)


def leave(work: Request) -> None:
    """Forget the request: its server has closed the response, and no line of it can follow."""
    if work.status_on_leave is not None:
        conclude(work, work.status_on_leave, work.bytes_on_leave)
    _give_back(work)


def _give_back(work: Request) -> None:
    use(work.outer)
    if work.outer_bound:
        rebind(work.outer_bound)
    else:
        # To clear them all means to look through all context variables. The next request does, before it binds its own.
        unbind(work.bound)
