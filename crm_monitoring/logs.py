"""
The only module that configures structlog and the standard library's logging.

A line of `get_logger` is rendered once, to bytes, when our handler is the only one its record would reach. Where the project
has added others (a file, mail_admins, caplog) the record takes the standard library's road, and they all get it. Levels of
LOGGING hold on both roads. Records of other libraries pass the same processors and come out as the same line.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import structlog
from django.conf import settings

from crm_monitoring import conf, context, faults
from crm_monitoring.rendering import (
    Event,
    Limits,
    Renderer,
    console_renderer,
    dumps,
    format_exception,
    json_renderer,
    logfmt_renderer,
)
from crm_monitoring.streams import Output, QueuedOutput, StandardOutput

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]

_EVENT_ATTRIBUTE = "crm_monitoring_event"
_LINE_FIELDS = ("event", "level", "timestamp", "logger")
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _EVENT_ATTRIBUTE}
_STACK_FRAMES = 30
_LEVEL_NAMES = {"exception": "error", "warn": "warning", "fatal": "critical", "notset": "debug"}


class BoundLogger(structlog.stdlib.BoundLogger):
    """structlog's logger for the standard library, whose log calls never raise and take any field name."""

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

    def log(self, level: int, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at the numeric `level`."""
        self._log(level, logging.getLevelName(level).lower(), event, args, fields)

    def _log(self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        try:
            if "event" in fields:
                fields["event_"] = fields.pop("event")
            line: MutableMapping[str, Any] = {**self._context, **fields, "event": _interpolated(event, args)}
            for processor in self._processors:
                line = cast(MutableMapping[str, Any], processor(self._logger, method, line))
        except structlog.DropEvent:
            pass
        except Exception as error:
            _log_failed(self._logger.name, error)


def _interpolated(event: Any, args: tuple[Any, ...]) -> Any:
    if not args:
        return event
    try:
        # The standard library's rule: a lone mapping is for %(name)s.
        return event % (args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args)
    except Exception:
        return f"{event} {args!r}"


def _log_failed(name: str, error: Exception) -> None:
    # The last resort still gives one line of JSON.
    _output().write(
        dumps(
            {
                "event": "log_line_failed",
                "level": "error",
                "timestamp": _now(),
                "logger": name,
                "error": type(error).__name__,
            }
        )
        + b"\n"
    )
    faults.record("A log call", error)


def get_logger(name: str | None = None) -> Any:
    """
    Return a structlog logger; usually called as `get_logger(__name__)`.

    Log events are named `object_verbed`, facts go in fields: `logger.info("organisation_created", org_id=123)`.
    """
    return structlog.stdlib.get_logger(name) if name else structlog.stdlib.get_logger()


# -- processors: one line's way from the call to the stream --------------------------------------------------------------


def complete(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put level, timestamp and logger beside the event; a field of the caller with one of these names gets a "_" behind it."""
    event = line.pop("event", None)
    for name in _LINE_FIELDS:
        if name in line:
            line[f"{name}_"] = line.pop(name)
    if "exc_info" in line:
        # True means the exception handled right now, which another thread or a later moment would not find.
        line["exc_info"] = exception_of(line)
    if line.get("stack_info") is True:
        line["stack_info"] = "".join(traceback.format_stack(limit=_STACK_FRAMES)).rstrip()
    return {
        "event": event,
        "level": _LEVEL_NAMES.get(method, method),
        "timestamp": _now(),
        "logger": logger.name,
        **line,
    }


def add_request(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what is bound by `structlog.contextvars`, and the running request's ids."""
    for name, value in structlog.contextvars.get_contextvars().items():
        line.setdefault(name, value)
    request = context.current()
    if request is not None:
        line["request_id"] = request.request_id
        if request.trace is not None:
            line["trace_id"] = request.trace.trace_id
            line["span_id"] = request.trace.span_id
        user_id = request.user_id
        if user_id is not None:
            line.setdefault("user_id", user_id)
    return line


def write(logger: logging.Logger, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write the line, or hand it to the standard library where somebody else listens too. The last of the chain."""
    event = cast(Event, line)
    if _reaches_only_us(logger):
        _output().write(_render(event) + b"\n")
    else:
        level = logging.getLevelName(str(line["level"]).upper())
        logger.log(
            level if isinstance(level, int) else logging.INFO,
            "%s",
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
    hidden = {*_LINE_FIELDS, "request_id", "trace_id", "span_id", "user_id", "exc_info", "stack"}
    fields = " ".join(f"{name}={dumps(value).decode()}" for name, value in line.items() if name not in hidden)
    return f"{line['event']} {fields}".rstrip()


def _render(line: Event) -> bytes:
    """Return the line as bytes, its exception as text, without a newline."""
    if "exc_info" in line:
        error = line["exc_info"]
        line = {name: value for name, value in line.items() if name != "exc_info"}
        if error is not None:
            line["exception"] = format_exception(error)
    return _renderer()(line)


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
    return _iso(datetime.now(UTC))


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


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
    line: MutableMapping[str, Any] = {**extra, "event": _message(record)}
    if record.exc_info:
        line["exc_info"] = record.exc_info
    elif record.exc_text:
        line["exception"] = record.exc_text
    if record.stack_info:
        line["stack"] = record.stack_info
    line = complete(record, record.levelname.lower(), line)
    line["timestamp"] = _iso(datetime.fromtimestamp(record.created, UTC))
    for processor in _shared_processors():
        line = processor(record, record.levelname.lower(), line)
    return cast(Event, line)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:
        message = f"{record.msg} {record.args!r}"
    # What `warnings` logs ends with the source line, and a newline.
    return message.strip()


class Handler(logging.Handler):
    """Writes records of the standard library as our lines, to standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for `record`."""
        try:
            _output().write(_render(line_of(record)) + b"\n")
        except Exception as error:
            _log_failed(record.name, error)


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
            return super().format(record)


# -- configuration --------------------------------------------------------------------------------------------------------

_processors: list[Any] = []
_observers: tuple[Processor, ...] = ()
_standard_output = StandardOutput()
_queued_output: QueuedOutput | None = None


def _shared_processors() -> tuple[Processor, ...]:
    return (add_request, *_observers)


def init_structured_logging(*observers: Processor) -> None:
    """
    Configure structlog, and the standard library unless CONFIGURE_LOGGING is off. Safe to call again.

    Args:
        observers: Processors that see every line, complete, before it is written.
    """
    global _observers
    _observers = observers or _observers
    # The list itself stays: loggers that are cached hold on to it.
    _processors[:] = [complete, *_shared_processors(), write]
    structlog.configure(
        processors=_processors,
        wrapper_class=BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    _reset_output()
    if conf.get().CONFIGURE_LOGGING:
        take_over()
    else:
        _let_go()


def _reset_output() -> None:
    _renderer.cache_clear()
    _output.cache_clear()


@cache
def _renderer() -> Renderer:
    if not settings.configured:
        return json_renderer(_DefaultLimits())
    config = conf.get()
    match log_format():
        case "console":
            return console_renderer(config, colors=_on_terminal())
        case "logfmt":
            return logfmt_renderer(config)
        case _:
            return json_renderer(config)


class _DefaultLimits:
    LOG_MAX_STRING = conf.Config.LOG_MAX_STRING
    LOG_MAX_LINE = conf.Config.LOG_MAX_LINE


def log_format() -> str:
    """Return the format lines have: json, console or logfmt."""
    chosen = conf.get().LOG_FORMAT
    if chosen != "auto":
        return chosen
    return "console" if settings.DEBUG and _on_terminal() else "json"


def _on_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False


@cache
def _output() -> Output:
    global _queued_output
    size = conf.get().LOG_QUEUE_SIZE if settings.configured else 0
    if not size:
        return _standard_output
    if _queued_output is None or _queued_output.size != size:
        _queued_output = QueuedOutput(_standard_output, size)
    return _queued_output


def take_over() -> None:
    """Let our handler write what consoles printed, once."""
    root = logging.getLogger()
    for logger in _all_loggers():
        _replace_consoles(logger)
    if not any(type(handler) is Handler for handler in root.handlers):
        root.addHandler(Handler())
    if not _level_is_given():
        root.setLevel(conf.get().LOG_LEVEL)
    logging.captureWarnings(True)


def _let_go() -> None:
    for logger in _all_loggers():
        for handler in [handler for handler in logger.handlers if type(handler) is Handler]:
            logger.removeHandler(handler)


def _all_loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _replace_consoles(logger: logging.Logger) -> None:
    for handler in [handler for handler in logger.handlers if is_console(handler)]:
        logger.removeHandler(handler)
        if not logger.propagate and not any(type(other) is Handler for other in logger.handlers):
            # Its records never reach the root's handler.
            ours = Handler(handler.level)
            ours.filters = list(handler.filters)
            logger.addHandler(ours)


def is_console(handler: logging.Handler) -> bool:
    """Whether the handler prints to the process's own standard output or error."""
    stream = getattr(handler, "stream", None)
    return (
        isinstance(handler, logging.StreamHandler)
        and stream is not None
        and stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    )


def _level_is_given() -> bool:
    logging_setting = getattr(settings, "LOGGING", None) or {}
    return "level" in logging_setting.get("root", {})


def effective_level() -> str:
    """Return the name of the level below which the root logger drops records."""
    return logging.getLevelName(logging.getLogger().level)


def is_structured() -> bool:
    """Whether lines are meant for machines."""
    return log_format() != "console"


__all__ = ["BoundLogger", "Formatter", "Handler", "Limits", "get_logger", "init_structured_logging"]
