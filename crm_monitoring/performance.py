"""`PerformanceMonitor` and `@monitored`: a span, a line and a record for a block of code, and nothing else changed."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from time import perf_counter, time
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from crm_monitoring import conf, faults, hooks
from crm_monitoring.logs.logger import get_logger
from crm_monitoring.records import OperationRecord
from crm_monitoring.sentry import OperationSpan, start_operation_span
from crm_monitoring.work import current_request

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    from asgiref.sync import iscoroutinefunction  # pragma: no cover - coverage is measured on a later Python

P = ParamSpec("P")
T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

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
        return _decorate(decorated, lambda: PerformanceMonitor(self.name, self.operation, self.slow_ms, tags=self.tags))

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
        request = current_request()
        return OperationRecord(
            name=self.monitor.name,
            operation=self.monitor.operation,
            started=self._started,
            duration_ms=self._spent_ms,
            slow=0 < threshold_ms < self._spent_ms,
            request_id=request.request_id if request else None,
            trace_id=request.trace_id if request else None,
            error=error,
        )


# -- the doors: what is guarded, so that no failure of ours is one of the operation ---------------------------------------


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


# -- the decorators -------------------------------------------------------------------------------------------------------


@overload
def monitored(name: Decorated, /) -> Decorated: ...


@overload
def monitored(
    name: str | None = None,
    /,
    *,
    operation: str = "function",
    slow_ms: float | None = None,
    tags: Mapping[str, Any] | None = None,
) -> Callable[[Decorated], Decorated]: ...


def monitored(
    name: Any = None,
    /,
    *,
    operation: str = "function",
    slow_ms: float | None = None,
    tags: Mapping[str, Any] | None = None,
) -> Any:
    """
    Run every call under a `PerformanceMonitor`: `@monitored`, or `@monitored("name", slow_ms=500, tags={"team": "crm"})`.

    For functions, coroutines, methods, class-based views (their `dispatch`), generators and async generators, whose signature
    and kind stay what they are. A generator is timed while its own code runs, not while its caller's does.

    Args:
        name: What is done; the function's dotted name by default.
        operation: The kind of work, Sentry's span operation.
        slow_ms: See `PerformanceMonitor`.
        tags: Values to search by, on every span.
    """
    if name is not None and not isinstance(name, str):
        return monitored()(name)

    def decorate(decorated: Decorated) -> Decorated:
        label = name or _dotted_name(decorated)
        return _decorate(decorated, lambda: PerformanceMonitor(label, operation, slow_ms, tags=tags))

    return decorate


def _dotted_name(decorated: Any) -> str:
    # A functools.partial has no name of its own.
    return f"{decorated.__module__}.{getattr(decorated, '__qualname__', type(decorated).__qualname__)}"


def unmonitored(view: Decorated) -> Decorated:
    """Serve this view, a function or a class, without transaction, record or line above DEBUG. A crash in it is still reported."""
    view.unmonitored = True  # type: ignore[attr-defined]
    return view


_New = Callable[[], PerformanceMonitor]


def _decorate(decorated: Decorated, new: _New) -> Decorated:
    wrapper: Any
    if isinstance(decorated, classmethod | staticmethod):
        wrapper = type(decorated)(_decorate(decorated.__func__, new))
    elif isinstance(decorated, type):
        wrapper = _view_class(decorated, new)
    elif isasyncgenfunction(decorated):
        wrapper = _async_generator(decorated, new)
    elif isgeneratorfunction(decorated):
        wrapper = _generator(decorated, new)
    elif iscoroutinefunction(decorated):
        wrapper = _coroutine(decorated, new)
    else:
        wrapper = _function(decorated, new)
    return cast(Decorated, wrapper)


def _function(function: Callable[P, T], new: _New) -> Callable[P, T]:
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with new():
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: Callable[P, Awaitable[T]], new: _New) -> Callable[P, Awaitable[T]]:
    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with new():
            return await function(*args, **kwargs)

    return wrapper


def _view_class(view: Any, new: _New) -> Any:
    if not hasattr(view, "dispatch"):
        raise TypeError(
            f"@monitored is for functions and class-based views; {view.__qualname__} has no dispatch(). Decorate its methods."
        )
    dispatch = view.dispatch
    sync_dispatch, async_dispatch = _function(dispatch, new), _coroutine(dispatch, new)

    @wraps(dispatch)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = async_dispatch if getattr(self, "view_is_async", False) else sync_dispatch
        return chosen(self, *args, **kwargs)

    view.dispatch = wrapper
    return view


def _generator(function: Callable[P, Generator[Any, Any, Any]], new: _New) -> Callable[P, Generator[Any, Any, Any]]:
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        monitor = new()
        run = monitor._start()
        step: Callable[[Any], Any] = generator.send
        value: Any = None
        try:
            while True:
                with run:
                    item = step(value)
                try:
                    value = yield item
                    step = generator.send
                except BaseException as thrown:
                    # Handed on outside this block, so that it becomes nobody's __context__.
                    step, value = generator.throw, thrown
        except StopIteration as end:
            monitor._finish(run)
            return end.value
        except BaseException as error:
            monitor._finish(run, error)
            raise
        finally:
            # An exception that was thrown in would hold itself, through this frame, until the garbage collector comes.
            del value

    return wrapper


def _async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], new: _New
) -> Callable[P, AsyncGenerator[Any, Any]]:
    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        monitor = new()
        run = monitor._start()
        step: Callable[[Any], Awaitable[Any]] = generator.asend
        value: Any = None
        try:
            while True:
                with run:
                    item = await step(value)
                try:
                    value = yield item
                    step = generator.asend
                except BaseException as thrown:
                    step, value = generator.athrow, thrown
        except StopAsyncIteration:
            monitor._finish(run)
        except BaseException as error:
            monitor._finish(run, error)
            raise
        finally:
            del value

    return wrapper
