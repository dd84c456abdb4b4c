"""
Threads, and calls handed to pools of threads, as part of the work that started them.

What they log carries its id and fields, what they report is held and merged with what it reports, and tags and breadcrumbs of it are
known to them. Python carries none of that into a thread; where asgiref and asyncio carry the context themselves, they are left alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from functools import cache, partial, wraps
from threading import Thread, current_thread
from typing import Any

from asgiref.sync import SyncToAsync

from crm_monitoring import faults
from crm_monitoring.logs import bound, rebind
from crm_monitoring.sentry import capture_crash, fork_scopes
from crm_monitoring.work import current_work, use

Scopes = Callable[[], AbstractContextManager[None]]

# Their threads run what others hand to them: see `_submitting`.
_POOLS = (SyncToAsync.__module__, ThreadPoolExecutor.__module__)
_IN_BETWEEN = (__name__, faults.__name__, Thread.__module__)


@cache
def install() -> None:
    """Take along what runs into each thread that starts and each call that goes to a pool from here on."""
    Thread.start = _starting(Thread.start)  # type: ignore[assignment, method-assign]
    ThreadPoolExecutor.submit = _submitting(ThreadPoolExecutor.submit)  # type: ignore[method-assign]


def _starting(start: Callable[[Thread], None]) -> Callable[[Thread], None]:
    @wraps(start)
    def watched(thread: Thread) -> None:
        _prepare(thread)
        start(thread)

    return watched


@faults.guarded
def _prepare(thread: Thread) -> None:
    # The function, not the bound method: that would be a circle, which keeps the thread until the garbage collector comes.
    run = getattr(thread.run, "__func__", None)
    if run is None or _caller() in _POOLS:
        return
    taken = _Taken(fork_scopes())
    if taken:
        thread.run = partial(_run, run, taken)  # type: ignore[method-assign]


def _caller() -> str | None:
    """Return the module that starts a thread: of one that asgiref or a pool starts nothing else tells whose it is."""
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__") in _IN_BETWEEN:
        frame = frame.f_back
    name: str | None = frame.f_globals.get("__name__")
    return name


def _run(run: Callable[[Thread], None], taken: _Taken) -> None:
    thread = current_thread()
    # What it has taken along ends with it, not when the last forgets the thread.
    vars(thread).pop("run", None)
    # For good: who is told of its crash is part of it, too.
    taken.bind()
    with taken.scopes():
        try:
            run(thread)
        except Exception as error:
            capture_crash(error, "threading")
            raise


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    def watched(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        taken = None if _carries_context(function) else _take()
        if taken:
            return submit(pool, _call, taken, function, *args, **kwargs)
        return submit(pool, function, *args, **kwargs)

    return watched


def _carries_context(function: Any) -> bool:
    """Whether asgiref, or asyncio's `to_thread`, takes the context there and back."""
    return isinstance(function, partial) and isinstance(getattr(function.func, "__self__", None), SyncToAsync | Context)


def _call(taken: _Taken, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    before = _Taken(None)
    taken.bind()
    try:
        with taken.scopes():
            return function(*args, **kwargs)
    finally:
        # The thread is the pool's, and serves others next.
        before.bind()


class _Taken:
    """
    What runs where a thread is started, with its fields and scopes; false where there is nothing to take along.

    Attributes:
        scopes: Lets a block run in those scopes.
    """

    __slots__ = ("_fields", "_work", "scopes")

    def __init__(self, scopes: Scopes | None) -> None:
        self._work, self._fields, self.scopes = current_work(), bound(), scopes or nullcontext

    def __bool__(self) -> bool:
        return self._work is not None or bool(self._fields) or self.scopes is not nullcontext

    def bind(self) -> None:
        """Make it what runs in this thread."""
        use(self._work)
        if bound() != self._fields:
            rebind(self._fields)


@faults.guarded
def _take() -> _Taken:
    return _Taken(fork_scopes())
