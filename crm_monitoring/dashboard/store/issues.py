"""Issues, their events and slow transactions, as people look for them; and what people say of an issue."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from django.core.paginator import Paginator
from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics import Counters, Metric
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, Kept, Sighting, SlowTransaction
from crm_monitoring.dashboard.store import clock
from crm_monitoring.dashboard.store.connection import database
from crm_monitoring.dashboard.store.gathering import of_name
from crm_monitoring.dashboard.store.spans import Span, floor_to
from crm_monitoring.dashboard.texts import one_line

PAGE_SIZE = 50
MAX_CHOICES = 500
_MAX_SEARCH = 200
_HOUR_S = 3_600

Row = TypeVar("Row", bound=Model)


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
    """

    issue: Issue
    users: int
    sightings: Sequence[Sighting]


class EventView(NamedTuple):
    """
    One event of an issue.

    Attributes:
        body: The event as it would have been sent to Sentry, without secrets.
        number: Which one of the kept events it is, from 1 for the first.
        ids: Those of all that are kept, the first one first.
    """

    event: Event
    body: Mapping[str, Any]
    number: int
    ids: Sequence[str]

    @property
    def first(self) -> str:
        """Id of the first event that is kept."""
        return self.ids[0]

    @property
    def previous(self) -> str | None:
        """Id of the event before, None for the first that is kept."""
        return self.ids[self.number - 2] if self.number > 1 else None

    @property
    def next(self) -> str | None:
        """Id of the event after, None for the last."""
        return self.ids[self.number] if self.number < len(self.ids) else None


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
    found = _with_users(_matching(filters))
    return paged(found.order_by(f"-{sort.value}", "-pk"), page)


def _with_users(rows: QuerySet[Issue]) -> QuerySet[Any]:
    met = AffectedUser.objects.filter(issue=OuterRef("pk")).order_by().values("issue").annotate(users=Count("pk"))
    return rows.annotate(user_count=Coalesce(Subquery(met.values("users")), 0))


def _matching(filters: IssueFilters) -> QuerySet[Issue]:
    found = Issue.objects.using(database()).filter(**chosen(status=filters.status, level=filters.level))
    for word in one_line(filters.search, _MAX_SEARCH).split():
        an_event = Event.objects.filter(issue=OuterRef("pk"), event_id=word.replace("-", "").lower())
        found = found.filter(Q(title__icontains=word) | Q(place__icontains=word) | Exists(an_event))
    seen = chosen(environment=filters.environment, release=filters.release, endpoint=filters.endpoint)
    return found.filter(Exists(Sighting.objects.filter(issue=OuterRef("pk"), **seen))) if seen else found


def chosen(**filters: str) -> dict[str, str]:
    """Return the filters that say something, as one line each."""
    return {name: one_line(value, _MAX_SEARCH) for name, value in filters.items() if value}


def paged(rows: QuerySet[Row], number: int) -> Page[Row]:
    """Return one page of `rows`."""
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
    issue = _with_users(Issue.objects.using(using)).get(pk=pk)
    sightings = Sighting.objects.using(using).filter(issue=pk)
    return IssueView(
        issue=issue,
        users=issue.user_count,
        sightings=list(sightings.order_by("-count", "-last_seen")[:MAX_CHOICES]),
    )


def event(issue: Issue, event_id: str | None = None) -> EventView:
    """
    Return one event of an issue, the newest unless `event_id` names another.

    Raises:
        Event.DoesNotExist: if it is not kept.
    """
    events = Event.objects.using(database()).filter(issue=issue)
    ids = list(events.order_by("moment", "pk").values_list("event_id", flat=True))
    wanted = _id(event_id) if event_id else ids[-1] if ids else ""
    if wanted not in ids:
        raise Event.DoesNotExist
    found = events.get(event_id=wanted)
    return EventView(
        event=found,
        body=body_of(found),
        number=ids.index(wanted) + 1,
        ids=ids,
    )


def occurred(issue: Issue, hours: int = 24) -> list[tuple[datetime, int]]:
    """Return how often it happened in each of the last hours, the oldest first: none of those that are no errors."""
    end = floor_to(clock.now(), _HOUR_S) + _HOUR_S
    span = Span(end - hours * _HOUR_S, end)
    counted = of_name(span, _HOUR_S, Metric.ERROR.value, issue.fingerprint)
    nothing = Counters()
    return [(moment_of(start), counted.get(start, nothing).count) for start in range(span.start, span.end, _HOUR_S)]


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
        levels=distinct(issues, "level"),
        environments=distinct(sightings, "environment"),
        releases=distinct(sightings, "release"),
        endpoints=distinct(sightings, "endpoint"),
    )


def transaction_choices() -> Choices:
    """Return what there is to filter slow transactions by; they have no level."""
    rows = SlowTransaction.objects.using(database())
    return Choices(
        levels=[],
        environments=distinct(rows, "environment"),
        releases=distinct(rows, "release"),
        endpoints=distinct(rows, "endpoint"),
    )


def distinct(rows: QuerySet[Any], name: str) -> list[str]:
    """Return the values of a column in alphabetical order, at most 500, without the empty one."""
    values = rows.exclude(**{name: ""}).order_by(name).values_list(name, flat=True).distinct()
    return list(values[:MAX_CHOICES])


def transactions(filters: TransactionFilters, page: int = 1, *, slowest_first: bool = False) -> Page[SlowTransaction]:
    """Return a page of slow transactions, the newest first unless asked otherwise; `body_of` reads their bodies."""
    among = chosen(environment=filters.environment, release=filters.release, endpoint=filters.endpoint)
    found = SlowTransaction.objects.using(database()).filter(**among)
    order = ("-duration_ms", "-pk") if slowest_first else ("-moment", "-pk")
    return paged(found.order_by(*order), page)


def transaction(event_id: str) -> TransactionView:
    """
    Return one slow transaction.

    Raises:
        SlowTransaction.DoesNotExist: if it is not kept.
    """
    found = SlowTransaction.objects.using(database()).get(event_id=_id(event_id))
    return TransactionView(transaction=found, body=body_of(found))
