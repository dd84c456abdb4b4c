"""
The only module that configures structlog and the standard library's logging.

Handlers that print to the console fall silent beside ours, so that nothing is printed twice; all else of the host's LOGGING stays.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, cast

import structlog
from django.conf import settings

from crm_monitoring import conf, faults, scrubbing
from crm_monitoring.foreign import is_of_value
from crm_monitoring.logs import lines, uncaught
from crm_monitoring.logs.consoles import is_console, is_silenced, silence
from crm_monitoring.logs.logger import BoundLogger, chain, end, write
from crm_monitoring.logs.processors import Processor, built_in, shared
from crm_monitoring.logs.stdlib import REQUEST_LOGGERS, Handler, repeating

STRUCTLOG_RECONFIGURED = (
    "structlog was configured after crm_monitoring: loggers of structlog.get_logger() follow that configuration."
)

_observers: tuple[Processor, ...] = ()
_guests: tuple[Processor, ...] = ()
# What gives the host its logging back as it was, last step first.
undo: list[Callable[[], object]] = []


def init_structured_logging(*observers: Processor) -> None:
    """
    Configure structlog, and the standard library unless CONFIGURE_LOGGING is off. Safe to call again.

    Args:
        observers: Processors that see every line, complete, before it is written.
    """
    global _observers
    if observers:
        _observers = tuple(_guarded(observer) for observer in observers)
    # The lists themselves stay: loggers hold on to them.
    shared[:] = [*built_in, *_observers, *_guests]
    chain[:] = [*shared, write, end]
    structlog.configure(
        processors=chain,
        wrapper_class=BoundLogger,
        logger_factory=_logger_factory(),
        cache_logger_on_first_use=True,
    )
    # A line may have been logged before there was a setting.
    scrubbing.reset()
    lines.reset()
    if conf.get().CONFIGURE_LOGGING:
        take_over()
    else:
        _let_go()


def is_structlog_ours() -> bool:
    """Whether `structlog.get_logger` still gives our loggers: nobody has configured structlog after us."""
    config = structlog.get_config()
    is_configured = config["processors"] is chain and config["wrapper_class"] is BoundLogger
    return is_configured and isinstance(config["logger_factory"], structlog.stdlib.LoggerFactory)


@contextmanager
def observed(observer: Processor) -> Iterator[None]:
    """Let `observer` see every line of the block, whether loggers are cached or not, and the setting changes or not."""
    global _guests
    before = _guests
    _guests = (*before, _guarded(observer))
    init_structured_logging()
    try:
        yield
    finally:
        _guests = before
        init_structured_logging()


def _guarded(observer: Processor) -> Processor:
    """An observer that fails costs what it observes, not the line."""

    @wraps(observer)
    def observe(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        try:
            return observer(logger, method, line)
        except BaseException as error:
            if not is_of_value(error):
                raise
            faults.record("An observer of log lines", error)
            return line

    return observe


def _logger_factory() -> structlog.stdlib.LoggerFactory:
    # It puts a class of structlog's in the place of the host's.
    host_class = logging.getLoggerClass()
    factory = structlog.stdlib.LoggerFactory()
    logging.setLoggerClass(host_class)
    return factory


def take_over() -> None:
    """Let our handler write what consoles printed, once. Called again, it takes over what servers have added since."""
    root = logging.getLogger()
    if not undo:
        _take_over_globals(root)
    level = min((handler.level for handler in root.handlers if is_console(handler)), default=logging.NOTSET)
    for logger in _all_loggers():
        _silence_consoles(logger)
    if not any(type(handler) is Handler for handler in root.handlers):
        _add(root, Handler(level))
    repeating.clear()
    repeating.update(REQUEST_LOGGERS)
    repeating.difference_update(_given_loggers())
    if not _level_is_given():
        root.setLevel(conf.get().LOG_LEVEL)


def _take_over_globals(root: logging.Logger) -> None:
    undo.append(partial(root.setLevel, root.level))
    # What prints warnings of loggers that have no handler, and do not propagate.
    undo.append(partial(setattr, logging, "lastResort", logging.lastResort))
    logging.lastResort = Handler(logging.WARNING)
    undo.extend(uncaught.watch())
    shown_by = warnings.showwarning
    logging.captureWarnings(True)
    if warnings.showwarning is not shown_by:
        undo.append(partial(logging.captureWarnings, False))


def _let_go() -> None:
    while undo:
        undo.pop()()


def _add(logger: logging.Logger, handler: logging.Handler) -> None:
    logger.addHandler(handler)
    undo.append(partial(logger.removeHandler, handler))


def _all_loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _silence_consoles(logger: logging.Logger) -> None:
    for handler in [handler for handler in logger.handlers if is_console(handler)]:
        if not is_silenced(handler):
            undo.append(partial(handler.removeFilter, silence(cast(Any, handler))))
        if not _is_printed(logger):
            ours = Handler(handler.level)
            # What silences theirs stands before their own filters.
            ours.filters = handler.filters[1:]
            _add(logger, ours)


def _is_printed(logger: logging.Logger) -> bool:
    """Whether records of `logger` reach a handler of ours, now or when all is taken over."""
    node: logging.Logger | None = logger
    while node is not None:
        if node.parent is None or any(_will_be_ours(handler, node is logger) for handler in node.handlers):
            return True
        node = node.parent if node.propagate else None
    return False


def _will_be_ours(handler: logging.Handler, is_own: bool) -> bool:
    return type(handler) is Handler or (not is_own and is_console(handler))


def _given_loggers() -> dict[str, Any]:
    """Return what LOGGING says of loggers, by their names."""
    given: dict[str, Any] = (getattr(settings, "LOGGING", None) or {}).get("loggers") or {}
    return given


def _level_is_given() -> bool:
    given, loggers = getattr(settings, "LOGGING", None) or {}, _given_loggers()
    return any("level" in (root or {}) for root in (given.get("root"), loggers.get(""), loggers.get("root")))


def effective_level() -> str:
    """Return the name of the level below which the root logger drops records."""
    return logging.getLevelName(logging.getLogger().level)
