"""Scopes for the threads that a project starts, but not where asgiref carries them already."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from threading import Thread
from typing import Any

from asgiref.sync import SyncToAsync
from sentry_sdk.integrations.threading import ThreadingIntegration

_submitting = threading.local()


class PlainThreadsIntegration(ThreadingIntegration):
    """
    The SDK's integration of threads, which forks two scopes for each thread that starts and each call that goes to a pool.

    Django under ASGI makes a dozen such calls a request and starts a thread or two for them, through asgiref, which takes the
    context there and back by itself.
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
            (plain_start if getattr(_submitting, "for_asgiref", False) else forking_start)(thread)

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


def _carries_context(function: Any) -> bool:
    return isinstance(function, partial) and isinstance(getattr(function.func, "__self__", None), SyncToAsync)
