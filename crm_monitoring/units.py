"""
`unit_of_work`: what runs inside is told of by itself, as a request is. Commands, tasks and jobs are built on it.

A unit has a scope and a request id of its own, fields on its lines, failures that are reported once and sent when it ends, one
line, one record. What runs around it gets back what it had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from inspect import isasyncgenfunction, isgeneratorfunction
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar, cast

from asgiref.sync import sync_to_async

from crm_monitoring import faults, hooks
from crm_monitoring.ids import new_id
from crm_monitoring.logs import bind, bound, get_logger, rebind
from crm_monitoring.records import OperationRecord
from crm_monitoring.rendering import text
from crm_monitoring.requests import harmless_id
from crm_monitoring.sentry import UnitTrace, capture_crash, leave_unit, set_tag, trace_headers
from crm_monitoring.work import Unit, nearest_request, show_to_keepers
from crm_monitoring.wrapping import iscoroutinefunction, wrapped_coroutine, wrapped_function

COMMAND = "command"
# Sentry's words for what a transaction is, and for where its name comes from. A command makes none: it may run for ever.
_OPERATIONS = {"job": "queue.task", "task": "queue.task", COMMAND: "", "websocket": "websocket.server"}
_SOURCES = {COMMAND: "custom", "websocket": "route"}
_TAGGED = (str, int, float, bool)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

logger = get_logger("crm_monitoring.units")


def unit_of_work(name: str, kind: str = "job", **fields: Any) -> UnitOfWork:
    """
    Make a block or each call of a function a unit of work: `with`, `async with`, or a decorator.

    What a block sets (tags, user, breadcrumbs, the transaction's name) ends with it. Its failures make one event each, sent when it
    ends; what escapes it was not handled. It writes one line, "unit_finished" or "unit_failed", and makes an OperationRecord.
    Exceptions pass through untouched.

    Within a command or another unit it is a unit of its own, with a new request id; within a request too, whose request id and
    trace it keeps. What runs around it goes on as before when it ends. Generator functions are left as they are, for their code
    runs where they are iterated.

    Args:
        name: What is done, the same for every run: "send_invoices". It names the events.
        kind: What sort of work it is: "job", "task", "websocket" or a word of yours.
        fields: What each of its log lines carries; plain values are tags of its events. A `request_id` among them is the unit's.
    """
    return UnitOfWork(name, kind, fields)


class UnitOfWork:
    """
    One or more runs of a unit of work, one after the other. Made by `unit_of_work`.

    Attributes:
        request_id: What the lines and events of the latest run can be found by, None before the first.
    """

    def __init__(self, name: str, kind: str, fields: Mapping[str, Any]) -> None:
        if callable(name):
            raise TypeError('A unit of work has a name: @unit_of_work("send_invoices").')
        self._name, self._kind, self._fields = name, kind, fields
        self._units: list[Unit | None] = []
        self.request_id: str | None = None

    def __enter__(self) -> Self:
        unit = begin_unit(self._name, self._kind, self._fields)
        self._units.append(unit)
        self.request_id = None if unit is None else unit.request_id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end_unit(self._units.pop(), error)

    async def __aenter__(self) -> Self:
        self.__enter__()
        _remember_task(self._units[-1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)
        if nearest_request() is None:
            await sync_to_async(hooks.paused)()

    def __call__(self, decorated: Decorated) -> Decorated:
        """Make every call of a function, method or coroutine function a unit of work."""
        return cast(Decorated, self._wrapped(decorated))

    def _wrapped(self, decorated: Any) -> Any:
        if isinstance(decorated, classmethod | staticmethod):
            return type(decorated)(self._wrapped(decorated.__func__))
        if isgeneratorfunction(decorated) or isasyncgenfunction(decorated):
            return decorated
        wrapped = wrapped_coroutine if iscoroutinefunction(decorated) else wrapped_function
        return wrapped(decorated, lambda: UnitOfWork(self._name, self._kind, self._fields))


# -- how a unit begins ----------------------------------------------------------------------------------------------------


@faults.guarded
def begin_unit(
    name: str,
    kind: str,
    fields: Mapping[str, Any] = MappingProxyType({}),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Unit:
    """
    Begin a unit of work, and make it what runs now. `end_unit` must follow.

    Args:
        headers: What whoever asked for the unit says of its trace; see `sentry.trace_headers`.
    """
    request = nearest_request()
    given = harmless_id(fields.get("request_id"))
    unit = Unit(text(name), kind, given or (request.request_id if request is not None else new_id()))
    unit.outer_bound = bound()
    unit.trace = _trace(unit, trace_headers() if request is not None and not headers else headers)
    unit.enter()
    _set_fields({name: value for name, value in fields.items() if name != "request_id"})
    identify(unit, unit.request_id)
    return unit


@faults.guarded
def identify(unit: Unit, request_id: object) -> None:
    """Find the unit by this id from here on, if it is harmless: it came with what asked for the unit."""
    unit.request_id = harmless_id(request_id) or unit.request_id
    _set_fields({"request_id": unit.request_id})


@faults.guarded
def _trace(unit: Unit, headers: Mapping[str, str]) -> UnitTrace:
    operation = _OPERATIONS.get(unit.kind, unit.kind)
    return UnitTrace(unit.name, _SOURCES.get(unit.kind, "task"), operation, headers)


@faults.guarded
def _remember_task(unit: Unit | None) -> None:
    if unit is not None:
        unit.remember_task()


@faults.guarded
def _set_fields(fields: Mapping[str, Any]) -> None:
    bind(fields)
    for name, value in fields.items():
        if type(value) in _TAGGED:
            set_tag(name, str(value))


# -- how a unit ends ------------------------------------------------------------------------------------------------------


def end_unit(unit: Unit | None, error: BaseException | None = None, *, is_failure: bool | None = None) -> None:
    """
    Report what escapes the unit, send what it holds, and say that it has ended.

    Args:
        unit: What `begin_unit` has returned.
        error: What it ended with.
        is_failure: Whether that is a failure. Any Exception is one, unless this says otherwise; leaving or being cancelled is none.
    """
    if unit is None:
        return
    failed = isinstance(error, Exception) if is_failure is None else is_failure
    if error is not None and failed:
        _report_failure(unit, error)
    # In a forked child it is concluded: it ends in the parent.
    if not unit.concluded:
        _tell(unit, error, failed)
        _leave(unit, error, failed)
    _pause(unit)


@faults.guarded
def _report_failure(unit: Unit, error: BaseException) -> None:
    unit.event_id = capture_crash(error, unit.kind)


def _tell(unit: Unit, error: BaseException | None, failed: bool) -> None:
    if unit.kind != COMMAND:
        # A command may well do the same for each of a thousand things.
        _tell_n_plus_one(unit)
    record = _record(unit, error)
    _log_end(unit, record, error, failed)
    # Counting is no reason for a command that has asked no database to open a connection: there may be none yet.
    if unit.is_counted and (unit.kind != COMMAND or unit.db_queries):
        hooks.emit(record)
        show_to_keepers(unit, record)


@faults.guarded
def _tell_n_plus_one(unit: Unit, /) -> None:
    if unit.repeated:
        # It knows Django's databases, and whoever imports this package may not have any yet.
        from crm_monitoring.queries import tell_n_plus_one

        tell_n_plus_one(unit)


def _record(unit: Unit, error: BaseException | None) -> OperationRecord:
    return OperationRecord(
        name=unit.name,
        operation=_OPERATIONS.get(unit.kind) or unit.kind,
        started=unit.started,
        duration_ms=unit.elapsed_ms(),
        # Nobody has said how long it may take.
        slow=False,
        request_id=unit.request_id,
        trace_id=unit.trace_id,
        error=None if error is None else type(error).__name__,
    )


@faults.guarded
def _log_end(unit: Unit, record: OperationRecord, error: BaseException | None, failed: bool) -> None:
    level = _level(unit, error, failed)
    if not logger.isEnabledFor(level):
        return
    line = {
        "name": unit.name,
        "kind": unit.kind,
        "duration_ms": round(record.duration_ms, 3),
        "db_queries": unit.db_queries,
        "db_ms": round(unit.db_ms, 3),
    }
    if error is not None:
        line["error"] = record.error
        if failed and not _has_shown(unit, error):
            line["exc_info"] = error
    logger.log(level, "unit_failed" if failed else "unit_finished", **line)


def _level(unit: Unit, error: BaseException | None, failed: bool) -> int:
    if failed:
        return logging.ERROR
    if unit.kind == COMMAND:
        # What it prints may be read by another program.
        return logging.DEBUG
    return logging.INFO if error is None else logging.WARNING


def _has_shown(unit: Unit, error: BaseException) -> bool:
    """Whether a line of the unit has the traceback already, as the runner's own line has."""
    return unit.shown_error is not None and unit.shown_error[0][0] is error


def _leave(unit: Unit, error: BaseException | None, failed: bool) -> None:
    _send_held(unit, error)
    if unit.trace is not None:
        _close_trace(unit, failed)
    rebind(unit.outer_bound)


@faults.guarded
def _send_held(unit: Unit, error: BaseException | None) -> None:
    leave_unit(unit, error)


@faults.guarded
def _close_trace(unit: Unit, failed: bool) -> None:
    if unit.trace is not None:
        unit.trace.close(failed=failed)


def _pause(unit: Unit) -> None:
    """Let those who collect write what is due, where nobody waits for it: neither a client nor an event loop."""
    if unit.kind == COMMAND:
        hooks.ended()
    elif nearest_request() is None and not _is_in_event_loop():
        hooks.paused()


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
