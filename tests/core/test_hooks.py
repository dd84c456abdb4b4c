from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from crm_monitoring import OperationRecord, PerformanceMonitor, RequestRecord, faults, hooks
from crm_monitoring.asgi import flushed_at_shutdown
from crm_monitoring.hooks import Record
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

RECORD = OperationRecord(name="import", operation="function", started=0.0, duration_ms=1.0, slow=False)

seen: list[Record] = []
not_callable = "text"


def keep(record: Record) -> None:
    seen.append(record)


def fail(record: Record) -> None:
    raise ValueError("the hook")


async def later(record: Record) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


@pytest.fixture
def swallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


@pytest.fixture
def registered() -> Any:
    """Register a hook for this test only."""
    added: list[Callable[[Record], None]] = []

    def register(hook: Callable[[Record], None]) -> None:
        added.append(hook)
        hooks.register(hook)

    yield register
    for hook in added:
        hooks.unregister(hook)


def test_a_hook_of_the_setting_gets_requests_and_operations(monitoring: Any, wsgi: WSGIClient) -> None:
    monitoring(HOOKS=["tests.core.test_hooks.keep"])

    wsgi.get("/ok/")
    with PerformanceMonitor("import"):
        pass

    assert [type(record) for record in seen] == [RequestRecord, OperationRecord]


def test_registered_hooks_come_before_those_of_the_setting(monitoring: Any, registered: Any) -> None:
    monitoring(HOOKS=["tests.core.test_hooks.keep"])
    registered(lambda record: seen.append("first"))

    hooks.emit(RECORD)

    assert seen == ["first", RECORD]


def test_registering_twice_has_no_effect(registered: Any) -> None:
    registered(keep)
    registered(keep)

    hooks.emit(RECORD)

    assert seen == [RECORD]


def test_an_unregistered_hook_gets_nothing_more(registered: Any) -> None:
    registered(keep)
    hooks.unregister(keep)

    hooks.emit(RECORD)

    assert seen == []


def test_a_failing_hook_stops_no_other(registered: Any, swallow: None) -> None:
    registered(fail)
    registered(keep)

    hooks.emit(RECORD)

    assert seen == [RECORD]
    assert faults.sentences() == ["The hook tests.core.test_hooks.fail failed 1 time, last with ValueError."]


def test_a_failing_hook_does_not_change_the_response(server: WSGIClient, registered: Any, swallow: None) -> None:
    registered(fail)

    assert server.get("/ok/").status == 200


def test_an_object_that_is_a_failing_hook_is_named_by_its_class(registered: Any, swallow: None) -> None:
    class Exporter:
        def __call__(self, record: Record) -> None:
            raise ValueError("the exporter")

    registered(Exporter())

    hooks.emit(RECORD)

    assert "Exporter failed 1 time" in faults.sentences()[0]


@pytest.mark.parametrize("name", ["missing", "not_callable", "later"])
def test_a_hook_that_cannot_be_one_is_told_once_and_left_out(
    monitoring: Any, swallow: None, lines: Lines, name: str
) -> None:
    monitoring(HOOKS=[f"tests.core.test_hooks.{name}", "tests.core.test_hooks.keep"])

    hooks.emit(RECORD)
    hooks.emit(RECORD)

    assert seen == [RECORD, RECORD]
    assert lines.one("monitoring_failed")["where"] == f"Importing the hook tests.core.test_hooks.{name}"


def test_a_changed_setting_changes_the_hooks(monitoring: Any) -> None:
    monitoring(HOOKS=["tests.core.test_hooks.keep"])
    hooks.emit(RECORD)
    monitoring(HOOKS=[])

    hooks.emit(RECORD)

    assert seen == [RECORD]


# -- the end of a unit of work --------------------------------------------------------------------------------------------


@pytest.fixture
def told() -> Any:
    """Register a callback for this test only; returns what was called, by name."""
    calls: list[str] = []
    added: list[Callable[[], object]] = []

    def register(name: str, error: Exception | None = None) -> list[str]:
        def callback() -> None:
            calls.append(name)
            if error is not None:
                raise error

        added.append(callback)
        hooks.register_ending(callback)
        hooks.register_ending(callback)
        return calls

    yield register
    for callback in added:
        hooks.unregister_ending(callback)


def test_everybody_who_asked_hears_of_an_end_once(told: Any) -> None:
    told("first")
    calls = told("second")

    hooks.ended()

    assert calls == ["first", "second"]


def test_who_was_taken_away_hears_of_no_end() -> None:
    calls: list[str] = []

    def callback() -> None:
        calls.append("called")

    hooks.register_ending(callback)
    hooks.unregister_ending(callback)
    hooks.ended()

    assert calls == []


def test_who_asked_hears_of_each_pause_once_until_it_is_taken_away() -> None:
    calls: list[str] = []

    def callback() -> None:
        calls.append("called")

    hooks.register_pause(callback)
    hooks.register_pause(callback)
    hooks.paused()
    hooks.ended()
    hooks.unregister_pause(callback)
    hooks.paused()

    assert calls == ["called"]


def test_a_callback_that_fails_stops_no_other(told: Any, swallow: None) -> None:
    told("first", ValueError("the callback"))
    calls = told("second")

    hooks.ended()

    assert calls == ["first", "second"]
    assert "callback failed 1 time, last with ValueError." in faults.sentences()[0]
    assert faults.sentences()[0].startswith("The ending hook tests.core.test_hooks.")


async def _speaks_no_lifespan(*args: Any) -> None:
    raise AssertionError


@pytest.mark.parametrize("application", [get_asgi_application(), flushed_at_shutdown(_speaks_no_lifespan)])
def test_an_asgi_server_that_shuts_down_is_an_end(told: Any, sentry: MemoryTransport, application: Any) -> None:
    calls = told("flushed")
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        assert calls == (["flushed"] if message["type"] == "lifespan.shutdown.complete" else [])

    asyncio.run(application({"type": "lifespan"}, receive, send))

    assert calls == ["flushed"]
