"""`@monitored` and `@unmonitored`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from crm_monitoring.performance.decorators import Decorated, decorate
from crm_monitoring.performance.monitor import PerformanceMonitor


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

    def decorator(decorated: Decorated) -> Decorated:
        label = name or _dotted_name(decorated)
        return decorate(decorated, lambda: PerformanceMonitor(label, operation, slow_ms, tags=tags))

    return decorator


def _dotted_name(decorated: Any) -> str:
    # A functools.partial has no name of its own.
    return f"{decorated.__module__}.{getattr(decorated, '__qualname__', type(decorated).__qualname__)}"


def unmonitored(view: Decorated) -> Decorated:
    """Serve this view, a function or a class, without transaction, record or line above DEBUG. A crash in it is still reported."""
    view.unmonitored = True  # type: ignore[attr-defined]
    return view
