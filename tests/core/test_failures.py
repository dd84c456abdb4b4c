"""One failure, one event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from crm_monitoring import capture_exception
from crm_monitoring.sentry import reports
from tests import failures
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

Way = Callable[[], None]


def _named(way: Way) -> str:
    return way.__name__


@pytest.mark.parametrize("view", ["failure", "async-failure"])
@pytest.mark.parametrize("way", [*failures.ESCAPING, *failures.HANDLED], ids=_named)
def test_however_often_a_failure_is_reported_it_is_one_event(
    server: WSGIClient, sentry: MemoryTransport, view: str, way: Way
) -> None:
    server.get(f"/{view}/{way.__name__}/")

    (event,) = sentry.events
    handled = [
        value["mechanism"]["handled"] for value in event["exception"]["values"] if "handled" in value["mechanism"]
    ]
    assert handled[-1] is (way in failures.HANDLED)


@pytest.mark.parametrize("way", [*failures.ESCAPING, *failures.HANDLED], ids=_named)
def test_a_failure_is_reported_once_outside_of_requests_too(sentry: MemoryTransport, way: Way) -> None:
    try:
        way()
    except Exception as error:
        capture_exception(error)

    assert len(sentry.events) == 1


@pytest.mark.parametrize(
    ("way", "title"), [("raised_from", "Outer"), ("raised_in_an_except_block", "Outer"), ("grouped", "ExceptionGroup")]
)
def test_the_outermost_exception_is_the_title(wsgi: WSGIClient, sentry: MemoryTransport, way: str, title: str) -> None:
    wsgi.get(f"/failure/{way}/")

    values = sentry.events[0]["exception"]["values"]
    assert title in [values[-1]["type"], values[0]["type"]]
    assert "ValueError" in [value["type"] for value in values]


def test_the_event_has_the_fields_of_every_report(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/failure/logged_captured_and_raised/")

    (event,) = sentry.events
    assert event["contexts"]["log"] == {"events": ["fetch_failed"], "error": "inner", "page": 3}
    assert event["extra"]["query"] == "organisations"
    assert event["tags"]["step"] == "fetch"
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "_fail"


def test_the_layers_add_up(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/failure/raised_through_three_layers/")

    (event,) = sentry.events
    assert event["contexts"]["log"]["events"] == ["fetch_failed", "layer_failed"]
    assert event["extra"]["layer"] == 2


def test_the_id_the_code_got_is_the_events_and_the_responses(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    answer = wsgi.get("/failure/captured_and_raised/", Accept="application/json")

    (event,) = sentry.events
    assert answer.json()["event_id"] == event["event_id"]


def test_two_failures_of_one_request_are_two_events(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/failure/two_failures/")

    assert len(sentry.events) == 2


def test_what_is_held_is_bounded(server: WSGIClient, monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(EVENTS_BURST=100, SENTRY_OPTIONS={"transport": transport})

    server.get("/failure/many_failures/")

    assert [event["exception"]["values"][0]["value"] for event in transport.events] == [
        str(number) for number in range(50)
    ]


def test_nothing_is_held_for_long(wsgi: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    response = wsgi.application(wsgi.environ("GET", "/failing-stream/", b"", {}, {}), lambda *args: None)

    chunks = iter(response)
    next(chunks)
    assert sentry.events == []
    monkeypatch.setattr(reports, "MAX_HELD_SECONDS", 0.0)
    next(chunks)
    assert len(sentry.events) == 1
    response.close()  # type: ignore[attr-defined]


def test_the_session_of_a_request_that_logs_and_raises_has_crashed(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/failure/logged_and_raised/")
    sentry_sdk.flush()

    (payload,) = sentry.payloads("sessions")
    assert payload["aggregates"][0]["crashed"] == 1
    assert "errored" not in payload["aggregates"][0]


def test_the_breadcrumbs_reach_until_the_failure_escaped(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/failure/raised_through_three_layers/")

    messages = [crumb["message"] for crumb in sentry.events[0]["breadcrumbs"]["values"]]
    assert messages[1:] == ["fetch_failed", "layer_failed"]


def test_two_requests_that_fail_alike_make_events_that_group(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/failure/logged_and_raised/")
    wsgi.get("/failure/logged_and_raised/")

    first, second = sentry.events
    assert first["event_id"] != second["event_id"]
    assert [value["value"] for value in first["exception"]["values"]] == ["inner"]
    assert "fingerprint" not in first


def test_a_failure_that_the_sdk_itself_reports_again_is_still_one_event(sentry: MemoryTransport) -> None:
    error = ValueError("x")
    capture_exception(error)

    sentry_sdk.capture_exception(error)

    assert len(sentry.events) == 1


def test_the_same_exception_raised_much_later_is_another_failure(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ValueError("shared")
    capture_exception(error)
    monkeypatch.setattr(reports, "_SAME_FAILURE_SECONDS", 0.0)

    capture_exception(error)

    assert len(sentry.events) == 2


def test_a_request_that_reports_shows_its_lines(wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines) -> None:
    wsgi.get("/failure/logged_captured_and_raised/")

    assert lines.one("fetch_failed")["level"] == "error"
    assert lines.one("request_failed")["exception"].endswith("ValueError: inner")
