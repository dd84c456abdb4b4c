"""
Watches each request from its first byte to its last: id, trace, route, one line, one record.

Sync and async share every line but the await. Nothing the host can see is wrapped: the content of a stream passes through an
iterator of ours, as Django offers it; the response itself stays the view's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard, cast

from asgiref.sync import sync_to_async
from django.core.signals import request_finished
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import StreamingHttpResponse
from django_structlog import signals
from django_structlog.middlewares import RequestMiddleware

from crm_monitoring import conf, faults, logs
from crm_monitoring.middleware import lifecycle
from crm_monitoring.middleware.lifecycle import logger
from crm_monitoring.middleware.streaming import watch_stream
from crm_monitoring.requests import resolved
from crm_monitoring.work import Request, current_request

GetResponse = Callable[[HttpRequest], Any]

_PROBES = ("/live", "/live/", "/ready", "/ready/")


class MonitoringMiddleware(RequestMiddleware):
    """
    Belongs first in MIDDLEWARE, so that it sees what all the others do.

    It extends django-structlog's: the four signals of `django_structlog.signals` are sent, and there is one line a request.
    """

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        # get_wsgi_application() applies LOGGING once more where a command has set Django up already.
        _take_over_logging()
        self._is_async = asyncio.iscoroutinefunction(get_response)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve the request, and watch it."""
        if self._is_async:
            return self.__acall__(request)
        work = _begin(request)
        if _wants_start():
            _send_start(work)
        try:
            probe = _probe(request) if request.path_info.endswith(_PROBES) else None
            response: Any = self.get_response(request) if probe is None else probe(request)
        except BaseException as error:
            _abort(work, error)
            raise
        if _wants_end(work):
            _send_end(work, response)
        _finish(work, response)
        return response

    async def __acall__(self, request: HttpRequest) -> Any:
        """Serve the request, and watch it."""
        work = _begin(request)
        _remember_task(work)
        if _wants_start():
            await sync_to_async(_send_start)(work)
        try:
            probe = _probe(request) if request.path_info.endswith(_PROBES) else None
            if probe is None:
                response = await cast(Awaitable[Any], self.get_response(request))
            else:
                response = await sync_to_async(probe)(request)
        except BaseException as error:
            _abort(work, error)
            raise
        if _wants_end(work):
            await sync_to_async(_send_end)(work, response)
        _finish(work, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Keep what the view raised, for the statuses that are reported though Django answers them."""
        work = _work_of(request)
        if work is not None:
            work.handled_error = exception

    def process_got_request_exception(self, sender: Any, request: HttpRequest, **kwargs: Any) -> None:
        """Keep what the request failed with."""
        work = _work_of(request)
        if work is not None:
            work.error = sys.exc_info()[1]


def _work_of(request: HttpRequest) -> Request | None:
    work = current_request()
    return work if work is not None and work.request is request else None


# -- guarded, so that no failure of ours is one of the request -----------------------------------------


@faults.guarded
def _take_over_logging() -> None:
    if conf.get().CONFIGURE_LOGGING:
        logs.take_over()


@faults.guarded
def _begin(request: HttpRequest, /) -> Request:
    return lifecycle.begin(request)


@faults.guarded
def _probe(request: HttpRequest) -> Callable[[HttpRequest], HttpResponse] | None:
    """
    Return the view that answers a load balancer's probe, None for any other request.

    It asks by an address that is not in ALLOWED_HOSTS, over plain HTTP and without login: no other middleware may say no.
    """
    from crm_monitoring import views

    match = resolved(request)
    if match is None or match.func not in (views.live, views.ready):
        return None
    request.resolver_match = match
    return match.func


@faults.guarded
def _remember_task(work: Request | None) -> None:
    if work is not None:
        work.remember_task()


@faults.guarded
def _abort(work: Request | None, error: BaseException) -> None:
    if work is not None:
        lifecycle.abort(work, error)


@faults.guarded
def _finish(work: Request | None, response: HttpResponseBase, /) -> None:
    if work is None:
        return
    if isinstance(response, HttpResponseBase):
        lifecycle.send_id(work, response)
    status = lifecycle.status_of(work, response)
    lifecycle.report_answered(work, status)
    work.handed_over = True
    if not (isinstance(response, StreamingHttpResponse) and watch_stream(work, response, status)):
        lifecycle.conclude(work, status, lifecycle.size_of(response))


@faults.guarded
def forget(sender: Any = None, **kwargs: Any) -> None:
    """Leave the request's context once the server has closed the response; a receiver of `request_finished`."""
    work = current_request()
    if work is not None and work.handed_over:
        lifecycle.leave(work)


request_finished.connect(forget, dispatch_uid="crm_monitoring")


# -- django-structlog's signals -------------------------------------------------------------------------------------------


def _wants_start() -> bool:
    return _is_heard(signals.bind_extra_request_metadata)


@faults.guarded
def _send_start(work: Request | None) -> None:
    if work is not None:
        request = work.request
        known = {"request": f"{request.method} {request.path}", "user_agent": request.META.get("HTTP_USER_AGENT")}
        _send(work, signals.bind_extra_request_metadata, known, request=request)


def _wants_end(work: Request | None) -> TypeGuard[Request]:
    if work is None:
        return False
    if work.error is None:
        return _is_heard(signals.bind_extra_request_finished_metadata)
    return _is_heard(signals.bind_extra_request_failed_metadata) or _is_heard(signals.update_failure_response)


def _is_heard(signal: Signal) -> bool:
    # has_listeners() takes a lock to find out that there are none.
    return bool(signal.receivers) and signal.has_listeners(MonitoringMiddleware)


@faults.guarded
def _send_end(work: Request, response: HttpResponseBase) -> None:
    request, error = work.request, work.error
    known = {"request": f"{request.method} {request.path}", "code": response.status_code}
    if error is None:
        _send(work, signals.bind_extra_request_finished_metadata, known, request=request, response=response)
        return
    _send(work, signals.bind_extra_request_failed_metadata, known, request=request, exception=error)
    signals.update_failure_response.send(
        sender=MonitoringMiddleware, request=request, response=response, logger=logger, exception=error
    )


def _send(work: Request, signal: Any, known: dict[str, Any], **about: Any) -> None:
    """Send one of the signals; what its receivers add to `log_kwargs` goes into the request's line."""
    log_kwargs = dict(known)
    signal.send(sender=MonitoringMiddleware, logger=logger, log_kwargs=log_kwargs, **about)
    work.extra.update({name: value for name, value in log_kwargs.items() if name not in known})
