"""Threads and pools of threads are part of what starts them: its lines, its failures, its scopes."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import pytest
import sentry_sdk
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path

from crm_monitoring import add_breadcrumb, capture_exception, faults, get_logger, set_tag, unit_of_work
from crm_monitoring.integrations import threads
from tests import breakages
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.threads")

Work = Callable[[], object]


def in_a_thread(work: Work) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()


def in_a_class_of_threads(work: Work) -> None:
    class Worker(Thread):
        def run(self) -> None:
            work()

    worker = Worker()
    worker.start()
    worker.join()


def in_a_pool(work: Work) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def through_a_pool(work: Work) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: work(), [1]))


def from_async_code(work: Work) -> None:
    asyncio.run(sync_to_async(work, thread_sensitive=False)())


def beside_a_loop(work: Work) -> None:
    async def view() -> None:
        await asyncio.to_thread(work)
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    asyncio.run(view())


CARRIERS = [in_a_thread, in_a_class_of_threads, in_a_pool, through_a_pool, from_async_code, beside_a_loop]
# Those that hand what is raised back to whoever waits for it.
RETURNING = [in_a_pool, through_a_pool, from_async_code, beside_a_loop]


def say() -> None:
    logger.info("said")


def tell() -> None:
    sentry_sdk.capture_message("told")


@pytest.fixture
def serve(settings: Any, wsgi: WSGIClient) -> Callable[[Work], Any]:
    """Run something as a view, in a request."""

    def serve(work: Work) -> Any:
        def view(request: HttpRequest) -> HttpResponse:
            work()
            return HttpResponse()

        settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("", view)]})
        return wsgi.get("/")

    return serve


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is printed of a thread that dies."""
    monkeypatch.setattr(threading, "excepthook", lambda about: None)


# -- lines ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", CARRIERS)
def test_lines_of_a_thread_carry_what_those_of_its_request_carry(
    serve: Any, sentry: MemoryTransport, lines: Lines, carry: Callable[[Work], None]
) -> None:
    answer = serve(lambda: carry(say))

    said, finished = lines.one("said"), lines.one("request_finished")
    assert said["request_id"] == answer.headers["X-Request-ID"]
    assert said["trace_id"] == finished["trace_id"]


@pytest.mark.parametrize("carry", CARRIERS)
def test_lines_carry_it_without_sentry_too(
    serve: Any, monitoring: Any, lines: Lines, carry: Callable[[Work], None]
) -> None:
    monitoring()
    answer = serve(lambda: carry(say))

    assert lines.one("said")["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("carry", CARRIERS)
def test_lines_of_a_thread_carry_the_fields_of_its_unit(lines: Lines, carry: Callable[[Work], None]) -> None:
    with unit_of_work("send_invoices", batch=7) as unit:
        carry(say)

    assert (lines.one("said")["batch"], lines.one("said")["request_id"]) == (7, unit.request_id)


def test_a_pool_that_outlives_a_unit_carries_nothing_of_it(lines: Lines) -> None:
    with ThreadPoolExecutor(1) as pool:
        with unit_of_work("send_invoices"):
            pool.submit(say).result()
        pool.submit(logger.info, "said_after").result()

    assert "request_id" in lines.one("said")
    assert "request_id" not in lines.one("said_after")


def test_a_call_to_a_pool_leaves_its_thread_as_it_was(lines: Lines) -> None:
    with ThreadPoolExecutor(1) as pool, unit_of_work("first") as first:
        pool.submit(say).result()
        with unit_of_work("second"):
            pool.submit(say).result()
        pool.submit(say).result()

    said = [line["request_id"] for line in lines.named("said")]
    assert (said[0], said[2]) == (first.request_id, first.request_id)
    assert said[1] != said[0]


def test_a_thread_that_outlives_its_request_carries_its_id_still(
    serve: Any, sentry: MemoryTransport, lines: Lines
) -> None:
    released, started = Event(), list[Thread]()

    def work() -> None:
        released.wait(30)
        breakages.logged_in_an_except_block()

    def start() -> None:
        started.append(Thread(target=work))
        started[0].start()

    answer = serve(start)
    released.set()
    started[0].join()

    (event,) = sentry.events
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert lines.one("fetch_failed")["request_id"] == answer.headers["X-Request-ID"]


# -- failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", RETURNING)
@pytest.mark.parametrize("way", breakages.ESCAPING)
def test_a_failure_that_crosses_a_pool_and_escapes_is_one_unhandled_event(
    serve: Any, sentry: MemoryTransport, carry: Callable[[Work], None], way: Work
) -> None:
    serve(lambda: carry(way))

    (event,) = sentry.events
    assert not breakages.is_handled(event)


@pytest.mark.parametrize("carry", RETURNING)
def test_a_failure_that_crosses_a_pool_and_is_caught_is_one_handled_event(
    serve: Any, sentry: MemoryTransport, carry: Callable[[Work], None]
) -> None:
    def view() -> None:
        try:
            carry(breakages.logged_captured_and_raised)
        except Exception as error:
            capture_exception(error)

    serve(view)

    (event,) = sentry.events
    assert breakages.is_handled(event)


@pytest.mark.parametrize("way", breakages.ESCAPING)
@pytest.mark.parametrize("carry", [in_a_thread, in_a_class_of_threads])
def test_a_thread_that_dies_is_one_unhandled_event(
    serve: Any, sentry: MemoryTransport, quiet: None, carry: Callable[[Work], None], way: Work
) -> None:
    answer = serve(lambda: carry(way))

    (event,) = sentry.events
    assert not breakages.is_handled(event)
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]


def test_a_thread_that_dies_outside_of_any_work_is_an_event_too(sentry: MemoryTransport, quiet: None) -> None:
    in_a_thread(breakages.fail)

    (event,) = sentry.events
    assert event["exception"]["values"][0]["mechanism"] == {"type": "threading", "handled": False}


def test_who_prints_the_crash_of_a_thread_knows_its_request(
    serve: Any, sentry: MemoryTransport, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda about: logger.info("died"))

    answer = serve(lambda: in_a_thread(breakages.fail))

    assert lines.one("died")["request_id"] == answer.headers["X-Request-ID"]


def test_a_thread_that_leaves_has_not_failed(sentry: MemoryTransport, quiet: None) -> None:
    def leave() -> None:
        raise SystemExit(3)

    in_a_thread(leave)

    assert sentry.events == []


# -- scopes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", CARRIERS)
def test_what_is_set_where_a_thread_starts_is_known_in_it(
    sentry: MemoryTransport, carry: Callable[[Work], None]
) -> None:
    set_tag("tenant", "alforis")
    add_breadcrumb("fetched")

    carry(tell)

    (event,) = sentry.events
    assert event["tags"]["tenant"] == "alforis"
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["fetched"]


@pytest.mark.parametrize("carry", [in_a_thread, in_a_pool])
def test_what_a_thread_sets_stays_its_own(sentry: MemoryTransport, carry: Callable[[Work], None]) -> None:
    carry(lambda: set_tag("step", "import"))
    tell()

    assert "step" not in sentry.events[0].get("tags", {})


def test_what_sync_code_sets_for_its_async_caller_is_known_after(sentry: MemoryTransport) -> None:
    async def view() -> None:
        await sync_to_async(set_tag, thread_sensitive=False)("step", "import")
        tell()

    async_to_sync(view)()

    assert sentry.events[0]["tags"]["step"] == "import"


async def _asks_asgiref() -> None:
    # As Django's ASGI handler does: the pool of a request is joined in a thread of its own.
    async with ThreadSensitiveContext():
        await sync_to_async(int)()
    await sync_to_async(int, thread_sensitive=False)()


def test_calls_of_asgiref_fork_no_scope(sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    forks: list[Any] = []
    fork = sentry_sdk.Scope.fork
    monkeypatch.setattr(sentry_sdk.Scope, "fork", lambda self: forks.append(self) or fork(self))

    # Without asyncio.run(), which starts a thread of its own at its end.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_asks_asgiref())
    loop.close()
    assert forks == []

    in_a_pool(int)
    assert forks


# -- what is left of it ---------------------------------------------------------------------------------------------------


def test_a_thread_with_nothing_to_take_along_is_left_alone(monitoring: Any) -> None:
    monitoring()
    ran: list[Any] = []
    thread = Thread(target=lambda: ran.append("run" in vars(thread)))

    thread.start()
    thread.join()

    assert ran == [False]


def test_a_thread_whose_run_is_no_method_is_left_alone(sentry: MemoryTransport) -> None:
    ran: list[str] = []
    thread = Thread()
    thread.run = lambda: ran.append("ran")  # type: ignore[method-assign]

    thread.start()
    thread.join()

    assert ran == ["ran"]


@pytest.mark.parametrize("carry", [in_a_thread, in_a_pool])
def test_what_cannot_be_taken_along_keeps_nobody_from_running(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, carry: Callable[[Work], None]
) -> None:
    ran: list[str] = []

    def fail() -> None:
        raise RuntimeError("no scopes")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(threads, "fork_scopes", fail)

    carry(lambda: ran.append("ran"))

    assert ran == ["ran"]


def test_a_thread_keeps_nothing_alive_once_it_has_run(sentry: MemoryTransport) -> None:
    gc.disable()
    try:
        with unit_of_work("send_invoices"):
            thread = Thread(target=int)
            thread.start()
            thread.join()
        assert "run" not in vars(thread)
        gone = weakref.ref(thread)
        del thread
        assert gone() is None
    finally:
        gc.enable()
