"""What the demo has no view for: calls to other servers, and answers that take their time."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

LONG_S = 30


def calls(request: HttpRequest) -> HttpResponse:
    with urllib.request.urlopen(request.GET["url"]) as response:
        return HttpResponse(response.read())


def asks(request: HttpRequest) -> HttpResponse:
    from tests.e2e.project.worker import WORK

    return HttpResponse(WORK[request.GET["work"]].delay().id)


async def waits(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(LONG_S)
    return HttpResponse("late")


def stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(chunks())


def chunks() -> Iterator[bytes]:
    for _ in range(LONG_S * 50):
        yield b"chunk"
        time.sleep(0.02)


async def async_stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(async_chunks())


async def async_chunks() -> AsyncIterator[bytes]:
    for _ in range(LONG_S * 50):
        yield b"chunk"
        await asyncio.sleep(0.02)


urlpatterns = [
    path("calls/", calls),
    path("asks/", asks),
    path("waits/", waits),
    path("stream/", stream),
    path("async-stream/", async_stream),
    path("health/", include("crm_monitoring.urls")),
    path("monitoring/", include("crm_monitoring.dashboard.urls")),
    path("login/", LoginView.as_view(), name="login"),
]
