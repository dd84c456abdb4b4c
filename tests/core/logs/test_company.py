"""Who else configures structlog or logging keeps what they configured, and no line of ours is lost."""

from __future__ import annotations

import copy
import io
import logging
import logging.config
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from django.core.checks import CheckMessage
from structlog.testing import capture_logs

from crm_monitoring import check_monitoring_health, checks, faults, get_logger, init_structured_logging, work
from crm_monitoring.logs import STRUCTLOG_RECONFIGURED, setup
from tests.conftest import Lines

DJANGO_STRUCTLOG = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.filter_by_level,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    structlog.processors.UnicodeDecoder(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]
"""The processors of django-structlog's README."""

OWNERS: dict[str, dict[str, Any]] = {
    "django-structlog's recipe": {
        "processors": DJANGO_STRUCTLOG,
        "logger_factory": structlog.stdlib.LoggerFactory(),
        "cache_logger_on_first_use": True,
    },
    "processors only": {"processors": [structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()]},
    "processors to keywords": {"processors": [structlog.stdlib.render_to_log_kwargs]},
    "a filtering wrapper class": {"wrapper_class": structlog.make_filtering_bound_logger(logging.INFO)},
    "the wrapper class of structlog": {"wrapper_class": structlog.stdlib.BoundLogger},
    "a generic wrapper class": {"wrapper_class": structlog.BoundLogger},
    "a logger factory": {"logger_factory": structlog.PrintLoggerFactory()},
    "a wrapper class and a logger factory": {
        "wrapper_class": structlog.make_filtering_bound_logger(logging.INFO),
        "logger_factory": structlog.PrintLoggerFactory(),
    },
    "another kind of context": {"context_class": dict},
    "everything": {
        "processors": [structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        "wrapper_class": structlog.make_filtering_bound_logger(logging.INFO),
        "logger_factory": lambda *args: structlog.PrintLogger(sys.stdout),
        "cache_logger_on_first_use": False,
    },
}


@pytest.fixture
def owner() -> Iterator[Callable[..., None]]:
    """Configure structlog as somebody else does, after us."""
    yield structlog.configure
    structlog.reset_defaults()
    init_structured_logging()


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("tests.company")
    before, undo = list(root.handlers), list(setup.undo)
    yield
    for handler in own.handlers:
        handler.close()
    root.handlers[:], own.handlers[:], own.propagate = before, [], True
    own.setLevel(logging.NOTSET)
    setup.undo[:] = undo


def found(check_id: str) -> list[CheckMessage]:
    return [message for message in checks.check_surroundings() if message.id == check_id]


# -- structlog ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWNERS)
def test_our_loggers_write_our_lines_whoever_configures_structlog(
    lines: Lines, owner: Callable[..., None], name: str
) -> None:
    before = get_logger("tests.company.before")

    owner(**OWNERS[name])
    before.info("one", n=1)
    get_logger("tests.company.after").bind(m=2).info("two", n=1)

    assert [(line["event"], line["n"], line["logger"]) for line in lines.all()] == [
        ("one", 1, "tests.company.before"),
        ("two", 1, "tests.company.after"),
    ]


@pytest.mark.parametrize("name", OWNERS)
def test_a_logger_of_theirs_loses_no_line_and_raises_nothing(
    lines: Lines, owner: Callable[..., None], name: str
) -> None:
    owner(**OWNERS[name])

    structlog.get_logger("tests.company").bind(m=2).info("imported", n=1)
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger("tests.company").exception("failed")

    imported, failed = lines.all()
    shown = orjson.loads(imported["event"]) if imported["event"].startswith("{") else imported
    assert (shown["event"], shown["n"], shown["m"]) == ("imported", 1, 2)
    assert "failed" in failed["event"]


def test_lines_of_a_wrapped_set_up_keep_their_fields_once(lines: Lines, owner: Callable[..., None]) -> None:
    structlog.contextvars.bind_contextvars(tenant="acme")
    owner(**OWNERS["django-structlog's recipe"])

    structlog.get_logger("tests.company").warning("imported", org_id=7)

    line = lines.one("imported")
    assert list(line) == ["event", "level", "timestamp", "logger", "org_id", "tenant"]
    assert (line["level"], line["logger"], line["org_id"]) == ("warning", "tests.company", 7)


def test_the_id_of_the_request_is_on_a_line_of_a_wrapped_set_up_once(
    rf: Any, lines: Lines, owner: Callable[..., None]
) -> None:
    running = work.Request(rf.get("/"), "r-1", "GET")
    work.use(running)
    structlog.contextvars.bind_contextvars(request_id=running.request_id)
    owner(**OWNERS["django-structlog's recipe"])

    structlog.get_logger("tests.company").warning("imported")

    line = lines.one("imported")
    assert (line["request_id"], "request_id_" in line) == ("r-1", False)


@pytest.mark.parametrize("name", [name for name in OWNERS if name != "another kind of context"])
def test_that_somebody_has_configured_structlog_after_us_is_said(
    owner: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert (found(checks.STRUCTLOG_RECONFIGURED), check_monitoring_health()["problems"]) == ([], [])

    owner(**OWNERS[name])

    (message,) = found(checks.STRUCTLOG_RECONFIGURED)
    assert message.msg == STRUCTLOG_RECONFIGURED and "crm_monitoring.get_logger()" in str(message.hint)
    assert check_monitoring_health()["problems"] == [STRUCTLOG_RECONFIGURED]


def test_what_captures_lines_in_tests_does_not_count_as_another_owner() -> None:
    with capture_logs() as captured:
        get_logger("tests.company").info("imported")
        assert found(checks.STRUCTLOG_RECONFIGURED) == []

    assert [line["event"] for line in captured] == ["imported"]


def test_processors_of_theirs_that_fail_cost_their_line_only(
    lines: Lines, owner: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(logger: Any, method: str, line: Any) -> Any:
        raise ValueError

    monkeypatch.setattr(faults, "reraise", False)
    owner(processors=[fails])

    structlog.get_logger("tests.company").info("imported")

    assert lines.one("log_line_failed")["of"] == "imported"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda logger: pickle.loads(pickle.dumps(logger))])
def test_a_logger_may_be_copied_with_what_holds_it(lines: Lines, copied: Callable[[Any], Any]) -> None:
    copied(get_logger("tests.company").bind(n=1)).info("imported")

    line = lines.one("imported")
    assert (line["logger"], line["n"]) == ("tests.company", 1)


def test_a_line_logged_before_the_settings_are_there_forgets_none_of_them(monitoring: Any, lines: Lines) -> None:
    from django.conf import LazySettings

    from crm_monitoring.scrubbing import configured

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(configured, "settings", LazySettings())
        configured.reset()
        get_logger("tests.company").info("early", customer_number=7)

    monitoring(SENSITIVE_KEYS=["customer number"])
    get_logger("tests.company").info("late", customer_number=7)

    assert lines.one("late")["customer_number"] == "[Filtered]"


# -- logging --------------------------------------------------------------------------------------------------------------


def configure_as_django_structlog(directory: Path) -> None:
    """Apply the LOGGING of django-structlog's README, for a logger of ours, and start as Django would."""
    formatters: dict[str, Any] = {
        "json": {"()": structlog.stdlib.ProcessorFormatter, "processor": structlog.processors.JSONRenderer()},
        "plain": {"()": structlog.stdlib.ProcessorFormatter, "processor": structlog.dev.ConsoleRenderer()},
    }
    handlers = {
        "console": {"class": "logging.StreamHandler", "formatter": "plain"},
        "file": {
            "class": "logging.handlers.WatchedFileHandler",
            "filename": str(directory / "json.log"),
            "formatter": "json",
        },
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": formatters,
            "handlers": handlers,
            "loggers": {"tests.company": {"handlers": ["console", "file"], "level": "INFO"}},
        }
    )
    setup.take_over()


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("get", [get_logger, structlog.get_logger], ids=["ours", "theirs"])
def test_a_file_of_django_structlogs_set_up_keeps_the_fields(tmp_path: Path, lines: Lines, get: Any) -> None:
    configure_as_django_structlog(tmp_path)

    get("tests.company").error("import_failed", org_id=7, rows=[1, 2], exc_info=ValueError("boom"))

    (written,) = (orjson.loads(line) for line in (tmp_path / "json.log").read_text().splitlines())
    assert (written["event"], written["level"], written["org_id"], written["rows"]) == (
        "import_failed",
        "error",
        7,
        [1, 2],
    )
    assert written["exception"] == "ValueError: boom"
    assert written == lines.one("import_failed")


@pytest.mark.usefixtures("logging_as_before")
def test_a_console_of_the_host_stays_in_its_place_and_prints_again_where_a_test_gives_it_a_stream(
    tmp_path: Path, lines: Lines
) -> None:
    configure_as_django_structlog(tmp_path)
    console = logging.getLogger("tests.company").handlers[0]
    assert isinstance(console, logging.StreamHandler)

    get_logger("tests.company").info("one")
    before = console.setStream(io.StringIO())
    get_logger("tests.company").info("two")
    logging.getLogger("tests.company").info("three")
    heard = console.stream.getvalue()
    console.setStream(before)
    get_logger("tests.company").info("four")

    assert "one" not in heard and "two" in heard and "three" in heard
    assert [line["event"] for line in lines.all()] == ["one", "two", "three", "four"]


@pytest.mark.usefixtures("logging_as_before")
def test_a_console_stays_silent_when_it_gets_another_console(lines: Lines) -> None:
    console = logging.StreamHandler(sys.stderr)
    logging.getLogger("tests.company").addHandler(console)
    setup.take_over()

    console.setStream(sys.stdout)
    get_logger("tests.company").info("imported")
    logging.getLogger("tests.company").info("imported too")

    assert [line["event"] for line in lines.all()] == ["imported", "imported too"]


@pytest.mark.usefixtures("logging_as_before")
def test_the_lines_of_requests_below_the_level_are_said_to_be_hidden(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="INFO")
    assert found(checks.REQUEST_LINES_HIDDEN) == []

    requests = logging.getLogger(checks.REQUESTS_LOGGER)
    requests.setLevel("WARNING")
    (message,) = found(checks.REQUEST_LINES_HIDDEN)
    monitoring(LOG_LEVEL="WARNING")
    chosen = found(checks.REQUEST_LINES_HIDDEN)
    requests.setLevel(logging.NOTSET)

    assert "WARNING" in message.msg
    assert chosen == []
