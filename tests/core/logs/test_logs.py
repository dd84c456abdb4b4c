from __future__ import annotations

import asyncio
import io
import logging
import logging.config
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import orjson
import pytest
import structlog
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import mail
from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crm_monitoring import apps, faults, get_logger, init_structured_logging, work
from crm_monitoring.logs import Formatter, Handler, setup
from crm_monitoring.logs import lines as log_output
from crm_monitoring.logs.consoles import is_console, is_silenced
from crm_monitoring.logs.stdlib import REQUEST_LOGGERS
from tests.clients import WSGIClient
from tests.conftest import Lines
from tests.core.logs.test_rendering import Hostile, Interrupted, unhurried, values

# Threads that other tests leave (the SDK's) draw random numbers meanwhile, which is taken for the strategy's doing.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

logger = get_logger("tests.logs")


class Kept(logging.Handler):
    """A host's handler that keeps what it is given."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


def state() -> dict[str, Any]:
    """What logging is like: every logger's handlers, filters, level and the rest."""
    return {
        logger.name: (list(logger.handlers), list(logger.filters), logger.level, logger.propagate, logger.disabled)
        for logger in [logging.getLogger(), *logging.root.manager.loggerDict.values()]
        if isinstance(logger, logging.Logger)
    }


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    before, undo, last_resort = state(), list(setup.undo), logging.lastResort
    yield
    logging.lastResort = last_resort
    for name in state():
        one = logging.getLogger(name)
        one.handlers[:], one.filters[:], level, one.propagate, one.disabled = before.get(name, ([], [], 0, True, False))
        one.setLevel(level)
    setup.undo[:] = undo


@pytest.fixture
def kept() -> Kept:
    handler = Kept()
    logging.getLogger().addHandler(handler)
    return handler


def configure(**config: Any) -> None:
    """Apply a project's LOGGING, then start as Django would."""
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **config})
    setup.take_over()


# -- a line ---------------------------------------------------------------------------------------------------------------


def test_a_line_holds_event_level_timestamp_logger_and_fields(lines: Lines) -> None:
    logger.info("organisation_created", org_id=123)

    line = lines.one("organisation_created")
    assert list(line) == ["event", "level", "timestamp", "logger", "org_id"]
    assert (line["level"], line["logger"], line["org_id"]) == ("info", "tests.logs", 123)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])).total_seconds()) < 10


def test_a_line_of_a_request_holds_its_ids(server: WSGIClient, sentry: Any, lines: Lines) -> None:
    answer = server.get("/ok/")

    line = lines.one("ok_served")
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", line["trace_id"]) and re.fullmatch("[0-9a-f]{16}", line["span_id"])
    assert "user_id" not in line


def test_a_line_outside_requests_holds_no_ids(lines: Lines) -> None:
    logger.info("started")

    assert not {"request_id", "trace_id", "span_id", "user_id"} & set(lines.one("started"))


@pytest.mark.django_db
def test_the_user_is_on_the_line_once_something_else_has_read_it(
    rf: Any, lines: Lines, django_assert_num_queries: Any
) -> None:
    user = User(pk=7)
    request = rf.get("/")
    request.user = SimpleLazyObject(lambda: request.__dict__.setdefault("_cached_user", user))
    work.use(work.Request(request, "r-1", "GET"))

    with django_assert_num_queries(0):
        logger.info("before")
        assert request.user.pk == 7
        logger.info("after")

    assert "user_id" not in lines.one("before")
    assert lines.one("after")["user_id"] == "7"


def test_a_callers_field_with_the_name_of_an_id_is_kept_beside_it(rf: Any, lines: Lines) -> None:
    work.use(work.Request(rf.get("/"), "ours", "GET"))

    logger.info("imported", request_id="theirs")

    line = lines.one("imported")
    assert (line["request_id"], line["request_id_"]) == ("ours", "theirs")


def test_fields_bound_to_the_context_are_on_the_line(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(tenant="acme")

    logger.info("imported")
    logging.getLogger("tests.stdlib").info("imported too")

    assert [line["tenant"] for line in lines.all()] == ["acme", "acme"]


@pytest.mark.parametrize("name", ["name", "message", "method", "module", "process", "filename", "args", "msg", "self"])
def test_a_field_may_have_the_name_of_an_attribute_of_records(lines: Lines, kept: Kept, name: str) -> None:
    logger.info("imported", **{name: "theirs"})

    assert lines.one("imported")[name] == "theirs"
    assert kept.messages == [f'imported {name}="theirs"']


@pytest.mark.parametrize("name", ["event", "level", "timestamp", "logger"])
def test_a_field_with_the_name_of_one_of_ours_is_kept_under_a_name_that_is_free(lines: Lines, name: str) -> None:
    logger.bind(**{f"{name}_": "first"}).info("imported", **{name: "second"})

    line = lines.one("imported")
    assert (line[f"{name}_"], line[f"{name}__"]) == ("first", "second")
    assert (line["level"], line["logger"]) == ("info", "tests.logs")


def test_an_event_that_is_bound_is_kept(lines: Lines) -> None:
    logger.bind(event="bound").info("imported")

    assert lines.one("imported")["event_"] == "bound"


@unhurried
@given(st.dictionaries(st.text() | st.sampled_from(["exc_info", "stack_info", "stack", "exception", "event"]), values))
def test_a_log_call_never_raises_and_gives_one_line(lines: Lines, fields: dict[str, Any]) -> None:
    logger.info("anything", **{str(name): value for name, value in fields.items()})

    captured = lines._capsys.readouterr()
    (line,) = captured.out.removesuffix("\n").split("\n")
    assert orjson.loads(line)["event"] == "anything"


@pytest.mark.parametrize("event", [None, 5, Hostile(), "\ud800", "two\nlines", ValueError("x"), {"a": 1}])
def test_an_event_may_be_anything(lines: Lines, kept: Kept, event: Any) -> None:
    logger.info(event, n=1)

    (line,) = lines.all()
    assert line["n"] == 1
    assert len(kept.messages) == 1 and kept.messages[0].endswith(" n=1")


def test_positional_arguments_are_put_into_the_event(lines: Lines) -> None:
    logger.info("%s of %d", "one", 2)
    logger.info("%(part)s of it", {"part": "half"})

    assert [line["event"] for line in lines.all()] == ["one of 2", "half of it"]


@pytest.mark.parametrize("args", [(1,), (1, 2, 3), (Hostile(), 1)])
def test_positional_arguments_that_do_not_fit_are_shown_behind_the_event(lines: Lines, args: Any) -> None:
    logger.info("%s of %d", *args)

    assert lines.all()[0]["event"].startswith("%s of %d [")


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        logger.info("imported", value=Interrupted())


def test_a_value_that_logs_while_it_is_printed_gives_both_lines(lines: Lines) -> None:
    class Chatty:
        def __str__(self) -> str:
            logger.info("inner")
            return "chatty"

    logger.info("outer", value=Chatty())

    assert [line["event"] for line in lines.all()] == ["inner", "outer"]


def test_a_value_that_logs_itself_comes_to_an_end(lines: Lines) -> None:
    class Endless:
        def __str__(self) -> str:
            logger.info("inner", value=self)
            return "endless"

    logger.info("outer", value=Endless())

    assert lines.one("outer")


def test_an_observer_that_fails_costs_nothing_but_what_it_observes(
    lines: Lines, observers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        raise ValueError

    observers(fails)
    monkeypatch.setattr(faults, "reraise", False)
    logger.info("imported", org_id=1)
    logging.getLogger("tests.stdlib").info("imported too")

    assert lines.one("imported")["org_id"] == 1 and lines.one("imported too")
    assert lines.one("monitoring_failed")["where"] == "An observer of log lines"
    assert faults.sentences() == ["An observer of log lines failed 3 times, last with ValueError."]


def test_what_observes_for_a_while_sees_lines_of_both_kinds(lines: Lines) -> None:
    seen: list[str] = []

    with setup.observed(lambda logger, method, line: seen.append(line["event"]) or line):
        logger.info("native")
        logging.getLogger("library").info("standard")
    logger.info("after")

    assert seen == ["native", "standard"]
    assert len(lines.all()) == 3


@pytest.fixture
def observers() -> Iterator[Callable[..., None]]:
    yield init_structured_logging
    apps.start()


def test_what_fails_all_the_same_leaves_a_line_that_says_so(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError

    own = logging.getLogger("tests.raising")
    own.propagate = False
    own.addHandler(Raises())
    monkeypatch.setattr(faults, "reraise", False)

    get_logger("tests.raising").info("imported")

    line = lines.one("log_line_failed")
    assert (line["level"], line["error"], line["of"]) == ("error", "ValueError", "imported")


@pytest.mark.parametrize("through", ["handler", "formatter"])
def test_a_record_that_cannot_be_rendered_leaves_a_line_that_says_so(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "broken", "created": "never", "levelno": 20})
    monkeypatch.setattr(faults, "reraise", False)

    if through == "handler":
        Handler().handle(record)
        line = lines.one("log_line_failed")
    else:
        line = orjson.loads(Formatter().format(record))

    assert (line["event"], line["of"]) == ("log_line_failed", "broken")


# -- levels and loggers ---------------------------------------------------------------------------------------------------


def test_every_level_has_its_name(lines: Lines, monitoring: Any) -> None:
    monitoring(LOG_LEVEL="DEBUG")

    for method in ("debug", "info", "warning", "warn", "error", "critical", "fatal", "exception"):
        getattr(logger, method)("called")

    levels = [line["level"] for line in lines.all()]
    assert levels == ["debug", "info", "warning", "warning", "error", "critical", "critical", "error"]


@pytest.mark.parametrize(
    ("level", "name", "handed_on"),
    [
        (7, "debug", "Level 7"),
        (25, "info", "Level 25"),
        (30, "warning", "WARNING"),
        (45, "error", "Level 45"),
        (60, "critical", "Level 60"),
        ("error", "error", "ERROR"),
        ("Level 25", "info", "Level 25"),
        ("odd", "info", "INFO"),
    ],
)
def test_a_level_may_be_a_number_or_a_name(lines: Lines, kept: Kept, level: Any, name: str, handed_on: str) -> None:
    logging.getLogger("tests").setLevel(1)

    logger.log(level, "called")

    assert lines.one("called")["level"] == name
    assert kept.records[0].levelname == handed_on


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "debug"), (27, "info"), (30, "warning"), (45, "error"), (60, "critical"), (1000, "critical")],
)
def test_a_line_of_the_standard_library_has_one_of_five_levels_whatever_the_host_calls_its_own(
    lines: Lines, number: int, name: str
) -> None:
    logging.getLogger("library").setLevel(1)
    before = logging.getLevelName(number)
    logging.addLevelName(number, "ERR")

    try:
        logging.getLogger("library").log(number, "called")
    finally:
        logging.addLevelName(number, before)

    assert lines.one("called")["level"] == name


def test_a_level_of_the_hosts_own_keeps_its_number(lines: Lines, kept: Kept) -> None:
    logging.addLevelName(27, "Success")

    logger.log(27, "called")

    assert lines.one("called")["level"] == "info"
    assert kept.records[0].levelno == 27


def test_a_call_below_the_level_makes_no_line_and_reads_no_value(lines: Lines) -> None:
    logger.debug("called", value=Interrupted())
    asyncio.run(logger.adebug("called", value=Interrupted()))

    assert lines.all() == []


def test_levels_of_loggers_are_honoured(lines: Lines) -> None:
    logging.getLogger("tests.quiet").setLevel("ERROR")
    logging.getLogger("tests.loud").setLevel("DEBUG")

    for name in ("tests.quiet", "tests.loud"):
        get_logger(name).debug(name)
        logging.getLogger(name).debug(name)

    assert [line["event"] for line in lines.all()] == ["tests.loud", "tests.loud"]


def test_a_logger_that_is_disabled_makes_no_line(lines: Lines) -> None:
    native = get_logger("tests.old")
    native.info("first")

    logging.config.dictConfig({"version": 1, "disable_existing_loggers": True, "incremental": False})
    native.info("second")

    assert [line["event"] for line in lines.all()] == ["first"]


def test_an_exception_is_printed_on_the_line(lines: Lines) -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        logger.exception("one")
        logger.error("two", exc_info=True)
        logger.error("three", exc_info=sys.exc_info())
        caught = error
    logger.error("four", exc_info=caught)

    for line in lines.all():
        assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: boom")
        assert "exc_info" not in line


@pytest.mark.parametrize("exc_info", [None, False, True, (None, None, None), "yes"])
def test_without_an_exception_there_is_nothing_to_print(lines: Lines, exc_info: Any) -> None:
    logger.error("failed", exc_info=exc_info)

    assert not {"exception", "exc_info"} & set(lines.one("failed"))


def test_an_exception_of_the_callers_own_is_kept_beside_the_traceback(lines: Lines) -> None:
    logger.error("failed", exc_info=ValueError("boom"), exception="theirs")

    line = lines.one("failed")
    assert (line["exception"], line["exception_"]) == ("ValueError: boom", "theirs")


def test_stack_info_is_the_callers_stack(lines: Lines) -> None:
    logger.info("native", stack_info=True)
    logging.getLogger("tests.stdlib").info("standard", stack_info=True)

    for line in lines.all():
        assert "stack_info=True" in line["stack"].splitlines()[-1]
        assert "stack_info" not in line


def test_async_variants_give_the_same_lines(lines: Lines, monitoring: Any) -> None:
    monitoring(LOG_LEVEL="DEBUG")
    structlog.contextvars.bind_contextvars(tenant="acme")

    async def log() -> None:
        for method in ("adebug", "ainfo", "awarning", "aerror", "acritical", "afatal"):
            await getattr(logger, method)("called", event=1, self=2)
        await logger.alog(25, "called", level=1)
        try:
            raise ValueError("boom")
        except ValueError:
            await logger.aexception("called")

    asyncio.run(log())

    levels = [line["level"] for line in lines.named("called")]
    assert levels == ["debug", "info", "warning", "error", "critical", "critical", "info", "error"]
    assert {line["tenant"] for line in lines.named("called")} == {"acme"}
    assert lines.named("called")[-1]["exception"].endswith("ValueError: boom")


@pytest.mark.parametrize(
    "get", [structlog.get_logger, structlog.stdlib.get_logger, get_logger], ids=["structlog", "stdlib", "ours"]
)
def test_any_way_to_a_logger_gives_the_same_line(lines: Lines, get: Any) -> None:
    get("tests.any").info("named", n=1)
    get().info("unnamed", n=1)

    assert lines.one("named")["logger"] == "tests.any"
    assert lines.one("unnamed")["logger"] == __name__


def test_bound_fields_are_on_every_line(lines: Lines) -> None:
    bound = logger.bind(org_id=1).bind(step="import")

    bound.info("one")
    bound.unbind("step").info("two")

    assert [(line["org_id"], line.get("step")) for line in lines.all()] == [(1, "import"), (1, None)]


def test_lines_are_captured_in_tests_of_a_host_though_loggers_are_cached(lines: Lines) -> None:
    logger.info("before")

    with capture_logs() as captured:
        logger.info("captured", org_id=1)
    logger.info("after")

    assert captured == [{"event": "captured", "org_id": 1, "log_level": "info"}]
    assert [line["event"] for line in lines.all()] == ["before", "after"]


def test_threads_log(lines: Lines) -> None:
    threads = [threading.Thread(target=logger.info, args=(f"t{n}",)) for n in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(line["event"] for line in lines.all()) == [f"t{n}" for n in range(8)]


# -- handlers of the host --------------------------------------------------------------------------------------------------


def test_a_handler_of_the_host_gets_native_lines_too_and_ours_comes_once(lines: Lines, kept: Kept) -> None:
    error = ValueError("boom")

    logger.error("import_failed", org_id=7, name="acme", exc_info=error)

    (record,) = kept.records
    assert lines.one("import_failed")["exception"] == "ValueError: boom"
    assert record.getMessage() == 'import_failed org_id=7 name="acme"'
    assert record.exc_info is not None and record.exc_info[1] is error
    assert (record.name, record.levelno) == ("tests.logs", logging.ERROR)


def test_a_record_of_a_native_line_tells_where_it_was_logged(kept: Kept) -> None:
    logger.info("imported")

    assert (kept.records[0].filename, kept.records[0].funcName) == (
        "test_logs.py",
        "test_a_record_of_a_native_line_tells_where_it_was_logged",
    )


def test_a_percent_sign_in_an_event_is_no_placeholder(kept: Kept) -> None:
    logger.info("100 %s done", rate="5 %d")

    assert kept.messages == ['100 %s done rate="5 %d"']


def test_a_file_of_the_host_gets_every_line(tmp_path: Path, lines: Lines) -> None:
    handler = logging.FileHandler(tmp_path / "app.log")
    logging.getLogger().addHandler(handler)

    logger.info("native")
    logging.getLogger("tests.stdlib").info("standard")
    handler.close()

    assert (tmp_path / "app.log").read_text() == "native\nstandard\n"
    assert [line["event"] for line in lines.all()] == ["native", "standard"]


def test_a_filter_of_the_host_is_honoured(lines: Lines) -> None:
    own = logging.getLogger("tests.filtered")
    own.addFilter(lambda record: "secret" not in record.getMessage())

    for name in ("secret", "open"):
        get_logger("tests.filtered").info(name)
        own.info(name)

    assert [line["event"] for line in lines.all()] == ["open", "open"]


def test_a_filter_of_a_handler_of_ours_is_honoured(lines: Lines) -> None:
    own, handler = logging.getLogger("tests.filtered"), Handler()
    handler.addFilter(lambda record: False)
    own.addHandler(handler)
    own.propagate = False

    own.info("standard")
    get_logger("tests.filtered").info("native")

    assert lines.all() == []


def test_a_filter_may_put_another_record_in_the_place_of_the_first(lines: Lines) -> None:
    def replace(record: logging.LogRecord) -> Any:
        return logging.makeLogRecord({**vars(record), "msg": "second"})

    own, handler = logging.getLogger("tests.filtered"), Handler()
    handler.addFilter(replace)
    own.addHandler(handler)
    own.propagate = False

    own.info("first")

    assert [line["event"] for line in lines.all()] == ["second" if sys.version_info >= (3, 12) else "first"]


def test_a_record_that_passes_several_of_our_handlers_is_written_once(lines: Lines) -> None:
    logging.getLogger("tests.twice").addHandler(Handler())

    logging.getLogger("tests.twice").info("standard")
    get_logger("tests.twice").info("native")

    assert [line["event"] for line in lines.all()] == ["standard", "native"]


def test_a_record_is_made_a_line_once_however_many_ask(observers: Callable[..., None], lines: Lines) -> None:
    seen: list[Any] = []
    observers(lambda logger, method, line: seen.append(line["event"]) or line)
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(Formatter())
    logging.getLogger().addHandler(handler)

    logging.getLogger("tests.stdlib").info("standard")
    logger.info("native")

    assert seen == ["standard", "native"]
    written = [orjson.loads(line) for line in handler.stream.getvalue().splitlines()]
    assert written == lines.all()


def test_a_logger_that_reaches_nobody_warns_in_json_too(lines: Lines) -> None:
    logging.getLogger("tests.alone").propagate = False

    for each in (get_logger("tests.alone"), logging.getLogger("tests.alone")):
        each.info("unheard")
        each.warning("heard")

    assert [line["event"] for line in lines.all()] == ["heard", "heard"]


def test_the_hosts_logger_class_stays() -> None:
    class Own(logging.Logger):
        pass

    before = logging.getLoggerClass()
    logging.setLoggerClass(Own)
    try:
        init_structured_logging()
        assert logging.getLoggerClass() is Own
    finally:
        logging.setLoggerClass(before)


# -- the standard library --------------------------------------------------------------------------------------------------


def test_a_record_of_the_standard_library_is_the_same_line(lines: Lines) -> None:
    logging.getLogger("library").warning("%s of %d", "one", 2, extra={"org_id": 7})

    line = lines.one("one of 2")
    assert list(line) == ["event", "level", "timestamp", "logger", "org_id"]
    assert (line["level"], line["logger"], line["org_id"]) == ("warning", "library", 7)


def test_the_time_of_a_record_is_when_it_was_made(lines: Lines) -> None:
    logging.getLogger().handle(logging.makeLogRecord({"msg": "old", "name": "x", "created": 0.5, "levelno": 20}))

    assert lines.one("old")["timestamp"] == "1970-01-01T00:00:00.500Z"


@pytest.mark.parametrize("name", ["event", "level", "timestamp", "logger", "exception", "stack"])
def test_an_extra_with_the_name_of_one_of_ours_is_kept_beside_it(lines: Lines, name: str) -> None:
    logging.getLogger("library").error("failed", extra={name: "theirs"}, exc_info=ValueError("x"), stack_info=True)

    assert lines.one("failed")[f"{name}_"] == "theirs"


@pytest.mark.parametrize(
    ("msg", "args", "event"),
    [
        ({"a": 1}, (), "{'a': 1}"),
        (ValueError("x"), (), "x"),
        ("%d", ("x",), '%d ["x"]'),
        (Hostile(), (), "<unprintable Hostile> []"),
        ("%s", (Hostile(),), '%s ["<unprintable Hostile>"]'),
        ("two\nlines\n", (), "two\nlines"),
    ],
)
def test_a_message_may_be_anything(lines: Lines, msg: Any, args: Any, event: str) -> None:
    logging.getLogger("library").info(msg, *args)

    assert [line["event"] for line in lines.all()] == [event]


def test_the_text_of_an_exception_is_used_where_the_exception_itself_is_gone() -> None:
    record = logging.makeLogRecord({"msg": "failed", "name": "x", "exc_text": "Traceback of another process"})

    assert orjson.loads(Formatter().format(record))["exception"] == "Traceback of another process"


def test_uvicorns_coloured_copy_of_the_message_is_not_shown(lines: Lines) -> None:
    logging.getLogger("library").info("started", extra={"color_message": "\x1b[1mstarted"})

    assert "color_message" not in lines.one("started")


@pytest.fixture
def named(settings: Any) -> Callable[[str], None]:
    """Name a logger in LOGGING."""

    def name(logger_name: str) -> None:
        settings.LOGGING = {
            "version": 1,
            "disable_existing_loggers": False,
            "loggers": {logger_name: {"propagate": True}},
        }

    return name


@pytest.mark.parametrize("path", ["/ok/", "/nowhere/", "/fails/", "/async-fails/", "/status/503/", "/status/404/"])
def test_a_request_has_one_line_and_its_traceback_once(server: WSGIClient, lines: Lines, path: str) -> None:
    server.get(path)

    about = [line for line in lines.all() if line["logger"] in ("crm_monitoring.requests", *REQUEST_LOGGERS)]
    assert [line["logger"] for line in about] == ["crm_monitoring.requests"]
    assert ("exception" in about[0]) is ("fails" in path)


def test_djangos_late_line_is_there_where_it_is_named_with_the_id_of_its_request(
    server: WSGIClient, lines: Lines, named: Callable[[str], None]
) -> None:
    named("django.request")

    answer = server.get("/nowhere/")

    line = lines.one("Not Found: /nowhere/")
    assert (line["logger"], line["status_code"]) == ("django.request", 404)
    assert line["request_id"] == answer.headers["X-Request-ID"] == lines.one("request_finished")["request_id"]


@pytest.mark.parametrize("logger_name", REQUEST_LOGGERS)
def test_a_line_of_a_server_is_left_out_only_while_a_request_of_ours_runs(
    rf: Any, lines: Lines, named: Callable[[str], None], logger_name: str
) -> None:
    about = {"status_code": 200}
    # Another test may have configured Django's handlers anew, with a standard error that is closed by now.
    setup.take_over()

    logging.getLogger(logger_name).warning("outside", extra=about)
    work.use(work.Request(rf.get("/"), "r-1", "GET"))
    logging.getLogger(logger_name).warning("left out", extra=about)
    named(logger_name)
    logging.getLogger(logger_name).warning("named", extra=about)

    assert [line["event"] for line in lines.all()] == ["outside", "named"]


def test_a_handler_whose_stream_is_closed_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger_of_others = logging.getLogger("tests.closed")
    logger_of_others.addHandler(handler)
    stream.close()

    try:
        setup.take_over()
        logger_of_others.warning("outside")
    finally:
        logger_of_others.removeHandler(handler)

    assert capsys.readouterr().err == ""


def test_what_a_project_says_by_djangos_logger_of_requests_is_kept(rf: Any, lines: Lines) -> None:
    running = work.Request(rf.get("/"), "r-1", "GET")
    work.use(running)
    running.error = ValueError("told already")

    logging.getLogger("django.request").error("own words")
    logging.getLogger("django.request").error("handled", exc_info=KeyError("x"), extra={"status_code": 500})
    logging.getLogger("django.request").error("crash", exc_info=running.error, extra={"status_code": 500})

    assert [line["event"] for line in lines.all()] == ["own words", "handled"]


def test_admins_are_still_mailed_what_our_lines_leave_out(rf: Any, lines: Lines, kept: Kept) -> None:
    work.use(work.Request(rf.get("/"), "r-1", "GET"))

    logging.getLogger("django.request").error("crash", extra={"status_code": 500})

    assert (kept.messages, lines.all()) == (["crash"], [])


@pytest.mark.parametrize("is_named", [True, False])
def test_the_line_of_the_development_server_is_there_where_it_is_named_with_the_id_of_its_request(
    lines: Lines, named: Callable[[str], None], is_named: bool
) -> None:
    if is_named:
        named("django.server")
    with WSGIServer(("127.0.0.1", 0), WSGIRequestHandler) as development_server:
        development_server.set_app(get_wsgi_application())
        thread = threading.Thread(target=development_server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{development_server.server_port}/ok/") as response:
            request_id = response.headers["X-Request-ID"]
        thread.join()

    served = [(line["event"], line["request_id"]) for line in lines.all() if line["logger"] == "django.server"]
    assert served == ([('"GET /ok/ HTTP/1.1" 200 12', request_id)] if is_named else [])


@pytest.mark.processes
def test_warnings_and_everything_else_come_out_as_lines_on_standard_output() -> None:
    code = """
import logging, warnings, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["crm_monitoring"])
django.setup()
warnings.simplefilter("always")
warnings.warn("old way", DeprecationWarning)
logging.getLogger("django.server").info("served")
logging.getLogger("any.library").info("imported")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    lines = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [line["logger"] for line in lines] == ["py.warnings", "django.server", "any.library"]
    assert "DeprecationWarning: old way" in lines[0]["event"] and lines[0]["level"] == "warning"
    assert done.stderr == b""


# -- LOGGING ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["ext://sys.stdout", "ext://sys.stderr"])
@pytest.mark.parametrize("propagate", [True, False])
def test_a_console_of_the_host_prints_nothing_a_second_time(lines: Lines, stream: str, propagate: bool) -> None:
    configure(
        handlers={"console": {"class": "logging.StreamHandler", "stream": stream}},
        loggers={"library": {"handlers": ["console"], "level": "DEBUG", "propagate": propagate}},
        root={"handlers": ["console"]},
    )

    for name in ("library", "library.part", "other"):
        logging.getLogger(name).info("standard")
        get_logger(name).info("native")

    assert [line["event"] for line in lines.all()] == ["standard", "native"] * 3


def test_the_level_of_a_console_is_taken_over(lines: Lines) -> None:
    configure(
        handlers={"console": {"class": "logging.StreamHandler", "level": "WARNING"}},
        loggers={"library": {"handlers": ["console"], "level": "DEBUG", "propagate": False}},
    )

    logging.getLogger("library").info("unheard")
    get_logger("library").info("unheard")
    get_logger("library").warning("heard")

    assert [line["event"] for line in lines.all()] == ["heard"]


def test_the_level_of_the_roots_console_is_taken_over(lines: Lines) -> None:
    logging.getLogger().handlers.clear()
    configure(
        handlers={"console": {"class": "logging.StreamHandler", "level": "ERROR"}}, root={"handlers": ["console"]}
    )

    logger.warning("unheard")
    logger.error("heard")

    assert [line["event"] for line in lines.all()] == ["heard"]


def test_a_console_below_a_logger_that_does_not_propagate_is_replaced(lines: Lines, tmp_path: Path) -> None:
    configure(
        handlers={"console": {"class": "logging.StreamHandler"}, "none": {"class": "logging.NullHandler"}},
        loggers={"upper": {"handlers": ["none"], "propagate": False}, "upper.lower": {"handlers": ["console"]}},
    )

    logging.getLogger("upper.lower").warning("heard")
    logging.getLogger("upper").warning("unheard")

    assert [line["event"] for line in lines.all()] == ["heard"]


def test_a_console_is_known_by_its_stream(tmp_path: Path) -> None:
    assert is_console(logging.StreamHandler(sys.stdout)) and is_console(logging.StreamHandler(sys.__stderr__))
    assert not is_console(logging.StreamHandler(io.StringIO()))
    assert not is_console(Kept()) and not is_console(logging.FileHandler(tmp_path / "later.log", delay=True))


def test_a_file_that_is_the_standard_output_is_a_console() -> None:
    with open(os.dup(1), "w") as stream:
        assert is_console(logging.StreamHandler(stream))


def test_a_stream_whose_descriptor_is_closed_is_no_console() -> None:
    class Closed(io.StringIO):
        def fileno(self) -> int:
            return 10_000

    assert not is_console(logging.StreamHandler(Closed()))


def test_admins_are_mailed(lines: Lines, settings: Any) -> None:
    settings.ADMINS = ["admin@example.com"] if django.VERSION >= (6, 0) else [("Admin", "admin@example.com")]
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # Django 6.1
    configure(
        handlers={"mail": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"}},
        loggers={"library": {"handlers": ["mail"]}},
    )

    get_logger("library").error("import_failed", org_id=7)
    logging.getLogger("library").error("failed too")

    assert [message.subject for message in mail.outbox] == [
        "[Django] ERROR: import_failed org_id=7",
        "[Django] ERROR: failed too",
    ]
    assert [line["event"] for line in lines.all()] == ["import_failed", "failed too"]


@pytest.mark.parametrize(
    ("given_logging", "level"),
    [
        ({}, "DEBUG"),
        ({"loggers": {"": {}}}, "DEBUG"),
        ({"root": {"level": "ERROR"}}, "ERROR"),
        ({"loggers": {"": {"level": "ERROR"}}}, "ERROR"),
    ],
)
def test_the_root_level_is_ours_unless_logging_gives_one(given_logging: Any, level: str) -> None:
    logging.getLogger().setLevel("ERROR")
    project = {"version": 1, "disable_existing_loggers": False, **given_logging}

    with override_settings(LOGGING=project, CRM_MONITORING={"LOG_LEVEL": "DEBUG"}):
        assert setup.effective_level() == level


@pytest.mark.parametrize("server_name", ["uvicorn", "gunicorn"])
def test_lines_of_servers_are_ours(lines: Lines, server_name: str) -> None:
    access = _start_logging_of(server_name)
    setup.take_over()

    logging.getLogger(f"{server_name}.error").info("started")
    logging.getLogger(f"{server_name}.access").info(*access)

    assert [line["logger"] for line in lines.all()] == [f"{server_name}.error", f"{server_name}.access"]


def _start_logging_of(server_name: str) -> tuple[Any, ...]:
    """Let the server configure its logging, and return the arguments it logs a request with."""
    if server_name == "uvicorn":
        import uvicorn

        uvicorn.Config("nothing:app").configure_logging()
        return '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", "/", "1.1", 200
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

    config = Config()
    config.set("accesslog", "-")
    Logger(config)
    return "%(h)s %(s)s", {"h": "127.0.0.1", "s": 200}


# -- switching -------------------------------------------------------------------------------------------------------------


def test_a_second_start_has_no_effect(lines: Lines) -> None:
    before, steps = state(), len(setup.undo)

    init_structured_logging()
    apps.start()
    logger.info("imported")

    assert state() == before and len(setup.undo) == steps
    assert lines.one("imported")


def test_switching_back_and_forth_leaves_nothing_behind(monitoring: Any, lines: Lines) -> None:
    before, steps = state(), len(setup.undo)

    for _ in range(3):
        monitoring(LOG_FORMAT="logfmt", LOG_LEVEL="DEBUG")
        monitoring(LOG_FORMAT="json")
        logger.info("switched")

    assert len(lines.named("switched")) == 3
    assert (state(), len(setup.undo)) == (before, steps)


def test_the_level_follows_the_setting(monitoring: Any, lines: Lines) -> None:
    for level, event in (("DEBUG", "one"), ("WARNING", "two"), ("INFO", "three")):
        monitoring(LOG_LEVEL=level)
        logger.info(event)

    assert [line["event"] for line in lines.all()] == ["one", "three"]


def test_logging_is_the_hosts_own_when_we_are_not_to_configure_it(monitoring: Any, lines: Lines) -> None:
    console = logging.StreamHandler(io.StringIO())
    console.setFormatter(Formatter())
    logging.getLogger().addHandler(console)

    monitoring(CONFIGURE_LOGGING=False)
    logging.getLogger().setLevel("INFO")
    logger.info("native", n=1)
    logging.getLogger("library").warning("standard")

    assert lines.all() == []
    written = [orjson.loads(line) for line in console.stream.getvalue().splitlines()]
    assert [(line["event"], line.get("n")) for line in written] == [
        ("native", 1),
        ("standard", None),
    ]


def test_warnings_that_the_host_captures_itself_stay_captured(monitoring: Any) -> None:
    monitoring(CONFIGURE_LOGGING=False)
    logging.captureWarnings(True)
    captured = warnings.showwarning

    monitoring(CONFIGURE_LOGGING=True)
    monitoring(CONFIGURE_LOGGING=False)

    assert warnings.showwarning is captured
    logging.captureWarnings(False)


def test_consoles_are_heard_again_when_we_are_not_to_configure_logging(monitoring: Any) -> None:
    console = logging.StreamHandler(sys.stdout)
    logging.getLogger("library").addHandler(console)
    monitoring(LOG_LEVEL="DEBUG")
    assert is_silenced(console)

    monitoring(CONFIGURE_LOGGING=False)
    ours = [each for each in logging.getLogger().handlers if type(each) is Handler]
    assert (console.filters, ours) == ([], [])
    monitoring(LOG_LEVEL="INFO")

    assert logging.getLogger("library").handlers == [console]
    assert is_silenced(console)
    assert [type(each) for each in logging.getLogger().handlers] == [Handler]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("debug", "stream", "format"),
    [(True, Terminal(), "console"), (False, Terminal(), "json"), (True, io.StringIO(), "json"), (True, None, "json")],
)
def test_auto_is_for_people_on_a_terminal_with_debug(
    settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool, stream: Any, format: str
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    settings.CRM_MONITORING = {"LOG_FORMAT": "auto"}
    settings.DEBUG = debug

    assert log_output.log_format() == format
    assert log_output.is_structured() is (format == "json")


def test_console_is_coloured_and_prints_tracebacks(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monitoring(LOG_FORMAT="console")

    logger.error("import_failed", org_id=7, exc_info=ValueError("boom"))

    first, *rest = terminal.getvalue().splitlines()
    assert "\x1b[" in first and "import_failed" in first
    assert rest == ["  ValueError: boom"]


def test_logfmt_is_one_line_of_pairs(monitoring: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monitoring(LOG_FORMAT="logfmt")

    logger.error("import_failed", org_id=7, exc_info=ValueError("boom"))

    line = capsys.readouterr().out
    assert line.startswith("event=import_failed level=error timestamp=") and line.count("\n") == 1
    assert line.endswith('org_id=7 exception="ValueError: boom"\n')


def test_the_limits_are_settings(monitoring: Any, capsys: pytest.CaptureFixture[str]) -> None:
    monitoring(LOG_MAX_STRING=300, LOG_MAX_LINE=600)

    logger.info("imported", big="x" * 1000, other="y" * 1000)

    line = capsys.readouterr().out.rstrip("\n")
    assert len(line) <= 600 and "characters]" in orjson.loads(line)["big"]


def test_lines_are_json_within_the_default_limits_as_long_as_there_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_output, "settings", LazySettings())
    log_output.renderer.cache_clear()

    line = Formatter().format(logging.makeLogRecord({"msg": "x" * 20_000, "name": "x"}))
    log_output.renderer.cache_clear()

    event = orjson.loads(line)["event"]
    assert "characters]" in event and 16_000 < len(event) <= 16 * 1024


@pytest.mark.processes
def test_the_formatter_works_without_settings() -> None:
    code = """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "formatters": {"json": {"()": "crm_monitoring.logs.Formatter"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"handlers": ["out"], "level": "INFO"},
})
logging.getLogger("gunicorn.error").info("Starting gunicorn %s", "1.0", extra={"pid": 3})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    line = orjson.loads(done.stdout)
    assert (line["event"], line["level"], line["logger"], line["pid"]) == (
        "Starting gunicorn 1.0",
        "info",
        "gunicorn.error",
        3,
    )


def test_a_line_costs_no_more_than_one_of_the_standard_library(capsys: pytest.CaptureFixture[str]) -> None:
    standard = logging.getLogger("tests.standard")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter('{"event": "%(message)s", "level": "%(levelname)s", "at": "%(asctime)s"}'))
    standard.addHandler(handler)
    standard.propagate = False

    ours = _fastest(lambda: logger.info("imported", org_id=1))
    theirs = _fastest(lambda: standard.info("imported"))

    assert ours < 3 * theirs


def _fastest(call: Callable[[], None]) -> float:
    """Return the seconds of the fastest of twenty rounds."""
    rounds = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            call()
        rounds.append(time.perf_counter() - started)
    return min(rounds)
