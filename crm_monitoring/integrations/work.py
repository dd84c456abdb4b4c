"""What commands and tasks have in common: a name on their events, fields on their lines, a record, and who hears of their end."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter, time

import structlog

from crm_monitoring import hooks
from crm_monitoring.records import OperationRecord
from crm_monitoring.sentry import UnitTrace, set_tag
from crm_monitoring.sentry.failures import end_unit
from crm_monitoring.work import Unit, current_request

TASK = "queue.task"
"""Sentry's word for the operation that a task is."""


class Run:
    """
    One command or task from `__init__` to `end`. Within a request it is part of that, which holds what is reported.

    Args:
        name: The transaction of its events.
        source: Sentry's word for where the name comes from.
        fields: What each of its log lines carries.
        tags: What its events can be searched by.
        operation: The kind of operation that a task is. A command is none, and has no record.
    """

    __slots__ = ("_bound_before", "_clock", "_name", "_operation", "_started", "_unit")

    def __init__(
        self, name: str, source: str, fields: Mapping[str, str], tags: Mapping[str, str], operation: str = ""
    ) -> None:
        self._name, self._operation = name, operation
        self._started, self._clock = time(), perf_counter()
        self._unit: Unit | None = None
        if current_request() is None:
            self._unit = Unit()
            self._unit.begin(UnitTrace(name, source))
            for key, value in tags.items():
                set_tag(key, value)
        self._bound_before = structlog.contextvars.get_contextvars()
        structlog.contextvars.bind_contextvars(**fields)

    def end(self, error: BaseException | None) -> None:
        """Send what was reported, and say that it has ended; `error` is what it ended with."""
        if self._operation:
            hooks.emit(self._record(error))
        if self._unit is not None:
            try:
                end_unit(self._unit, error)
            finally:
                self._tell()

    def _tell(self) -> None:
        if self._operation:
            hooks.paused()
        else:
            hooks.ended()

    def _record(self, error: BaseException | None) -> OperationRecord:
        bound = structlog.contextvars.get_contextvars()
        return OperationRecord(
            name=self._name,
            operation=self._operation,
            started=self._started,
            duration_ms=(perf_counter() - self._clock) * 1000,
            # Nobody has said how long it may take.
            slow=False,
            request_id=bound.get("request_id"),
            trace_id=bound.get("trace_id"),
            error=None if error is None else type(error).__name__,
        )

    def unbind(self) -> None:
        """Give log lines the fields they had before."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**self._bound_before)
