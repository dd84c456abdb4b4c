"""
`get_logger`: structlog's logger for the standard library, whose log calls never raise.

A line is rendered once, to bytes, when our handler is the only one its record would reach. Where the project has added others
(a file, mail_admins, caplog) the record takes the standard library's road, and they all get it. Levels of LOGGING hold on both.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from crm_monitoring import severity
from crm_monitoring.foreign import is_of_value
from crm_monitoring.logs.calls import Call
from crm_monitoring.logs.consoles import is_silenced
from crm_monitoring.logs.lines import emit, log_failed, name_of, set_aside
from crm_monitoring.logs.processors import built_in, handle, handled_error, resolve, stop_handling
from crm_monitoring.logs.stdlib import EVENT_ATTRIBUTE, Handler, Readable
from crm_monitoring.places import place
from crm_monitoring.rendering import Event, text


class BoundLogger(structlog.stdlib.BoundLogger):
    """
    structlog's logger for the standard library, whose log calls never raise and take any field name.

    Level and event are positional only, unlike structlog's, so that fields may have these names. Given the processors of
    somebody else, who has configured structlog after us, it does what they say.
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
    msg = info

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
        self._log(number, Call.of(severity.name_of(number), number), event, args, fields)

    async def adebug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at DEBUG, in a thread."""
        await self._alog(logging.DEBUG, "debug", event, args, fields)

    async def ainfo(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at INFO, in a thread."""
        await self._alog(logging.INFO, "info", event, args, fields)

    async def awarning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log `event` with `fields` at WARNING, in a thread."""
        await self._alog(logging.WARNING, "warning", event, args, fields)

    awarn = awarning
    amsg = ainfo

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
        await self._alog(number, Call.of(severity.name_of(number), number), event, args, fields)

    async def _alog(self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if not self._is_enabled(level):
            return
        resolve(fields)
        if level >= logging.ERROR and fields.get("exc_info") is None and handled_error() is None:
            # The thread does not know who has called.
            fields = {**place(), **fields}
        token = handle(sys.exc_info()[1])
        try:
            await asyncio.to_thread(self._log, level, method, event, args, fields)
        except RuntimeError:
            # The loop is closing, and takes nothing more for its threads.
            self._log(level, method, event, args, fields)
        finally:
            stop_handling(token)

    def _is_enabled(self, level: int) -> bool:
        logger: Any = self._logger
        # One of structlog's own has no levels.
        return not isinstance(logger, logging.Logger) or logger.isEnabledFor(level)

    def _log(self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        try:
            if self._processors is not chain:
                self._proxy_to_logger(severity.name_by_method(method), event, *args, **fields)
                return
            logger = self._logger
            if not logger.isEnabledFor(level):
                return
            line: Any = {**self._context, **fields} if self._context else fields
            if "event" in line:
                set_aside(line, "event")
            if args:
                method = Call.of(method, getattr(method, "number", None), event, args)
                event = _interpolated(event, args)
            line["event"] = event
            for processor in chain:  # pragma: no branch - its last is `end`, or raises in the place of all
                if processor is end:
                    return
                line = processor(logger, method, line)
        except structlog.DropEvent:
            # By `structlog.testing.capture_logs`, which puts a processor of its own in the place of ours.
            return
        except BaseException as error:
            if not is_of_value(error):
                raise
            self._log_otherwise(level, method, event, args, fields, error)

    def _log_otherwise(
        self, level: int, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], error: BaseException
    ) -> None:
        logger: Any = self._logger
        if self._processors is chain and not isinstance(logger, logging.Logger):
            # Somebody has given structlog a logger factory of another kind, and left the rest as we have set it.
            _restored(name_of(logger), self._context)._log(level, method, event, args, fields)
        else:
            log_failed(name_of(logger), event, error)

    def __reduce__(self) -> Any:
        # The processors belong to this process.
        return _restored, (self._logger.name, self._context)


def _level_number(level: Any) -> int:
    if issubclass(type(level), int):
        return int.__index__(level)
    if not issubclass(type(level), str):
        return logging.INFO
    level = str.__str__(level)
    known = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
    # The standard library calls a level without a name "Level 25".
    digits = level.lower().removeprefix("level ")
    return known.get(level.lower(), int(digits) if digits.isdecimal() else logging.INFO)


def _interpolated(event: Any, args: tuple[Any, ...]) -> Any:
    try:
        # The standard library's rule: a lone mapping is for %(name)s.
        return event % (args[0] if len(args) == 1 and issubclass(type(args[0]), dict) and args[0] else args)
    except BaseException as error:
        if not is_of_value(error):
            raise
        return f"{text(event)} {text(args)}"


def get_logger(name: str | None = None) -> Any:
    """
    Return a structlog logger; usually called as `get_logger(__name__)`.

    Log events are named `object_verbed`, facts go in fields: `logger.info("organisation_created", org_id=123)`. It writes our
    lines however structlog itself is configured.
    """
    return _restored(name or sys._getframe(1).f_globals.get("__name__"), {})


def _restored(name: str | None, context: dict[str, Any]) -> BoundLogger:
    return BoundLogger(logging.getLogger(name), chain, context)


def write(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write the line, or hand it to the standard library where somebody else listens too."""
    event: Any = line
    if not isinstance(logger, logging.Logger) or _reaches_only_us(logger):
        emit(event)
    else:
        logger.log(
            getattr(method, "number", None) or severity.NUMBERS[event["level"]],
            Readable(event),
            exc_info=event.get("exc_info"),
            extra={EVENT_ATTRIBUTE: event, **_for_formatters(logger, method, event)},
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
            if type(handler) is Handler and not handler.filters and not handler.level:
                found = True
            elif not is_silenced(handler):
                return False
        if not node.propagate:
            break
        node = node.parent
    return found


def _for_formatters(logger: logging.Logger, method: str, line: Event) -> dict[str, Any]:
    """Return what structlog's ProcessorFormatter knows a line with fields by, in a record."""
    extra: dict[str, Any] = structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, line)[1]["extra"]
    return extra


def end(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say to wrapper classes of others that the line is written: there is nothing left to hand to the logger."""
    raise structlog.DropEvent


chain: list[Any] = [*built_in, write, end]
"""What a line of `get_logger` passes. The list itself stays, for loggers hold on to it."""
