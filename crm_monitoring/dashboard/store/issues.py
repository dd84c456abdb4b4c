"""
Issues, their events and slow transactions: the only writer and reader of these tables.

Each occurrence is written in one short transaction of its own, and recognised by its event's id when it is written again. The
first statement of it writes: so it waits for its turn, on SQLite too, in place of failing because another process was first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from django.core.paginator import Paginator
from django.db.models import Case, Count, Exists, F, Model, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest, Least
from django.db.transaction import set_rollback

from crm_monitoring import conf
from crm_monitoring.dashboard import store
from crm_monitoring.dashboard.fields import MomentField
from crm_monitoring.dashboard.grouping import Group, one_line
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, Kept, Sighting, SlowTransaction
from crm_monitoring.dashboard.store import database

SLOW_KEPT = 50
PAGE_SIZE = 50
MAX_CHOICES = 500
_MAX_SEARCH = 200

Row = TypeVar("Row", bound=Model)


# -- what is written ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class About:
    """
    What an event and a slow transaction have in common, as their tables take it.

    Attributes:
        moment: Unix seconds.
        body: The scrubbed event as JSON.
    """

    event_id: str
    moment: float
    environment: str
    release: str
    endpoint: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Occurrence(About):
    """
    One event.

    Attributes:
        count: How many events it stands for: those that the quota held back, and itself.
        user: Keyed hash of the user's id, empty for nobody.
    """

    group: Group
    count: int = 1
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Slow(About):
    """One transaction that took longer than SLOW_REQUEST_MS."""

    duration_ms: float


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
    if not Issue.objects.using(database()).filter(fingerprint=occurrence.group.fingerprint).exists():
        # By itself: on MariaDB two transactions that insert a row and then change it may wait for each other.
        with store.transaction() as using:
            Issue.objects.using(using).bulk_create([_new_issue(occurrence, moment)], ignore_conflicts=True)
    with store.transaction() as using:
        issue = _counted(occurrence, moment, using)
        if Event.objects.using(using).filter(event_id=occurrence.event_id).exists():
            set_rollback(True, using=using)
            return None
        is_regression = _reopen(issue, moment, using)
        _sight(issue, occurrence, moment, using)
        _keep(issue, occurrence, moment, using)
    return Recorded(issue.pk, issue.count == occurrence.count, is_regression)


def _new_issue(occurrence: Occurrence, moment: datetime) -> Issue:
    group = occurrence.group
    return Issue(
        fingerprint=group.fingerprint,
        title=group.title,
        place=group.place,
        logger=group.logger,
        level=group.level,
        first_seen=moment,
        last_seen=moment,
        first_release=occurrence.release,
        last_release=occurrence.release,
    )


def _counted(occurrence: Occurrence, moment: datetime, using: str) -> Issue:
    """Count the occurrence, which locks the issue's row until the transaction ends."""
    same = Issue.objects.using(using).filter(fingerprint=occurrence.group.fingerprint)
    # MariaDB assigns from left to right, so what compares with last_seen comes before it.
    same.update(
        count=F("count") + occurrence.count,
        last_release=Case(When(last_seen__lte=moment, then=Value(occurrence.release)), default=F("last_release")),
        **_seen(moment),
    )
    return same.get()


def _seen(moment: datetime) -> dict[str, Any]:
    then = _value(moment)
    return {"first_seen": Least(F("first_seen"), then), "last_seen": Greatest(F("last_seen"), then)}


def _value(moment: datetime) -> Value:
    # In an expression Django would take it for a DateTimeField, which without USE_TZ takes no aware moment.
    return Value(moment, MomentField())


def _reopen(issue: Issue, moment: datetime, using: str) -> bool:
    if issue.status != Issue.Status.RESOLVED or (issue.resolved_at is not None and moment <= issue.resolved_at):
        # What happened before somebody resolved it has only arrived late.
        return False
    Issue.objects.using(using).filter(pk=issue.pk).update(
        status=Issue.Status.OPEN, resolved_at=None, regressed_at=moment
    )
    return True


def _sight(issue: Issue, occurrence: Occurrence, moment: datetime, using: str) -> None:
    # Nobody else sights this issue meanwhile: its row is locked.
    where = {"environment": occurrence.environment, "release": occurrence.release, "endpoint": occurrence.endpoint}
    known = Sighting.objects.using(using).filter(issue=issue, **where)
    if not known.update(count=F("count") + occurrence.count, **_seen(moment)):
        first = Sighting(issue_id=issue.pk, **where, count=occurrence.count, first_seen=moment, last_seen=moment)
        Sighting.objects.using(using).bulk_create([first])
    if occurrence.user:
        _meet(issue, occurrence.user, moment, using)


def _meet(issue: Issue, user: str, moment: datetime, using: str) -> None:
    known = AffectedUser.objects.using(using).filter(issue=issue, user=user)
    if not known.update(last_seen=Greatest(F("last_seen"), _value(moment))):
        AffectedUser.objects.using(using).bulk_create([AffectedUser(issue_id=issue.pk, user=user, last_seen=moment)])


def _keep(issue: Issue, occurrence: Occurrence, moment: datetime, using: str) -> None:
    Event.objects.using(using).bulk_create([Event(issue_id=issue.pk, **_kept(occurrence, moment))])
    events = Event.objects.using(using).filter(issue=issue)
    surplus = events.count() - max(1, conf.get().EVENTS_PER_ISSUE)
    if surplus > 0:
        # After the first: what is told of a failure's beginning is not told again.
        _delete(events.order_by("pk")[1 : 1 + surplus])


def _kept(about: About, moment: datetime) -> dict[str, Any]:
    return {
        "event_id": about.event_id,
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
    row = SlowTransaction(duration_ms=slow.duration_ms, **_kept(slow, moment_of(slow.moment)))
    with store.transaction() as using:
        SlowTransaction.objects.using(using).bulk_create([row], ignore_conflicts=True)
        alike = SlowTransaction.objects.using(using).filter(endpoint=slow.endpoint)
        _delete(alike.order_by("-moment", "-pk")[SLOW_KEPT : 2 * SLOW_KEPT])


def moment_of(seconds: float) -> datetime:
    """Return the moment given in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


# -- what is read ---------------------------------------------------------------------------------------------------------


class Sort(Enum):
    """What comes first in a list of issues; the value is what an address says."""

    NEWEST = "last_seen"
    FIRST_SEEN = "first_seen"
    MOST = "count"
    USERS = "user_count"


class IssueFilters(NamedTuple):
    """
    Which issues to find; what is empty excludes nothing.

    Attributes:
        search: Words, each of which is in the title or the place; or the id of an event.
        environment: One where the issue has been seen, with `release` and `endpoint` in the same sighting.
    """

    search: str = ""
    status: str = ""
    level: str = ""
    environment: str = ""
    release: str = ""
    endpoint: str = ""


class TransactionFilters(NamedTuple):
    """Which slow transactions to find; what is empty excludes nothing."""

    environment: str = ""
    release: str = ""
    endpoint: str = ""


class Page(NamedTuple, Generic[Row]):
    """
    One page of a list.

    Attributes:
        number: From 1; a page that there is not is the nearest that there is.
        total: Rows on all pages.
    """

    items: Sequence[Row]
    number: int
    pages: int
    total: int


class IssueView(NamedTuple):
    """
    One issue and whom it met where.

    Attributes:
        users: How many users have met it.
        sightings: Where, most first.
        kept: How many of its events are kept.
    """

    issue: Issue
    users: int
    sightings: Sequence[Sighting]
    kept: int


class EventView(NamedTuple):
    """
    One event of an issue.

    Attributes:
        body: The event as it would have been sent to Sentry, without secrets.
        previous: Id of the event before, None for the first that is kept.
        next: Id of the event after, None for the last.
    """

    event: Event
    body: Mapping[str, Any]
    previous: str | None
    next: str | None


class TransactionView(NamedTuple):
    """One slow transaction; `body` is as it would have been sent to Sentry, with its spans."""

    transaction: SlowTransaction
    body: Mapping[str, Any]


class Choices(NamedTuple):
    """What the filters offer, in alphabetical order; of releases and endpoints at most 500."""

    levels: Sequence[str]
    environments: Sequence[str]
    releases: Sequence[str]
    endpoints: Sequence[str]


def find(filters: IssueFilters, sort: Sort = Sort.NEWEST, page: int = 1) -> Page[Issue]:
    """Return a page of issues. Each has `user_count`, how many users have met it."""
    met = AffectedUser.objects.filter(issue=OuterRef("pk")).order_by().values("issue").annotate(users=Count("pk"))
    found = _matching(filters).annotate(user_count=Coalesce(Subquery(met.values("users")), 0))
    return _page(found.order_by(f"-{sort.value}", "-pk"), page)


def _matching(filters: IssueFilters) -> QuerySet[Issue]:
    found = Issue.objects.using(database()).filter(**_chosen(status=filters.status, level=filters.level))
    for word in one_line(filters.search, _MAX_SEARCH).split():
        an_event = Event.objects.filter(issue=OuterRef("pk"), event_id=word.replace("-", "").lower())
        found = found.filter(Q(title__icontains=word) | Q(place__icontains=word) | Exists(an_event))
    seen = _chosen(environment=filters.environment, release=filters.release, endpoint=filters.endpoint)
    return found.filter(Exists(Sighting.objects.filter(issue=OuterRef("pk"), **seen))) if seen else found


def _chosen(**filters: str) -> dict[str, str]:
    return {name: one_line(value, _MAX_SEARCH) for name, value in filters.items() if value}


def _page(rows: QuerySet[Row], number: int) -> Page[Row]:
    pages = Paginator(rows, PAGE_SIZE)
    page = pages.get_page(number)
    return Page(list(page.object_list), page.number, pages.num_pages, pages.count)


def get(pk: int) -> IssueView:
    """
    Return one issue.

    Raises:
        Issue.DoesNotExist: if there is none with this key.
    """
    using = database()
    issue = Issue.objects.using(using).get(pk=pk)
    sightings = Sighting.objects.using(using).filter(issue=pk)
    return IssueView(
        issue=issue,
        users=AffectedUser.objects.using(using).filter(issue=pk).count(),
        sightings=list(sightings.order_by("-count", "-last_seen")[:MAX_CHOICES]),
        kept=Event.objects.using(using).filter(issue=pk).count(),
    )


def event(issue: Issue, event_id: str | None = None) -> EventView:
    """
    Return one event of an issue, the newest unless `event_id` names another.

    Raises:
        Event.DoesNotExist: if it is not kept.
    """
    events = Event.objects.using(database()).filter(issue=issue)
    found = events.get(event_id=_id(event_id)) if event_id else events.order_by("moment", "pk").last()
    if found is None:
        raise Event.DoesNotExist
    earlier = Q(moment__lt=found.moment) | Q(moment=found.moment, pk__lt=found.pk)
    ids = events.order_by("moment", "pk").values_list("event_id", flat=True)
    return EventView(
        event=found,
        body=body_of(found),
        previous=ids.filter(earlier).last(),
        next=ids.exclude(earlier).exclude(pk=found.pk).first(),
    )


def _id(given: str) -> str:
    return one_line(given, 36).replace("-", "").lower()


def body_of(kept: Kept) -> Mapping[str, Any]:
    """Return an event or a transaction as it would have been sent to Sentry, without secrets."""
    body: Mapping[str, Any] = orjson.loads(zlib.decompress(kept.body))
    return body


def set_status(pks: Iterable[int], status: Issue.Status) -> int:
    """Resolve, ignore or reopen issues. Returns how many had another status before."""
    changed = Issue.objects.using(database()).filter(pk__in=list(pks)).exclude(status=status)
    resolved_at = datetime.now(UTC) if status == Issue.Status.RESOLVED else None
    return changed.update(status=status, resolved_at=resolved_at, regressed_at=None)


def choices() -> Choices:
    """Return what there is to filter issues by."""
    issues, sightings = Issue.objects.using(database()), Sighting.objects.using(database())
    return Choices(
        levels=_distinct(issues, "level"),
        environments=_distinct(sightings, "environment"),
        releases=_distinct(sightings, "release"),
        endpoints=_distinct(sightings, "endpoint"),
    )


def transaction_choices() -> Choices:
    """Return what there is to filter slow transactions by; they have no level."""
    rows = SlowTransaction.objects.using(database())
    return Choices(
        levels=[],
        environments=_distinct(rows, "environment"),
        releases=_distinct(rows, "release"),
        endpoints=_distinct(rows, "endpoint"),
    )


def _distinct(rows: QuerySet[Any], name: str) -> list[str]:
    values = rows.exclude(**{name: ""}).order_by(name).values_list(name, flat=True).distinct()
    return list(values[:MAX_CHOICES])


def transactions(filters: TransactionFilters, page: int = 1, *, slowest_first: bool = False) -> Page[SlowTransaction]:
    """Return a page of slow transactions, the newest first unless asked otherwise; `body_of` reads their bodies."""
    chosen = _chosen(environment=filters.environment, release=filters.release, endpoint=filters.endpoint)
    found = SlowTransaction.objects.using(database()).filter(**chosen)
    order = ("-duration_ms", "-pk") if slowest_first else ("-moment", "-pk")
    return _page(found.order_by(*order), page)


def transaction(event_id: str) -> TransactionView:
    """
    Return one slow transaction.

    Raises:
        SlowTransaction.DoesNotExist: if it is not kept.
    """
    found = SlowTransaction.objects.using(database()).get(event_id=_id(event_id))
    return TransactionView(transaction=found, body=body_of(found))
