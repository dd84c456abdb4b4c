"""What the page shows, read from the database and added up: one window of time, and the one before to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from django.db.models import Count, Exists, Max, Min, Model, OuterRef, Q, QuerySet

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics import OTHER, Counters, Metric, Names, Totals
from crm_monitoring.dashboard.models import Deploy, Flush, Issue, RollUp, Sighting, Visit
from crm_monitoring.dashboard.store import clock
from crm_monitoring.dashboard.store.connection import database
from crm_monitoring.dashboard.store.gathering import gather
from crm_monitoring.dashboard.store.spans import MINUTE, Span, floor_to
from crm_monitoring.dashboard.store.windows import Window

ACTIVE_S = 15 * MINUTE
NEWEST_ISSUES = 10

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Change:
    """A figure, and the same of the window before; None where nothing was measured."""

    now: float | None
    before: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    One endpoint or operation.

    Attributes:
        name: "GET organisations/{pk}/"; "(other)" stands for what came after the first 200.
        apdex: From 0 to 1, None for an operation.
        redirected: Requests answered 3xx; `rejected` 4xx; `failed` 5xx, or operations ended by an exception.
    """

    name: str
    count: int
    redirected: int
    rejected: int
    failed: int
    slow: int
    average_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    slowest_ms: float
    apdex: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of the charts; percentiles are None where there was no request. `started` is Unix seconds."""

    started: int
    requests: int
    errors: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    Whose numbers these are: all processes on this database.

    Attributes:
        since: Start of the oldest minute kept, or of a wider slot where minutes are not; None where there is none.
        newest: Start of the newest minute.
        dropped: What was lost in the window, by kind.
    """

    since: datetime | None
    newest: datetime | None
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    Everything on the page.

    Attributes:
        errors: Events of level error and above, with those that the quota held back.
        hottest: The endpoint with the most requests; `slowest` the one with the highest average, None without requests.
        active_users: Distinct users of the last 15 minutes; `users` those of the window.
        error_rate: Share of requests answered 5xx, from 0 to 1.
        errors_by_release: Errors in the window by release, most first; "" is an unknown release.
    """

    window: Window
    environment: str
    environments: Sequence[str]
    until: datetime
    requests: Change
    errors: Change
    average_ms: Change
    hottest: Measured | None
    slowest: Measured | None
    active_users: Change
    users: Change
    error_rate: Change
    apdex: Change
    p95_ms: Change
    failed: Change
    slow: Change
    points: Sequence[Point]
    endpoints: Sequence[Measured]
    operations: Sequence[Measured]
    issues: Sequence[Issue]
    deploys: Sequence[Deploy]
    errors_by_release: Sequence[tuple[str, int]]
    source: Source


def knows(environment: str) -> bool:
    """Tell whether anything was ever measured in an environment, as far as it is kept."""
    return any(
        model._default_manager.using(database()).filter(environment=environment).exists() for model in (RollUp, Flush)
    )


def read(window: Window, environment: str = "", until: float | None = None) -> Figures:
    """
    Return the figures of a window, of all environments where `environment` is empty.

    The window is whole minutes, the running one its last. A slot of time, however wide, is in it if it starts in it.

    Args:
        until: End of the window, Unix seconds; now unless given.

    Raises:
        django.db.Error: if the database cannot be read.
    """
    until = clock.now() if until is None else until
    end = floor_to(until, MINUTE) + MINUTE
    span = Span(end - window.seconds, end)
    gathered = gather(span, window.step, environment)
    total = gathered.points.total()
    now, before = total.requests, gathered.before.requests
    endpoints = _measured(gathered.names, Metric.REQUEST)
    users, active_users = _users(span, until, environment)
    return Figures(
        window=window,
        environment=environment,
        environments=sorted(gathered.environments),
        until=datetime.fromtimestamp(until, UTC),
        requests=Change(now.count, before.count),
        errors=Change(total.errors.total(), gathered.before.errors.total()),
        average_ms=_change(lambda counted: counted.average_ms, now, before),
        hottest=_greatest(endpoints, lambda endpoint: endpoint.count),
        slowest=_greatest(endpoints, lambda endpoint: endpoint.average_ms),
        active_users=active_users,
        users=users,
        error_rate=_change(lambda counted: counted.error_rate, now, before),
        apdex=_change(lambda counted: counted.apdex, now, before),
        p95_ms=_change(lambda counted: counted.sketch.quantile(0.95), now, before),
        failed=Change(now.failed, before.failed),
        slow=Change(now.slow, before.slow),
        points=_points(gathered.points, span, window.step),
        endpoints=endpoints,
        operations=_measured(gathered.names, Metric.OPERATION),
        issues=_newest_issues(environment),
        deploys=_deploys(span, environment),
        errors_by_release=total.errors.most_common(),
        source=_source(total.losses, end),
    )


def _change(figure: Callable[[Counters], float | None], now: Counters, before: Counters) -> Change:
    return Change(figure(now), figure(before))


# -- endpoints, operations and points -------------------------------------------------------------------------------------


def _measured(names: Names, metric: Metric) -> list[Measured]:
    """Return those of one metric, the most frequent first."""
    found = [_one_measured(name, metric, counted) for name, counted in names.by_name(metric).items() if counted.count]
    return sorted(found, key=lambda measured: (-measured.count, measured.name))


def _one_measured(name: str, metric: Metric, counted: Counters) -> Measured:
    p50_ms, p95_ms, p99_ms = counted.sketch.quantiles(0.5, 0.95, 0.99)
    return Measured(
        name=name,
        count=counted.count,
        redirected=counted.redirected,
        rejected=counted.rejected,
        failed=counted.failed,
        slow=counted.slow,
        average_ms=counted.average_ms or 0.0,
        p50_ms=p50_ms or 0.0,
        p95_ms=p95_ms or 0.0,
        p99_ms=p99_ms or 0.0,
        slowest_ms=counted.slowest_ms,
        apdex=counted.apdex if metric == Metric.REQUEST else None,
    )


def _greatest(endpoints: Sequence[Measured], figure: Callable[[Measured], float]) -> Measured | None:
    # What stands for many is neither the hottest nor the slowest of them.
    named = [endpoint for endpoint in endpoints if endpoint.name != OTHER]
    return max(named or endpoints, key=figure, default=None)


def _points(totals: Mapping[int, Totals], span: Span, step: int) -> list[Point]:
    nothing = Totals()
    moments = range(floor_to(span.start, step), span.end, step)
    return [_point(started, totals.get(started, nothing)) for started in moments]


def _point(started: int, totals: Totals) -> Point:
    p50_ms, p95_ms = totals.requests.sketch.quantiles(0.5, 0.95)
    return Point(
        started=started,
        requests=totals.requests.count,
        errors=totals.errors.total(),
        failed=totals.requests.failed,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
    )


# -- what is not counted in slots of time -------------------------------------------------------------------------------------------


def _users(span: Span, until: float, environment: str) -> tuple[Change, Change]:
    """Return the users of the window and the active ones."""
    lately = int(until) - ACTIVE_S
    parts = {
        "now": Q(started__gte=span.start),
        "before": Q(started__lt=span.start),
        "active": Q(started__gte=lately),
        "active_before": Q(started__gte=lately - ACTIVE_S, started__lt=lately),
    }
    visits = Visit.objects.using(database()).filter(started__gte=2 * span.start - span.end, started__lt=span.end)
    counts = _of(visits, environment).aggregate(
        **{name: Count("user", distinct=True, filter=part) for name, part in parts.items()}
    )
    return Change(counts["now"], counts["before"]), Change(counts["active"], counts["active_before"])


def _newest_issues(environment: str) -> list[Issue]:
    issues = Issue.objects.using(database()).filter(status=Issue.Status.OPEN)
    if environment:
        issues = issues.filter(Exists(Sighting.objects.filter(issue=OuterRef("pk"), environment=environment)))
    return list(issues.order_by("-last_seen", "-pk")[:NEWEST_ISSUES])


def _deploys(span: Span, environment: str) -> list[Deploy]:
    start, end = map(moment_of, span)
    return list(_of(Deploy.objects.using(database()).filter(moment__gte=start, moment__lt=end), environment))


def _source(losses: Mapping[str, int], end: int) -> Source:
    starts = Min("started"), Max("started")
    flushes = Flush.objects.using(database()).filter(started__lt=end).aggregate(first=starts[0], last=starts[1])
    rollups = RollUp.objects.using(database()).filter(started__lt=end).order_by("seconds")
    kept = [(MINUTE, flushes["first"], flushes["last"]), *rollups.values_list("seconds").annotate(*starts)]
    since = newest = None
    for seconds, first, last in kept:
        # Of a wider slot where there are narrower ones, these tell better when it began.
        if first is not None and (since is None or first + seconds <= since):
            since = first
        if last is not None and (newest is None or last > newest):
            newest = last
    return Source(since=_moment(since), newest=_moment(newest), dropped=dict(losses))


def _moment(started: int | None) -> datetime | None:
    return None if started is None else datetime.fromtimestamp(started, UTC)


def _of(rows: QuerySet[Row], environment: str) -> QuerySet[Row]:
    return rows.filter(environment=environment) if environment else rows
