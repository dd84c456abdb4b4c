"""
Makes few rows of many, and deletes the old.

Rows of one name move into one row of a wider bucket, each time in one transaction: whoever adds up all rows finds the same sum at
every moment. Of two that compact the same rows at once, one finds them gone and leaves everything as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from operator import attrgetter
from time import monotonic, time
from typing import Any, NamedTuple

from django.db import OperationalError, connections
from django.db import transaction as transactions
from django.db.models import Count, Exists, F, OuterRef, QuerySet

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import Event, Issue, MetricRow, SlowTransaction, Visit
from crm_monitoring.dashboard.store import database, digests, leases, transaction
from crm_monitoring.dashboard.store.rows import COMPACTED_AFTER_S, Batch

BUDGET_S = 0.25
"""How long a flush compacts: the request whose worker it runs in is answered, the next one waits."""

_LOOKS_EVERY_S = 60.0
_DAY_S = 86_400
_MAX_GROUPS = 5_000
_MAX_NAMES = 200
_MAX_ROWS = 1_000
_SUMS = ("count", "redirected", "rejected", "failed", "slow", "satisfied", "tolerating", "duration_ms")
_KEY = ("kind", "environment", "release", "name")


class Level(NamedTuple):
    """
    A width of buckets.

    Attributes:
        seconds: The width.
        after: Seconds after which rows move into it.
    """

    seconds: int
    after: int

    def until(self, now: float) -> int:
        """Return the end of the youngest bucket that is old enough."""
        return int(now - self.after) // self.seconds * self.seconds


LEVELS = (Level(60, COMPACTED_AFTER_S), Level(900, 2 * 3_600), Level(3_600, 2 * _DAY_S))
VISIT_LEVELS = (Level(3_600, 2 * _DAY_S), Level(_DAY_S, 7 * _DAY_S))


class PruneResult(NamedTuple):
    """
    What `prune` has done.

    Attributes:
        compacted: How many metric rows and visits there are less, though they say the same.
        rows: Metric rows that were deleted for their age; `visits`, `events`, `transactions` and `issues` likewise.
    """

    compacted: int = 0
    rows: int = 0
    visits: int = 0
    events: int = 0
    transactions: int = 0
    issues: int = 0


class Step(NamedTuple):
    """What one short transaction has done, in the words of PruneResult."""

    what: str
    quantity: int


class _Group(NamedTuple):
    """How many rows there are of one name in one bucket."""

    bucket: int
    name: str
    rows: int


class _Chore(NamedTuple):
    """Something to do every so many seconds, by one process."""

    name: str
    seconds: int
    steps: Callable[[float], Iterator[Any]]


_due = monotonic() + _LOOKS_EVERY_S


def keeps_minutes(moment: float) -> bool:
    """Whether rows of that moment are still those of single minutes."""
    return moment >= LEVELS[1].until(time())


def is_due() -> bool:
    """Whether this process should look again if there is something to do."""
    return monotonic() >= _due


def run() -> None:
    """
    Do what is due and nobody else does, for as long as a flush may take.

    Raises:
        django.db.Error: if the database cannot be written.
    """
    reset()
    deadline = monotonic() + BUDGET_S
    for chore in (*_CHORES, _DIGESTS):
        if leases.take(chore.name, chore.seconds) and not _is_done(chore, deadline):
            leases.give_back(chore.name)
            return


def _is_done(chore: _Chore, deadline: float) -> bool:
    done = False
    with _leaving_what_is_held():
        done = all(monotonic() <= deadline for _ in chore.steps(time()))
    return done


def prune() -> PruneResult:
    """
    Do everything that there is to do.

    Raises:
        django.db.Error: if the database cannot be written.
    """
    now, done = time(), Counter[str]()
    for chore in _CHORES:
        for step in chore.steps(now):
            done[step.what] += step.quantity
    _digest(now)
    return PruneResult(**done)


def _digest(now: float) -> None:
    """Make all digests, unless another process does."""
    if leases.take(_DIGESTS.name, _DAY_S):
        try:
            for _ in _DIGESTS.steps(now):
                pass
        finally:
            leases.give_back(_DIGESTS.name)


def reset() -> None:
    """Look again after a while."""
    global _due
    _due = monotonic() + _LOOKS_EVERY_S


# -- metric rows ----------------------------------------------------------------------------------------------------------


def _compact_rows(level: Level, now: float) -> Iterator[Step]:
    while True:
        groups = _groups(level, now)
        for portion in _portions(groups):
            yield Step("compacted", _move(level, portion[0].bucket, {group.name for group in portion}))
        if len(groups) < _MAX_GROUPS:
            return


def _groups(level: Level, now: float) -> list[_Group]:
    """Return what there is to move into buckets of this level, the oldest first."""
    rows = MetricRow.objects.using(database()).filter(
        started__gte=_since(LEVELS, level, now), started__lt=level.until(now)
    )
    if level.seconds > 60:
        rows = rows.filter(seconds__lt=level.seconds)
    buckets = rows.annotate(bucket=F("started") - F("started") % level.seconds)
    groups = buckets.values("bucket", *_KEY).annotate(rows=Count("pk")).order_by("bucket", "name")
    if level.seconds == 60:
        groups = groups.filter(rows__gt=1)
    return [_Group(*group) for group in groups.values_list("bucket", "name", "rows")[:_MAX_GROUPS]]


def _since(levels: tuple[Level, ...], level: Level, now: float) -> int:
    """Return where the buckets of the next level end: what is older is moved there at once."""
    following = levels[levels.index(level) + 1 :]
    return following[0].until(now) if following else 0


def _portions(groups: Iterable[_Group]) -> Iterator[list[_Group]]:
    """Part the groups by bucket and into what one short transaction can move."""
    for _, of_bucket in groupby(groups, attrgetter("bucket")):
        portion: list[_Group] = []
        for group in of_bucket:
            if portion and (len(portion) == _MAX_NAMES or _rows(portion) + group.rows > _MAX_ROWS):
                yield portion
                portion = []
            portion.append(group)
        yield portion


def _rows(portion: Iterable[_Group]) -> int:
    return sum(group.rows for group in portion)


def _move(level: Level, bucket: int, names: Iterable[str]) -> int:
    """Move the rows of these names into the bucket; returns how many there are less, 0 where another process was faster."""
    with _leaving_what_is_held(), transaction() as alias:
        rows = _rows_of(level, bucket, names, alias)
        gone = [row.pk for same in rows for row in same]
        batch = Batch([_merged(level, bucket, same) for same in rows])
        if MetricRow.objects.using(alias).filter(pk__in=gone).delete()[0] == len(gone):
            MetricRow.objects.using(alias).bulk_create(batch.rows)
            return len(gone) - len(batch.rows)
        transactions.set_rollback(True, using=alias)
    return 0


@contextmanager
def _leaving_what_is_held() -> Iterator[None]:
    """Leave the block where somebody else holds what it is about: it is done now, or the next time."""
    try:
        yield
    except OperationalError:
        connection = connections[database()]
        if connection.connection is None or not connection.is_usable():
            raise


def _rows_of(level: Level, bucket: int, names: Iterable[str], alias: str) -> list[list[MetricRow]]:
    """Return the rows to move, parted by what tells one row of a bucket from another."""
    rows = MetricRow.objects.using(alias).filter(
        started__gte=bucket, started__lt=bucket + level.seconds, seconds__lte=level.seconds, name__in=list(names)
    )
    groups = groupby(rows.order_by(*_KEY, "pk")[: 4 * _MAX_ROWS], attrgetter(*_KEY))
    parted = [list(same) for _, same in groups]
    return [same for same in parted if len(same) > 1 or same[0].seconds < level.seconds]


def _merged(level: Level, bucket: int, rows: list[MetricRow]) -> MetricRow:
    sketches = (Sketch.from_bytes(bytes(row.sketch)) for row in rows)
    return MetricRow(
        started=bucket,
        seconds=level.seconds,
        slowest_ms=max(row.slowest_ms for row in rows),
        sketch=Sketch.sum(sketches).to_bytes(),
        **{name: getattr(rows[0], name) for name in _KEY},
        **{name: sum(getattr(row, name) for row in rows) for name in _SUMS},
    )


# -- visits ---------------------------------------------------------------------------------------------------------------


def _compact_visits(now: float) -> Iterator[Step]:
    for level in VISIT_LEVELS:
        since, until = _since(VISIT_LEVELS, level, now), level.until(now)
        visits = Visit.objects.using(database()).filter(started__gte=since, started__lt=until)
        narrow = visits.annotate(rest=F("started") % level.seconds).exclude(rest=0)
        while portion := list(narrow.order_by("started")[:_MAX_ROWS]):
            yield Step("compacted", _move_visits(level, portion))


def _move_visits(level: Level, visits: Sequence[Visit]) -> int:
    slots = {(visit.started // level.seconds * level.seconds, visit.environment, visit.user) for visit in visits}
    wide = [Visit(started=started, environment=environment, user=user) for started, environment, user in sorted(slots)]
    with transaction() as alias:
        all_visits = Visit.objects.using(alias)
        first, last = wide[0].started, wide[-1].started + level.seconds
        concerned = all_visits.filter(started__gte=first, started__lt=last)
        before = concerned.count()
        all_visits.bulk_create(wide, ignore_conflicts=True)
        all_visits.filter(pk__in=[visit.pk for visit in visits]).delete()
        return before - concerned.count()


# -- what is old ----------------------------------------------------------------------------------------------------------


def _delete_old(now: float) -> Iterator[Step]:
    using, oldest = database(), now - config.get().RETENTION_DAYS * _DAY_S
    moment = moment_of(oldest)
    events = Event.objects.using(using)
    forgotten = Issue.objects.using(using).filter(last_seen__lt=moment)
    old: dict[str, QuerySet[Any]] = {
        "rows": MetricRow.objects.using(using).filter(started__lt=oldest),
        "visits": Visit.objects.using(using).filter(started__lt=oldest),
        "events": events.filter(moment__lt=moment),
        "transactions": SlowTransaction.objects.using(using).filter(moment__lt=moment),
        "issues": forgotten.exclude(Exists(events.filter(issue=OuterRef("pk")))),
    }
    for what, rows in old.items():
        # By their keys, for MariaDB takes no LIMIT where it deletes by a condition on another table.
        while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:_MAX_ROWS]):
            _, deleted = rows.filter(pk__in=keys).delete()
            yield Step(what, deleted.get(rows.model._meta.label, 0))


_CHORES: tuple[_Chore, ...] = (
    *(_Chore(f"compact_{level.seconds}", level.seconds, partial(_compact_rows, level)) for level in LEVELS),
    _Chore("compact_visits", 3_600, _compact_visits),
    _Chore("delete_old", 3_600, _delete_old),
)
_DIGESTS = _Chore("digests", 300, digests.update)
