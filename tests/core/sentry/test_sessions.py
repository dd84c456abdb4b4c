from __future__ import annotations

import os
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring import faults, process
from crm_monitoring.sentry import sessions
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport


def sent_sessions(transport: MemoryTransport) -> list[dict[str, Any]]:
    sentry_sdk.flush()
    return transport.payloads("sessions")


@pytest.fixture(autouse=True)
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the clock, in minutes since 1970; in between it stands still."""

    def at(minute: int) -> None:
        monkeypatch.setattr(sessions, "time", lambda: minute * 60.0)

    at(0)
    return at


def test_requests_are_counted_by_minute_and_by_how_they_ended(
    wsgi: WSGIClient, sentry: MemoryTransport, at: Any
) -> None:
    at(10)
    for path in ("/ok/", "/ok/", "/reports/", "/fails/"):
        wsgi.get(path)
    at(11)
    wsgi.get("/ok/")

    first, second = sent_sessions(sentry)
    assert first["attrs"] == {"release": "1.0", "environment": "test"}
    assert first["aggregates"] == [{"started": "1970-01-01T00:10:00Z", "exited": 2, "errored": 1, "crashed": 1}]
    assert second["aggregates"] == [{"started": "1970-01-01T00:11:00Z", "exited": 1}]


def test_the_first_request_of_a_minute_sends_the_minute_before(
    wsgi: WSGIClient, sentry: MemoryTransport, at: Any
) -> None:
    at(10)
    wsgi.get("/ok/")
    assert sentry.payloads("sessions") == []

    at(11)
    wsgi.get("/ok/")

    assert len(sentry.payloads("sessions")) == 1


def test_a_crash_that_the_quota_holds_back_has_crashed_all_the_same(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(EVENTS_BURST=1, SENTRY_RELEASE="1.0", SENTRY_OPTIONS={"transport": transport})

    for _ in range(3):
        wsgi.get("/fails/")

    assert len(transport.events) == 1
    assert sent_sessions(transport)[0]["aggregates"][0]["crashed"] == 3


def test_a_request_that_is_not_monitored_is_no_session(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/quiet/")
    wsgi.get("/health/live")

    assert sent_sessions(sentry) == []


@pytest.mark.parametrize(
    "keys", [{"SENTRY_OPTIONS": {"auto_session_tracking": False}, "SENTRY_RELEASE": "1.0"}, {"BACKEND": "glitchtip"}]
)
def test_where_nobody_wants_sessions_none_are_sent(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, keys: dict[str, Any]
) -> None:
    options = {**keys.get("SENTRY_OPTIONS", {}), "transport": transport}
    monitoring(**{"SENTRY_RELEASE": "1.0", **keys, "SENTRY_OPTIONS": options})

    wsgi.get("/ok/")

    assert sent_sessions(transport) == []


def test_what_was_not_sampled_is_told_as_a_number(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[tuple[str, str, int]] = []
    monkeypatch.setattr(
        MemoryTransport,
        "record_lost_event",
        lambda self, reason, data_category=None, item=None, *, quantity=1: lost.append(
            (reason, data_category, quantity)
        ),
    )
    monitoring(TRACES_SAMPLE_RATE=0.0, SENTRY_OPTIONS={"transport": transport})

    wsgi.get("/ok/")
    wsgi.get("/ok/")
    sentry_sdk.flush()

    assert lost == [("sample_rate", "transaction", 2), ("sample_rate", "span", 2)]
    assert faults.losses() == {}


def test_another_client_has_its_own_numbers(wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport) -> None:
    first = MemoryTransport()
    monitoring(SENTRY_RELEASE="1.0", SENTRY_OPTIONS={"transport": first})
    wsgi.get("/ok/")
    monitoring(SENTRY_RELEASE="2.0", SENTRY_OPTIONS={"transport": transport})
    wsgi.get("/ok/")

    assert first.payloads("sessions")[0]["attrs"]["release"] == "1.0"
    assert sent_sessions(transport)[0]["attrs"]["release"] == "2.0"


@pytest.mark.processes
def test_numbers_of_a_client_that_has_nowhere_to_send_them_are_forgotten() -> None:
    client = sentry_sdk.Client()
    client.options.update(release="1.0", auto_session_tracking=True)
    sessions.count(client, sessions.EXITED, is_unsampled=True)

    sessions.flush()
    sessions.flush()


@pytest.mark.processes
def test_a_forked_child_leaves_the_numbers_to_its_parent(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/ok/")
    child = os.fork()
    if child == 0:
        sessions.flush()
        os._exit(len(sent_sessions(sentry)))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(sent_sessions(sentry)) == 1


def test_what_a_child_forgets_is_gone(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/ok/")
    process.start_over()

    assert sent_sessions(sentry) == []
