"""A log call never raises, gives one line, and costs what misbehaves its own field; no lazy object is evaluated by it."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from django.utils.functional import LazyObject, SimpleLazyObject

from crm_monitoring import faults, get_logger
from crm_monitoring.foreign import is_of_value
from tests.conftest import Lines

logger = get_logger("tests.hostile")
library = logging.getLogger("tests.library")


class Boom(Exception):
    pass


def fails(*args: Any, **kwargs: Any) -> Any:
    raise Boom


def exits(*args: Any, **kwargs: Any) -> Any:
    raise SystemExit(3)


def hostile(base: type[Any], *names: str, how: Callable[..., Any] = fails) -> type[Any]:
    """Return a class derived from `base` whose methods of these names fail."""
    return type(f"Hostile{base.__name__.title()}", (base,), dict.fromkeys(names, how))


class Unreadable:
    def __getattribute__(self, name: str) -> Any:
        raise Boom


class WithoutClass:
    __class__ = property(fails)  # type: ignore[assignment]


TEXT = ("__str__", "encode", "lower", "isprintable", "isascii", "__len__", "__eq__", "__format__", "strip", "split")

VALUES: dict[str, Callable[[], Any]] = {
    "a text with methods of its own": lambda: hostile(str, *TEXT[:6], *TEXT[7:])("x"),
    "a value whose text is an exit": lambda: hostile(object, "__str__", "__repr__", how=exits)(),
    "a dict that cannot be read": lambda: hostile(dict, "items", "__iter__", "__len__", "keys", "__getitem__")(a=1),
    "a list that cannot be read": lambda: hostile(list, "__iter__", "__len__")([1]),
    "a list whose reading is an exit": lambda: hostile(list, "__iter__", how=exits)([1]),
    "a number that cannot be shown": lambda: hostile(int, "__str__", "__le__", "__ge__", "__lt__", "__int__")(5),
    "an exception that is false": lambda: hostile(Exception, "__bool__", how=lambda self: False)("false"),
    "an exception that is neither true nor false": lambda: hostile(Exception, "__bool__")("odd"),
    "an exception that equals nothing": lambda: hostile(Exception, "__eq__")("odd"),
    "an exception whose text is an exit": lambda: hostile(Exception, "__str__", how=exits)(),
    "an object without attributes": Unreadable,
    "an object without a class": WithoutClass,
    "a lazy object that fails": lambda: SimpleLazyObject(fails),
    "a lazy object that exits": lambda: SimpleLazyObject(exits),
}

CALLS: dict[str, Callable[[Any], Any]] = {
    "a field": lambda value: logger.info("called", field=value),
    "a nested field": lambda value: logger.info("called", field=[{"a": (value,)}]),
    "a bound field": lambda value: logger.bind(field=value).info("called"),
    "a field in the context": lambda value: _in_context(value),
    "an event": lambda value: logger.info(value),
    "an argument": lambda value: logger.info("%s", value),
    "an exception": lambda value: logger.error("called", exc_info=value),
    "a stack": lambda value: logger.error("called", stack_info=value),
    "a level": lambda value: logger.log(value, "called"),
    "an async call": lambda value: asyncio.run(logger.aerror("called", field=value)),
    "an extra": lambda value: library.info("called", extra={"field": value}),
    "a message": lambda value: library.info(value),
    "a record": lambda value: library.handle(logging.makeLogRecord({"msg": "called", "levelno": 20, "field": value})),
}


def _in_context(value: Any) -> None:
    with structlog.contextvars.bound_contextvars(field=value):
        logger.info("called")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("call", CALLS)
def test_a_log_call_never_raises_and_gives_one_line(lines: Lines, call: str, value: str) -> None:
    logging.getLogger("tests").setLevel(1)
    odd = VALUES[value]()

    try:
        CALLS[call](odd)
    finally:
        logging.getLogger("tests").setLevel(logging.NOTSET)

    (line,) = lines.all()
    assert line["event"] not in ("log_line_failed", "line_not_scrubbed")


@pytest.mark.parametrize("value", ["an exception that is false", "an exception that is neither true nor false"])
@pytest.mark.parametrize("call", ["logged", "handled"])
def test_an_exception_is_one_whatever_it_is_as_a_condition(lines: Lines, sentry: Any, call: str, value: str) -> None:
    odd = VALUES[value]()

    if call == "logged":
        logger.error("failed", exc_info=odd)
    else:
        try:
            raise odd
        except Exception:
            logger.error("failed")

    (event,) = sentry.events
    assert event["exception"]["values"][0]["type"] == "HostileException"
    assert ("exception" in lines.one("failed")) is (call == "logged")


WITHIN: dict[str, Callable[[Any], Any]] = {
    "itself": lambda lazy: lazy,
    "in lists": lambda lazy: [[lazy]],
    "in dicts": lambda lazy: {"a": {"b": (lazy,)}},
    "in both": lambda lazy: {1: [{2: lazy}]},
}


class Lazy(LazyObject):
    """Fails the test where it is evaluated."""

    def _setup(self) -> None:
        pytest.fail("evaluated")


@pytest.mark.parametrize("place", WITHIN)
@pytest.mark.parametrize("call", [call for call in CALLS if call not in ("an argument", "a level", "a record")])
@pytest.mark.parametrize("length", [0, 20_000])
def test_no_lazy_object_is_evaluated_by_a_line(lines: Lines, sentry: Any, call: str, place: str, length: int) -> None:
    value = WITHIN[place](Lazy())

    CALLS[call](value if not length else [value, "x" * length])

    assert len(lines.all()) == 1


def test_a_lazy_object_that_holds_something_already_shows_it(lines: Lines) -> None:
    lazy = SimpleLazyObject(lambda: "user 7")
    assert str(lazy) == "user 7"

    logger.info("called", user=lazy, level=1)

    assert lines.one("called")["user"] == "user 7"


@pytest.mark.parametrize("name", ["msg", "amsg", "awarn"])
def test_structlogs_other_names_of_a_call_are_there(lines: Lines, name: str) -> None:
    called = getattr(logger, name)("called", n=1)
    if name.startswith("a"):
        asyncio.run(called)

    line = lines.one("called")
    assert (line["level"], line["n"]) == ("warning" if "warn" in name else "info", 1)


def test_an_async_call_is_made_at_once_where_the_loop_takes_no_more_threads(lines: Lines) -> None:
    async def log() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await logger.aerror("late", n=1)

    asyncio.run(log())

    line = lines.one("late")
    assert (line["n"], line["code.function"].endswith("log")) == (1, True)


def test_a_signal_that_ends_the_process_while_a_value_is_shown_does_so(lines: Lines) -> None:
    class Slow:
        def __str__(self) -> str:
            signal.raise_signal(signal.SIGUSR1)
            return "shown"

    def end(number: int, frame: Any) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(SystemExit):
            logger.info("called", value=Slow())
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("error", "swallowed"),
    [(ValueError(), True), (SystemExit(), True), (KeyboardInterrupt(), False), (asyncio.CancelledError(), False)],
    ids=lambda value: type(value).__name__,
)
def test_only_what_is_the_values_own_failure_ends_there(error: BaseException, swallowed: bool) -> None:
    assert is_of_value(error) is swallowed


@pytest.mark.parametrize("through", ["list", "handler", "formatter", "observer"])
def test_an_interrupt_goes_through_wherever_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, through: str
) -> None:
    from crm_monitoring.logs import Formatter, Handler, observed, stdlib

    def interrupts(*args: Any) -> Any:
        raise KeyboardInterrupt

    record = logging.makeLogRecord({"msg": "called"})
    with pytest.raises(KeyboardInterrupt):
        if through == "list":
            logger.info("called", field=hostile(list, "__iter__", how=interrupts)())
        elif through == "observer":
            with observed(interrupts):
                logger.info("called")
        else:
            monkeypatch.setattr(stdlib, "render", interrupts)
            monkeypatch.setattr(stdlib, "emit", interrupts)
            Handler().handle(record) if through == "handler" else Formatter().format(record)


@pytest.mark.parametrize("one", [logger, library], ids=["ours", "standard"])
def test_an_interrupt_in_an_argument_goes_through(one: Any) -> None:
    class Interrupts:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one.info("%s", Interrupts())


def test_locals_whose_text_logs_make_no_report_of_their_own(lines: Lines, sentry: Any) -> None:
    class Chatty:
        def __repr__(self) -> str:
            logger.error("read")
            return "chatty"

    def fail() -> None:
        local = Chatty()
        raise Boom(id(local))

    try:
        fail()
    except Boom:
        logger.exception("failed")

    assert [event["exception"]["values"][-1]["type"] for event in sentry.events] == ["Boom"]


# -- cost -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": list(range(1_000_000))},
        {"rows": [{"a": number} for number in range(100_000)]},
        {f"f{number}": list(range(1_000)) for number in range(1_000)},
        {f"f{number}": "word " * 20_000 for number in range(1_000)},
        {"text": "x" * 50_000_000},
    ],
    ids=["one list", "many dicts", "many lists", "many texts", "one text"],
)
def test_the_whole_cost_of_a_call_is_bounded(lines: Lines, fields: dict[str, Any]) -> None:
    logger.info("warm")

    started = time.process_time()
    logger.info("called", **fields)

    # A hundredth of what it takes without a bound; CPU time, for others run beside.
    assert time.process_time() - started < 5
    assert lines.all()[-1]["event"] in ("called", "line_not_scrubbed")


def test_what_is_left_of_a_call_that_is_too_large_says_so(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)

    logger.info("called", texts=["word " * 4_000_000, "password=hunter2 " * 1_000])
    logger.info("too many", **{f"f{number}": number for number in range(100_001)})

    called, left = lines.all()
    assert "hunter2" not in str(called) and "too large" in str(called)
    assert left["event"] == "line_not_scrubbed"


# -- where ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["error", "critical", "fatal"])
def test_an_error_line_without_an_exception_says_where_it_was_logged(lines: Lines, method: str) -> None:
    getattr(logger, method)("failed")
    getattr(library, method)("failed")

    for line in lines.all():
        assert line["code.filepath"] == __file__
        assert line["code.function"] == "test_an_error_line_without_an_exception_says_where_it_was_logged"
        assert line["code.lineno"] > 0


def test_a_line_says_not_where_it_was_logged_if_a_traceback_or_its_author_does(lines: Lines) -> None:
    logger.warning("fine")
    logger.error("failed", exc_info=Boom())
    logger.error("failed", **{"code.function": "theirs"})

    fine, failed, theirs = lines.all()
    assert not {"code.function"} & {*fine, *failed}
    assert theirs["code.function"] == "theirs"


def test_an_async_error_line_says_where_its_caller_is(lines: Lines) -> None:
    async def importing() -> None:
        await logger.aerror("failed")

    asyncio.run(importing())

    assert lines.one("failed")["code.function"].endswith("importing")
