"""
Alerts and their deliveries: the only writer and reader of these tables, and what is read to decide on alerts.

Whether an alert changes, and who sends a message, is decided by conditional updates of one row: of many processes that try, one
changes it. No lock is held while something is sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from crm_monitoring.dashboard import config, store
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import AffectedUser, Alert, Delivery, Issue, Kind, MetricRow, Sighting
from crm_monitoring.dashboard.store import database
from crm_monitoring.dashboard.store.sums import COUNTERS, Tally

MINUTE = 60
GIVEN_UP_AFTER_S = 86_400
"""A message that could not be sent for a day is nobody's news."""

LATE_S = 300
"""Issues that began so long before a rule was first looked at are still new to it: what happened has to be written first."""

_FIRST_PAUSE_S = 30
_LONGEST_PAUSE_S = 1_800
_MAX_ISSUES = 1_000


# -- the state of alerts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A message to queue, for which an alert has to change.

    Attributes:
        since: When it began.
        again: Whether an alert that fires begins anew where it began before `since`: an issue that came back.
        body: Makes the message's text of the alert as it is now.
    """

    rule: str
    environment: str
    subject: str
    title: str
    value: float | None
    since: datetime
    again: bool
    channels: Sequence[str]
    body: Callable[[Alert], str]


def firing() -> list[Alert]:
    """Return the alerts that fire, the latest first."""
    return list(Alert.objects.using(database()).filter(state=Alert.State.FIRING))


def history(limit: int = 50) -> list[Delivery]:
    """Return the latest messages, each with its alert, the newest first."""
    return list(Delivery.objects.using(database()).select_related("alert")[:limit])


def of(rule: str) -> dict[tuple[str, str], Alert]:
    """Return what is known of a rule's subjects, by environment and subject."""
    alerts = Alert.objects.using(database()).filter(rule=rule)
    return {(alert.environment, alert.subject): alert for alert in alerts}


def watched_since(rule: str, now: float) -> datetime:
    """Return since when a rule looks for issues: for good it is from shortly before it was first asked."""
    alerts = Alert.objects.using(database())
    row = Alert(rule=rule, since=moment_of(now - LATE_S))
    alerts.bulk_create([row], ignore_conflicts=True)
    since = alerts.get(rule=rule, environment="", subject="").since
    return since or moment_of(now)


def start(wanted: Wanted, now: float) -> bool:
    """
    Let an alert fire that does not, and queue its first message.

    Returns:
        Whether it was this call that did; another process may have been first.
    """
    key = {"rule": wanted.rule, "environment": wanted.environment, "subject": wanted.subject}
    alerts = Alert.objects.using(database())
    if not alerts.filter(**key).exists():
        # By itself: on MariaDB two transactions that insert a row and then change it may wait for each other.
        alerts.bulk_create([Alert(**key)], ignore_conflicts=True)
    begins = ~Q(state=Alert.State.FIRING)
    if wanted.again:
        begins |= Q(since__lt=wanted.since)
    changes = {"state": Alert.State.FIRING, "since": wanted.since, "resolved_at": None}
    return _change(alerts.filter(begins, **key), changes, wanted, Delivery.Kind.START, now)


def remind(wanted: Wanted, now: float, cooldown: float) -> bool:
    """Queue a reminder if the last message is older than `cooldown` seconds; returns whether this call did."""
    due = _firing(wanted).filter(last_sent__lte=moment_of(now - cooldown))
    return _change(due, {}, wanted, Delivery.Kind.REMINDER, now)


def end(wanted: Wanted, now: float) -> bool:
    """Let an alert fire no longer, and queue its last message; returns whether this call did."""
    changes = {"state": Alert.State.RESOLVED, "resolved_at": moment_of(now)}
    return _change(_firing(wanted), changes, wanted, Delivery.Kind.END, now)


def _firing(wanted: Wanted) -> QuerySet[Alert]:
    return Alert.objects.using(database()).filter(
        rule=wanted.rule, environment=wanted.environment, subject=wanted.subject, state=Alert.State.FIRING
    )


def _change(
    alerts: QuerySet[Alert], changes: Mapping[str, object], wanted: Wanted, kind: Delivery.Kind, now: float
) -> bool:
    moment = moment_of(now)
    told = {"title": wanted.title, "value": wanted.value, "last_sent": moment}
    with store.transaction() as using:
        # The condition again in the update itself, which waits for others: MariaDB, PostgreSQL and SQLite read anew then.
        if alerts.using(using).update(**told, **changes) != 1:
            return False
        alert = Alert.objects.using(using).get(rule=wanted.rule, environment=wanted.environment, subject=wanted.subject)
        body = wanted.body(alert)
        Delivery.objects.using(using).bulk_create(
            Delivery(alert_id=alert.pk, channel=channel, kind=kind, created=moment, due=moment, body=body)
            for channel in wanted.channels
        )
    return True


def measure(alert: Alert, value: float | None) -> None:
    """Keep what was measured last of an alert that fires."""
    same = Alert.objects.using(database()).filter(pk=alert.pk, state=Alert.State.FIRING)
    same.update(value=value)


def forget(rules: Collection[str], now: float) -> None:
    """Let no alert fire whose rule is gone, give up what could not be sent, delete what is older than RETENTION_DAYS."""
    alerts, oldest = Alert.objects.using(database()), moment_of(now) - timedelta(days=config.get().RETENTION_DAYS)
    alerts.filter(state=Alert.State.FIRING).exclude(rule__in=rules).update(
        state=Alert.State.RESOLVED, resolved_at=moment_of(now)
    )
    deliveries = Delivery.objects.using(database())
    deliveries.filter(due__isnull=False, attempts__gt=0, created__lt=moment_of(now - GIVEN_UP_AFTER_S)).update(due=None)
    deliveries.filter(created__lt=oldest).delete()
    alerts.filter(state=Alert.State.RESOLVED, resolved_at__lt=oldest, last_sent__lt=oldest).delete()


# -- deliveries -----------------------------------------------------------------------------------------------------------


def is_waiting(now: float) -> bool:
    """Whether any message may be sent now."""
    return _due(now).exists()


def claim(channel: str, now: float) -> Delivery | None:
    """
    Return the oldest message that may be sent to a channel now, for this caller alone.

    It becomes due again by itself: should the caller die while it sends, somebody else will send it.
    """
    for delivery in _due(now).filter(channel=channel).order_by("pk")[:10]:
        attempts = delivery.attempts + 1
        same = Delivery.objects.using(database()).filter(pk=delivery.pk, attempts=delivery.attempts, due__isnull=False)
        if same.update(attempts=attempts, due=moment_of(now + pause(attempts))):
            delivery.attempts = attempts
            return delivery
    return None


def pause(attempts: int) -> int:
    """Return after how many seconds a message is tried again."""
    return min(_FIRST_PAUSE_S << min(attempts - 1, 10), _LONGEST_PAUSE_S)


def note_sent(delivery: Delivery, now: float) -> None:
    """Note that a message is sent."""
    _same(delivery).update(sent_at=moment_of(now), due=None, error="")


def note_failed(delivery: Delivery, error: str, now: float, retry_after: float = 0.0) -> None:
    """
    Note why a message could not be sent. The channel rests for a while.

    Args:
        error: Class of the exception, or status.
        retry_after: Seconds for which the channel asked.
    """
    due = moment_of(now + max(pause(delivery.attempts), retry_after))
    _same(delivery).update(due=due, error=error)
    if retry_after:
        unsent = Delivery.objects.using(database()).filter(channel=delivery.channel, sent_at=None, due__lt=due)
        unsent.update(due=due)


def failing() -> list[tuple[str, str]]:
    """Return the channels to which messages wait that could not be sent, each with the last error."""
    unsent = Delivery.objects.using(database()).filter(sent_at=None, due__isnull=False).exclude(error="")
    return sorted(dict(unsent.order_by("pk").values_list("channel", "error")).items())


def _due(now: float) -> QuerySet[Delivery]:
    # One after the other: that something is over is not told before that it began.
    earlier = Delivery.objects.filter(
        alert=OuterRef("alert"), channel=OuterRef("channel"), pk__lt=OuterRef("pk"), due__isnull=False
    )
    return Delivery.objects.using(database()).filter(~Exists(earlier), due__lte=moment_of(now))


def _same(delivery: Delivery) -> QuerySet[Delivery]:
    return Delivery.objects.using(database()).filter(pk=delivery.pk, sent_at=None)


# -- what is measured -----------------------------------------------------------------------------------------------------


def tallies(kind: Kind, start: int) -> dict[str, dict[str, Tally]]:
    """Return what has been counted since `start`, Unix seconds, by environment and name."""
    found: dict[str, dict[str, Tally]] = defaultdict(dict)
    rows = MetricRow.objects.using(database()).filter(kind=kind, started__gte=start)
    for environment, name, *counters in rows.values_list("environment", "name", *COUNTERS).iterator():
        found[environment].setdefault(name, Tally()).add(Tally.of(counters))
    return found


def errors(start: int) -> dict[str, Counter[int]]:
    """Return how many errors there were since `start`, by environment and minute."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    rows = MetricRow.objects.using(database()).filter(kind=Kind.ERROR, started__gte=start)
    for environment, started, count in rows.values_list("environment", "started").annotate(Sum("count")):
        found[environment][started // MINUTE * MINUTE] += count
    return found


def newest_request(environment: str, endpoint: str = "") -> int | None:
    """Return the start of the newest minute with a request, of an endpoint or of any; None where there never was one."""
    rows = MetricRow.objects.using(database()).filter(kind=Kind.REQUEST, environment=environment)
    found = rows.filter(name=endpoint) if endpoint else rows
    return found.order_by("-started").values_list("started", flat=True).first()


def open_issues(since: datetime, environments: Sequence[str], endpoints: Sequence[str]) -> list[tuple[Issue, datetime]]:
    """Return the open issues of errors that were seen since then, each with when it began or came back."""
    errors = Issue.objects.using(database()).filter(last_seen__gte=since, level__in=("error", "fatal"))
    issues = _seen(errors, environments, endpoints)
    found = issues.filter(status=Issue.Status.OPEN).annotate(began=Coalesce("regressed_at", "first_seen"))
    return [(issue, issue.began) for issue in found[:_MAX_ISSUES]]


def events_of_issues(start: int, environments: Sequence[str], endpoints: Sequence[str]) -> list[tuple[Issue, int]]:
    """Return the open issues with how many errors were counted of them since `start`, Unix seconds."""
    rows = MetricRow.objects.using(database()).filter(kind=Kind.ERROR, started__gte=start)
    if environments:
        rows = rows.filter(environment__in=environments)
    counts = dict(rows.values_list("name").annotate(Sum("count")))
    issues = Issue.objects.using(database()).filter(fingerprint__in=list(counts), status=Issue.Status.OPEN)
    found = _seen(issues, environments, endpoints)
    return [(issue, counts[issue.fingerprint]) for issue in found[:_MAX_ISSUES]]


def users_of_issues(since: datetime, environments: Sequence[str], endpoints: Sequence[str]) -> list[tuple[Issue, int]]:
    """Return the open issues with how many users have met them since then."""
    met = AffectedUser.objects.using(database()).filter(last_seen__gte=since)
    counts = dict(met.values_list("issue").annotate(Count("pk")))
    issues = Issue.objects.using(database()).filter(pk__in=list(counts), status=Issue.Status.OPEN)
    return [(issue, counts[issue.pk]) for issue in _seen(issues, environments, endpoints)[:_MAX_ISSUES]]


def _seen(issues: QuerySet[Issue], environments: Sequence[str], endpoints: Sequence[str]) -> QuerySet[Issue]:
    where: dict[str, Iterable[str]] = {}
    if environments:
        where["environment__in"] = environments
    if endpoints:
        where["endpoint__in"] = endpoints
    return issues.filter(Exists(Sighting.objects.filter(issue=OuterRef("pk"), **where))) if where else issues


def issue_of(subject: str) -> Issue | None:
    """Return the issue that is the subject of an alert, unless it is deleted."""
    return Issue.objects.using(database()).filter(pk=subject).first()
