"""Every call of a callable under a monitor of its own, whose signature and kind stay what they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from crm_monitoring.wrapping import iscoroutinefunction, wrapped_coroutine, wrapped_function

P = ParamSpec("P")
T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Monitor(AbstractContextManager[Any], Protocol):
    """What times a call: a block, or run by run where the caller's code runs in between."""

    def _start(self) -> AbstractContextManager[None]: ...

    def _finish(self, run: Any, error: BaseException | None = None) -> None: ...


New = Callable[[], Monitor]


def decorate(decorated: Decorated, new: New) -> Decorated:
    """Return what does as `decorated` does, under what `new` makes for each call."""
    wrapper: Any
    if isinstance(decorated, classmethod | staticmethod):
        wrapper = type(decorated)(decorate(decorated.__func__, new))
    elif isinstance(decorated, type):
        wrapper = _view_class(decorated, new)
    elif isasyncgenfunction(decorated):
        wrapper = _async_generator(decorated, new)
    elif isgeneratorfunction(decorated):
        wrapper = _generator(decorated, new)
    elif iscoroutinefunction(decorated):
        wrapper = wrapped_coroutine(decorated, new)
    else:
        wrapper = wrapped_function(decorated, new)
    return cast(Decorated, wrapper)


def _view_class(view: Any, new: New) -> Any:
    if not hasattr(view, "dispatch"):
        raise TypeError(
            f"@monitored is for functions and class-based views; {view.__qualname__} has no dispatch(). Decorate its methods."
        )
    dispatch = view.dispatch
    sync_dispatch, async_dispatch = wrapped_function(dispatch, new), wrapped_coroutine(dispatch, new)

    @wraps(dispatch)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        chosen = async_dispatch if getattr(self, "view_is_async", False) else sync_dispatch
        return chosen(self, *args, **kwargs)

    view.dispatch = wrapper
    return view


def _generator(function: Callable[P, Generator[Any, Any, Any]], new: New) -> Callable[P, Generator[Any, Any, Any]]:
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
    function: Callable[P, AsyncGenerator[Any, Any]], new: New
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
