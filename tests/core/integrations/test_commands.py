"""A management command is a unit of work: one event for one failure, a name on its events and lines, and an end that is told."""

from __future__ import annotations

import inspect
import io
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from contextvars import copy_context
from typing import Any

import pytest
import structlog
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from sentry_sdk.integrations.excepthook import ExcepthookIntegration

from crm_monitoring import (
    OperationRecord,
    PerformanceMonitor,
    add_breadcrumb,
    capture_exception,
    capture_message,
    faults,
    get_logger,
    hooks,
    process,
    set_tag,
    set_user_context,
    work,
)
from crm_monitoring.integrations import commands
from crm_monitoring.sentry import failures
from tests import breakages
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

Way = Callable[[], Any]
logger = get_logger("tests.commands")


def command(way: Way, name: str = "import_organisations") -> BaseCommand:
    """Return a command that does `way`, as if it stood in a module of that name."""

    class Command(BaseCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args: Any, **options: Any) -> Any:
            return way()

    Command.__module__ = f"crm.management.commands.{name}"
    return Command()


def run(way: Way, name: str = "import_organisations") -> None:
    """Run a command as `manage.py` does; what ends it ends here."""
    try:
        with redirect_stderr(io.StringIO()):
            command(way, name).run_from_argv(["manage.py", name])
    except AssertionError:
        raise
    except BaseException:
        return


def call(way: Way, name: str = "import_organisations") -> Any:
    return call_command(command(way, name), stdout=io.StringIO())


@pytest.fixture
def told() -> Iterator[list[str]]:
    """An entry for each end of a unit of work."""
    ends: list[str] = []

    def ended() -> None:
        ends.append("ended")

    hooks.register_ending(ended)
    yield ends
    hooks.unregister_ending(ended)


# -- one failure, one event -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
@pytest.mark.parametrize("start", [run, call])
def test_however_often_a_failure_is_reported_it_is_one_event(start: Way, sentry: MemoryTransport, way: Way) -> None:
    with suppress(Exception):
        start(way)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)


@pytest.mark.parametrize(
    ("way", "title"),
    [
        (breakages.logged_and_raised, "ValueError"),
        (breakages.raised_from, "Outer"),
        (breakages.raised_in_an_except_block, "Outer"),
        (breakages.grouped, "ExceptionGroup"),
    ],
)
def test_the_outermost_exception_is_the_title(sentry: MemoryTransport, way: Way, title: str) -> None:
    run(way)

    values = sentry.events[0]["exception"]["values"]
    assert title in [values[-1]["type"], values[0]["type"]]


def test_the_event_has_the_fields_of_every_report(sentry: MemoryTransport) -> None:
    run(breakages.logged_captured_and_raised)

    (event,) = sentry.events
    log = {"events": ["fetch_failed"], "error": "inner", "page": 3, "command": "import_organisations"}
    assert event["contexts"]["log"] == log
    assert event["extra"] == {"query": "organisations"}
    assert event["tags"]["step"] == "fetch"


def test_the_id_the_code_got_is_the_events(sentry: MemoryTransport) -> None:
    ids: list[str | None] = []

    def way() -> None:
        ids.append(breakages.returns_its_id())

    run(way)

    assert ids == [event["event_id"] for event in sentry.events]


def test_two_failures_are_two_events(sentry: MemoryTransport) -> None:
    run(breakages.two_failures)

    assert len(sentry.events) == 2


def test_what_is_held_is_bounded(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(EVENTS_BURST=100, SENTRY_OPTIONS={"transport": transport})

    run(breakages.many_failures)

    assert [event["exception"]["values"][0]["value"] for event in transport.events] == [
        str(number) for number in range(50)
    ]


def test_one_exception_object_that_fails_two_commands_is_two_events(sentry: MemoryTransport) -> None:
    run(breakages.raises_a_shared_exception)
    breakages.SHARED.__traceback__ = None
    run(breakages.raises_a_shared_exception)

    assert len(sentry.events) == 2


def test_a_crash_that_nobody_has_reported_is_an_event_without_a_frame_of_ours(sentry: MemoryTransport) -> None:
    run(breakages.fail)

    (event,) = sentry.events
    (value,) = event["exception"]["values"]
    assert value["mechanism"] == {"type": "command", "handled": False}
    assert [frame["function"] for frame in value["stacktrace"]["frames"]] == ["execute", "handle", "fail"]


def test_the_sdks_own_hook_adds_no_event(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "integrations": [ExcepthookIntegration()]})

    for way in (breakages.fail, breakages.logged_and_raised, breakages.raised_from):
        try:
            command(way).run_from_argv(["manage.py", "import_organisations"])
        except Exception as error:
            with redirect_stderr(io.StringIO()):
                sys.excepthook(type(error), error, error.__traceback__)

    assert len(transport.events) == 3


def test_what_escapes_a_call_is_its_callers_to_report_or_to_handle(sentry: MemoryTransport) -> None:
    with pytest.raises(ValueError):
        call(breakages.fail)

    assert sentry.events == []


def test_a_caller_that_reports_once_more_gets_the_same_id(sentry: MemoryTransport) -> None:
    with pytest.raises(ValueError) as raised:
        call(breakages.captured_and_raised)

    again = capture_exception(raised.value)

    assert [event["event_id"] for event in sentry.events] == [again]


def test_a_thread_of_the_command_and_the_command_make_one_event(sentry: MemoryTransport) -> None:
    def way() -> None:
        raised: list[BaseException] = []

        def work() -> None:
            try:
                breakages.captured_and_raised()
            except ValueError as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert sentry.events == []
        raise raised[0]

    run(way)

    (event,) = sentry.events
    assert not breakages.is_handled(event)


def test_a_failure_of_a_request_within_a_command_is_the_requests(sentry: MemoryTransport, wsgi: WSGIClient) -> None:
    run(lambda: str(wsgi.get("/failure/logged_and_raised/").status))

    (event,) = sentry.events
    assert event["transaction"] == "GET failure/{how}/"


# -- how a command ends ---------------------------------------------------------------------------------------------------


def _refuse() -> None:
    raise CommandError("There is no such file.")


def _leave() -> None:
    sys.exit(3)


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("way", [_refuse, _leave, _interrupt])
def test_a_command_that_refuses_or_leaves_is_no_event(sentry: MemoryTransport, told: list[str], way: Way) -> None:
    run(way)

    assert (sentry.events, told) == ([], ["ended"])


@pytest.mark.parametrize("way", [_refuse, _leave, _interrupt])
def test_what_was_reported_before_is_sent_and_was_handled(sentry: MemoryTransport, way: Way) -> None:
    def report() -> None:
        try:
            breakages.fail()
        except ValueError:
            logger.exception("import_failed")
            way()

    run(report)

    (event,) = sentry.events
    assert [value["type"] for value in event["exception"]["values"]] == ["ValueError"]
    assert breakages.is_handled(event)


@pytest.mark.parametrize("ending", [lambda: None, breakages.fail, _refuse, _leave, _interrupt])
def test_every_end_is_told_once(told: list[str], ending: Way) -> None:
    run(ending)

    assert told == ["ended"]


def test_the_end_is_told_when_the_events_are_sent_and_the_command_is_left(sentry: MemoryTransport) -> None:
    seen: list[tuple[int, object]] = []

    def look() -> None:
        seen.append((len(sentry.events), work.current_work()))

    hooks.register_ending(look)
    run(breakages.logged_and_raised)
    hooks.unregister_ending(look)

    assert seen == [(1, None)]


# -- nothing is held for long ---------------------------------------------------------------------------------------------


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_report_leaves_a_command_that_goes_on_in_time(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_HELD_SECONDS", 0.2)

    def way() -> None:
        for number in (1, 2):
            began = time.monotonic()
            breakages.logged_in_an_except_block()
            is_held = len(sentry.events) == number - 1
            assert is_held or time.monotonic() - began > 0.2
            _wait_for(lambda number=number: len(sentry.events) == number)
        breakages.returns_its_id()

    run(way)

    assert len(sentry.events) == 3
    assert {event["transaction"] for event in sentry.events} == {"manage.py import_organisations"}


def test_a_report_made_meanwhile_leaves_in_its_own_time(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_HELD_SECONDS", 0.3)
    ages: list[float] = []
    send = failures.Failure.send

    def send_and_tell_its_age(report: failures.Failure) -> str | None:
        ages.append(time.monotonic() - report.since)
        return send(report)

    monkeypatch.setattr(failures.Failure, "send", send_and_tell_its_age)

    def way() -> None:
        breakages.logged_in_an_except_block()
        time.sleep(0.15)
        breakages.logged_in_an_except_block()
        _wait_for(lambda: len(sentry.events) == 2)

    call(way)

    assert len(ages) == len(sentry.events) == 2
    assert min(ages) > 0.3


def test_what_left_in_time_and_then_escapes_is_still_one_event(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_HELD_SECONDS", 0.1)

    def way() -> None:
        try:
            breakages.fail()
        except ValueError as error:
            known = capture_exception(error)
            _wait_for(lambda: sentry.events)
            assert capture_exception(error) == known
            raise

    run(way)

    assert len(sentry.events) == 1


def test_where_no_thread_can_start_a_report_leaves_at_the_end(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    call(breakages.two_failures)

    assert len(sentry.events) == 2


def test_what_another_thread_has_just_sent_is_not_missed(sentry: MemoryTransport) -> None:
    class Overtaken(list[work.HeldFailure]):
        """Seems to hold one still, once."""

        asked = 0

        def __bool__(self) -> bool:
            self.asked += 1
            return self.asked == 1

    unit = work.Unit("manage.py x", "command", "an-id")
    unit.reports = Overtaken()

    failures.leave_unit(unit)

    assert unit.reports.asked == 2

    assert sentry.events == []


def test_code_that_outlives_its_command_reports_at_once(sentry: MemoryTransport) -> None:
    contexts: list[Any] = []

    call(lambda: contexts.append(copy_context()))
    contexts[0].run(breakages.logged_in_an_except_block)

    assert len(sentry.events) == 1


def test_a_process_that_ends_sends_what_its_commands_hold(sentry: MemoryTransport) -> None:
    def way() -> None:
        breakages.logged_in_an_except_block()
        failures.send_all_held()
        assert len(sentry.events) == 1

    call(way)

    assert len(sentry.events) == 1


def test_a_forked_child_leaves_to_its_parent_what_that_holds(sentry: MemoryTransport) -> None:
    def way() -> None:
        breakages.logged_in_an_except_block()
        process.start_over()

    call(way)

    assert sentry.events == []


# -- within one another ---------------------------------------------------------------------------------------------------


def test_commands_within_a_command_are_part_of_it(sentry: MemoryTransport, told: list[str], lines: Lines) -> None:
    def inner() -> None:
        logger.info("inner_ran")
        breakages.logged_and_raised()

    def outer() -> None:
        try:
            call(inner, "inner")
        except ValueError:
            assert (sentry.events, told) == ([], [])
            logger.exception("outer_failed")

    run(outer, "outer")

    (event,) = sentry.events
    assert breakages.is_handled(event)
    assert event["contexts"]["log"]["events"] == ["fetch_failed", "outer_failed"]
    assert (event["transaction"], told) == ("manage.py outer", ["ended"])
    assert lines.one("inner_ran")["command"] == "outer"


def _calls_a_command(request: HttpRequest) -> HttpResponse:
    logger.info("view_ran")
    call(breakages.logged_and_raised)
    raise AssertionError


urlpatterns = [path("calls-a-command/", _calls_a_command)]


def test_a_command_within_a_request_is_part_of_it(
    server: WSGIClient, sentry: MemoryTransport, told: list[str], lines: Lines, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    server.get("/calls-a-command/")

    (event,) = sentry.events
    assert event["transaction"] == "GET calls-a-command/"
    assert not breakages.is_handled(event)
    assert told == []
    assert all("command" not in line for line in lines.all())


def test_a_request_within_a_command_leaves_its_fields_alone(wsgi: WSGIClient, lines: Lines) -> None:
    def way() -> None:
        with structlog.contextvars.bound_contextvars(source="csv"):
            wsgi.get("/ok/")
            wsgi.application(
                wsgi.environ("GET", "/ok/", b"", {}, {}), lambda *args: None
            )  # and never closes the answer
            wsgi.get("/ok/")
            logger.info("rows_imported")
        logger.info("import_ended")

    run(way)

    assert ["command" in line for line in lines.named("request_finished")] == [False, False, False]
    line = lines.one("rows_imported")
    assert (line["command"], line["source"]) == ("import_organisations", "csv")
    assert lines.one("import_ended")["request_id"] == line["request_id"]
    assert line["request_id"] not in [line["request_id"] for line in lines.named("request_finished")]


@pytest.mark.parametrize("name", ["monitoring", "runserver", "shell", "test", "testserver"])
def test_a_command_that_runs_the_work_of_others_is_no_unit_of_its_own(
    sentry: MemoryTransport, told: list[str], name: str
) -> None:
    def way() -> None:
        breakages.logged_in_an_except_block()
        assert len(sentry.events) == 1
        call(breakages.logged_in_an_except_block)
        assert told == ["ended"]

    call(way, name)

    assert len(sentry.events) == 2
    assert told == ["ended"]


def test_a_command_derived_from_such_a_one_is_none_either(sentry: MemoryTransport) -> None:
    from django.core.management.commands import test as of_django

    class Command(of_django.Command):
        def handle(self, *args: Any, **options: Any) -> None:
            breakages.logged_in_an_except_block()
            assert len(sentry.events) == 1

    call_command(Command())

    assert len(sentry.events) == 1


# -- names, lines and scopes ----------------------------------------------------------------------------------------------


def test_every_event_of_a_command_has_its_name(sentry: MemoryTransport) -> None:
    def way() -> None:
        capture_message("halfway")
        breakages.logged_and_raised()

    run(way)

    assert [event["transaction"] for event in sentry.events] == ["manage.py import_organisations"] * 2


def test_a_transaction_under_way_keeps_its_name(sentry: MemoryTransport) -> None:
    with PerformanceMonitor("nightly"):
        call(lambda: capture_message("x"))

    assert sentry.transactions[0]["transaction"] == "nightly"


def test_the_events_of_one_command_share_a_trace_and_those_of_two_do_not(sentry: MemoryTransport) -> None:
    def way() -> None:
        capture_message("one")
        capture_message("two")

    call(way)
    call(way)

    traces = [event["contexts"]["trace"]["trace_id"] for event in sentry.events]
    assert traces[0] == traces[1] != traces[2] == traces[3]


def test_every_line_of_a_command_has_its_name_and_none_after(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(script="nightly")

    def way() -> None:
        structlog.contextvars.bind_contextvars(row=3, script="import")
        logger.info("row_read")

    call(way)
    logger.info("all_done")

    inside, after = lines.one("row_read"), lines.one("all_done")
    assert (inside["command"], inside["row"], inside["script"]) == ("import_organisations", 3, "import")
    assert {name: after.get(name) for name in ("command", "row", "script")} == {
        "command": None,
        "row": None,
        "script": "nightly",
    }


def test_nothing_that_is_set_in_a_command_reaches_the_next(sentry: MemoryTransport) -> None:
    def first() -> None:
        set_tag("step", "first")
        set_user_context(7)
        add_breadcrumb("in the first")

    add_breadcrumb("before")
    call(first)
    call(lambda: capture_message("in the second"))
    capture_message("after")

    second, after = sentry.events
    assert "step" not in second.get("tags", {}) | after.get("tags", {})
    assert "user" not in second and "user" not in after
    assert "breadcrumbs" not in second or second["breadcrumbs"]["values"] == []
    assert [crumb["message"] for crumb in after["breadcrumbs"]["values"]] == ["before"]
    assert after.get("transaction") is None


# -- lines and records ----------------------------------------------------------------------------------------------------


def _asks_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("way", "module", "counted"),
    [
        (_asks_the_database, "crm.management.commands.import_organisations", ["manage.py import_organisations"]),
        (lambda: None, "crm.management.commands.import_organisations", []),
        (_asks_the_database, "django.core.management.commands.migrate", []),
    ],
)
def test_a_command_of_the_project_that_asks_the_database_is_counted(
    records: list[hooks.Record], way: Way, module: str, counted: list[str]
) -> None:
    one = command(way)
    type(one).__module__ = module

    call_command(one)

    assert [record.name for record in records if isinstance(record, OperationRecord)] == counted


def test_a_command_that_goes_well_prints_nothing_of_ours(lines: Lines) -> None:
    call(lambda: None)

    assert lines.all() == []


def test_a_command_that_crashes_says_so_in_a_line(lines: Lines) -> None:
    run(breakages.fail)

    line = lines.one("unit_failed")
    assert (line["name"], line["kind"], line["error"]) == ("manage.py import_organisations", "command", "ValueError")


# -- nothing that a host sees changes -------------------------------------------------------------------------------------


def test_a_command_returns_and_prints_what_it_did() -> None:
    out = io.StringIO()

    assert call_command(command(lambda: "3 rows"), stdout=out) == "3 rows"
    assert out.getvalue() == "3 rows\n"


def test_a_traceback_shows_nothing_of_ours() -> None:
    with pytest.raises(ValueError) as raised:
        call(lambda: call(breakages.fail))

    frames = traceback.extract_tb(raised.value.__traceback__)
    assert [frame.filename for frame in frames if "crm_monitoring/" in frame.filename] == []
    assert [frame.name for frame in frames].count("execute") == 2


def test_a_call_that_django_refuses_is_refused_as_before() -> None:
    with pytest.raises(KeyError, match="force_color"):
        command(lambda: None).execute()


def test_the_method_keeps_its_name_and_signature() -> None:
    original = inspect.unwrap(BaseCommand.execute)

    assert BaseCommand.execute.__qualname__ == "BaseCommand.execute"
    assert inspect.signature(BaseCommand.execute) == inspect.signature(original)
    assert BaseCommand.execute.__module__ == original.__module__ == "django.core.management.base"


def test_a_command_is_watched_once_however_often_the_app_is_made_ready() -> None:
    before = BaseCommand.execute

    commands.install()

    assert BaseCommand.execute is before
    assert before.__wrapped__ is inspect.unwrap(before)  # type: ignore[attr-defined]


def test_without_djangos_private_attribute_a_crash_is_left_to_the_sdk(sentry: MemoryTransport) -> None:
    class Command(BaseCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args: Any, **options: Any) -> None:
            del self._called_from_command_line
            breakages.fail()

    with suppress(ValueError), pytest.MonkeyPatch.context() as monkeypatch:
        running = Command()
        parser = running.create_parser("manage.py", "x")
        options = vars(parser.parse_args([]))
        options.pop("args", None)
        running._called_from_command_line = True
        monkeypatch.delattr(BaseCommand, "_called_from_command_line")
        running.execute(**options)

    assert sentry.events == []


def test_a_command_runs_though_its_unit_of_work_fails(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("the unit")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(work.Unit, "__init__", fail)

    assert call(lambda: "3 rows") == "3 rows"
    assert faults.sentences() == ["begin_unit failed 1 time, last with RuntimeError."]
