"""One failure, one event."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import sentry_sdk
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from crm_monitoring import capture_exception, capture_message, faults, get_logger, work
from crm_monitoring.sentry import failures, marks
from crm_monitoring.sentry.transport import register_receiver, unregister_receiver
from tests import breakages, views
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import Lines, MemoryTransport
from tests.e2e.waiting import wait_for

Way = Callable[[], None]


def _named(way: Way) -> str:
    return way.__name__


@pytest.mark.parametrize("view", ["failure", "async-failure"])
@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=_named)
def test_however_often_a_failure_is_reported_it_is_one_event(
    server: WSGIClient, sentry: MemoryTransport, view: str, way: Way
) -> None:
    server.get(f"/{view}/{way.__name__}/")

    (event,) = sentry.events
    handled = [
        value["mechanism"]["handled"] for value in event["exception"]["values"] if "handled" in value["mechanism"]
    ]
    assert handled[-1] is (way in breakages.HANDLED)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=_named)
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
    assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["function"] == "fail"


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
    monkeypatch.setattr(failures, "MAX_HELD_SECONDS", 0.0)
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


def test_one_exception_object_that_fails_two_requests_makes_two_events(
    server: WSGIClient, sentry: MemoryTransport
) -> None:
    server.get("/failure/raises_a_shared_exception/")
    server.get("/failure/raises_a_shared_exception/")

    assert len(sentry.events) == 2


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
    monkeypatch.setattr(marks, "_SAME_FAILURE_SECONDS", 0.0)

    capture_exception(error)

    assert len(sentry.events) == 2


def test_a_request_that_reports_shows_its_lines(wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines) -> None:
    wsgi.get("/failure/logged_captured_and_raised/")

    assert lines.one("fetch_failed")["level"] == "error"
    assert lines.one("request_failed")["exception"].endswith("ValueError: inner")


# -- beside the SDK's own ways of reporting -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["direct_then_logged", "logged_then_direct", "direct_and_raised"])
def test_a_direct_capture_within_a_request_is_the_same_event(
    server: WSGIClient, sentry: MemoryTransport, way: str, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    server.get(f"/{way}/")

    assert len(sentry.events) == 1


@pytest.mark.parametrize("hook", ["excepthook", "thread"])
def test_what_was_logged_and_ends_the_program_is_one_event(
    monitoring: Any, transport: MemoryTransport, hook: str
) -> None:
    integration = ExcepthookIntegration() if hook == "excepthook" else ThreadingIntegration()
    monitoring(SENTRY_OPTIONS={"transport": transport, "integrations": [integration]})

    if hook == "thread":
        _run_in_thread(breakages.logged_and_raised)
    else:
        _end_by(breakages.logged_and_raised)

    assert len(transport.events) == 1


def test_an_unlogged_failure_of_a_thread_is_unhandled(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "integrations": [ThreadingIntegration()]})

    _run_in_thread(breakages.fail)

    (event,) = transport.events
    assert event["exception"]["values"][0]["mechanism"] == {"type": "threading", "handled": False}


def _run_in_thread(function: Callable[[], None]) -> None:
    before, threading.excepthook = threading.excepthook, lambda args: None
    try:
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
    finally:
        threading.excepthook = before


def _end_by(function: Callable[[], None]) -> None:
    try:
        function()
    except ValueError as error:
        with contextlib.redirect_stderr(io.StringIO()):
            sys.excepthook(type(error), error, error.__traceback__)


class Slotted(Exception):
    __slots__ = ("code",)


class Untouchable(Exception):
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    def __setattr__(self, name: str, value: Any) -> None:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        return "anything"


@dataclass(frozen=True)
class Frozen(Exception):
    code: int = 3


@pytest.mark.parametrize("kind", [Slotted, Untouchable, Frozen])
def test_an_odd_exception_is_one_event_too(sentry: MemoryTransport, kind: type[Exception]) -> None:
    error = kind()

    first, second = capture_exception(error), capture_exception(error)
    sentry_sdk.capture_exception(error)

    assert len(sentry.events) == 1
    assert first == second == sentry.events[0]["event_id"]


# -- every end that a request can have ------------------------------------------------------------------------------------


def _captured() -> None:
    try:
        breakages.fail()
    except ValueError as error:
        capture_exception(error)


def test_what_is_held_is_sent_when_the_client_has_gone(
    asgi: ASGIClient, sentry: MemoryTransport, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__
    waiting.clear()

    async def leave() -> None:
        request = asyncio.create_task(asgi.arequest("GET", "/captures-and-waits/"))
        async with asyncio.timeout(20):
            while not waiting:
                await asyncio.sleep(0.01)
        request.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await request

    asyncio.run(leave())

    assert len(sentry.events) == 1


def test_what_is_held_is_sent_when_the_process_is_told_to_exit(
    wsgi: WSGIClient, sentry: MemoryTransport, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    with pytest.raises(SystemExit):
        wsgi.get("/captures-and-exits/")

    assert [event["exception"]["values"][-1]["type"] for event in sentry.events] == ["ValueError"]


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_what_is_held_is_sent_when_a_stream_is_closed(wsgi: WSGIClient, sentry: MemoryTransport, chunks: int) -> None:
    with sentry_sdk.isolation_scope():
        response: Any = wsgi.application(wsgi.environ("GET", "/failing-stream/", b"", {}, {}), lambda *args: None)
        for _, _ in zip(range(chunks), response, strict=False):
            pass
        response.close()

    assert len(sentry.events) == (1 if chunks else 0)


def test_what_is_held_is_sent_by_the_next_request_where_a_server_never_closes(
    wsgi: WSGIClient, sentry: MemoryTransport
) -> None:
    response: Any = wsgi.application(wsgi.environ("GET", "/failing-stream/", b"", {}, {}), lambda *args: None)
    next(iter(response))

    wsgi.get("/ok/")

    assert len(sentry.events) == 1
    response.close()


def test_one_report_that_cannot_be_sent_keeps_no_other(
    wsgi: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = failures.Failure.send, []

    def fail_first(self: failures.Failure) -> str | None:
        sent.append(self)
        if len(sent) == 1:
            raise RuntimeError
        return send(self)

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(failures.Failure, "send", fail_first)
    wsgi.get("/failure/two_failures/")

    assert len(sentry.events) == 1


def test_a_failure_that_a_thread_reports_while_the_request_ends_is_sent(
    sentry: MemoryTransport, rf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = work.Request(rf.get("/"), "1", "GET")
    work.use(running)
    init = failures.Failure.__init__

    def end_meanwhile(self: failures.Failure, *args: Any) -> None:
        init(self, *args)
        running.concluded = True

    monkeypatch.setattr(failures.Failure, "__init__", end_meanwhile)
    _captured()

    assert len(sentry.events) == 1


# -- what the event says --------------------------------------------------------------------------------------------------


def test_what_is_said_of_one_failure_counts_more_than_what_is_said_of_all(sentry: MemoryTransport) -> None:
    sentry_sdk.set_tag("step", "all")
    sentry_sdk.get_isolation_scope().set_extra("row", 1)

    capture_exception(ValueError("x"), tags={"step": "import"}, extra={"row": 3})

    assert sentry.events[0]["tags"]["step"] == "import"
    assert sentry.events[0]["extra"]["row"] == 3


@pytest.mark.parametrize(("level", "sent"), [("warning", "warning"), ("critical", "fatal"), ("fatal", "fatal")])
def test_the_level_is_the_one_that_was_given(sentry: MemoryTransport, level: str, sent: str) -> None:
    capture_exception(ValueError("x"), level=level)
    capture_message("x", level=level)

    assert [event["level"] for event in sentry.events] == [sent, sent]


def test_the_gravest_level_of_all_reports_counts(wsgi: WSGIClient, sentry: MemoryTransport, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__

    wsgi.get("/warned-and-raised/")

    (event,) = sentry.events
    assert event["level"] == "error"


def test_a_line_of_an_async_logger_is_about_the_failure_it_is_written_for(
    asgi: ASGIClient, sentry: MemoryTransport, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    asgi.get("/alogged-and-raised/")

    (event,) = sentry.events
    assert event["contexts"]["log"]["events"] == ["fetch_failed"]


def _direct_then_logged(request: HttpRequest) -> HttpResponse:
    try:
        breakages.fail()
    except ValueError as error:
        sentry_sdk.capture_exception(error)
        breakages.logger.exception("fetch_failed")
    return HttpResponse()


def _logged_then_direct(request: HttpRequest) -> HttpResponse:
    try:
        breakages.fail()
    except ValueError as error:
        breakages.logger.exception("fetch_failed")
        sentry_sdk.capture_exception(error)
    return HttpResponse()


def _direct_and_raised(request: HttpRequest) -> HttpResponse:
    try:
        breakages.fail()
    except ValueError as error:
        sentry_sdk.capture_exception(error)
        raise
    raise AssertionError


def _warned_and_raised(request: HttpRequest) -> HttpResponse:
    try:
        breakages.fail()
    except ValueError as error:
        capture_exception(error, level="warning")
        raise
    raise AssertionError


async def _alogged_and_raised(request: HttpRequest) -> HttpResponse:
    try:
        breakages.fail()
    except ValueError:
        await breakages.logger.aerror("fetch_failed")
        raise
    raise AssertionError


waiting: list[HttpRequest] = []


async def _captures_and_waits(request: HttpRequest) -> HttpResponse:
    _captured()
    waiting.append(request)
    await asyncio.sleep(30)
    raise AssertionError


def _captures_and_exits(request: HttpRequest) -> HttpResponse:
    _captured()
    sys.exit(0)


urlpatterns = [
    path("direct_then_logged/", _direct_then_logged),
    path("logged_then_direct/", _logged_then_direct),
    path("direct_and_raised/", _direct_and_raised),
    path("warned-and-raised/", _warned_and_raised),
    path("alogged-and-raised/", _alogged_and_raised),
    path("captures-and-waits/", _captures_and_waits),
    path("captures-and-exits/", _captures_and_exits),
]


# -- what waits for all to be sent ----------------------------------------------------------------------------------------


def flushed_midway(request: HttpRequest) -> HttpResponse:
    breakages.logged_in_an_except_block()
    sentry_sdk.flush()
    return HttpResponse(str(len(sentry_sdk.get_client().transport.events)))  # type: ignore[union-attr]


def test_flushing_sends_what_a_request_holds(wsgi: WSGIClient, sentry: MemoryTransport, settings: Any) -> None:
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("", flushed_midway)]})

    answer = wsgi.get("/")

    assert answer.body == b"1"
    assert len(sentry.events) == 1


def test_flushing_hands_what_is_held_to_receivers_too(monitoring: Any) -> None:
    received: list[Any] = []
    monitoring()
    register_receiver(received.append)
    unit = work.Request(RequestFactory().get("/"), "7", "GET")
    work.use(unit)
    try:
        breakages.logged_in_an_except_block()
        sentry_sdk.flush()
    finally:
        unregister_receiver(received.append)

    assert len(received) == 1


# -- what comes from another process --------------------------------------------------------------------------------------


def test_a_failure_that_another_process_has_reported_is_not_reported_again(
    wsgi: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ValueError("in the pool")
    made = capture_exception(error)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    copy = pickle.loads(pickle.dumps(error))

    work.use(work.Request(HttpRequest(), "7", "GET"))
    again = capture_exception(copy)

    assert again == made
    assert len(sentry.events) == 1


def test_an_exception_that_was_reported_can_be_read_where_we_are_not(sentry: MemoryTransport) -> None:
    error = ValueError("in the pool")
    capture_exception(error)

    assert b"crm_monitoring.sentry" not in pickle.dumps(error)


class Falsy(Exception):
    """An exception that counts as false, as one with a length of zero does."""

    def __bool__(self) -> bool:
        return False


class Unboolable(Exception):
    """An exception that cannot be asked for its truth."""

    def __bool__(self) -> bool:
        raise ValueError("neither")


@pytest.mark.parametrize("kind", [Falsy, Unboolable])
@pytest.mark.parametrize("how", ["captured", "given to a line", "handled around a line"])
def test_an_exception_is_reported_whatever_its_truth(
    sentry: MemoryTransport, lines: Lines, kind: type[Exception], how: str
) -> None:
    try:
        raise kind("boom")
    except kind as error:
        match how:
            case "captured":
                capture_exception(error)
            case "given to a line":
                get_logger("shop").error("import_failed", exc_info=error)
            case _:
                get_logger("shop").error("import_failed")

    (event,) = sentry.events
    assert event["exception"]["values"][-1]["type"] == kind.__name__


def test_a_crash_is_told_whatever_the_truth_of_its_exception(
    wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines, records: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By WSGI: under ASGI asgiref itself loses an exception that counts as false."""
    monkeypatch.setattr(views, "BOOM", Falsy("boom"))

    wsgi.get("/fails-with/")

    assert [record.error for record in records] == ["Falsy"]
    assert lines.one("request_failed")["status"] == 500
    assert [event["exception"]["values"][-1]["type"] for event in sentry.events] == ["Falsy"]


# -- what is held for long ------------------------------------------------------------------------------------------------


def test_a_request_that_goes_on_tells_of_its_failure_in_time(
    wsgi: WSGIClient, sentry: MemoryTransport, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_HELD_SECONDS", 0.1)

    def view(request: HttpRequest) -> HttpResponse:
        breakages.logged_in_an_except_block()
        wait_for(lambda: sentry.events, "event")
        return HttpResponse()

    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("slow/", view)]})
    answer = wsgi.get("/slow/")

    (event,) = sentry.events
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert event["request"]["url"].endswith("/slow/")
    assert event["transaction"] == "GET slow/"
