"""Records of the standard library as our lines: `Handler` writes them, `Formatter` is for handlers of the project's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Self, cast

from django.utils.functional import LazyObject

from crm_monitoring import faults, severity
from crm_monitoring.foreign import is_of_value
from crm_monitoring.logs.calls import Call
from crm_monitoring.logs.lines import emit, last_resort, log_failed, own, render, set_aside, with_shown_exception
from crm_monitoring.logs.processors import shared
from crm_monitoring.rendering import CORE_FIELDS, Event, dumps, plain, text
from crm_monitoring.work import current_request

# Formatters of others, which print what is added to a record, leave out names that begin so.
EVENT_ATTRIBUTE = "_crm_monitoring_event"
_WRITTEN_ATTRIBUTE = "_crm_monitoring_written"
# What structlog's ProcessorFormatter.wrap_for_formatter adds to a record.
_STRUCTLOG_LOGGER, _STRUCTLOG_METHOD = "_logger", "_name"
_OF_EVERY_LINE = frozenset(("level", "timestamp", "logger"))
_NOT_SHOWN = frozenset(
    (*CORE_FIELDS, "trace_id", "span_id", "user_id", "exc_info", "code.filepath", "code.lineno", "code.function")
)
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "color_message",  # uvicorn's, the message once more with the codes of a terminal
    "message",
    "taskName",
    EVENT_ATTRIBUTE,
    _WRITTEN_ATTRIBUTE,
}


REQUEST_LOGGERS = (
    "django.request",
    "django.server",
    "django.channels.server",
    "granian.access",
    "gunicorn.access",
    "hypercorn.access",
    "uvicorn.access",
)
"""Loggers whose lines about a request say once more what its own line says."""

repeating: set[str] = set(REQUEST_LOGGERS)
"""Those of them that LOGGING does not name: their lines are left out while a request of ours runs. `setup` keeps it."""


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
        if record.name in repeating and _repeats(record):
            return
        if vars(record).setdefault(_WRITTEN_ATTRIBUTE, self) is not self:
            return
        try:
            emit(line_of(record))
        except BaseException as error:
            if not is_of_value(error):
                raise
            log_failed(record.name, record.msg, error)


def _repeats(record: logging.LogRecord) -> bool:
    """Whether the record says of the running request what the request's own line says."""
    request = current_request()
    if request is None:
        return False
    if record.exc_info:
        return record.exc_info[1] is request.error
    # Django names the status; code of the project may use its loggers for something else.
    return not record.name.startswith("django.") or hasattr(record, "status_code")


class Formatter(logging.Formatter):
    """
    Formats records as our lines, for handlers that a project names in LOGGING itself.

    `"formatters": {"json": {"()": "crm_monitoring.logs.Formatter"}}`. It works without Django's settings too, in the
    configuration of gunicorn or uvicorn: JSON then.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        try:
            return render(line_of(record)).decode()
        except BaseException as error:
            if not is_of_value(error):
                raise
            faults.record("A log formatter", error)
            return last_resort(record.name, record.msg, error).decode()


class Readable(str):
    """What handlers of the host show of a line: the event and the caller's own fields. To structlog's ProcessorFormatter, the line."""

    _line: Event

    def __new__(cls, line: Event) -> Self:
        """Make the text of `line`."""
        shown = [f"{plain(name)}={dumps(value).decode()}" for name, value in line.items() if name not in _NOT_SHOWN]
        readable = super().__new__(cls, " ".join([text(line["event"]), *shown]))
        readable._line = line
        return readable

    def copy(self) -> Event:
        """Return the line's fields, its exception as text."""
        return with_shown_exception(self._line)


def line_of(record: logging.LogRecord) -> Event:
    """Return the record as a line, made once however many handlers and formatters ask."""
    made: Event | None = getattr(record, EVENT_ATTRIBUTE, None)
    if made is None:
        made = _line_from(record)
        setattr(record, EVENT_ATTRIBUTE, made)
    return made


def _line_from(record: logging.LogRecord) -> Event:
    extra = {name: value for name, value in vars(record).items() if name not in _RECORD_ATTRIBUTES}
    line: MutableMapping[str, Any] = extra
    if _STRUCTLOG_METHOD in line and isinstance(record.msg, Mapping):
        line.update(_unwrapped(line, record.msg))
    else:
        if "event" in line:
            set_aside(line, "event")
        line["event"] = _message(record)
    if record.exc_info:
        line["exc_info"] = record.exc_info
    elif record.exc_text:
        own(line, "exception", record.exc_text)
    if record.stack_info:
        own(line, "stack", record.stack_info)
    # A record may be made by hand.
    level = severity.name_of(record.levelno) if isinstance(record.levelno, int) else "info"
    if record.args:
        level = Call.of(level, None, record.msg, record.args)
    for processor in shared:
        line = processor(record, level, line)
    return cast(Event, line)


def _unwrapped(extra: MutableMapping[str, Any], line: Mapping[Any, Any]) -> Event:
    """Return the fields of a line that somebody else's structlog has made, but for those that our line has itself."""
    del extra[_STRUCTLOG_METHOD], extra[_STRUCTLOG_LOGGER]
    return {"event": None, **{name: value for name, value in line.items() if name not in _OF_EVERY_LINE}}


def _message(record: logging.LogRecord) -> str:
    if issubclass(type(record.msg), LazyObject):
        return text(record.msg)
    try:
        message = str.__str__(record.getMessage())
    except BaseException as error:
        if not is_of_value(error):
            raise
        message = f"{text(record.msg)} {text(record.args)}"
    # What `warnings` logs ends with the source line, and a newline.
    return message.strip()
