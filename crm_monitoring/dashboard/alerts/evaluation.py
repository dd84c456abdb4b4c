"""
What rules find in what was measured, and what follows from it for their alerts.

A window is its whole minutes and the running one, for what happened is written some seconds later. Where a rule's subject is
not measured, nothing is found of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from crm_monitoring.dashboard.alerts.rules import MINUTE, Kind, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics.sketch import apdex
from crm_monitoring.dashboard.models import Alert, Issue
from crm_monitoring.dashboard.models import Kind as RowKind
from crm_monitoring.dashboard.store import alerts
from crm_monitoring.dashboard.store.digests import floor_to
from crm_monitoring.dashboard.store.sums import Tally
from crm_monitoring.extending import sentry_status

PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What a rule found of one subject.

    Attributes:
        subject: An endpoint or operation, the key of an issue; empty for the environment as a whole.
        title: The subject as people read it, empty for the environment as a whole.
        value: What was measured, in the unit of the rule's threshold; None where too little was.
        requests: How many requests, operations or errors it is about.
        since: When it began; None for now.
    """

    rule: Rule
    environment: str
    subject: str = ""
    title: str = ""
    value: float | None
    requests: int | None = None
    is_breach: bool
    since: datetime | None = None


class Step(Enum):
    """What becomes of an alert; the values are those of Delivery.Kind."""

    START = "start"
    REMINDER = "reminder"
    END = "end"


@dataclass(frozen=True, slots=True)
class Change:
    """
    What an alert has to become.

    Attributes:
        about: The finding that says so, or the alert where nothing is found of its subject any more.
        is_known: Whether the subject had an alert before.
    """

    step: Step
    rule: Rule
    about: Finding | Alert
    is_known: bool

    @property
    def finding(self) -> Finding | None:
        """The finding, if there is one."""
        return self.about if isinstance(self.about, Finding) else None


def findings(rule: Rule, now: float) -> list[Finding]:
    """
    Return what `rule` finds of each of its subjects, breaches and others.

    Args:
        now: Unix seconds.

    Raises:
        django.db.Error: if the database cannot be read.
    """
    return list(_FINDERS[rule.kind](rule, now))


def changes(rule: Rule, found: Sequence[Finding], known: Mapping[tuple[str, str], Alert], now: float) -> list[Change]:
    """Return what has to change: alerts that begin, that are due for a reminder and that are over."""
    breaches = {(finding.environment, finding.subject): finding for finding in found if finding.is_breach}
    others = {(finding.environment, finding.subject): finding for finding in found if not finding.is_breach}
    steps = [(key, _step(rule, finding, known.get(key), now)) for key, finding in breaches.items()]
    begun = [Change(step, rule, breaches[key], key in known) for key, step in steps if step is not None]
    over = [
        Change(Step.END, rule, others.get(key, alert), True)
        for key, alert in known.items()
        if alert.state == Alert.State.FIRING and key not in breaches
    ]
    return begun + over


def _step(rule: Rule, finding: Finding, alert: Alert | None, now: float) -> Step | None:
    if alert is None or alert.since is None or alert.last_sent is None:
        return Step.START
    if finding.since is not None and finding.since > alert.since:
        # An issue that came back, whether or not anybody noticed that it was over.
        return Step.START
    if alert.state != Alert.State.FIRING:
        # An issue that was not seen for a while is not new when it is seen again.
        return Step.START if finding.since is None else None
    return Step.REMINDER if alert.last_sent <= moment_of(now - rule.cooldown) else None


# -- requests and operations ----------------------------------------------------------------------------------------------


def _start(rule: Rule, now: float) -> int:
    return floor_to(now, MINUTE) - rule.window


def _timed(kind: RowKind) -> Callable[[Rule, float], Iterator[Finding]]:
    def find(rule: Rule, now: float) -> Iterator[Finding]:
        for environment, names in alerts.tallies(kind, _start(rule, now)).items():
            if not rule.environments or environment in rule.environments:
                for subject, tally in _subjects(rule, names):
                    yield _judged(rule, environment, subject, tally)

    return find


def _subjects(rule: Rule, names: Mapping[str, Tally]) -> Iterator[tuple[str, Tally]]:
    if rule.endpoints or rule.kind == Kind.SLOW_OPERATION:
        yield from ((name, tally) for name, tally in names.items() if not rule.endpoints or name in rule.endpoints)
        return
    total = Tally()
    for tally in names.values():
        total.add(tally)
    yield "", total


def _judged(rule: Rule, environment: str, subject: str, tally: Tally) -> Finding:
    value = _figure(rule, tally) if tally.count >= rule.minimum else None
    is_breach = value is not None and (
        value < rule.threshold if rule.kind == Kind.APDEX_BELOW else value > rule.threshold
    )
    return Finding(
        rule=rule,
        environment=environment,
        subject=subject,
        title=subject,
        value=value,
        requests=tally.count,
        is_breach=is_breach,
    )


def _figure(rule: Rule, tally: Tally) -> float | None:
    if rule.kind == Kind.APDEX_BELOW:
        return apdex(tally.count, tally.satisfied, tally.tolerating)
    if rule.kind == Kind.FAILED_PERCENT:
        return PERCENT * tally.failed / tally.count
    if rule.of == "p95":
        return tally.sketch.quantile(0.95)
    return tally.slowest_ms if rule.of == "any" else tally.duration_ms / tally.count


# -- errors ---------------------------------------------------------------------------------------------------------------


def _error_rate(rule: Rule, now: float) -> Iterator[Finding]:
    for environment, minutes in alerts.errors(_start(rule, now)).items():
        if not rule.environments or environment in rule.environments:
            value = errors_a_minute(minutes, rule.window, now)
            yield Finding(
                rule=rule,
                environment=environment,
                value=value,
                requests=sum(minutes.values()),
                is_breach=value > rule.threshold,
            )


def errors_a_minute(minutes: Mapping[int, int], window: int, now: float) -> float:
    """
    Return the highest rate that the window has seen: of its whole minutes until the running one, of those with the running
    one, and of exactly the last `window` seconds, where the minute that is partly in it counts by its share.

    Args:
        minutes: Errors by the start of the minute, Unix seconds.
        window: Seconds.
    """
    running = floor_to(now, MINUTE)
    between = sum(count for started, count in minutes.items() if running - window < started < running)
    oldest, newest = minutes.get(running - window, 0), minutes.get(running, 0)
    share = 1 - (now - running) / MINUTE
    return (between + max(oldest, newest, newest + oldest * share)) / (window / MINUTE)


def _no_requests(rule: Rule, now: float) -> Iterator[Finding]:
    for environment in rule.environments or (sentry_status().environment,):
        for endpoint in rule.endpoints or ("",):
            newest = alerts.newest_request(environment, endpoint)
            # Where there never was one, nobody misses any.
            if newest is not None:
                silent = max(0.0, now - newest - MINUTE)
                yield Finding(
                    rule=rule,
                    environment=environment,
                    subject=endpoint,
                    title=endpoint,
                    value=round(silent / MINUTE, 1),
                    is_breach=silent >= rule.window,
                )


# -- issues ---------------------------------------------------------------------------------------------------------------


def _new_issues(rule: Rule, now: float) -> Iterator[Finding]:
    watched = alerts.watched_since(rule.name, now)
    seen_since = moment_of(now) - timedelta(seconds=rule.window)
    for issue, began in alerts.open_issues(seen_since, rule.environments, rule.endpoints):
        yield _of_issue(rule, issue, issue.count, is_breach=began >= watched, since=began)


def _busy_issues(rule: Rule, now: float) -> Iterator[Finding]:
    if rule.of == "users":
        since = moment_of(now) - timedelta(seconds=rule.window)
        counts = alerts.users_of_issues(since, rule.environments, rule.endpoints)
    else:
        counts = alerts.events_of_issues(_start(rule, now), rule.environments, rule.endpoints)
    for issue, count in counts:
        yield _of_issue(rule, issue, count, is_breach=count > rule.threshold, since=None)


def _of_issue(rule: Rule, issue: Issue, value: int, *, is_breach: bool, since: datetime | None) -> Finding:
    return Finding(
        rule=rule,
        environment="",
        subject=str(issue.pk),
        title=issue.title,
        value=float(value),
        is_breach=is_breach,
        since=since,
    )


_FINDERS: Mapping[Kind, Callable[[Rule, float], Iterator[Finding]]] = {
    Kind.NEW_ISSUE: _new_issues,
    Kind.ERROR_RATE: _error_rate,
    Kind.SLOW: _timed(RowKind.REQUEST),
    Kind.APDEX_BELOW: _timed(RowKind.REQUEST),
    Kind.FAILED_PERCENT: _timed(RowKind.REQUEST),
    Kind.NO_REQUESTS: _no_requests,
    Kind.SLOW_OPERATION: _timed(RowKind.OPERATION),
    Kind.BUSY_ISSUE: _busy_issues,
}
