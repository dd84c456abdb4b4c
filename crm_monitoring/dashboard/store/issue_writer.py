"""
What happened, written into its issue: issues with their events, and slow transactions.

Each occurrence is written in one short transaction of its own, and recognised by its event's id when it is written again. The
first statement of it writes: so it waits for its turn, on SQLite too, in place of failing because another process was first.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Greatest, Least
from django.db.transaction import set_rollback

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, Sighting, SlowTransaction
from crm_monitoring.dashboard.store import connection as store
from crm_monitoring.dashboard.store import tags
from crm_monitoring.dashboard.store.connection import database, value_of
from crm_monitoring.dashboard.texts import in_any_charset

SLOW_KEPT = 50


class Group(NamedTuple):
    """
    The issue that an event belongs to.

    Attributes:
        fingerprint: 64 hexadecimal digits, the same for all events of the issue.
        title: "ValueError: no such category", or the message.
        place: "organisations.views in create"; empty where there is no stack.
    """

    fingerprint: str
    title: str
    place: str
    logger: str
    level: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class About:
    """
    What an event and a slow transaction have in common, as their tables take it.

    Attributes:
        moment: Unix seconds.
        body: The scrubbed event as JSON.
    """

    event_id: str
    request_id: str = ""
    trace_id: str = ""
    moment: float
    environment: str
    release: str
    endpoint: str
    body: bytes

    def in_any_charset(self) -> Self:
        """Return the same with texts that columns of any character set take; its body, which has all, is in none."""
        texts: dict[str, Any] = {
            name: in_any_charset(getattr(self, name)) for name in ("environment", "release", "endpoint")
        }
        return replace(self, **texts)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Occurrence(About):
    """
    One event.

    Attributes:
        count: How many events it stands for: those that the quota held back, and itself.
        user: Keyed hash of the user's id, empty for nobody.
        tags: Those that are worth an index, as its table takes them.
    """

    group: Group
    count: int = 1
    user: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def in_any_charset(self) -> Self:
        """Return the same, its group's texts too."""
        group = Group(self.group.fingerprint, *map(in_any_charset, self.group[1:]))
        tags = {in_any_charset(name): in_any_charset(value) for name, value in self.tags.items()}
        return replace(About.in_any_charset(self), group=group, tags=tags)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Slow(About):
    """One transaction that took longer than SLOW_REQUEST_MS."""

    duration_ms: float


@dataclass(slots=True, kw_only=True)
class Tally:
    """
    Events of one issue that are counted and not kept: the quota held them back, or they are kept elsewhere.

    Attributes:
        first: When the first happened, Unix seconds; `last` the last.
        users: Keyed hashes of those they met.
    """

    group: Group
    environment: str
    release: str
    endpoint: str
    first: float
    last: float
    count: int = 0
    users: set[str] = field(default_factory=set)


class Recorded(NamedTuple):
    """
    What an occurrence was to its issue.

    Attributes:
        is_new: It is the issue's first.
        is_regression: The issue had been resolved.
    """

    issue_id: int
    is_new: bool
    is_regression: bool


def record(occurrence: Occurrence) -> Recorded | None:
    """
    Add an occurrence to its issue, which is made where there is none.

    Returns:
        What it was to the issue, or None where it had been recorded before.

    Raises:
        django.db.Error: if the database cannot take it; it may be tried again.
    """
    moment = moment_of(occurrence.moment)
    _make(occurrence.group, occurrence.release, moment)
    with store.transaction() as using:
        issue = _counted(occurrence.group, occurrence.count, occurrence.release, moment, using)
        if Event.objects.using(using).filter(event_id=occurrence.event_id).exists():
            set_rollback(True, using=using)
            return None
        is_regression = _reopen(issue, moment, using)
        _sight(issue, occurrence, moment, using)
        if occurrence.user:
            _meet(issue, occurrence.user, moment, using)
        tags.count(issue.pk, occurrence.tags, occurrence.count, moment, using)
        _keep(issue, occurrence, moment, using)
    return Recorded(issue.pk, issue.count == occurrence.count, is_regression)


def record_tally(tally: Tally) -> None:
    """
    Count events that are not kept.

    Raises:
        django.db.Error: if the database cannot take it; it may be tried again.
    """
    first, last = moment_of(tally.first), moment_of(tally.last)
    _make(tally.group, tally.release, first)
    with store.transaction() as using:
        issue = _counted(tally.group, tally.count, tally.release, last, using)
        Issue.objects.using(using).filter(pk=issue.pk).update(first_seen=Least(F("first_seen"), value_of(first)))
        _reopen(issue, last, using)
        _sight(issue, tally, last, using)
        for user in tally.users:
            _meet(issue, user, last, using)


def _make(group: Group, release: str, moment: datetime) -> None:
    if not Issue.objects.using(database()).filter(fingerprint=group.fingerprint).exists():
        # By itself: on MariaDB two transactions that insert a row and then change it may wait for each other.
        with store.transaction() as using:
            Issue.objects.using(using).bulk_create([_new_issue(group, release, moment)], ignore_conflicts=True)


def _new_issue(group: Group, release: str, moment: datetime) -> Issue:
    return Issue(
        fingerprint=group.fingerprint,
        title=group.title,
        place=group.place,
        logger=group.logger,
        level=group.level,
        first_seen=moment,
        last_seen=moment,
        first_release=release,
        last_release=release,
    )


def _counted(group: Group, count: int, release: str, moment: datetime, using: str) -> Issue:
    """Count what has happened, which locks the issue's row until the transaction ends."""
    same = Issue.objects.using(using).filter(fingerprint=group.fingerprint)
    # MariaDB assigns from left to right, so what compares with last_seen comes before it.
    same.update(
        count=F("count") + count,
        last_release=Case(When(last_seen__lte=moment, then=Value(release)), default=F("last_release")),
        **_seen(moment),
    )
    return same.get()


def _seen(moment: datetime) -> dict[str, Any]:
    then = value_of(moment)
    return {"first_seen": Least(F("first_seen"), then), "last_seen": Greatest(F("last_seen"), then)}


def _reopen(issue: Issue, moment: datetime, using: str) -> bool:
    if issue.status != Issue.Status.RESOLVED or (issue.resolved_at is not None and moment <= issue.resolved_at):
        # What happened before somebody resolved it has only arrived late.
        return False
    Issue.objects.using(using).filter(pk=issue.pk).update(
        status=Issue.Status.OPEN, resolved_at=None, regressed_at=moment
    )
    return True


def _sight(issue: Issue, occurrence: Occurrence | Tally, moment: datetime, using: str) -> None:
    # Nobody else sights this issue meanwhile: its row is locked.
    where = {"environment": occurrence.environment, "release": occurrence.release, "endpoint": occurrence.endpoint}
    known = Sighting.objects.using(using).filter(issue=issue, **where)
    if not known.update(count=F("count") + occurrence.count, **_seen(moment)):
        first = Sighting(issue_id=issue.pk, **where, count=occurrence.count, first_seen=moment, last_seen=moment)
        Sighting.objects.using(using).bulk_create([first])


def _meet(issue: Issue, user: str, moment: datetime, using: str) -> None:
    known = AffectedUser.objects.using(using).filter(issue=issue, user=user)
    if not known.update(last_seen=Greatest(F("last_seen"), value_of(moment))):
        AffectedUser.objects.using(using).bulk_create([AffectedUser(issue_id=issue.pk, user=user, last_seen=moment)])


def _keep(issue: Issue, occurrence: Occurrence, moment: datetime, using: str) -> None:
    Event.objects.using(using).bulk_create([Event(issue_id=issue.pk, **kept(occurrence, moment))])
    events = Event.objects.using(using).filter(issue=issue)
    surplus = events.count() - max(1, config.get().EVENTS_PER_ISSUE)
    if surplus > 0:
        # After the first: what is told of a failure's beginning is not told again.
        _delete(events.order_by("pk")[1 : 1 + surplus])


def kept(about: About, moment: datetime) -> dict[str, Any]:
    """Return the columns that all kept things have."""
    return {
        "event_id": about.event_id,
        "request_id": about.request_id,
        "trace_id": about.trace_id,
        "moment": moment,
        "environment": about.environment,
        "release": about.release,
        "endpoint": about.endpoint,
        "body": zlib.compress(about.body),
    }


def _delete(rows: QuerySet[Any]) -> None:
    # MariaDB takes no LIMIT in a subquery.
    pks = list(rows.values_list("pk", flat=True))
    rows.model._default_manager.using(rows.db).filter(pk__in=pks).delete()


def record_slow(slow: Slow) -> None:
    """
    Keep a slow transaction, and of its endpoint the newest fifty. One that is kept already stays as it is.

    Raises:
        django.db.Error: if the database cannot take it; it may be tried again.
    """
    row = SlowTransaction(duration_ms=slow.duration_ms, **kept(slow, moment_of(slow.moment)))
    with store.transaction() as using:
        SlowTransaction.objects.using(using).bulk_create([row], ignore_conflicts=True)
        alike = SlowTransaction.objects.using(using).filter(endpoint=slow.endpoint)
        _delete(alike.order_by("-moment", "-pk")[SLOW_KEPT : 2 * SLOW_KEPT])
