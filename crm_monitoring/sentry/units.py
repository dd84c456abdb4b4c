"""The unit of work that runs now, where it is no request: a management command, a task."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import sentry_sdk
from sentry_sdk.scope import Scope

if TYPE_CHECKING:
    from crm_monitoring.sentry.failures import Report


class Unit:
    """
    One running command or task.

    It isolates what is set meanwhile (tags, user, breadcrumbs) from `__init__` to `leave`, which must be called once, and names
    the events made in between.

    Args:
        name: The transaction of its events: "manage.py import_organisations".
        source: Sentry's word for where the name comes from.

    Attributes:
        since: When it began, in seconds of the monotonic clock.
        reports: Failures that were reported and not sent yet.
        concluded: It has ended, and holds nothing any more.
        timer: The thread that sends what is held too long, while something is held.
    """

    def __init__(self, name: str, source: str) -> None:
        self.unit_id = uuid4().hex
        self.since = monotonic()
        self.reports: list[Report] = []
        self.concluded = False
        self.timer: threading.Timer | None = None
        self._outer = current()
        self._isolation: AbstractContextManager[Scope] = sentry_sdk.isolation_scope()
        scope = self._isolation.__enter__()
        scope.clear_breadcrumbs()
        scope.generate_propagation_context()
        # On this scope alone: by the other one the name of a transaction under way would change.
        scope.set_transaction_name(name, source=source)
        _current.set(self)
        _open.add(self)

    def leave(self) -> None:
        """Give way to what ran around it."""
        _open.discard(self)
        _current.set(self._outer)
        self._isolation.__exit__(None, None, None)


_current: ContextVar[Unit | None] = ContextVar("crm_monitoring_unit", default=None)
_open: set[Unit] = set()

current = _current.get


def running() -> list[Unit]:
    """Return every unit of this process that has not ended."""
    return list(_open)


def _start_over_in_child() -> None:
    # What the parent holds is the parent's to send, and its threads are not here.
    for unit in _open:
        unit.reports.clear()
        unit.timer = None


os.register_at_fork(after_in_child=_start_over_in_child)
