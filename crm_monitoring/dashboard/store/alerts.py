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

from django.db import connections
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.db.models.functions import Coalesce

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics import REQUEST, Counters, Key, Metric
from crm_monitoring.dashboard.models import NAME_LENGTH, AffectedUser, Alert, Delivery, Issue, Sighting
from crm_monitoring.dashboard.store import connection as store
from crm_monitoring.dashboard.store import gathering
from crm_monitoring.dashboard.store.connection import database

GIVEN_UP_AFTER_S = 86_400
"""A message that could not be sent for a day is nobody's news."""

LATE_S = 300
"""Issues that began so long before a rule was first looked at are still new to it: what happened has to be written first."""

_MAX_ISSUES = 1_000
_TURN_S = 15


# -- the state of alerts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """
    A message to queue.

    Attributes:
        body: Makes its text of the alert as it is now.
    """

    kind: Delivery.Kind
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


def of_issues(rule: str, subjects: Iterable[str]) -> dict[str, Alert]:
    """Return what is known of some issues, and of the rule itself, whose subject is empty."""
    alerts = Alert.objects.using(database()).filter(rule=rule, environment="", subject__in=["", *subjects])
    return {alert.subject: alert for alert in alerts}


def watched_since(rule: str, now: float) -> datetime:
    """Return since when a rule looks for issues: for good it is from shortly before it was first asked."""
    alerts = Alert.objects.using(database())
    row = Alert(rule=rule, since=moment_of(now - LATE_S))
    alerts.bulk_create([row], ignore_conflicts=True)
    since = alerts.get(rule=rule, environment="", subject="").since
    return since or moment_of(now)


def advance(seen: Alert, becomes: Mapping[str, object], queued: Queued | None, now: float) -> bool:
    """
    Change an alert from what was seen of it, and queue the message about it, if there is one.

    Args:
        seen: The alert as it was read; one without a key is new.
        becomes: Fields and their new values.

    Returns:
        Whether it was this call that did; another process may have been first.
    """
    alerts, moment = Alert.objects.using(database()), moment_of(now)
    key = {"rule": seen.rule, "environment": seen.environment, "subject": seen.subject}
    if not seen.pk:
        # By itself: on MariaDB two transactions that insert a row and then change it may wait for each other.
        alerts.bulk_create([Alert(**key)], ignore_conflicts=True)
    same = alerts.filter(**key, state=seen.state, since=seen.since, last_sent=seen.last_sent)
    told = {"last_sent": moment} if queued else {}
    with store.transaction() as using:
        # The condition again in the update itself, which waits for others: MariaDB, PostgreSQL and SQLite read anew then.
        if same.using(using).update(**becomes, **told) != 1:
            return False
        if queued:
            _queue(using, Alert.objects.using(using).get(**key), queued, moment)
    return True


def tell_of_issues(rule: str, told: Sequence[Alert], queued: Queued, now: float) -> bool:
    """
    Let the alerts of issues fire, and queue one message about all of them.

    Args:
        told: An alert for each issue, with its title, value and since when.

    Returns:
        Whether it was this call that did.
    """
    moment = moment_of(now)
    # By itself, as in `advance`.
    Alert.objects.using(database()).bulk_create([Alert(rule=rule)], ignore_conflicts=True)
    with store.transaction() as using:
        if not _is_first(using, rule, told, moment):
            return False
        for alert in told:
            alert.state, alert.last_sent, alert.over_since = Alert.State.FIRING, moment, None
            alert.acknowledged_at, alert.acknowledged_by = None, ""
        _keep(using, told)
        subject = told[0].subject if len(told) == 1 else ""
        _queue(using, Alert.objects.using(using).get(rule=rule, environment="", subject=subject), queued, moment)
    return True


def _is_first(using: str, rule: str, told: Sequence[Alert], moment: datetime) -> bool:
    # Whoever changes the rule's own row first has its turn; the others wait here, and find that something was told meanwhile.
    alerts = Alert.objects.using(using).filter(rule=rule, environment="")
    alerts.filter(subject="").update(last_sent=moment)
    read = {alert.subject: alert.last_sent for alert in told}
    rows = alerts.filter(subject__in=read).values_list("subject", "last_sent")
    return all(sent == read[subject] for subject, sent in rows)


def _keep(using: str, told: Sequence[Alert]) -> None:
    fields = ["state", "since", "last_sent", "over_since", "acknowledged_at", "acknowledged_by", "title", "value"]
    named = connections[using].features.supports_update_conflicts_with_target
    Alert.objects.using(using).bulk_create(
        told,
        update_conflicts=True,
        unique_fields=["rule", "environment", "subject"] if named else None,
        update_fields=fields,
    )


def _queue(using: str, alert: Alert, queued: Queued, moment: datetime) -> None:
    body = queued.body(alert)
    Delivery.objects.using(using).bulk_create(
        Delivery(alert_id=alert.pk, channel=channel, kind=queued.kind, created=moment, due=moment, body=body)
        for channel in queued.channels
    )


def sent_of_issues(channels: Collection[str], rules: Collection[str], since: datetime) -> dict[str, list[datetime]]:
    """Return when messages of these rules were queued since then, by channel."""
    rows = Delivery.objects.using(database()).filter(channel__in=channels, alert__rule__in=rules, created__gte=since)
    found: dict[str, list[datetime]] = defaultdict(list)
    for channel, created in rows.order_by("created").values_list("channel", "created"):
        found[channel].append(created)
    return found


def end_of_issues(rule: str, seen_since: datetime, now: float) -> None:
    """Let the alerts of issues fire no longer that are closed, gone or were not seen since then; nobody is told."""
    firing = Alert.objects.using(database()).filter(rule=rule, state=Alert.State.FIRING).order_by("pk")
    subjects = {alert.subject: alert.pk for alert in firing[_turn(firing.count(), now)]}
    issues = Issue.objects.using(database()).filter(
        pk__in=subjects, status=Issue.Status.OPEN, last_seen__gte=seen_since
    )
    for pk in issues.values_list("pk", flat=True):
        subjects.pop(str(pk))
    over = Alert.objects.using(database()).filter(pk__in=subjects.values(), state=Alert.State.FIRING)
    over.update(state=Alert.State.RESOLVED, resolved_at=moment_of(now))


def _turn(count: int, now: float) -> slice:
    # Some of many in each round, for a round has to end.
    first = int(now) // _TURN_S * _MAX_ISSUES % count if count > _MAX_ISSUES else 0
    return slice(first, first + _MAX_ISSUES)


def mute(pk: int, until: datetime | None) -> int:
    """Tell nobody of an alert until then, None for at once again; returns how many that are."""
    return Alert.objects.using(database()).filter(pk=pk).update(muted_until=until)


def mute_rule(rule: str, until: datetime | None) -> None:
    """Tell nobody of what a rule finds until then, None for at once again."""
    alerts = Alert.objects.using(database())
    alerts.bulk_create([Alert(rule=rule)], ignore_conflicts=True)
    alerts.filter(rule=rule, environment="", subject="").update(muted_until=until)


def acknowledge(pk: int, by: str, now: float) -> int:
    """Note who took an alert on: nobody is reminded until it is over. Returns how many that are."""
    firing = Alert.objects.using(database()).filter(pk=pk, state=Alert.State.FIRING)
    return firing.update(acknowledged_at=moment_of(now), acknowledged_by=by[:NAME_LENGTH])


def forget(rules: Collection[str], now: float) -> None:
    """Let no alert fire whose rule is gone, give up what could not be sent, delete what is older than RETENTION_DAYS."""
    alerts, oldest = Alert.objects.using(database()), moment_of(now) - timedelta(days=config.get().RETENTION_DAYS)
    alerts.filter(state__in=(Alert.State.PENDING, Alert.State.FIRING)).exclude(rule__in=rules).update(
        state=Alert.State.RESOLVED, resolved_at=moment_of(now)
    )
    deliveries = Delivery.objects.using(database())
    deliveries.filter(due__isnull=False, attempts__gt=0, created__lt=moment_of(now - GIVEN_UP_AFTER_S)).update(due=None)
    deliveries.filter(created__lt=oldest).delete()
    alerts.filter(state=Alert.State.RESOLVED, resolved_at__lt=oldest, last_sent__lt=oldest).delete()


# -- what is measured -----------------------------------------------------------------------------------------------------


def tallies(metric: Metric, start: int, now: float) -> dict[str, dict[str, Counters]]:
    """Return what has been counted since `start`, a whole minute in Unix seconds, by environment and name; nothing of the future."""
    counted = gathering.names_since(start, now).items()
    return {environment: found for environment, names in counted if (found := names.by_name(metric))}


def errors(start: int, now: float) -> dict[str, Counter[int]]:
    """Return how many errors there were since `start`, by environment and minute."""
    return gathering.errors_since(start, now)


def newest_request(environment: str, endpoint: str, now: float) -> int | None:
    """Return the start of the newest minute with a request, of an endpoint or of any; None where there never was one."""
    if endpoint:
        return gathering.newest(environment, now, lambda names: Key(REQUEST, endpoint) in names)
    return gathering.newest(environment, now, lambda names: any(key[0] == REQUEST for key in names))


def begun_issues(
    since: datetime, environments: Sequence[str], endpoints: Sequence[str], more: int = 0
) -> list[tuple[Issue, datetime]]:
    """Return the open issues of errors that began or came back since then, each with when, those that happen most first."""
    errors = Issue.objects.using(database()).filter(last_seen__gte=since, level__in=("error", "fatal"))
    issues = _seen(errors, environments, endpoints)
    found = issues.filter(status=Issue.Status.OPEN).annotate(began=Coalesce("regressed_at", "first_seen"))
    begun = found.filter(began__gte=since).order_by("-count", "pk")
    return [(issue, issue.began) for issue in begun[: _MAX_ISSUES + more]]


def told_issues(rule: str, since: datetime) -> dict[str, datetime]:
    """Return of which issues that began since then a rule has told, by their key, and when they began."""
    rows = Alert.objects.using(database()).filter(rule=rule, since__gte=since).exclude(subject="")
    return {subject: began for subject, began in rows.values_list("subject", "since") if began is not None}


def events_of_issues(
    start: int, now: float, environments: Sequence[str], endpoints: Sequence[str]
) -> list[tuple[Issue, int]]:
    """Return the open issues with how many errors were counted of them since `start`, Unix seconds."""
    counts = Counter[str]()
    for environment, names in tallies(Metric.ERROR, start, now).items():
        if not environments or environment in environments:
            counts.update({name: counted.count for name, counted in names.items()})
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
