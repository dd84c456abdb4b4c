"""Sentry's part in the end of a process, or in a fork. How it looks from outside is in tests/e2e/test_flood.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring import capture_message, faults, hooks, process
from crm_monitoring.sentry import client, transport
from tests.conftest import Lines, MemoryTransport
from tests.e2e.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_what_was_lost_is_one_line(lines: Lines) -> None:
    faults.lose("sentry_error_network_error", 2)

    process.end()

    line = lines.one("events_lost")
    assert (line["logger"], line["level"]) == ("crm_monitoring", "warning")
    assert line["lost"] == {"sentry_error_network_error": 2}


def test_where_nothing_was_lost_there_is_no_line(lines: Lines) -> None:
    process.end()

    assert lines.all() == []


def test_what_waits_is_sent_at_the_end(monitoring: Any, receiver: Receiver) -> None:
    monitoring(SENTRY_DSN=receiver.dsn)
    capture_message("x")

    process.end()

    assert [event["message"] for event in receiver.payloads("event")] == ["x"]


def test_what_was_held_back_is_told_before_receivers_write_their_last(
    monitoring: Any, transport: MemoryTransport
) -> None:
    written: list[str] = []
    monitoring(EVENTS_BURST=1, SENTRY_OPTIONS={"transport": transport})
    for _ in range(3):
        capture_message("flood")

    def write() -> None:
        written.extend(event["message"] for event in transport.events)

    hooks.register_ending(write)
    process.end()
    hooks.unregister_ending(write)

    assert written == ["flood", "events_held_back"]


def test_what_was_held_back_is_one_event(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(EVENTS_BURST=1, SENTRY_OPTIONS={"transport": transport})
    for _ in range(3):
        capture_message("flood")

    client.tell_held_back()

    told = transport.events[-1]
    assert (told["message"], told["level"]) == ("events_held_back", "warning")
    assert told["extra"] == {"total": 2, "by_kind": {"flood": 2}}


def test_where_nothing_was_held_back_there_is_no_event(sentry: MemoryTransport) -> None:
    client.tell_held_back()

    assert sentry.events == []


def test_a_forked_child_has_nothing_of_its_parents(monitoring: Any, receiver: Receiver) -> None:
    monitoring(SENTRY_DSN=receiver.dsn, EVENTS_BURST=1, SENTRY_RELEASE="1.0")
    capture_message("flood")
    capture_message("flood")
    sentry_sdk.flush(5)
    sender, sessions = sentry_sdk.get_client().transport, sentry_sdk.get_client().session_flusher  # type: ignore[attr-defined]
    assert isinstance(sender, transport.OrderedTransport)
    worker = sender.errors._worker

    process.start_over()

    assert client.held_back() == {}
    assert sender.errors._worker is not worker
    assert sentry_sdk.get_client().session_flusher is not sessions  # type: ignore[attr-defined]


def test_a_child_that_sends_nothing_starts_over_all_the_same(
    sentry: MemoryTransport,
) -> None:
    sentry_sdk.get_global_scope().set_client(None)

    process.start_over()
    client.tell_held_back()

    assert sentry.envelopes == []


def test_what_a_child_crashes_with_is_an_unhandled_event(sentry: MemoryTransport) -> None:
    process.crash(ValueError("in the child"))

    (event,) = sentry.events
    assert event["exception"]["values"][-1]["mechanism"] == {"type": "process", "handled": False}
