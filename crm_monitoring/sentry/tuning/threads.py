"""Scopes for the threads that a project starts, but not where asgiref carries them already."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from threading import Thread
from types import FrameType
from typing import Any

from asgiref.sync import SyncToAsync

from crm_monitoring.sentry.sdk import ThreadingIntegration

_submitting = threading.local()


class PlainThreadsIntegration(ThreadingIntegration):
    """
    The SDK's integration of threads, which forks two scopes for each thread that starts and each call that goes to a pool.

    Django under ASGI makes a dozen such calls a request, through asgiref, which takes the context there and back by itself, and
    starts two threads for them.
    """

    @staticmethod
    def setup_once() -> None:
        """Let asgiref's calls and threads pass, and leave all others to the SDK."""
        plain_start: Any = Thread.start
        plain_submit: Any = ThreadPoolExecutor.submit
        ThreadingIntegration.setup_once()
        forking_start: Any = Thread.start
        forking_submit: Any = ThreadPoolExecutor.submit

        @wraps(plain_start)
        def start(thread: Thread) -> None:
            is_of_asgiref = getattr(_submitting, "for_asgiref", False) or _caller() == SyncToAsync.__module__
            (plain_start if is_of_asgiref else forking_start)(thread)

        @wraps(plain_submit)
        def submit(pool: ThreadPoolExecutor, function: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not _carries_context(function):
                return forking_submit(pool, function, *args, **kwargs)
            _submitting.for_asgiref = True
            try:
                return plain_submit(pool, function, *args, **kwargs)
            finally:
                _submitting.for_asgiref = False

        Thread.start = start  # type: ignore[assignment, method-assign]
        ThreadPoolExecutor.submit = submit  # type: ignore[assignment, method-assign]


def _caller() -> str | None:
    """Return the module that has called us: of the thread that ends a request's pool nothing else tells whose it is."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return None if frame is None else frame.f_globals.get("__name__")


def _carries_context(function: Any) -> bool:
    return isinstance(function, partial) and isinstance(getattr(function.func, "__self__", None), SyncToAsync)
