"""
Log lines, from the call or the record to the stream.

A line of `get_logger` is rendered once, to bytes, when our handler is the only one its record would reach. Where the project
has added others (a file, mail_admins, caplog) the record takes the standard library's road, and they all get it. Levels of
LOGGING hold on both roads. Records of other libraries pass the same processors and come out as the same line.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any, cast

import structlog

from crm_monitoring import faults
from crm_monitoring.logs import lines
from crm_monitoring.rendering import (
    CORE_FIELDS,
    Event,
    cut,
    dumps,
    plain,
    text,
)
from crm_monitoring.scrubbing.configured import scrub, scrub_exception, scrub_text
from crm_monitoring.work import current_request, url_scrubber

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]

# Formatters of others, which print what is added to a record, leave out names that begin so.
_EVENT_ATTRIBUTE = "_crm_monitoring_event"
_WRITTEN_ATTRIBUTE = "_crm_monitoring_written"
_LINE_FIELDS = ("event", "level", "timestamp", "logger")
_OUR_FIELDS = frozenset(_LINE_FIELDS)
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "color_message",  # uvicorn's, the message once more with the codes of a terminal
    "message",
    "taskName",
    _EVENT_ATTRIBUTE,
    _WRITTEN_ATTRIBUTE,
}
_STACK_FRAMES = 30
_OUR_FRAMES = 3
_CUT_EVENT = 256
_LEVEL_NAMES = {"exception": "error", "warn": "warning", "fatal": "critical", "notset": "debug"}

# An async call logs in a thread, which does not know what its caller handles.
_handled: ContextVar[BaseException | None] = ContextVar("crm_monitoring_handled", default=None)


def handled_error() -> BaseException | None:
    """Return the exception that is being handled where the current line was logged."""
    return sys.exc_info()[1] or _handled.get()


class BoundLogger(structlog.stdlib.BoundLogger):
    """
    structlog's logger for the standard library, whose log calls never raise and take any field name.

    Level and event are positional only, unlike structlog's, so that fields may have these names.
    """

    def debug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at DEBUG."""
        self._log(logging.DEBUG, "debug", event, args, fields)

    def info(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at INFO."""
        self._log(logging.INFO, "info", event, args, fields)

    def warning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at WARNING."""
        self._log(logging.WARNING, "warning", event, args, fields)

    warn = warning

    def error(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at ERROR."""
        self._log(logging.ERROR, "error", event, args, fields)

    def critical(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at CRITICAL."""
        self._log(logging.CRITICAL, "critical", event, args, fields)

    fatal = critical

    def exception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` and the current exception at ERROR."""
        fields.setdefault("exc_info", True)
        self._log(logging.ERROR, "exception", event, args, fields)

    def log(self, level: int | str, event: Any = None, /, *args: Any, **fields: Any) -> None:  # type: ignore[override]
        """Log `event` with `fields` at `level`, a number or a name."""
        number = _level_number(level)
        self._log(number, logging.getLevelName(number).lower(), event, args, fields)

    async def adebug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at DEBUG, in a thread."""
        await self._alog(logging.DEBUG, "debug", event, args, fields)

    async def ainfo(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at INFO, in a thread."""
        await self._alog(logging.INFO, "info", event, args, fields)

    async def awarning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at WARNING, in a thread."""
        await self._alog(logging.WARNING, "warning", event, args, fields)

    async def aerror(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at ERROR, in a thread."""
        await self._alog(logging.ERROR, "error", event, args, fields)

    async def acritical(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at CRITICAL, in a thread."""
        await self._alog(logging.CRITICAL, "critical", event, args, fields)

    afatal = acritical

    async def aexception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` and the current exception at ERROR, in a thread."""
        fields.setdefault("exc_info", True)
        await self._alog(logging.ERROR, "exception", event, args, fields)

    async def alog(self, level: int | str, event: Any = None, /, *args: Any, **fields: Any) -> None:  # type: ignore[override]
        """Log `event` with `fields` at `level`, a number or a name, in a thread."""
        number = _level_number(level)
        await self._alog(number, logging.getLevelName(number).lower(), event, args, fields)

    async def _alog(self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            _resolve(fields)
            token = _handled.set(sys.exc_info()[1])
            try:
                await asyncio.to_thread(self._log, level, method, event, args, fields)
            finally:
                _handled.reset(token)

    def _log(self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        try:
            line: Any = {**self._context, **fields} if self._context else fields
            if "event" in line:
                _set_aside(line, "event")
            line["event"] = _interpolated(event, args) if args else event
            logger, processors = self._logger, self._processors
            for processor in processors:
                line = processor(logger, method, line)
        except structlog.DropEvent:
            pass
        except Exception as error:
            _log_failed(self._logger.name, event, error)


def _level_number(level: int | str) -> int:
    if isinstance(level, int):
        return level
    known = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
    # The standard library calls a level without a name "Level 25".
    digits = level.lower().removeprefix("level ")
    return known.get(level.lower(), int(digits) if digits.isdecimal() else logging.INFO)


def _interpolated(event: Any, args: tuple[Any, ...]) -> Any:
    try:
        # The standard library's rule: a lone mapping is for %(name)s.
        return event % (args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args)
    except Exception:
        return f"{text(event)} {text(args)}"


def _set_aside(line: MutableMapping[str, Any], name: str) -> None:
    """Keep what the caller gave by a name that is ours, with "_" behind the name."""
    free = f"{name}_"
    while free in line:
        free += "_"
    line[free] = line.pop(name)


def _resolve(line: MutableMapping[str, Any]) -> None:
    """Replace an exc_info of True by the exception handled right now, which another thread or a later moment would not find."""
    if "exc_info" in line:
        line["exc_info"] = exception_of(line)


def _log_failed(name: str, event: Any, error: Exception) -> None:
    lines.output().write(_last_resort(name, event, error) + b"\n")
    faults.record("A log call", error)


def _last_resort(name: str, event: Any, error: Exception) -> bytes:
    return dumps(
        {
            "event": "log_line_failed",
            "level": "error",
            "timestamp": _now(),
            "logger": name,
            "error": type(error).__name__,
            "of": cut(scrub_text(text(event), url_scrubber()), _CUT_EVENT),
        }
    )


def get_logger(name: str | None = None) -> Any:
    """
    Return a structlog logger; usually called as `get_logger(__name__)`.

    Log events are named `object_verbed`, facts go in fields: `logger.info("organisation_created", org_id=123)`.
    """
    return structlog.stdlib.get_logger(name) if name else structlog.stdlib.get_logger()


# -- processors: one line's way from the call to the stream --------------------------------------------------------------


def take_in(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what is known only where the line is logged: the exception and the stack it asks for, what is bound, the user."""
    _resolve(line)
    if line.get("stack_info") is True:
        _own(line, "stack", "".join(traceback.format_stack()[-_STACK_FRAMES:-_OUR_FRAMES]).rstrip())
        del line["stack_info"]
    request = current_request()
    bound = structlog.contextvars.get_contextvars()
    for name, value in bound.items():
        # The request's own id follows, when the line has been searched for secrets.
        if request is None or name != "request_id":
            line.setdefault(name, value)
    if request is not None:
        request.bound = bound
        if "user_id" not in line and (user_id := request.user_id) is not None:
            line["user_id"] = user_id
    return line


def scrub_line(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the secrets out of the line. Where that fails the line stays behind, and one in its place says so."""
    error = line.pop("exc_info", None)
    try:
        clean: Any = scrub(line, url_scrubber())
    except Exception as fault:
        faults.record("Scrubbing a log line", fault)
        faults.lose("unscrubbed_lines")
        return {"event": "line_not_scrubbed"}
    return clean if error is None else {**clean, "exc_info": error}


def complete(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put level, timestamp and logger beside the event; a field of the caller with one of these names gets a "_" behind it."""
    event = line.pop("event", None)
    if not _OUR_FIELDS.isdisjoint(line):
        for name in _LINE_FIELDS:
            if name in line:
                _set_aside(line, name)
    return {
        "event": event,
        "level": _LEVEL_NAMES.get(method, method),
        "timestamp": _iso(logger.created if isinstance(logger, logging.LogRecord) else time()),
        "logger": logger.name,
        **line,
    }


def add_ids(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the running request's ids, which are no secrets."""
    request = current_request()
    if request is not None:
        ids = {"request_id": request.request_id}
        if request.trace is not None:
            ids["trace_id"], ids["span_id"] = request.trace.trace_id, request.trace.span_id
        if not ids.keys().isdisjoint(line):
            for name in ids.keys() & line.keys():
                _set_aside(line, name)
        line.update(ids)
    return line


built_in: tuple[Processor, ...] = (take_in, scrub_line, complete, add_ids)
shared: list[Processor] = list(built_in)
"""What every line passes, whoever made it; `logging_setup` adds who observes."""


def _own(line: MutableMapping[str, Any], name: str, value: str) -> None:
    if name in line and line[name] is not value:
        _set_aside(line, name)
    line[name] = value


def write(logger: logging.Logger, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write the line, or hand it to the standard library where somebody else listens too. The last of the chain."""
    event: Any = line
    if _reaches_only_us(logger):
        lines.output().write(_render(event) + b"\n")
    else:
        logger.log(
            _level_number(event["level"]),
            _readable(event),
            exc_info=event.get("exc_info"),
            extra={_EVENT_ATTRIBUTE: event},
            stacklevel=4,
        )
    return line


def _reaches_only_us(logger: logging.Logger) -> bool:
    node: logging.Logger | None = logger
    found = False
    while node is not None:
        if node.filters and node is logger:
            return False
        for handler in node.handlers:
            if type(handler) is not Handler or handler.filters or handler.level:
                return False
            found = True
        if not node.propagate:
            break
        node = node.parent
    return found


def _readable(line: Event) -> str:
    """What handlers of the host show: the event and the caller's own fields."""
    hidden = {*CORE_FIELDS, "trace_id", "span_id", "user_id", "exc_info"}
    fields = [f"{plain(name)}={dumps(value).decode()}" for name, value in line.items() if name not in hidden]
    return " ".join([text(line["event"]), *fields])


def _render(line: Event) -> bytes:
    """Return the line as bytes, its exception as text, without a newline."""
    if "exc_info" in line:
        shown = _shown(line["exc_info"])
        line = {name: value for name, value in line.items() if name != "exc_info"}
        _own(line, "exception", shown)
    return lines.renderer()(line)


def _shown(error: BaseException) -> str:
    """Return the exception as text, the same for each line of one request that carries it: Django's, and the request's own."""
    request = current_request()
    if request is None:
        return scrub_exception(error)
    place = error, error.__traceback__
    if request.shown_error is None or request.shown_error[0] != place:
        request.shown_error = place, scrub_exception(error, url_scrubber())
    return request.shown_error[1]


def exception_of(line: MutableMapping[str, Any]) -> BaseException | None:
    """Return the exception that the line's exc_info means: an exception, a triple of `sys.exc_info`, or True for the current one."""
    match line.get("exc_info"):
        case BaseException() as error:
            return error
        case (_, BaseException() as error, _):
            return error
        case tuple() | None | False:
            return None
        case _:
            return sys.exc_info()[1]


def _now() -> str:
    return _iso(time())


def _iso(moment: float) -> str:
    """Return a Unix time as "2026-11-23T10:30:45.123Z"."""
    seconds = int(moment)
    return "%s.%03dZ" % (_second(seconds), (moment - seconds) * 1000)  # noqa: UP031 - on every line, and it costs less


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


# -- records of the standard library --------------------------------------------------------------------------------------


def line_of(record: logging.LogRecord) -> Event:
    """Return the record as a line, made once however many handlers and formatters ask."""
    made: Event | None = getattr(record, _EVENT_ATTRIBUTE, None)
    if made is None:
        made = _line_from(record)
        setattr(record, _EVENT_ATTRIBUTE, made)
    return made


def _line_from(record: logging.LogRecord) -> Event:
    extra = {name: value for name, value in vars(record).items() if name not in _RECORD_ATTRIBUTES}
    line: MutableMapping[str, Any] = extra
    if "event" in line:
        _set_aside(line, "event")
    line["event"] = _message(record)
    if record.exc_info:
        line["exc_info"] = record.exc_info
    elif record.exc_text:
        _own(line, "exception", record.exc_text)
    if record.stack_info:
        _own(line, "stack", record.stack_info)
    level = str(record.levelname).lower()
    for processor in shared:
        line = processor(record, level, line)
    return cast(Event, line)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:
        message = f"{text(record.msg)} {text(record.args)}"
    # What `warnings` logs ends with the source line, and a newline.
    return message.strip()


class Handler(logging.Handler):
    """Writes records of the standard library as our lines, to standard output."""

    def handle(self, record: logging.LogRecord) -> Any:
        """Emit `record` if the filters let it pass, without the handler's lock: values and observers may take locks of theirs."""
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for `record`, though it may come by several loggers."""
        if vars(record).setdefault(_WRITTEN_ATTRIBUTE, self) is not self:
            return
        try:
            lines.output().write(_render(line_of(record)) + b"\n")
        except Exception as error:
            _log_failed(record.name, record.msg, error)


class Formatter(logging.Formatter):
    """
    Formats records as our lines, for handlers that a project names in LOGGING itself.

    `"formatters": {"json": {"()": "crm_monitoring.logs.Formatter"}}`. It works without Django's settings too, in the
    configuration of gunicorn or uvicorn: JSON then.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        try:
            return _render(line_of(record)).decode()
        except Exception as error:
            faults.record("A log formatter", error)
            return _last_resort(record.name, record.msg, error).decode()
