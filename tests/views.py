"""Views that each do one thing a request can do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from crm_monitoring import add_breadcrumb, capture_exception, capture_message, get_logger, monitored, unmonitored

logger = get_logger(__name__)


def ok(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    logger.info("ok_served")
    return JsonResponse({"ok": True})


async def async_ok(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    logger.info("ok_served")
    return JsonResponse({"ok": True})


def fails(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    add_breadcrumb("about to fail", category="test")
    raise ValueError("boom")


async def async_fails(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    add_breadcrumb("about to fail", category="test")
    raise ValueError("boom")


def logs_error(request: HttpRequest) -> HttpResponse:
    logger.error("import_failed", org_id=7)
    return HttpResponse("logged")


def logs_exception(request: HttpRequest) -> HttpResponse:
    try:
        1 / 0  # noqa: B018 - the division is the point
    except ZeroDivisionError:
        if request.GET.get("how") == "stdlib":
            logging.getLogger("tests.stdlib").exception("division failed")
        elif request.GET.get("how") == "error":
            logger.error("division_failed", exc_info=True, org_id=7)
        else:
            logger.exception("division_failed", org_id=7)
    return HttpResponse("logged")


def status(request: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(f"status {code}", status=code)


def answers(request: HttpRequest, how: str) -> HttpResponse:
    raise {"404": Http404, "403": PermissionDenied, "400": SuspiciousOperation}[how]("no")


def moves(request: HttpRequest) -> HttpResponse:
    return redirect("/ok/")


def reads_user(request: HttpRequest) -> HttpResponse:
    logger.info("user_read", name=request.user.get_username())
    return HttpResponse("read")


async def async_reads_user(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    logger.info("user_read", name=user.get_username())
    return HttpResponse("read")


def queries(request: HttpRequest, count: int) -> HttpResponse:
    for _ in range(count):
        list(get_user_model().objects.all())
    if request.GET.get("fail"):
        raise ValueError("after the queries")
    return HttpResponse("queried")


async def async_queries(request: HttpRequest, count: int) -> HttpResponse:
    for _ in range(count):
        [user async for user in get_user_model().objects.all()]
    return HttpResponse("queried")


def _chunks(fail: bool, seconds: float) -> Iterator[bytes]:
    yield b"one"
    time.sleep(seconds)
    logger.info("in_stream")
    if fail:
        raise ValueError("in the stream")
    yield b"two"


async def _async_chunks(fail: bool, seconds: float) -> AsyncIterator[bytes]:
    yield b"one"
    await asyncio.sleep(seconds)
    logger.info("in_stream")
    if fail:
        raise ValueError("in the stream")
    yield b"two"


def stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(_chunks(bool(request.GET.get("fail")), float(request.GET.get("seconds", 0))))


async def async_stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(_async_chunks(bool(request.GET.get("fail")), float(request.GET.get("seconds", 0))))


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


async def waits(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(30)
    return HttpResponse("late")


barrier: asyncio.Barrier | None = None


async def meets(request: HttpRequest) -> HttpResponse:
    """Goes on when as many requests are here as the barrier waits for."""
    assert barrier is not None
    async with asyncio.timeout(5):
        await barrier.wait()
    logger.info("met")
    return HttpResponse("met")


def exits(request: HttpRequest, code: int) -> HttpResponse:
    raise SystemExit(code)


def interrupts(request: HttpRequest) -> HttpResponse:
    raise KeyboardInterrupt


@unmonitored
def quiet(request: HttpRequest) -> HttpResponse:
    if request.GET.get("fail"):
        raise ValueError("quiet failure")
    return HttpResponse("quiet")


def reports(request: HttpRequest) -> HttpResponse:
    try:
        1 / 0  # noqa: B018 - the division is the point
    except ZeroDivisionError as error:
        exception_id = capture_exception(error, extra={"row": 3}, tags={"step": "import"})
    return JsonResponse({"exception": exception_id, "message": capture_message("all is well", extra={"row": 4})})


@csrf_exempt
def reads_body(request: HttpRequest) -> HttpResponse:
    if request.GET.get("how") == "stream":
        request.read(1)
    elif not request.POST:
        request.body  # noqa: B018 - reads what is no form
    raise ValueError("after the body")


def template(request: HttpRequest) -> HttpResponse:
    return render(request, "broken.html")


@api_view(["POST"])
def drf(request: Request) -> Response:
    request.data  # noqa: B018 - parses the body
    raise ValueError("after the body")


def _failing_chunks() -> Iterator[bytes]:
    try:
        1 / 0  # noqa: B018 - the division is the point
    except ZeroDivisionError as error:
        capture_exception(error)
    yield b"one"
    yield b"two"


def failing_stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(_failing_chunks())


@monitored
def monitored_fails(request: HttpRequest) -> HttpResponse:
    raise ValueError("boom")


BOOM: Exception = ValueError("boom")


def fails_with(request: HttpRequest) -> HttpResponse:
    raise BOOM
