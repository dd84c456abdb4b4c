"""What mypy must find: decorators change no type. Checked by tests/core/test_typing.py, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

from django.http import HttpRequest, HttpResponse
from django.views import View

from crm_monitoring import PerformanceMonitor, capture_message, current_monitor, monitored, unit_of_work, unmonitored


@monitored
def plain(a: int, *, b: str = "x") -> str:
    return b * a


@monitored("named", slow_ms=500, tags={"team": "crm"})
async def coroutine(a: int) -> bytes:
    return bytes(a)


@monitored()
def generator() -> Generator[int, str, bool]:
    yield 1
    return True


@unit_of_work("send_invoices", batch=1)
def job(a: int) -> str:
    return str(a)


@monitored
async def async_generator() -> AsyncGenerator[int, None]:
    yield 1


@PerformanceMonitor("by_monitor")
def by_monitor(a: int) -> float:
    return a / 2


@monitored
class Organisations(View):
    @monitored
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


@unmonitored
def quiet(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def uses() -> None:
    assert_type(plain(1, b="y"), str)
    assert_type(await coroutine(1), bytes)
    assert_type(generator(), Generator[int, str, bool])
    assert_type(async_generator(), AsyncGenerator[int, None])
    assert_type(by_monitor(1), float)
    assert_type(Organisations().get(HttpRequest()), HttpResponse)
    assert_type(quiet(HttpRequest()), HttpResponse)
    assert_type(current_monitor(), PerformanceMonitor | None)
    assert_type(capture_message("hello"), str | None)
    with PerformanceMonitor("block", slow_ms=1.5) as monitor:
        assert_type(monitor, PerformanceMonitor)
    async with PerformanceMonitor("block") as monitor:
        assert_type(monitor.duration_ms, float)
    plain("1")  # type: ignore[arg-type]
    plain(1, c="z")  # type: ignore[call-arg]
    monitored("named", slow_ms="500")  # type: ignore[call-overload]
