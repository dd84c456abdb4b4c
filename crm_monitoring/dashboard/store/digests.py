"""
Digests: what the metric rows of each slot of time add up to, kept beside the rows, for adding up a million rows takes seconds.

They are a copy, stale where their counts are not those of the rows: those of the last days are checked whenever they are read, all
when they are brought up to date. Compaction changes rows, but no sum.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import time
from typing import Any, NamedTuple, TypeVar

from django.db.models import F, Max, Model, Q, QuerySet, Sum

from crm_monitoring.dashboard.models import Digest, MetricRow
from crm_monitoring.dashboard.store import database, transaction
from crm_monitoring.dashboard.store.sums import COUNTERS, Names, Points, Tally, Totals

LEVELS = (86_400, 7_200, 900)
"""Widths of slots in seconds, each a multiple of the next."""

OVER_AFTER_S = 120
"""Until then after its end a slot may still get rows from flushes that were not due before."""

_DAY, _MIDDLE, FINEST = LEVELS
# Rows that come late come within this, as good as all; after it compaction moves rows from one of the narrowest slots into another.
_LATE_S = 2 * _DAY


Row = TypeVar("Row", bound=Model)


class Span(NamedTuple):
    """A stretch of time, Unix seconds; its end is not in it."""

    start: int
    end: int


class Slots(NamedTuple):
    """The slots of one width in a stretch of time."""

    seconds: int
    span: Span


def floor_to(moment: float, step: int) -> int:
    """Return the last multiple of `step` that is not after `moment`."""
    return int(moment // step) * step


def ceil_to(moment: float, step: int) -> int:
    """Return the first multiple of `step` that is not before `moment`."""
    return -floor_to(-moment, step)


# -- what is read ---------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """The part of a stretch of time that digests stand for, empty where they do not, and the environments in it."""

    span: Span
    environments: frozenset[str]


class _Kept(NamedTuple):
    """What one of the narrowest digests has counted."""

    environment: str
    started: int
    counted: int


def part_of(span: Span, *, is_checked: bool = False) -> Part:
    """
    Return which part of `span` can be read from digests. Takes one query, and one or two more to check them.

    Args:
        is_checked: It ends before the first digest of the last two days that is stale. What comes later than that, or without a
            check, is not in the figures before the digests are brought up to date.
    """
    start, limit = min(ceil_to(span.start, _grain(span.start)), span.end), floor_to(span.end, _grain(span.end))
    digests = _within(_digests(FINEST), Span(start, limit))
    kept = [_Kept(*found) for found in digests.values_list("environment", "started", "count")]
    end = max((slot.started + FINEST for slot in kept), default=start)
    if is_checked:
        end = _fresh_until(Span(max(start, ceil_to(time() - _LATE_S, _MIDDLE)), end), kept)
    return Part(Span(start, max(start, floor_to(end, _grain(end)))), frozenset(slot.environment for slot in kept))


def _fresh_until(span: Span, kept: Iterable[_Kept]) -> int:
    """Return where the first stale digest in `span` starts; its end if there is none."""
    known = Counter[int]()
    for slot in kept:
        if slot.started >= span.start:
            known[slot.started] += slot.counted
    if span.start >= span.end or _count(_rows(span)) == known.total():
        return span.end
    return min(_unequal(_counts(_rows(span), FINEST), known), default=span.end)


def _grain(moment: float) -> int:
    """Return the width of the narrowest slots at about that moment that have everything, and that no row was moved out of."""
    return FINEST if moment > time() - _LATE_S else _MIDDLE


def cover(span: Span, levels: Sequence[int] = LEVELS) -> list[Slots]:
    """Return the widest slots that make up `span`, whose ends are multiples of 900 s."""
    if not levels:
        return []
    seconds, *finer = levels
    start, end = ceil_to(span.start, seconds), floor_to(span.end, seconds)
    if start >= end:
        return cover(span, finer)
    before, after = cover(Span(span.start, start), finer), cover(Span(end, span.end), finer)
    return [*before, Slots(seconds, Span(start, end)), *after]


def of(slots: Iterable[Slots], environment: str = "") -> QuerySet[Digest]:
    """Return the digests of slots, of all environments where `environment` is empty."""
    wanted = Q(pk__in=[])
    for seconds, span in slots:
        wanted |= Q(seconds=seconds, started__gte=span.start, started__lt=span.end)
    found = Digest.objects.using(database()).filter(wanted)
    return found.filter(environment=environment) if environment else found


# -- what is written ------------------------------------------------------------------------------------------------------


def update(now: float | None = None) -> Iterator[int]:
    """
    Make the digests of slots that are over, and those anew whose rows have changed: the oldest day first, each in a transaction.

    Only one process may do so at a time.

    Yields:
        How many digests were made, after each day.

    Raises:
        django.db.Error: if the database cannot be read or written; it may be tried again.
    """
    over = floor_to((time() if now is None else now) - OVER_AFTER_S, FINEST)
    for day in _days(over):
        with transaction():
            made = _update_within(Span(day, min(day + _DAY, over)), _is_old(day, over))
        yield made
    _shrink(over)


def _days(over: int) -> list[int]:
    """Return the days that may need digests: from that of the newest on, for it was not over then, and stale ones before."""
    newest = _digests(FINEST).filter(started__lt=over).aggregate(newest=Max("started"))["newest"]
    newest_day = floor_to(over if newest is None else newest, _DAY)
    before = Span(0, newest_day)
    rows, kept = _rows(before), _within(_digests(FINEST), before)
    stale = [] if _count(rows) == _count(kept) else _differing(rows, kept, _DAY)
    return [*stale, *range(newest_day, over, _DAY)]


def _is_old(day: int, over: int) -> bool:
    """Whether compaction may have moved rows from one of the finest slots into another."""
    return day < floor_to(over, _DAY) - _DAY


def _update_within(span: Span, is_old: bool) -> int:
    unit, made = _MIDDLE if is_old else FINEST, 0
    for slot in _differing(_rows(span), _within(_digests(FINEST), span), unit):
        slots = Span(slot, slot + unit)
        made += _replace(FINEST, slots, _sums_of_rows(slots))
    for seconds, finer in ((_MIDDLE, FINEST), (_DAY, _MIDDLE)):
        whole = Span(span.start, floor_to(span.end, seconds))
        for slot in _differing(_within(_digests(finer), whole), _within(_digests(seconds), whole), seconds):
            slots = Span(slot, slot + seconds)
            made += _replace(seconds, slots, _sums_of_digests(finer, slots))
    return made


def _shrink(over: int) -> None:
    """Empty the narrowest slots that nobody reads any more, for wider ones have their names too. They tell what is stale."""
    old = _digests(FINEST).filter(started__lt=floor_to(over, _DAY) - 2 * _DAY)
    old.exclude(names=b"").update(minutes=b"", names=b"")


def _differing(source: QuerySet[Any], made: QuerySet[Any], step: int) -> list[int]:
    """Return the slots in which `made` has not counted what `source` has."""
    return sorted(_unequal(_counts(source, step), _counts(made, step)))


def _unequal(counts: Mapping[int, int], others: Mapping[int, int]) -> set[int]:
    return {slot for slot in counts.keys() | others.keys() if counts.get(slot) != others.get(slot)}


def _counts(rows: QuerySet[Any], step: int) -> dict[int, int]:
    slots = rows.order_by().values_list(F("started") - F("started") % step)
    return dict(slots.annotate(Sum("count")))


class _Sum:
    """What the rows of one slot and environment add up to."""

    def __init__(self) -> None:
        self.count = 0
        self.totals = Totals()
        self.minutes = Points()
        self.names = Names()


_Sums = Mapping[tuple[int, str], _Sum]


def _sums_of_rows(span: Span) -> _Sums:
    sums: defaultdict[tuple[int, str], _Sum] = defaultdict(_Sum)
    rows = _rows(span).values_list("started", "environment", "kind", "name", "release", *COUNTERS)
    for started, environment, kind, name, release, *counters in rows.iterator():
        tally, found = Tally.of(counters), sums[floor_to(started, FINEST), environment]
        found.count += tally.count
        found.totals.count(kind, name, release, tally)
        found.minutes[floor_to(started, 60)].count(kind, name, release, tally)
        found.names.count(kind, name, tally)
    return sums


def _sums_of_digests(seconds: int, span: Span) -> _Sums:
    """Return the sums of the digests of that width, as those of one slot that is as wide as `span`."""
    sums: defaultdict[tuple[int, str], _Sum] = defaultdict(_Sum)
    for digest in _within(_digests(seconds), span):
        found = sums[span.start, digest.environment]
        found.count += digest.count
        found.totals.add(Totals.from_bytes(bytes(digest.totals)))
        found.names.add(Names.from_bytes(bytes(digest.names)))
    return sums


def _replace(seconds: int, span: Span, sums: _Sums) -> int:
    _within(_digests(seconds), span).delete()
    made = [
        Digest(
            started=started,
            seconds=seconds,
            environment=environment,
            count=found.count,
            totals=found.totals.to_bytes(),
            minutes=found.minutes.to_bytes() if found.minutes else b"",
            names=found.names.to_bytes(),
        )
        for (started, environment), found in sums.items()
    ]
    Digest.objects.using(database()).bulk_create(made)
    return len(made)


def _count(rows: QuerySet[Any]) -> int:
    return int(rows.aggregate(count=Sum("count"))["count"] or 0)


def _rows(span: Span) -> QuerySet[MetricRow]:
    return _within(MetricRow.objects.using(database()).all(), span)


def _digests(seconds: int) -> QuerySet[Digest]:
    return Digest.objects.using(database()).filter(seconds=seconds)


def _within(rows: QuerySet[Row], span: Span) -> QuerySet[Row]:
    return rows.filter(started__gte=span.start, started__lt=span.end)
