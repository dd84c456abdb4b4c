"""Records of the standard library as our lines: `Handler` writes them, `Formatter` is for handlers of the project's own."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

from crm_monitoring import faults, severity
from crm_monitoring.logs.lines import emit, last_resort, log_failed, own, render, set_aside
from crm_monitoring.logs.processors import shared
from crm_monitoring.rendering import Event, text

# Formatters of others, which print what is added to a record, leave out names that begin so.
EVENT_ATTRIBUTE = "_crm_monitoring_event"
_WRITTEN_ATTRIBUTE = "_crm_monitoring_written"
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "color_message",  # uvicorn's, the message once more with the codes of a terminal
    "message",
    "taskName",
    EVENT_ATTRIBUTE,
    _WRITTEN_ATTRIBUTE,
}


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
            emit(line_of(record))
        except Exception as error:
            log_failed(record.name, record.msg, error)


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
        except Exception as error:
            faults.record("A log formatter", error)
            return last_resort(record.name, record.msg, error).decode()


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
