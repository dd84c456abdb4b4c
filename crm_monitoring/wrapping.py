"""Functions that run inside of something: what a decorator makes of a function, whose name, signature and kind stay."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction
else:
    from asgiref.sync import iscoroutinefunction  # pragma: no cover - coverage is measured on a later Python

P = ParamSpec("P")
T = TypeVar("T")
New = Callable[[], Any]

__all__ = ["New", "iscoroutinefunction", "wrapped_coroutine", "wrapped_function"]


def wrapped_function(function: Callable[P, T], new: New) -> Callable[P, T]:
    """Return `function` with each call inside of what `new` makes, a context manager."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with new():
            return function(*args, **kwargs)

    return wrapper


def wrapped_coroutine(function: Callable[P, Awaitable[T]], new: New) -> Callable[P, Awaitable[T]]:
    """Return a coroutine function with each call inside of what `new` makes, a context manager."""

    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        async with new():
            return await function(*args, **kwargs)

    return wrapper
