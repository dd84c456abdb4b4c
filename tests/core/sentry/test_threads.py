from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import pytest
import sentry_sdk
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from crm_monitoring import add_breadcrumb, set_tag
from crm_monitoring.sentry.tuning.threads import PlainThreadsIntegration
from tests.conftest import MemoryTransport


@pytest.fixture
def threads(monitoring: Any, transport: MemoryTransport) -> Iterator[MemoryTransport]:
    """The integration at work, and the standard library as it was after."""
    start, submit = Thread.start, ThreadPoolExecutor.submit
    monitoring(SENTRY_OPTIONS={"transport": transport, "default_integrations": False})
    client: Any = sentry_sdk.get_client()
    client.integrations[PlainThreadsIntegration.identifier] = PlainThreadsIntegration()
    PlainThreadsIntegration.setup_once()
    yield transport
    Thread.start, ThreadPoolExecutor.submit = start, submit  # type: ignore[method-assign]


def tell() -> None:
    sentry_sdk.capture_message("told")


def in_a_thread() -> None:
    thread = Thread(target=tell)
    thread.start()
    thread.join()


def in_a_pool() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tell).result()


def from_async_code() -> None:
    asyncio.run(sync_to_async(tell, thread_sensitive=False)())


@pytest.mark.parametrize("run", [in_a_thread, in_a_pool, from_async_code])
def test_what_is_set_for_the_request_is_known_in_its_threads(threads: MemoryTransport, run: Any) -> None:
    set_tag("tenant", "alforis")
    add_breadcrumb("fetched")

    run()

    (event,) = threads.events
    assert event["tags"]["tenant"] == "alforis"
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["fetched"]


def test_what_a_thread_sets_stays_its_own(threads: MemoryTransport) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(set_tag, "step", "import").result()
    tell()

    assert "step" not in threads.events[0].get("tags", {})


def test_what_sync_code_sets_for_its_async_caller_is_known_after(threads: MemoryTransport) -> None:
    async def view() -> None:
        await sync_to_async(set_tag, thread_sensitive=False)("step", "import")
        tell()

    async_to_sync(view)()

    assert threads.events[0]["tags"]["step"] == "import"


def test_calls_of_asgiref_fork_no_scope(threads: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    forks: list[Any] = []
    fork = sentry_sdk.Scope.fork
    monkeypatch.setattr(sentry_sdk.Scope, "fork", lambda self: forks.append(self) or fork(self))

    # Without asyncio.run(), which starts a thread of its own at its end.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(sync_to_async(int, thread_sensitive=False)())
    loop.close()
    assert forks == []

    in_a_pool()
    assert forks


def test_the_threads_of_an_async_request_fork_no_scope(
    threads: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks: list[Any] = []
    fork = sentry_sdk.Scope.fork

    async def request() -> None:
        # As Django's ASGI handler does: the pool of a request is joined in a thread of its own.
        async with ThreadSensitiveContext():
            await sync_to_async(int)()

    monkeypatch.setattr(sentry_sdk.Scope, "fork", lambda self: forks.append(self) or fork(self))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(request())
    loop.close()

    assert forks == []
