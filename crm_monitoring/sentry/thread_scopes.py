"""Scopes for the threads that a project starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import sentry_sdk

from crm_monitoring.sentry.mode import mode
from crm_monitoring.sentry.sdk import use_isolation_scope, use_scope


def fork_scopes() -> Callable[[], AbstractContextManager[None]] | None:
    """Return what lets a block run in scopes of its own, in another thread, that begin as those here are now."""
    if not mode().sends:
        return None
    isolation, current = sentry_sdk.get_isolation_scope().fork(), sentry_sdk.get_current_scope().fork()

    @contextmanager
    def scopes() -> Iterator[None]:
        with use_isolation_scope(isolation), use_scope(current):
            yield

    return scopes
