"""
What went wrong in the monitoring itself, counted so that it can be told.

Every road from the host into this package ends in one `except Exception` that calls `record`. The health view, the system
check and the command read what is kept here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from time import monotonic
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RECENT_SECONDS = 300.0
_QUIET_SECONDS = 60.0

_log = logging.getLogger("crm_monitoring")
# Reentrant: the garbage collector may close a generator of the host, and so count its failing hook, in between.
_lock = threading.RLock()
_failures: Counter[str] = Counter()
_losses: Counter[str] = Counter()
_told: Counter[str] = Counter()
_lost_at: dict[str, float] = {}
_kinds: dict[str, str] = {}
_next_line: dict[str, float] = {}

reraise = False
"""Tests set it, so that what production swallows does not pass unseen."""


def start_over() -> None:
    """Be a forked child: another thread may have held the lock, and what the parent has lost is the parent's to tell."""
    global _lock
    _lock = threading.RLock()
    _losses.clear()
    _told.clear()
    _lost_at.clear()


def record(where: str, error: BaseException) -> None:
    """Count a failure of the monitoring at `where`, and log it at most once a minute for each place."""
    if reraise:
        raise error
    now = monotonic()
    with _lock:
        _failures[where] += 1
        _kinds[where] = type(error).__name__
        due = now >= _next_line.get(where, 0.0)
        if due:
            _next_line[where] = now + _QUIET_SECONDS
    if due:
        _tell(where, error)


def _tell(where: str, error: BaseException) -> None:
    try:
        _log.warning("monitoring_failed", extra={"where": where}, exc_info=error)
    except Exception as unlogged:
        # A filter of the host's logging may raise: then there is nobody left to tell, but the health view.
        with _lock:
            _failures["Logging a failure"] += 1
            _kinds["Logging a failure"] = type(unlogged).__name__


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """
    Make `function` return None, and count, where it would have raised into the host's code.

    One whose one or two parameters are positional only is guarded for next to nothing, so those that run in every request are.
    """
    kinds = [parameter.kind for parameter in signature(function).parameters.values()]
    if kinds == [Parameter.POSITIONAL_ONLY]:
        return _guarded_of_one(function)
    if kinds == [Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_ONLY]:
        return _guarded_of_two(function)

    @wraps(function)
    def guard(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            record(_name_of(function), error)
            return None

    return guard


def _name_of(function: Callable[..., object]) -> str:
    # A `partial` has no name of its own.
    return getattr(function, "__name__", type(function).__name__)


def _guarded_of_one(function: Callable[..., T]) -> Callable[..., T | None]:
    @wraps(function)
    def guard(one: Any, /) -> T | None:
        try:
            return function(one)
        except Exception as error:
            record(_name_of(function), error)
            return None

    return guard


def _guarded_of_two(function: Callable[..., T]) -> Callable[..., T | None]:
    @wraps(function)
    def guard(one: Any, other: Any, /) -> T | None:
        try:
            return function(one, other)
        except Exception as error:
            record(_name_of(function), error)
            return None

    return guard


def lose(what: str, quantity: int = 1) -> None:
    """Count `quantity` items of kind `what` that were dropped or could not be delivered."""
    with _lock:
        _losses[what] += quantity
        _lost_at[what] = monotonic()


def losses() -> dict[str, int]:
    """Return how many items of each kind were lost since the process began."""
    with _lock:
        return dict(_losses)


def tell_losses() -> dict[str, int]:
    """Return how many items of each kind were lost since the last call: there may be more than one end to tell them at."""
    with _lock:
        untold = _losses - _told
        _told.update(untold)
        return dict(untold)


def lost_lately(beginning: str) -> bool:
    """Whether something of a kind that begins so was lost in the last five minutes."""
    with _lock:
        return any(at > monotonic() - RECENT_SECONDS for kind, at in _lost_at.items() if kind.startswith(beginning))


def sentences() -> list[str]:
    """Return one sentence for each place that failed. They name exception classes, never messages."""
    with _lock:
        return [
            f"{where} failed {count} time{'s' if count > 1 else ''}, last with {_kinds[where]}."
            for where, count in _failures.items()
        ]


def reset() -> None:
    """Forget everything counted, as at the start of a process."""
    with _lock:
        _failures.clear()
        _losses.clear()
        _told.clear()
        _lost_at.clear()
        _kinds.clear()
        _next_line.clear()
