"""`PerformanceMonitor`: a span, a line and a record for a block of code, and nothing else changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter, time
from types import TracebackType
from typing import Any, Self

from crm_monitoring import conf, faults, hooks
from crm_monitoring.logs import get_logger
from crm_monitoring.performance.decorators import Decorated, decorate
from crm_monitoring.records import OperationRecord
from crm_monitoring.sentry import OperationSpan, start_operation_span
from crm_monitoring.work import current_work

_LINE_FIELDS = frozenset(("name", "operation", "duration_ms", "threshold_ms", "error"))

logger = get_logger("crm_monitoring.performance")

# The runs under way here, the innermost first. Immutable links: contexts copied by tasks and threads share their tails.
_Chain = tuple["_Run", "_Chain | None"]
_runs: ContextVar[_Chain | None] = ContextVar("crm_monitoring_runs", default=None)


def current_monitor() -> PerformanceMonitor | None:
    """Return the innermost monitor running here, to add data to it from inside a `@monitored` function."""
    chain = _chain()
    return None if chain is None else chain[0].monitor


def _chain() -> _Chain | None:
    chain = _runs.get()
    # A task may outlive the block it was started in.
    while chain is not None and chain[0].ended:
        chain = chain[1]
    return chain


class PerformanceMonitor:
    """
    Time a block of code: `with`, `async with`, or a decorator as `@monitored` is.

    It makes a span of the current transaction, or a transaction where none runs; one line, "operation_finished" or past the
    threshold "slow_operation_detected"; and an OperationRecord for the hooks. Exceptions pass through untouched.

    Args:
        name: What is done, the same for every run: "create_organisation".
        operation: The kind of work, Sentry's span operation.
        slow_ms: The threshold in milliseconds in place of SLOW_OPERATION_MS; also lifts the line from DEBUG to INFO.
        tags: Values to search by, set on every run.
    """

    def __init__(
        self,
        name: str,
        operation: str = "function",
        slow_ms: float | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.operation = operation
        self.slow_ms = slow_ms
        self.tags = tags or {}
        self._runs: list[_Run] = []
        self._last_ms = 0.0

    @property
    def duration_ms(self) -> float:
        """Milliseconds the block has taken: so far while it runs, in all once it has ended."""
        run = self._run_here()
        return self._last_ms if run is None else run.elapsed_ms()

    def set_data(self, **data: Any) -> None:
        """Attach values to the span and to the line: `monitor.set_data(org_id=org.id)`."""
        run = self._run_here()
        if run is not None:
            run.set_data(data)

    def set_tag(self, key: str, value: Any) -> None:
        """Attach a value to search by to the span, and to the line."""
        run = self._run_here()
        if run is not None:
            run.set_tag(key, value)

    def __enter__(self) -> Self:
        self._start().resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run = self._run_here()
        if run is not None:
            run.pause()
            self._finish(run, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, decorated: Decorated) -> Decorated:
        """Monitor every call of a function, method, coroutine, generator or class-based view."""
        return decorate(decorated, lambda: PerformanceMonitor(self.name, self.operation, self.slow_ms, tags=self.tags))

    def _start(self) -> _Run:
        run = _Run(self)
        self._runs.append(run)
        for name, value in self.tags.items():
            run.set_tag(name, value)
        return run

    def _finish(self, run: _Run, error: BaseException | None = None) -> None:
        self._runs.remove(run)
        self._last_ms = run.elapsed_ms()
        run.finish(error)

    def _run_here(self) -> _Run | None:
        chain = _chain()
        while chain is not None:
            run, chain = chain
            if run.monitor is self and not run.ended:
                return run
        # A plain thread does not know the context that it was started in.
        return next(reversed(self._runs), None)


class _Run:
    """One run of a monitor. Between `pause` and `resume` other code runs, and time does not count."""

    __slots__ = ("_clock", "_link", "_span", "_spent_ms", "_started", "ended", "fields", "monitor")

    def __init__(self, monitor: PerformanceMonitor) -> None:
        self.monitor = monitor
        self.ended = False
        self.fields: dict[str, Any] = {}
        self._started = time()
        self._spent_ms = 0.0
        self._clock: float | None = None
        self._link: _Chain | None = None
        self._span = _start_span(monitor)

    def resume(self) -> None:
        self._link = (self, _chain())
        _runs.set(self._link)
        if self._span is not None:
            _enter(self._span)
        self._clock = perf_counter()

    def pause(self) -> None:
        self._spent_ms = self.elapsed_ms()
        self._clock = None
        if self._span is not None:
            _leave(self._span)
        # The block may be left in another context than the one that entered it; that one's runs are no business of ours.
        if self._link is not None and _runs.get() is self._link:
            _runs.set(self._link[1])
        self._link = None

    def __enter__(self) -> None:
        self.resume()

    def __exit__(self, *exception: object) -> None:
        self.pause()

    def elapsed_ms(self) -> float:
        running = 0.0 if self._clock is None else (perf_counter() - self._clock) * 1000
        return self._spent_ms + running

    @faults.guarded
    def set_data(self, data: Mapping[str, Any]) -> None:
        self.fields.update(data)
        if self._span is not None:
            for name, value in data.items():
                self._span.set_data(name, value)

    @faults.guarded
    def set_tag(self, name: str, value: Any) -> None:
        self.fields[str(name)] = value
        if self._span is not None:
            self._span.set_tag(str(name), value)

    def finish(self, error: BaseException | None) -> None:
        self.ended = True
        failed = error is not None and not isinstance(error, GeneratorExit)
        if self._span is not None:
            _finish_span(self._span, failed)
        _tell(self, type(error).__name__ if failed else None)

    def record(self, threshold_ms: float, error: str | None) -> OperationRecord:
        work = current_work()
        return OperationRecord(
            name=self.monitor.name,
            operation=self.monitor.operation,
            started=self._started,
            duration_ms=self._spent_ms,
            slow=0 < threshold_ms < self._spent_ms,
            request_id=work.request_id if work else None,
            trace_id=work.trace_id if work else None,
            error=error,
        )


# -- guarded, so that no failure of ours is one of the operation ---------------------------------------


@faults.guarded
def _start_span(monitor: PerformanceMonitor) -> OperationSpan | None:
    return start_operation_span(monitor.name, monitor.operation)


@faults.guarded
def _enter(span: OperationSpan) -> None:
    span.enter()


@faults.guarded
def _leave(span: OperationSpan) -> None:
    span.leave()


@faults.guarded
def _finish_span(span: OperationSpan, failed: bool) -> None:
    span.finish(failed=failed)


@faults.guarded
def _tell(run: _Run, error: str | None) -> None:
    slow_ms = run.monitor.slow_ms
    threshold_ms = conf.get().SLOW_OPERATION_MS if slow_ms is None else slow_ms
    record = run.record(threshold_ms, error)
    _log(record, run.fields, threshold_ms, logging.DEBUG if slow_ms is None else logging.INFO)
    hooks.emit(record)
    work = current_work()
    if work is not None:
        work.note_step(record)


def _log(record: OperationRecord, fields: Mapping[str, Any], threshold_ms: float, level: int) -> None:
    if record.slow:
        line = _line(record, fields) | {"threshold_ms": threshold_ms}
        logger.log(logging.WARNING, "slow_operation_detected", **line)
    elif logger.isEnabledFor(level):
        # Asked before the line is put together: in production most of these are below the level.
        logger.log(level, "operation_finished", **_line(record, fields))


def _line(record: OperationRecord, fields: Mapping[str, Any]) -> dict[str, Any]:
    line = {f"{name}_" if name in _LINE_FIELDS else name: value for name, value in fields.items()}
    line |= {"name": record.name, "operation": record.operation, "duration_ms": round(record.duration_ms, 3)}
    return line if record.error is None else {**line, "error": record.error}
