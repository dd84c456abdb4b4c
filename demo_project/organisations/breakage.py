"""Views that misbehave on purpose, so that there is something to see in the logs and in Sentry."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from crm_monitoring import add_breadcrumb, capture_exception, capture_message, monitored, set_tag

STREAM_CHUNKS = 5
STREAM_PAUSE_S = 0.1
SLOW_S = 1.2


@require_safe
def unhandled_error(request: HttpRequest) -> HttpResponse:
    add_breadcrumb("About to divide by zero", category="demo")
    set_tag("demo", "unhandled_error")
    return HttpResponse(1 / 0)


@require_safe
def handled_error(request: HttpRequest) -> HttpResponse:
    try:
        int("forty-two")
    except ValueError as error:
        capture_exception(error, extra={"input": "forty-two"}, tags={"demo": "handled_error"})
    messages.warning(request, _("Something failed, was handled and was reported; you would not have noticed."))
    return redirect("organisations:home")


@require_safe
@monitored("slow_report", slow_ms=500, tags={"demo": "slow"})
def slow(request: HttpRequest) -> HttpResponse:
    time.sleep(SLOW_S)
    messages.info(request, _("That took its time: the log has a line about it."))
    return redirect("organisations:home")


@require_safe
def missing(request: HttpRequest) -> HttpResponse:
    raise Http404("This page is missing on purpose")


@require_safe
def message(request: HttpRequest) -> HttpResponse:
    capture_message("Somebody pressed the message button", level="info", tags={"demo": "message"})
    messages.info(request, _("A message was sent, without any error."))
    return redirect("organisations:home")


@require_safe
def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(chunks(), content_type="text/plain; charset=utf-8")


def chunks() -> Iterator[str]:
    for number in range(1, STREAM_CHUNKS + 1):
        yield f"{number}/{STREAM_CHUNKS}\n"
        time.sleep(STREAM_PAUSE_S)
