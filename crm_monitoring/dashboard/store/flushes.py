"""
Writes what one process has counted, one row for each minute, and each of them once.

A row that could not be written keeps its id for the next attempt, for it may have been the database's answer that was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID, uuid4

from django.db import Error

from crm_monitoring import faults
from crm_monitoring.dashboard.metrics import LOST, Names, collector
from crm_monitoring.dashboard.models import Flush, Visit
from crm_monitoring.dashboard.store import clock
from crm_monitoring.dashboard.store.connection import is_values_fault, transaction
from crm_monitoring.extending import after_fork

KEPT_S = 600
"""An emptied row keeps its id so long: a second attempt is recognised."""

_MARGIN_S = 60
_MAX_VISITS = 1_000
_MINUTE_S = 60


@dataclass(slots=True, repr=False, eq=False)
class Batch:
    """
    What was counted in one minute, or some visits: what is written together.

    Attributes:
        in_doubt: When its transaction was about to be committed, by the monotonic clock: nobody knows whether it was.
    """

    environment: str
    started: int = 0
    names: Names = field(default_factory=Names)
    visits: Sequence[Visit] = ()
    id: UUID = field(default_factory=uuid4)
    in_doubt: float | None = None

    @property
    def count(self) -> int:
        """How much was counted in it."""
        return sum(counters.count for counters in self.names.values())

    @property
    def is_too_late(self) -> bool:
        """Whether its row may have been written and forgotten since: nobody could tell it from a new one."""
        return self.in_doubt is not None and monotonic() - self.in_doubt > KEPT_S - _MARGIN_S


_waiting: deque[Batch] = deque()


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(_waiting) or collector.has_work()


def write() -> None:
    """
    Write what waits; what could not be written before comes first.

    Raises:
        django.db.Error: if the database cannot take it; it waits for the next call.
    """
    _write_waiting()
    _waiting.extend(_batches(collector.take()))
    _write_waiting()


def _batches(taken: collector.Taken) -> list[Batch]:
    visits = [Visit(started=slot, environment=taken.environment, user=user) for slot, user in sorted(taken.visits)]
    batches = [Batch(taken.environment, minute, names) for minute, names in taken.minutes.items()]
    for start in range(0, len(visits), _MAX_VISITS):
        batches.append(Batch(taken.environment, visits=visits[start : start + _MAX_VISITS]))
    return batches


def _write_waiting() -> None:
    while _waiting:
        _write_or_lose(_waiting[0])
        _waiting.popleft()


def _write_or_lose(batch: Batch) -> None:
    if batch.is_too_late:
        faults.lose(LOST, batch.count)
        return
    try:
        add(batch)
    except Error as error:
        if not is_values_fault(error):
            raise
        # Its own fault, and so for ever: what comes after it shall not wait.
        faults.lose(LOST, batch.count)


def add(batch: Batch) -> None:
    """
    Add the row and the visits of `batch`, in one transaction. What was written before is left as it is.

    Raises:
        django.db.Error: if the database cannot take them; `batch` can be written again.
    """
    with transaction() as alias:
        flushes = Flush.objects.using(alias)
        if batch.names and not (batch.in_doubt and flushes.filter(pk=batch.id).exists()):
            flushes.bulk_create([_row(batch)])
        Visit.objects.using(alias).bulk_create(batch.visits, ignore_conflicts=True)
        batch.in_doubt = batch.in_doubt or monotonic()


def _row(batch: Batch) -> Flush:
    # No host's clock makes a minute that has not come.
    started = min(batch.started, int(clock.now()) // _MINUTE_S * _MINUTE_S)
    return Flush(id=batch.id, started=started, environment=batch.environment, body=batch.names.to_bytes())


def lose() -> None:
    """Count what waits as lost."""
    _waiting.extend(_batches(collector.take()))
    for count in filter(None, (batch.count for batch in _waiting)):
        faults.lose(LOST, count)
    _waiting.clear()


def reset() -> None:
    """Forget what waits, as in a forked child: it is the parent's to write."""
    _waiting.clear()


after_fork(reset)
