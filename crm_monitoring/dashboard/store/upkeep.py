"""
Keeps the database small: roll-ups are made, visits are merged, and what is old is deleted.

Whoever flushes does it, one process at a time and for a short while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from django.db.models import Exists, F, OuterRef, QuerySet

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import (
    AffectedUser,
    Event,
    Issue,
    KeptWork,
    Sighting,
    SlowTransaction,
    TagValue,
    Visit,
)
from crm_monitoring.dashboard.store import clock, leases, rollups, works
from crm_monitoring.dashboard.store.connection import database, transaction
from crm_monitoring.dashboard.store.spans import floor_to

BUDGET_S = 0.25
"""How long a flush does chores."""

_FLUSHES = "flushes"
_FLUSHES_EVERY_S = 5.0
_LOOKS_EVERY_S = 60.0
_DAY_S = 86_400
_MAX_ROWS = 1_000


class PruneResult(NamedTuple):
    """
    What `prune` has done.

    Attributes:
        rolled: How many flushes and roll-ups went into wider ones.
        merged: How many visits there are less, though they say the same.
        flushes: Rows that were deleted; all that follow likewise.
    """

    rolled: int = 0
    merged: int = 0
    flushes: int = 0
    rollups: int = 0
    visits: int = 0
    events: int = 0
    transactions: int = 0
    works: int = 0
    issues: int = 0
    sightings: int = 0
    tags: int = 0
    users: int = 0


class Step(NamedTuple):
    """What one short transaction has done, in the words of PruneResult."""

    what: str
    quantity: int


class _Chore(NamedTuple):
    """Something to do every so many seconds, by one process."""

    name: str
    seconds: int
    steps: Callable[[float], Iterator[Step]]


_due = monotonic() + _LOOKS_EVERY_S


def is_due() -> bool:
    """Whether this process should look if there is something to do, though it has nothing to write."""
    return monotonic() >= _due


def run() -> None:
    """
    Do what is due and nobody else does, for as long as a flush may take.

    Raises:
        django.db.Error: if the database cannot be written.
    """
    if leases.take(_FLUSHES, _FLUSHES_EVERY_S) and rollups.add_flushes(clock.now()) == rollups.MAX_FLUSHES:
        # There may be more.
        leases.give_back(_FLUSHES)
    if is_due():
        reset()
        _do_chores(monotonic() + BUDGET_S)


def _do_chores(deadline: float) -> None:
    for chore in _CHORES:
        if leases.take(chore.name, chore.seconds) and not all(
            monotonic() <= deadline for _ in chore.steps(clock.now())
        ):
            leases.give_back(chore.name)
            return


def prune() -> PruneResult:
    """
    Do everything that there is to do.

    Raises:
        django.db.Error: if the database cannot be written.
    """
    now, done = clock.now(), Counter[str]()
    while moved := rollups.add_flushes(now):
        done["rolled"] += moved
    for chore in _CHORES:
        for step in chore.steps(now):
            done[step.what] += step.quantity
    return PruneResult(**done)


def reset() -> None:
    """Look again after a while."""
    global _due
    _due = monotonic() + _LOOKS_EVERY_S


def _widen(now: float) -> Iterator[Step]:
    for rolled in rollups.widen(now):
        yield Step("rolled", rolled)


# -- visits ---------------------------------------------------------------------------------------------------------------


class _Width(NamedTuple):
    """A width of visits' slots, and after how many seconds they move into it."""

    seconds: int
    after: int

    def until(self, now: float) -> int:
        """Return the end of the youngest slot that is old enough."""
        return floor_to(now - self.after, self.seconds)


_WIDTHS = (_Width(3_600, 2 * _DAY_S), _Width(_DAY_S, 7 * _DAY_S))


def _merge_visits(now: float) -> Iterator[Step]:
    for width, wider in zip(_WIDTHS, (*_WIDTHS[1:], None), strict=True):
        visits = Visit.objects.using(database()).filter(
            started__gte=wider.until(now) if wider else 0, started__lt=width.until(now)
        )
        narrow = visits.annotate(rest=F("started") % width.seconds).exclude(rest=0)
        while portion := list(narrow.order_by("started")[:_MAX_ROWS]):
            yield Step("merged", _move_visits(width, portion))


def _move_visits(width: _Width, visits: Sequence[Visit]) -> int:
    slots = {(floor_to(visit.started, width.seconds), visit.environment, visit.user) for visit in visits}
    wide = [Visit(started=started, environment=environment, user=user) for started, environment, user in sorted(slots)]
    with transaction() as alias:
        all_visits = Visit.objects.using(alias)
        first, last = wide[0].started, wide[-1].started + width.seconds
        concerned = all_visits.filter(started__gte=first, started__lt=last)
        before = concerned.count()
        all_visits.bulk_create(wide, ignore_conflicts=True)
        all_visits.filter(pk__in=[visit.pk for visit in visits]).delete()
        return before - concerned.count()


# -- what is old ----------------------------------------------------------------------------------------------------------


def _delete_old(now: float) -> Iterator[Step]:
    # First: what is narrow is deleted once a wider one has it.
    yield from _widen(now)
    using, oldest = database(), now - config.get().RETENTION_DAYS * _DAY_S
    moment = moment_of(oldest)
    events = Event.objects.using(using)
    forgotten = Issue.objects.using(using).filter(last_seen__lt=moment)
    old: dict[str, QuerySet[Any]] = {
        "visits": Visit.objects.using(using).filter(started__lt=oldest),
        "events": events.filter(moment__lt=moment),
        "transactions": SlowTransaction.objects.using(using).filter(moment__lt=moment),
        "works": KeptWork.objects.using(using).filter(moment__lt=moment),
        "issues": forgotten.exclude(Exists(events.filter(issue=OuterRef("pk")))),
        "sightings": Sighting.objects.using(using).filter(last_seen__lt=moment),
        "tags": TagValue.objects.using(using).filter(last_seen__lt=moment),
        "users": AffectedUser.objects.using(using).filter(last_seen__lt=moment),
        **rollups.old(now),
    }
    for what, rows in old.items():
        yield from _delete(what, rows)
    yield Step("works", works.forget_oldest())


def _delete(what: str, rows: QuerySet[Any]) -> Iterator[Step]:
    # By their keys, for MariaDB takes no LIMIT where it deletes by a condition on another table.
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:_MAX_ROWS]):
        _, deleted = rows.filter(pk__in=keys).delete()
        yield Step(what, deleted.get(rows.model._meta.label, 0))


def _forget_flushes(now: float) -> Iterator[Step]:
    yield from _delete("flushes", rollups.old(now)["flushes"])


_CHORES: tuple[_Chore, ...] = (
    _Chore("widen", 60, _widen),
    _Chore("forget_flushes", 60, _forget_flushes),
    _Chore("merge_visits", 3_600, _merge_visits),
    _Chore("delete_old", 3_600, _delete_old),
)
