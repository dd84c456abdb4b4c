"""What waits to be written, one after the other, and stays until it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import Error

from crm_monitoring import faults
from crm_monitoring.dashboard.store import About, is_values_fault

MAX_BYTES = 8 * 1024 * 1024
"""How much JSON may wait, of each sort."""

FULL = "inbox_full"
UNWRITABLE = "inbox_unwritable"

T = TypeVar("T", bound=About)


class Waiting(Generic[T]):
    """
    What waits to be written, bounded in number and bytes: what comes when it is full is lost, and counted.

    Attributes:
        limit: How many may wait.
        record: Writes one to the database; once more does no harm.
    """

    def __init__(self, limit: int, record: Callable[[T], object]) -> None:
        self.limit = limit
        self.record = record
        self.start_over()

    def start_over(self) -> None:
        """Forget what waits."""
        self._kept: dict[str, T] = {}
        self._bytes = 0
        # Reentrant: a finaliser may report a failure while its own thread is in here.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, one: T) -> None:
        """Let `one` wait, unless it does already or there is no room."""
        with self._lock:
            if one.event_id in self._kept:
                return
            if len(self._kept) >= self.limit or self._bytes + len(one.body) > MAX_BYTES:
                faults.lose(FULL)
                return
            self._kept[one.event_id] = one
            self._bytes += len(one.body)

    def write(self) -> None:
        """
        Write what waits now, one after the other; each stays until it is written.

        Raises:
            django.db.Error: if the database cannot take them.
        """
        for _ in range(len(self._kept)):
            one = self._first()
            if one is None:
                return
            try:
                self._record_somehow(one)
            except Exception as error:
                if isinstance(error, Error) and not is_values_fault(error):
                    # To the end: should it be this one's own fault after all, the next flush begins with another.
                    self._move_to_end(one)
                    raise
                faults.lose(UNWRITABLE)
                self._remove(one)
                faults.record("Writing an event to the inbox", error)
            else:
                self._remove(one)

    def _record_somehow(self, one: T) -> None:
        try:
            self.record(one)
        except Error as error:
            if not is_values_fault(error):
                raise
            self.record(one.in_any_charset())

    def _first(self) -> T | None:
        with self._lock:
            return next(iter(self._kept.values()), None)

    def _remove(self, one: T) -> bool:
        with self._lock:
            is_there = self._kept.pop(one.event_id, None) is not None
            self._bytes -= len(one.body) if is_there else 0
            return is_there

    def _move_to_end(self, one: T) -> None:
        with self._lock:
            if self._remove(one):
                self.add(one)
