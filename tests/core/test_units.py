"""A unit of work is told of by itself: its scope, id, lines, failures and record, whatever runs around it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from crm_monitoring import (
    OperationRecord,
    PerformanceMonitor,
    add_breadcrumb,
    capture_exception,
    capture_message,
    faults,
    get_logger,
    hooks,
    set_tag,
    set_transaction_context,
    set_user_context,
    unit_of_work,
    work,
)
from tests import breakages
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import Lines, MemoryTransport
from tests.core.integrations.test_commands import call, run

logger = get_logger("tests.units")


@pytest.fixture
def paused() -> Iterator[list[object]]:
    """What runs each time somebody may write what is due."""
    seen: list[object] = []

    def pause() -> None:
        seen.append(work.current_work())

    hooks.register_pause(pause)
    yield seen
    hooks.unregister_pause(pause)


def _crash(name: str = "send_invoices", **fields: Any) -> None:
    with pytest.raises(ValueError, match="inner"), unit_of_work(name, **fields):
        breakages.fail()


# -- what is told of one --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(sentry: MemoryTransport, way: Callable[[], Any]) -> None:
    try:
        with unit_of_work("send_invoices"):
            way()
    except Exception:
        assert way in breakages.ESCAPING

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (event["transaction"], event["transaction_info"]) == ("send_invoices", {"source": "task"})


def test_a_failure_leaves_when_the_unit_ends(sentry: MemoryTransport) -> None:
    with unit_of_work("send_invoices"):
        breakages.logged_in_an_except_block()
        before = list(sentry.events)

    assert (before, len(sentry.events)) == ([], 1)


def test_every_line_carries_the_fields_the_id_and_the_trace(sentry: MemoryTransport, lines: Lines) -> None:
    with unit_of_work("send_invoices", batch=7) as unit:
        logger.info("invoice_sent")
    logger.info("all_done")

    sent, finished, done = lines.one("invoice_sent"), lines.one("unit_finished"), lines.one("all_done")
    assert sent["batch"] == finished["batch"] == 7
    assert sent["request_id"] == finished["request_id"] == unit.request_id
    assert sent["trace_id"] == finished["trace_id"] == sentry.transactions[0]["contexts"]["trace"]["trace_id"]
    assert not {"batch", "request_id", "trace_id"} & done.keys()


@pytest.mark.django_db
def test_its_end_is_one_line_and_one_record(lines: Lines, records: list[hooks.Record]) -> None:
    with unit_of_work("send_invoices"), connection.cursor() as cursor:
        cursor.execute("SELECT 1")

    line, (record,) = lines.one("unit_finished"), records
    assert (line["level"], line["name"], line["kind"], line["db_queries"]) == ("info", "send_invoices", "job", 1)
    assert isinstance(record, OperationRecord)
    assert (record.name, record.operation, record.error) == ("send_invoices", "queue.task", None)
    assert record.request_id == line["request_id"]
    assert record.duration_ms == pytest.approx(line["duration_ms"], abs=0.001)


def test_a_unit_that_fails_says_so(lines: Lines, records: list[hooks.Record]) -> None:
    _crash()

    line, (record,) = lines.one("unit_failed"), records
    assert (line["level"], line["error"], record.error) == ("error", "ValueError", "ValueError")  # type: ignore[union-attr]
    assert line["exception"].endswith("ValueError: inner")


def test_a_traceback_that_a_line_of_the_unit_has_is_not_shown_again(lines: Lines) -> None:
    with pytest.raises(ValueError, match="inner"), unit_of_work("send_invoices"):
        breakages.logged_and_raised()

    assert "exception" in lines.one("fetch_failed")
    assert "exception" not in lines.one("unit_failed")


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()], ids=repr)
def test_to_leave_or_to_be_cancelled_is_no_failure(sentry: MemoryTransport, lines: Lines, end: BaseException) -> None:
    with pytest.raises(type(end)), unit_of_work("send_invoices"):
        raise end

    line = lines.one("unit_finished")
    assert (line["level"], line["error"], sentry.events) == ("warning", type(end).__name__, [])


def test_lines_below_the_level_cost_nothing(lines: Lines, monitoring: Any) -> None:
    monitoring(LOG_LEVEL="ERROR")

    with unit_of_work("send_invoices"):
        pass

    assert lines.all() == []


def test_its_fields_and_id_are_tags(sentry: MemoryTransport) -> None:
    _crash(batch=7, rows=[1, 2], request_id="the-request")

    assert sentry.events[0]["tags"] == {"batch": "7", "request_id": "the-request"}


@pytest.mark.parametrize("given", ["a b", "", "x" * 200, 7, None, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"])
def test_an_id_that_is_harmful_or_secret_is_replaced(given: object) -> None:
    with unit_of_work("send_invoices", request_id=given) as unit:
        assert len(unit.request_id or "") == 32
        assert unit.request_id != given


def test_its_transaction_has_its_name_and_outcome(sentry: MemoryTransport) -> None:
    with unit_of_work("send_invoices"), PerformanceMonitor("render"):
        pass
    _crash()

    good, bad = sentry.transactions
    assert good["transaction"] == "send_invoices"
    assert (good["contexts"]["trace"]["op"], good["contexts"]["trace"]["status"]) == ("queue.task", "ok")
    assert [span["description"] for span in good["spans"]] == ["render"]
    assert bad["contexts"]["trace"]["status"] == "internal_error"
    assert good["contexts"]["trace"]["trace_id"] != bad["contexts"]["trace"]["trace_id"]


def test_its_code_may_name_its_transaction(sentry: MemoryTransport) -> None:
    with unit_of_work("send_invoices"):
        set_transaction_context("send_reminders", operation="mail")
        capture_message("said")

    assert sentry.events[0]["transaction"] == sentry.transactions[0]["transaction"] == "send_reminders"
    assert sentry.transactions[0]["contexts"]["trace"]["op"] == "mail"


def test_streamed_spans_serve_as_well(monitoring: Any, transport: MemoryTransport, lines: Lines) -> None:
    options = {"transport": transport, "trace_lifecycle": "stream"}
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS=options)

    with unit_of_work("send_invoices"):
        set_transaction_context("send_reminders", operation="mail")
        logger.info("invoice_sent")
    _crash()
    sentry_sdk.flush()

    renamed, failed = transport.spans
    assert (renamed["name"], renamed["status"]) == ("send_reminders", "ok")
    assert renamed["attributes"]["sentry.op"]["value"] == "mail"
    assert (failed["name"], failed["status"]) == ("send_invoices", "error")
    assert lines.one("invoice_sent")["trace_id"] == renamed["trace_id"]


def test_a_transaction_of_somebody_else_is_gone_on_with(sentry: MemoryTransport, lines: Lines) -> None:
    with sentry_sdk.start_transaction(name="theirs") as transaction, unit_of_work("send_invoices"):
        logger.info("invoice_sent")

    assert [sent["transaction"] for sent in sentry.transactions] == ["theirs"]
    assert lines.one("invoice_sent")["trace_id"] == transaction.trace_id


# -- one after the other, and within one another --------------------------------------------------------------------------


def test_a_job_carries_nothing_of_the_job_before(sentry: MemoryTransport, lines: Lines) -> None:
    def first() -> None:
        set_user_context(7)
        set_tag("step", "first")
        add_breadcrumb("in the first")
        set_transaction_context("renamed")
        structlog.contextvars.bind_contextvars(row=3)
        breakages.logged_and_raised()

    def second() -> None:
        breakages.logged_and_raised()

    def work_through_the_queue() -> None:
        for number, job in enumerate((first, second)):
            try:
                with unit_of_work(f"job_{job.__name__}", job_id=number):
                    job()
            except ValueError:
                logger.warning("job_given_up")

    run(work_through_the_queue, "work_queue")

    one, two = sentry.events
    assert (one["transaction"], two["transaction"]) == ("renamed", "job_second")
    assert "user" in one and "user" not in two
    assert "step" not in two["tags"] and two["tags"]["job_id"] == "1"
    assert "in the first" not in [crumb["message"] for crumb in two["breadcrumbs"]["values"]]
    assert one["contexts"]["trace"]["trace_id"] != two["contexts"]["trace"]["trace_id"]
    assert "row" not in lines.named("fetch_failed")[1]


def test_what_runs_around_it_goes_on_as_before(sentry: MemoryTransport, lines: Lines) -> None:
    def loop() -> None:
        set_tag("queue", "high")
        _crash(job_id=1)
        logger.info("job_given_up")
        capture_message("said")

    call(loop, "work_queue")

    line, (_, said) = lines.one("job_given_up"), sentry.events
    assert line["command"] == "work_queue" and "job_id" not in line
    assert line["request_id"] != lines.one("unit_failed")["request_id"]
    assert said["transaction"] == "manage.py work_queue"
    assert said["tags"]["queue"] == "high" and "job_id" not in said["tags"]


def test_who_reports_it_outside_once_more_gets_the_same_id(sentry: MemoryTransport) -> None:
    def loop() -> None:
        try:
            with unit_of_work("send_invoices"):
                breakages.fail()
        except ValueError as error:
            logger.exception("job_failed")
            assert capture_exception(error) == sentry.events[0]["event_id"]

    call(loop, "work_queue")

    (event,) = sentry.events
    assert not breakages.is_handled(event)


def _view(request: HttpRequest, token: str) -> HttpResponse:
    with unit_of_work("send_invoices", job_id=1):
        logger.info("invoice_sent", by=f"by {token}")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    logger.info("view_ran")
    return HttpResponse()


async def _async_view(request: HttpRequest) -> HttpResponse:
    async with unit_of_work("send_invoices"):
        return HttpResponse()


urlpatterns = [path("sends/<str:token>/", _view), path("sends-async/", _async_view)]


@pytest.mark.django_db
def test_within_a_request_it_keeps_that_ones_id_trace_and_secrets(
    wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines, paused: list[object], settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    answer = wsgi.get("/sends/correcthorse/")

    sent, ran, finished = lines.one("invoice_sent"), lines.one("view_ran"), lines.one("request_finished")
    assert sent["request_id"] == ran["request_id"] == answer.headers["X-Request-ID"]
    assert sent["trace_id"] == ran["trace_id"] and sent["span_id"] != ran["span_id"]
    assert sent["by"] == "by {token}"
    assert sent["job_id"] == 1 and "job_id" not in ran
    assert {one["transaction"] for one in sentry.transactions} == {"send_invoices", "GET sends/{token}/"}
    assert lines.one("unit_finished")["db_queries"] == finished["db_queries"] == 1
    # The client waits.
    assert paused == []


def test_within_an_async_request_nothing_is_written_either(
    asgi: ASGIClient, paused: list[object], settings: Any, lines: Lines
) -> None:
    settings.ROOT_URLCONF = __name__

    answer = asgi.get("/sends-async/")

    assert lines.one("unit_finished")["request_id"] == answer.headers["X-Request-ID"]
    assert paused == []


def test_a_unit_may_be_entered_within_itself(lines: Lines) -> None:
    unit = unit_of_work("walk")

    with unit:
        outer = unit.request_id
        with unit:
            assert unit.request_id != outer

    assert [line["request_id"] for line in lines.named("unit_finished")][1] == outer


# -- a flush when it is due -----------------------------------------------------------------------------------------------


def test_who_collects_may_write_when_it_has_ended(paused: list[object]) -> None:
    with unit_of_work("send_invoices"):
        assert paused == []

    assert paused == [None]


def test_in_an_event_loop_others_write_beside_it(paused: list[object]) -> None:
    async def main() -> None:
        async with unit_of_work("send_invoices"):
            pass

    asyncio.run(main())

    assert paused == [None]


def test_an_event_loop_is_not_held_up(paused: list[object]) -> None:
    async def main() -> None:
        with unit_of_work("send_invoices"):
            pass

    asyncio.run(main())

    assert paused == []


# -- the decorator --------------------------------------------------------------------------------------------------------


@unit_of_work("double", team="crm")
def double(number: int) -> int:
    """Double it."""
    logger.info("doubled")
    return number * 2


@unit_of_work("wait")
async def wait(number: int) -> int:
    logger.info("waited")
    return number


class Sender:
    @unit_of_work("send")
    def send(self) -> str:
        logger.info("sent")
        return "a method"

    @unit_of_work("send")
    @classmethod
    def send_all(cls) -> str:
        logger.info("sent")
        return "a class method"

    @unit_of_work("send")
    @staticmethod
    def send_none() -> str:
        logger.info("sent")
        return "a static method"


def test_each_call_of_a_function_is_a_unit(lines: Lines) -> None:
    assert (double(2), double(4)) == (4, 8)

    one, two = lines.named("doubled")
    assert one["team"] == two["team"] == "crm"
    assert one["request_id"] != two["request_id"]
    assert (double.__name__, double.__doc__) == ("double", "Double it.")


def test_each_call_of_a_coroutine_is_a_unit(lines: Lines) -> None:
    async def main() -> list[int]:
        return await asyncio.gather(wait(1), wait(2))

    assert asyncio.run(main()) == [1, 2]
    assert inspect.iscoroutinefunction(wait)
    assert len({line["request_id"] for line in lines.named("waited") + lines.named("unit_finished")}) == 2


@pytest.mark.parametrize("call", [Sender().send, Sender.send_all, Sender.send_none])
def test_a_method_is_a_unit(lines: Lines, call: Callable[[], str]) -> None:
    assert "method" in call()
    assert lines.one("sent")["request_id"] == lines.one("unit_finished")["request_id"]


def test_a_generator_is_left_as_it_is(lines: Lines) -> None:
    def numbers() -> Generator[int, None, None]:
        yield 1

    async def letters() -> AsyncGenerator[str, None]:
        yield "a"

    decorate = unit_of_work("walk")

    assert decorate(numbers) is numbers and decorate(letters) is letters


def test_a_unit_has_a_name() -> None:
    with pytest.raises(TypeError, match=r'@unit_of_work\("send_invoices"\)'):

        @unit_of_work  # type: ignore[arg-type]
        def function() -> None: ...


# -- no failure of ours is one of the unit --------------------------------------------------------------------------------


def _fails(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("ours")


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("crm_monitoring.units.UnitTrace", set()),
        ("crm_monitoring.sentry.unit_trace._start_segment", set()),
        ("crm_monitoring.units.bind", set()),
        ("crm_monitoring.units.capture_crash", {"event"}),
        ("crm_monitoring.units._level", {"line"}),
        ("crm_monitoring.units.UnitTrace.close", set()),
    ],
)
def test_each_part_that_fails_costs_itself_alone(
    sentry: MemoryTransport,
    lines: Lines,
    records: list[hooks.Record],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    missing: set[str],
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(part, _fails)
    unit = unit_of_work("send_invoices")

    with pytest.raises(ValueError, match="inner"), unit:
        breakages.fail()

    found = {"line": lines.named("unit_failed"), "record": records, "event": sentry.events, "id": unit.request_id}
    assert {name for name, there in found.items() if not there} == missing
    assert faults.sentences()
    assert work.current_work() is None


def test_the_block_runs_though_no_unit_can_begin(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr("crm_monitoring.units.Unit", _fails)
    unit = unit_of_work("send_invoices")

    with unit:
        logger.info("invoice_sent")

    assert "request_id" not in lines.one("invoice_sent")
    assert unit.request_id is None
