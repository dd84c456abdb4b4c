"""Adds up what was counted in a stretch of time, and in the one before: the widest roll-ups that fit, and the flushes that wait."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from crm_monitoring.dashboard.metrics import Counters, Names, Points, Totals, UnknownFormat
from crm_monitoring.dashboard.store import rollups
from crm_monitoring.dashboard.store.connection import snapshot
from crm_monitoring.dashboard.store.spans import LADDER, MINUTE, Span, ceil_to, cover, floor_to

Stored = bytes | memoryview | None


class Gathered:
    """
    What a stretch of time adds up to.

    Attributes:
        before: What the stretch before adds up to, which is as long.
        environments: All that were seen in the stretch.
    """

    def __init__(self, span: Span, step: int) -> None:
        self.span = span
        self.step = step
        self.points = Points()
        self.names = Names()
        self.before = Totals()
        self.environments: set[str] = set()

    def totals_at(self, started: int) -> Totals:
        """Return the totals that what started then belongs to."""
        return self.points[floor_to(started, self.step)] if started >= self.span.start else self.before


def gather(span: Span, step: int, environment: str = "") -> Gathered:
    """Add up what is in `span`, of all environments where `environment` is empty. Takes five queries, of one moment."""
    before, now = _parts(span)
    gathered = Gathered(now, step)
    with snapshot():
        unsettled = rollups.unsettled(Span(before.start, now.end))
        slots = cover(now, unsettled)
        gathered.environments |= set(rollups.within(slots).values_list("environment", flat=True).distinct())
        gathered.names.add(_names(rollups.within(slots, environment).values_list("body", flat=True)))
        for_charts = cover(now, unsettled, [width for width in LADDER if step % width == 0])
        rows = rollups.within([*cover(before, unsettled), *for_charts], environment)
        for started, stored in rows.values_list("started", "totals"):
            gathered.totals_at(started).add(_totals(stored))
        _add_waiting(gathered, Span(before.start, now.end), environment)
    return gathered


def of_name(span: Span, step: int, metric: str, name: str, environment: str = "") -> dict[int, Counters]:
    """Return what was counted of one name in `span`, of all releases, by the start of each step that has anything."""
    only, found = (metric, name), defaultdict[int, Counters](Counters)
    with snapshot():
        widths = [width for width in LADDER if step % width == 0]
        slots = rollups.within(cover(span, rollups.unsettled(span), widths), environment)
        columns = ("started", "environment", "body")
        rows = [*slots.values_list(*columns), *rollups.waiting(span).values_list(*columns)]
    for started, of, body in rows:
        if environment in ("", of):
            for counters in Names.sum([bytes(body or b"")], only).values():
                found[floor_to(started, step)].add(counters)
    return dict(found)


def _parts(span: Span) -> tuple[Span, Span]:
    """Part the time before from `span` where slots that are still kept begin: one that is wide belongs to where it begins."""
    starts = span.start, 2 * span.start - span.end
    middle, first = (ceil_to(moment, rollups.grain(moment, span.end)) for moment in starts)
    return Span(first, middle), Span(middle, span.end)


def _waiting(span: Span) -> dict[tuple[int, str], Names]:
    """Return what flushes have counted that is in no roll-up yet, by minute and environment."""
    bodies: defaultdict[tuple[int, str], list[Stored]] = defaultdict(list)
    for started, environment, body in rollups.waiting(span).values_list("started", "environment", "body"):
        bodies[started, environment].append(body)
    return {key: _names(of_minute) for key, of_minute in bodies.items()}


def _add_waiting(gathered: Gathered, span: Span, environment: str) -> None:
    for (started, of), names in _waiting(span).items():
        is_now = started >= gathered.span.start
        if is_now:
            gathered.environments.add(of)
        if environment in ("", of):
            gathered.totals_at(started).add(names.totals())
            if is_now:
                gathered.names.add(names)


# -- for alerts -----------------------------------------------------------------------------------------------------------


def names_since(start: int, now: float) -> dict[str, Names]:
    """Return what was counted since `start`, a whole minute, by environment."""
    span, bodies = Span(start, _next_minute(now)), defaultdict[str, list[Stored]](list)
    with snapshot():
        rows = rollups.within(cover(span, rollups.unsettled(span))).values_list("environment", "body")
        for environment, body in [*rows, *rollups.waiting(span).values_list("environment", "body")]:
            bodies[environment].append(body)
    return {environment: _names(stored) for environment, stored in bodies.items()}


def errors_since(start: int, now: float) -> dict[str, Counter[int]]:
    """
    Return how many errors there were in each minute since `start`, by environment.

    Those of a slot that is wider, where minutes are not kept any more, are spread over its minutes.
    """
    span, found = Span(start, _next_minute(now)), defaultdict[str, Counter[int]](Counter)
    middle = max(start, rollups.kept_since(MINUTE, now))
    with snapshot():
        slots = [*cover(Span(start, middle), widths=LADDER[1:2]), *cover(Span(middle, span.end), widths=LADDER[:1])]
        rows = rollups.within(slots).values_list("environment", "started", "seconds", "totals")
        for environment, started, seconds, stored in rows:
            _spread(found[environment], _totals(stored).errors.total(), started, seconds)
        for (started, environment), names in _waiting(span).items():
            _spread(found[environment], names.totals().errors.total(), started, MINUTE)
    return {environment: minutes for environment, minutes in found.items() if minutes}


def _spread(minutes: Counter[int], count: int, started: int, seconds: int) -> None:
    size = seconds // MINUTE
    for number in range(min(size, count)):
        minutes[started + number * MINUTE] += count // size + (number < count % size)


def newest(environment: str, now: float, is_it: Callable[[Names], bool]) -> int | None:
    """Return the start of the newest minute in which `is_it` is true of what was counted, None where there is none."""
    span = Span(0, _next_minute(now))
    with snapshot():
        found = [started for (started, of), names in _waiting(span).items() if of == environment and is_it(names)]
        rolled = _newest(span, LADDER, rollups.unsettled(span), environment, is_it)
    return max([*found, *rolled], default=None)


def _newest(
    span: Span,
    widths: Sequence[int],
    unsettled: list[tuple[int, int]],
    environment: str,
    is_it: Callable[[Names], bool],
) -> list[int]:
    """Look through the widest slots, the newest first, and then through what is in the first that has it."""
    rows = rollups.within(cover(span, unsettled, widths), environment).order_by("-started")
    for started, seconds, body in rows.values_list("started", "seconds", "body").iterator(chunk_size=20):
        if is_it(_names([body])):
            narrower = [width for width in LADDER if width < seconds]
            slot = Span(started, started + seconds)
            return _newest(slot, narrower, unsettled, environment, is_it) or [started]
    return []


def _next_minute(now: float) -> int:
    return floor_to(now, MINUTE) + MINUTE


# -- what is stored -------------------------------------------------------------------------------------------------------


def _names(bodies: Iterable[Stored]) -> Names:
    return Names.sum(bytes(body or b"") for body in bodies)


def _totals(stored: Stored) -> Totals:
    with suppress(UnknownFormat):
        return Totals.from_bytes(bytes(stored or b""))
    # What a newer version has stored is that version's to show.
    return Totals()
