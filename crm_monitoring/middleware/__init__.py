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
from django.http import HttpRequest, HttpResponseBase
from django.http.response import StreamingHttpResponse
from django_structlog import signals
from django_structlog.middlewares import RequestMiddleware

from crm_monitoring import conf, faults, work
from crm_monitoring.logs import setup
from crm_monitoring.middleware import lifecycle
from crm_monitoring.middleware.lifecycle import logger
from crm_monitoring.middleware.streaming import watch_stream
from crm_monitoring.work import RequestContext

GetResponse = Callable[[HttpRequest], Any]


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
        running = _begin(request)
        if _wants_start():
            _send_start(running)
        try:
            response: Any = self.get_response(request)
        except BaseException as error:
            _abort(running, error)
            raise
        if _wants_end(running):
            _send_end(running, response)
        _finish(running, response)
        return response

    async def __acall__(self, request: HttpRequest) -> Any:
        """Serve the request, and watch it."""
        running = _begin(request)
        if _wants_start():
            await sync_to_async(_send_start)(running)
        try:
            response = await cast(Awaitable[Any], self.get_response(request))
        except BaseException as error:
            _abort(running, error)
            raise
        if _wants_end(running):
            await sync_to_async(_send_end)(running, response)
        _finish(running, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Keep what the view raised, for the statuses that are reported though Django answers them."""
        running = _running(request)
        if running is not None:
            running.handled_error = exception

    def process_got_request_exception(self, sender: Any, request: HttpRequest, **kwargs: Any) -> None:
        """Keep what the request failed with."""
        running = _running(request)
        if running is not None:
            running.error = sys.exc_info()[1]


def _running(request: HttpRequest) -> RequestContext | None:
    running = work.current()
    return running if running is not None and running.request is request else None


# -- the doors: what is guarded, so that no failure of ours is one of the request -----------------------------------------


@faults.guarded
def _take_over_logging() -> None:
    if conf.get().CONFIGURE_LOGGING:
        setup.take_over()


@faults.guarded
def _begin(request: HttpRequest) -> RequestContext:
    return lifecycle.begin(request)


@faults.guarded
def _abort(running: RequestContext | None, error: BaseException) -> None:
    if running is not None:
        lifecycle.abort(running, error)


@faults.guarded
def _finish(running: RequestContext | None, response: HttpResponseBase) -> None:
    if running is None:
        return
    response[conf.get().REQUEST_ID_HEADER] = running.request_id
    lifecycle.report_answered(running, response.status_code)
    running.handed_over = True
    if isinstance(response, StreamingHttpResponse):
        watch_stream(running, response)
    else:
        lifecycle.conclude(running, response.status_code, lifecycle.size_of(response))


@faults.guarded
def forget(sender: Any = None, **kwargs: Any) -> None:
    """Leave the request's context once the server has closed the response; a receiver of `request_finished`."""
    running = work.current()
    if running is not None and running.handed_over:
        lifecycle.leave(running)


request_finished.connect(forget, dispatch_uid="crm_monitoring")


# -- django-structlog's signals -------------------------------------------------------------------------------------------


def _wants_start() -> bool:
    return _is_heard(signals.bind_extra_request_metadata)


@faults.guarded
def _send_start(running: RequestContext | None) -> None:
    if running is not None:
        request = running.request
        known = {"request": f"{request.method} {request.path}", "user_agent": request.META.get("HTTP_USER_AGENT")}
        _send(running, signals.bind_extra_request_metadata, known, request=request)


def _wants_end(running: RequestContext | None) -> TypeGuard[RequestContext]:
    if running is None:
        return False
    if running.error is None:
        return _is_heard(signals.bind_extra_request_finished_metadata)
    return _is_heard(signals.bind_extra_request_failed_metadata) or _is_heard(signals.update_failure_response)


def _is_heard(signal: Signal) -> bool:
    # has_listeners() takes a lock to find out that there are none.
    return bool(signal.receivers) and signal.has_listeners(MonitoringMiddleware)


@faults.guarded
def _send_end(running: RequestContext, response: HttpResponseBase) -> None:
    request, error = running.request, running.error
    known = {"request": f"{request.method} {request.path}", "code": response.status_code}
    if error is None:
        _send(running, signals.bind_extra_request_finished_metadata, known, request=request, response=response)
        return
    _send(running, signals.bind_extra_request_failed_metadata, known, request=request, exception=error)
    signals.update_failure_response.send(
        sender=MonitoringMiddleware, request=request, response=response, logger=logger, exception=error
    )


def _send(running: RequestContext, signal: Any, known: dict[str, Any], **about: Any) -> None:
    """Send one of the signals; what its receivers add to `log_kwargs` goes into the request's line."""
    log_kwargs = dict(known)
    signal.send(sender=MonitoringMiddleware, logger=logger, log_kwargs=log_kwargs, **about)
    running.extra.update({name: value for name, value in log_kwargs.items() if name not in known})
