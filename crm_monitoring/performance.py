"""`PerformanceMonitor` and `@monitored`: a span, a line and a record for a block of code, and nothing else changed."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from time import perf_counter, time
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast, overload

from crm_monitoring import conf, context, faults, hooks
from crm_monitoring.logs import get_logger
from crm_monitoring.records import OperationRecord
from crm_monitoring.sentry import OperationSpan, start_operation_span

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    from asgiref.sync import iscoroutinefunction

P = ParamSpec("P")
T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

logger = get_logger("crm_monitoring.performance")

_current: ContextVar[PerformanceMonitor | None] = ContextVar("crm_monitoring_operation", default=None)


def current_monitor() -> PerformanceMonitor | None:
    """Return the innermost monitor running here, to add data to it from inside a `@monitored` function."""
    return _current.get()


class PerformanceMonitor:
    """
    Time a block of code: `with`, `async with`, or a decorator as `@monitored` is.

    It makes a span of the current transaction, or a transaction where none runs; one line, "operation_finished" or past the
    threshold "slow_operation_detected"; and an OperationRecord for the hooks. Exceptions pass through untouched.

    Args:
        name: What is done, the same for every run: "create_organisation".
        operation: The kind of work, Sentry's span operation.
        slow_ms: The threshold in milliseconds in place of SLOW_OPERATION_MS; also lifts the line from DEBUG to INFO.
    """

    def __init__(self, name: str, operation: str = "function", slow_ms: float | None = None) -> None:
        self.name = name
        self.operation = operation
        self.slow_ms = slow_ms
        self.tags: Mapping[str, Any] = {}
        self._runs: list[_Run] = []
        self._last_ms = 0.0

    def _tagged(self, tags: Mapping[str, Any]) -> Self:
        self.tags = tags
        return self

    @property
    def duration_ms(self) -> float:
        """Milliseconds the block has taken: so far while it runs, in all once it has ended."""
        return self._runs[-1].elapsed_ms() if self._runs else self._last_ms

    def set_data(self, **data: Any) -> None:
        """Attach values to the span and to the line: `monitor.set_data(org_id=org.id)`."""
        if self._runs:
            self._runs[-1].set_data(data)

    def set_tag(self, key: str, value: Any) -> None:
        """Attach a value to search by to the span, and to the line."""
        if self._runs:
            self._runs[-1].set_tag(key, value)

    def __enter__(self) -> Self:
        run = _Run(self)
        self._runs.append(run)
        run.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run = self._runs[-1]
        run.pause()
        self._last_ms = run.finish(error)
        self._runs.pop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, decorated: Decorated) -> Decorated:
        """Monitor every call of a function, method, coroutine, generator or class-based view."""
        return _decorate(decorated, lambda: PerformanceMonitor(self.name, self.operation, self.slow_ms))


class _Run:
    """One run of a monitor. Between `pause` and `resume` other code runs, and time does not count."""

    __slots__ = ("_clock", "_monitor", "_span", "_spent_ms", "_started", "_token", "fields")

    def __init__(self, monitor: PerformanceMonitor, *, active: bool = True) -> None:
        self._monitor = monitor
        self._started = time()
        self._spent_ms = 0.0
        self._clock: float | None = None
        self._token: Any = None
        self.fields: dict[str, Any] = {}
        self._span: OperationSpan | None = self._start_span(active)
        for name, value in monitor.tags.items():
            self.set_tag(name, value)

    @faults.guarded
    def _start_span(self, active: bool) -> OperationSpan:
        return start_operation_span(self._monitor.name, self._monitor.operation, active=active)

    def resume(self) -> None:
        self._token = _current.set(self._monitor)
        self._clock = perf_counter()

    def pause(self) -> None:
        self._spent_ms = self.elapsed_ms()
        self._clock = None
        self._leave()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a generator's own code."""
        self.resume()
        try:
            yield
        finally:
            self.pause()

    def _leave(self) -> None:
        try:
            _current.reset(self._token)
        except ValueError:
            # An async generator may be closed by another task than the one that ran it.
            _current.set(None)

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
        self.fields[name] = value
        if self._span is not None:
            self._span.set_tag(name, value)

    def finish(self, error: BaseException | None) -> float:
        failure = None if error is None or isinstance(error, GeneratorExit) else error
        self._tell(failure)
        return self._spent_ms

    @faults.guarded
    def _tell(self, error: BaseException | None) -> None:
        if self._span is not None:
            self._span.finish(failed=error is not None)
        monitor = self._monitor
        threshold_ms = conf.get().SLOW_OPERATION_MS if monitor.slow_ms is None else monitor.slow_ms
        request = context.current()
        record = OperationRecord(
            name=monitor.name,
            operation=monitor.operation,
            started=self._started,
            duration_ms=self._spent_ms,
            slow=self._spent_ms > threshold_ms,
            request_id=request.request_id if request else None,
            trace_id=request.trace_id if request else None,
            error=type(error).__name__ if error is not None else None,
        )
        _log(record, self.fields, threshold_ms, logging.DEBUG if monitor.slow_ms is None else logging.INFO)
        hooks.emit(record)


def _log(record: OperationRecord, fields: Mapping[str, Any], threshold_ms: float, level: int) -> None:
    line = {**fields, "name": record.name, "operation": record.operation, "duration_ms": round(record.duration_ms, 3)}
    if record.error is not None:
        line["error"] = record.error
    if record.slow:
        logger.log(logging.WARNING, "slow_operation_detected", **line, threshold_ms=threshold_ms)
    else:
        logger.log(level, "operation_finished", **line)


@overload
def monitored(name: Decorated, /) -> Decorated: ...


@overload
def monitored(
    name: str | None = None, /, *, operation: str = "function", slow_ms: float | None = None, tags: Mapping[str, Any] | None = None
) -> Callable[[Decorated], Decorated]: ...


def monitored(
    name: Any = None, /, *, operation: str = "function", slow_ms: float | None = None, tags: Mapping[str, Any] | None = None
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
    if callable(name):
        return monitored()(name)

    def decorate(decorated: Decorated) -> Decorated:
        label = name or f"{decorated.__module__}.{decorated.__qualname__}"
        return _decorate(decorated, lambda: PerformanceMonitor(label, operation, slow_ms)._tagged(tags or {}))

    return decorate


def unmonitored(view: Decorated) -> Decorated:
    """Serve this view, a function or a class, without transaction, record or line above DEBUG. A crash in it is still reported."""
    view.unmonitored = True  # type: ignore[attr-defined]
    return view


_New = Callable[[], PerformanceMonitor]


def _decorate(decorated: Decorated, new: _New) -> Decorated:
    wrapper: Any
    if isinstance(decorated, type):
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
        raise TypeError(f"@monitored is for functions and class-based views; {view.__qualname__} has no dispatch(). Decorate its methods.")
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
        run = _Run(new(), active=False)
        error: BaseException | None = None
        step: Callable[[], Any] = partial(next, generator)
        try:
            while True:
                with run.running():
                    item = step()
                try:
                    sent = yield item
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as thrown:
                    step = partial(generator.throw, thrown)
                else:
                    step = partial(generator.send, sent)
        except StopIteration as end:
            return end.value
        except BaseException as raised:
            error = raised
            raise
        finally:
            run.finish(error)

    return wrapper


def _async_generator(function: Callable[P, AsyncGenerator[Any, Any]], new: _New) -> Callable[P, AsyncGenerator[Any, Any]]:
    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        run = _Run(new(), active=False)
        error: BaseException | None = None
        step: Callable[[], Awaitable[Any]] = partial(anext, generator)
        try:
            while True:
                with run.running():
                    item = await step()
                try:
                    sent = yield item
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as thrown:
                    step = partial(generator.athrow, thrown)
                else:
                    step = partial(generator.asend, sent)
        except StopAsyncIteration:
            return
        except BaseException as raised:
            error = raised
            raise
        finally:
            run.finish(error)

    return wrapper
