"""What a process does when it ends, or forks. How it looks from outside is in tests/e2e/test_flood.py."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring import capture_message, faults
from crm_monitoring.sentry import client, ending, transport
from tests.conftest import Lines, MemoryTransport
from tests.e2e.receiver import Receiver


@pytest.fixture
def sigterm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM means what it does in a new process, where nobody wants to hear of the end."""
    monkeypatch.setattr(ending, "_callbacks", ())
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_what_was_lost_is_one_line(lines: Lines) -> None:
    faults.lose("sentry_error_network_error", 2)

    ending._tell_lost()

    line = lines.one("events_lost")
    assert (line["logger"], line["level"]) == ("crm_monitoring", "warning")
    assert line["lost"] == {"sentry_error_network_error": 2}


def test_where_nothing_was_lost_there_is_no_line(lines: Lines) -> None:
    ending._tell_lost()

    assert lines.all() == []


def test_what_was_held_back_is_one_event(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(EVENTS_BURST=1, SENTRY_OPTIONS={"transport": transport})
    for _ in range(3):
        capture_message("flood")

    client._tell_held_back()

    told = transport.events[-1]
    assert (told["message"], told["level"]) == ("events_held_back", "warning")
    assert told["extra"] == {"total": 2, "by_kind": {"flood": 2}}


def test_where_nothing_was_held_back_there_is_no_event(sentry: MemoryTransport) -> None:
    client._tell_held_back()

    assert sentry.events == []


def test_sigterm_is_left_to_a_process_that_has_taken_it(monitoring: Any, receiver: Receiver, sigterm: None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monitoring(SENTRY_DSN=receiver.dsn)

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_sigterm_is_left_alone_where_nothing_is_sent(sentry: MemoryTransport, sigterm: None) -> None:
    ending.flush_on_sigterm()

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_is_left_alone_in_a_thread(monitoring: Any, receiver: Receiver, sigterm: None) -> None:
    thread = threading.Thread(target=monitoring, kwargs={"SENTRY_DSN": receiver.dsn})

    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_sends_what_waits_and_then_kills(
    monitoring: Any, receiver: Receiver, sigterm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monitoring(SENTRY_DSN=receiver.dsn)
    capture_message("x")

    handler: Any = signal.getsignal(signal.SIGTERM)
    handler(signal.SIGTERM, None)

    assert [event["message"] for event in receiver.payloads("event")] == ["x"]
    assert raised == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_tells_who_wants_to_hear_of_the_end_though_nothing_is_sent(
    monitoring: Any, sigterm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(signal, "raise_signal", lambda number: told.append("killed"))
    monitoring()
    ending.before_closing(lambda: told.append("ended"))

    handler: Any = signal.getsignal(signal.SIGTERM)
    handler(signal.SIGTERM, None)

    assert told == ["ended", "killed"]


def test_what_is_told_of_the_end_twice_is_called_once(
    sentry: MemoryTransport, sigterm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(ending, "_tell_held_back", None)

    def ended() -> None:
        told.append("ended")

    ending.before_closing(ended)
    ending.before_closing(ended)
    ending._send_last()

    assert told == ["ended"]


def test_what_was_held_back_is_told_before_receivers_write_their_last(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(ending, "_tell_held_back", lambda: told.append("held back"))
    monkeypatch.setattr(ending, "_callbacks", (lambda: told.append("written"),))

    ending._send_last()

    assert told == ["held back", "written"]


def test_a_forked_child_has_nothing_of_its_parents(monitoring: Any, receiver: Receiver, sigterm: None) -> None:
    monitoring(SENTRY_DSN=receiver.dsn, EVENTS_BURST=1, SENTRY_RELEASE="1.0")
    capture_message("flood")
    capture_message("flood")
    sentry_sdk.flush(5)
    sender, sessions = sentry_sdk.get_client().transport, sentry_sdk.get_client().session_flusher  # type: ignore[attr-defined]
    assert isinstance(sender, transport.OrderedTransport)
    worker = sender._errors._worker

    client._start_over_in_child()
    transport._start_over_in_child()

    assert client._gate is not None
    assert client._gate.held_back() == {}
    assert sender._errors._worker is not worker
    assert sentry_sdk.get_client().session_flusher is not sessions  # type: ignore[attr-defined]


def test_a_child_that_sends_nothing_starts_over_all_the_same(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_gate", None)

    client._start_over_in_child()
    transport._start_over_in_child()
    client._tell_held_back()

    assert sentry.envelopes == []
