"""
One ladder of roll-ups, minutes to days: flushes go into their minutes, and wider slots are made of the narrower ones that are in them.

Everything happens in short transactions. A flush is in the waiting rows or in its minute, never in both: whoever finds, at the end,
that a row it has read was emptied by another undoes its turn. A slot that gets something late is marked, and what is wider is made
anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

from django.db.models import Q, QuerySet

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.metrics import Names, is_known
from crm_monitoring.dashboard.models import Flush, RollUp
from crm_monitoring.dashboard.store.connection import database, leaving_what_is_held, transaction
from crm_monitoring.dashboard.store.flushes import KEPT_S
from crm_monitoring.dashboard.store.spans import LADDER, MINUTE, Slots, Span, floor_to

OVER_AFTER_S = 120
"""Until then after its end a slot may still get something from flushes that were not due before."""

MAX_FLUSHES = 300
"""How many rows one turn takes."""

_DAY_S = 86_400
# Of minutes two days and what is under way: the window before the last 24 hours is told by the minute.
_KEPT_S = {60: 2 * _DAY_S + 2 * 3_600, 900: 8 * _DAY_S, 7_200: 40 * _DAY_S, 86_400: 400 * _DAY_S}
_WIDER = {**dict(pairwise(LADDER)), LADDER[-1]: LADDER[-1]}


class Slot(NamedTuple):
    """One roll-up's place."""

    seconds: int
    started: int
    environment: str

    def of(self, alias: str) -> QuerySet[RollUp]:
        """Return the roll-up, if there is one."""
        return RollUp.objects.using(alias).filter(
            seconds=self.seconds, started=self.started, environment=self.environment
        )

    def new(self) -> RollUp:
        """Return a roll-up that is not saved."""
        return RollUp(seconds=self.seconds, started=self.started, environment=self.environment)

    def narrower(self, alias: str) -> QuerySet[RollUp]:
        """Return the roll-ups of narrower slots that are in this one."""
        return RollUp.objects.using(alias).filter(
            seconds__lt=self.seconds,
            started__gte=self.started,
            started__lt=self.started + self.seconds,
            environment=self.environment,
        )


class _Overtaken(Exception):
    """Another process has emptied some of the rows meanwhile."""


def grain(moment: float, now: float) -> int:
    """Return the width of the narrowest slots that are kept of a moment."""
    return next((seconds for seconds in LADDER if moment >= kept_since(seconds, now)), LADDER[-1])


def kept_since(seconds: int, now: float) -> int:
    """Return the start of the oldest slot of this width that is kept; only whole wider ones are given up."""
    return floor_to(now - _KEPT_S[seconds], _WIDER[seconds])


# -- flushes into minutes -------------------------------------------------------------------------------------------------


def add_flushes(now: float) -> int:
    """
    Move what waits into its minutes, at most `MAX_FLUSHES` rows; of those that came too late into the narrowest slots still kept.

    Returns:
        How many rows were moved; 0 where there are none, or another process was faster.

    Raises:
        django.db.Error: if the database cannot be written.
    """
    moved = 0
    with suppress(_Overtaken), leaving_what_is_held(), transaction() as alias:
        waiting = Flush.objects.using(alias).filter(emptied=None, started__lte=now).order_by("started")
        # What a newer version has written is left to it.
        moved = _move([row for row in waiting[:MAX_FLUSHES] if is_known(_bytes(row.body))], alias, now)
    return moved


def _bytes(body: bytes | memoryview | None) -> bytes:
    return bytes(body or b"")


def _slot_of(started: int, environment: str, now: float) -> Slot:
    # One wider slot more than is deleted: what is added to a slot stays at least until the next deletion.
    fitting = (seconds for seconds in LADDER if started >= kept_since(seconds, now) + _WIDER[seconds])
    seconds = next(fitting, LADDER[-1])
    return Slot(seconds, floor_to(started, seconds), environment)


def _move(read: Iterable[Flush], alias: str, now: float) -> int:
    rows: defaultdict[Slot, list[Flush]] = defaultdict(list)
    for row in read:
        rows[_slot_of(row.started, row.environment, now)].append(row)
    moved = [row.pk for slot in sorted(rows) if _add(slot, rows[slot], alias) for row in rows[slot]]
    emptied = Flush.objects.using(alias).filter(pk__in=moved, emptied=None).update(body=None, emptied=int(now))
    if emptied != len(moved):
        raise _Overtaken
    return emptied


def _add(slot: Slot, rows: Sequence[Flush], alias: str) -> bool:
    """Add to a slot, and say that no wider one has it as it is; False where that has to wait."""
    if slot.seconds > MINUTE and slot.narrower(alias).filter(rolled=False).exists():
        # It is about to be made anew, of narrower ones.
        return False
    known = slot.of(alias).select_for_update().first()
    if known is not None and not is_known(_bytes(known.body)):
        return False
    _save(known or slot.new(), [*([known] if known else []), *rows], alias)
    return True


def _save(rollup: RollUp, parts: Iterable[Flush | RollUp], alias: str) -> None:
    names = Names.sum(_bytes(part.body) for part in parts)
    rollup.body, rollup.totals, rollup.rolled = names.to_bytes(), names.totals().to_bytes(), False
    rollup.save(using=alias, update_fields=["body", "totals", "rolled"] if rollup.pk else None)


# -- narrow ones into wider ones ------------------------------------------------------------------------------------------


def widen(now: float) -> Iterator[int]:
    """
    Make the wider roll-ups that are over and not made, or made of less than there is now; each in a transaction.

    Yields:
        How many narrower ones each was made of.

    Raises:
        django.db.Error: if the database cannot be read or written; it may be tried again.
    """
    for finer, seconds in pairwise(LADDER):
        for slot in sorted(_due(finer, seconds, now)):
            yield _make(slot, finer)


def _due(finer: int, seconds: int, now: float) -> set[Slot]:
    over, due = floor_to(now - OVER_AFTER_S, seconds), set[Slot]()
    with leaving_what_is_held(), transaction() as alias:
        narrow = RollUp.objects.using(alias).filter(rolled=False, seconds=finer, started__lt=over)
        for started, environment in narrow.values_list("started", "environment"):
            due.add(Slot(seconds, floor_to(started, seconds), environment))
    return due


def _make(slot: Slot, finer: int) -> int:
    rolled = 0
    with leaving_what_is_held(), transaction() as alias:
        # Held until the end: what is added to one of them meanwhile would be marked as in the wider one, and is not.
        narrow = list(slot.narrower(alias).filter(seconds=finer).order_by("started").select_for_update())
        if all(is_known(_bytes(part.body)) for part in narrow):
            _save(slot.of(alias).select_for_update().first() or slot.new(), narrow, alias)
            rolled = RollUp.objects.using(alias).filter(pk__in=[part.pk for part in narrow]).update(rolled=True)
    return rolled


# -- what is old ----------------------------------------------------------------------------------------------------------


def old(now: float) -> dict[str, QuerySet[Flush] | QuerySet[RollUp]]:
    """Return what is not needed any more: by RETENTION_DAYS, for wider ones have it, and emptied rows."""
    flushes, rollups = Flush.objects.using(database()), RollUp.objects.using(database())
    oldest = floor_to(now - config.get().RETENTION_DAYS * _DAY_S, MINUTE)
    given_up = Q(started__lt=oldest)
    for seconds in LADDER[:-1]:
        given_up |= Q(seconds=seconds, started__lt=kept_since(seconds, now), rolled=True)
    return {
        "flushes": flushes.filter(Q(emptied__lt=int(now) - KEPT_S) | Q(started__lt=oldest)),
        "rollups": rollups.filter(given_up),
    }


# -- reading --------------------------------------------------------------------------------------------------------------


def unsettled(span: Span) -> list[tuple[int, int]]:
    """Return width and start of the roll-ups of a stretch of time that no wider one has as they are."""
    rows = RollUp.objects.using(database()).filter(rolled=False, seconds__lt=LADDER[-1])
    return list(rows.filter(started__gte=span.start, started__lt=span.end).values_list("seconds", "started").distinct())


def within(slots: Iterable[Slots], environment: str = "") -> QuerySet[RollUp]:
    """Return the roll-ups of slots, of all environments where `environment` is empty."""
    wanted = Q(pk__in=[])
    for seconds, span in slots:
        wanted |= Q(seconds=seconds, started__gte=span.start, started__lt=span.end)
    found = RollUp.objects.using(database()).filter(wanted)
    return found.filter(environment=environment) if environment else found


def waiting(span: Span) -> QuerySet[Flush]:
    """Return the rows that wait, of a stretch of time."""
    rows = Flush.objects.using(database()).filter(emptied=None)
    return rows.filter(started__gte=span.start, started__lt=span.end)
