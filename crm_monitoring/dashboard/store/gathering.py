"""Adds up the metric rows of a stretch of time, and of the one before: from digests as far as they go, else from the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Q, QuerySet

from crm_monitoring.dashboard.models import MetricRow
from crm_monitoring.dashboard.store import compaction, database, digests
from crm_monitoring.dashboard.store.digests import FINEST, LEVELS, Slots, Span, ceil_to, cover, floor_to
from crm_monitoring.dashboard.store.sums import COUNTERS, Names, Points, Tally, Totals


class Gathered:
    """
    What the rows of a stretch of time add up to.

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
    """Add up what is in `span`, of all environments where `environment` is empty. Takes eight queries at most."""
    before = Span(2 * span.start - span.end, span.start)
    earlier, now = digests.part_of(before), digests.part_of(span, is_checked=True)
    gathered = Gathered(span, step)
    gathered.environments |= now.environments
    _add_totals(gathered, earlier.span, now.span, environment)
    for names in digests.of(cover(now.span), environment).values_list("names", flat=True):
        gathered.names.add(Names.from_bytes(bytes(names)))
    edges = _around(before, earlier.span)
    if _are_told_by_the_minute(edges, earlier.span, now.span):
        _add_minutes(gathered.before, edges, environment)
        edges = []
    _add_rows(gathered, _rows([*edges, *_around(span, now.span)]), environment)
    return gathered


def _add_totals(gathered: Gathered, earlier: Span, now: Span, environment: str) -> None:
    fitting = [level for level in LEVELS if gathered.step % level == 0]
    slots = [*cover(earlier), *cover(now, fitting or [FINEST])]
    for started, totals, minutes in digests.of(slots, environment).values_list("started", "totals", "minutes"):
        if fitting or started < gathered.span.start:
            gathered.totals_at(started).add(Totals.from_bytes(bytes(totals)))
        else:
            for minute, point in Points.from_bytes(bytes(minutes)).items():
                gathered.totals_at(minute).add(point)


def _are_told_by_the_minute(edges: Iterable[Span], earlier: Span, now: Span) -> bool:
    """Whether digests tell what the rows of `edges` do: there are some before and after, and compaction has made no row wider yet."""
    has_digests = earlier.start < earlier.end and now.start < now.end
    return has_digests and all(compaction.keeps_minutes(floor_to(edge.start, FINEST)) for edge in edges)


def _add_minutes(totals: Totals, spans: Sequence[Span], environment: str) -> None:
    """Add up minutes of the narrowest digests: tens in place of the thousands of rows that a minute of a busy site may have."""
    slots = [Slots(FINEST, Span(floor_to(span.start, FINEST), ceil_to(span.end, FINEST))) for span in spans]
    for minutes in digests.of(slots, environment).values_list("minutes", flat=True):
        for minute, point in Points.from_bytes(bytes(minutes)).items():
            if any(span.start <= minute < span.end for span in spans):
                totals.add(point)


def _around(span: Span, part: Span) -> list[Span]:
    return [Span(span.start, part.start), Span(part.end, span.end)]


def _rows(spans: Iterable[Span]) -> QuerySet[MetricRow]:
    wanted = Q(pk__in=[])
    for span in spans:
        wanted |= Q(started__gte=span.start, started__lt=span.end)
    return MetricRow.objects.using(database()).filter(wanted)


def _add_rows(gathered: Gathered, rows: QuerySet[MetricRow], environment: str) -> None:
    found = rows.values_list("started", "environment", "kind", "name", "release", *COUNTERS)
    for started, of_environment, kind, name, release, *counters in found.iterator():
        if started >= gathered.span.start:
            gathered.environments.add(of_environment)
        if environment in ("", of_environment):
            tally = Tally.of(counters)
            gathered.totals_at(started).count(kind, name, release, tally)
            if started >= gathered.span.start:
                gathered.names.count(kind, name, tally)
