"""What the database keeps of issues, events and slow transactions, and what is found there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import Error, connections
from django.utils import timezone

from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, Sighting, SlowTransaction
from crm_monitoring.dashboard.store import issues
from crm_monitoring.dashboard.store.issue_writer import (
    SLOW_KEPT,
    Group,
    Occurrence,
    Recorded,
    Slow,
    record,
    record_slow,
)
from crm_monitoring.dashboard.store.issues import (
    IssueFilters,
    Sort,
    TransactionFilters,
    choices,
    find,
    get,
    set_status,
    transaction_choices,
    transactions,
)
from tests.dashboard.databases import ALIAS

START = 1_750_000_000.0
ticks = count()


@pytest.fixture(autouse=True)
def _database(each_database: str) -> None:
    """Every test runs on every vendor."""


def kept(model: Any) -> Any:
    """The rows of a model in the dashboard's database."""
    return model.objects.using(ALIAS)


def group(name: str = "boom", level: str = "error", place: str = "organisations.views in create") -> Group:
    return Group(fingerprint=f"{name:x>64}", title=f"ValueError: {name}", place=place, logger="", level=level)


def occurrence(name: str = "boom", **changed: Any) -> Occurrence:
    """The next one: a second after the one before."""
    event_id = uuid4().hex
    made = Occurrence(
        event_id=event_id,
        moment=START + next(ticks),
        environment="production",
        release="1.0",
        endpoint="POST organisations/",
        body=orjson.dumps({"event_id": event_id}),
        group=group(name),
    )
    return replace(made, **changed)


def slow(**changed: Any) -> Slow:
    event_id = uuid4().hex
    made = Slow(
        event_id=event_id,
        moment=START + next(ticks),
        environment="production",
        release="1.0",
        endpoint="GET organisations/",
        body=orjson.dumps({"event_id": event_id}),
        duration_ms=1500.0,
    )
    return replace(made, **changed)


def recorded(*occurrences: Occurrence) -> Issue:
    for one in occurrences:
        record(one)
    return Issue.objects.using(ALIAS).get(fingerprint=occurrences[0].group.fingerprint)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# -- recording ------------------------------------------------------------------------------------------------------------


def test_the_first_occurrence_makes_the_issue() -> None:
    first = occurrence()

    issue = recorded(first)

    assert (issue.title, issue.place, issue.level) == ("ValueError: boom", "organisations.views in create", "error")
    assert (issue.count, issue.status) == (1, "open")
    assert issue.first_seen == issue.last_seen == at(first.moment)
    assert issue.first_release == issue.last_release == "1.0"


def test_later_ones_are_counted_and_seen_last() -> None:
    first, last = occurrence(), occurrence(release="1.1")

    issue = recorded(first, last)

    assert kept(Issue).count() == 1
    assert issue.count == 2
    assert (issue.first_seen, issue.last_seen) == (at(first.moment), at(last.moment))
    assert (issue.first_release, issue.last_release) == ("1.0", "1.1")


def test_one_that_arrives_late_is_not_the_last() -> None:
    late, last = occurrence(release="0.9"), occurrence(release="1.1")

    issue = recorded(last, late)

    assert (issue.first_seen, issue.last_seen) == (at(late.moment), at(last.moment))
    assert issue.last_release == "1.1"


def test_those_that_the_quota_held_back_are_counted() -> None:
    assert recorded(occurrence(), occurrence(count=41)).count == 42


def test_an_event_that_is_delivered_twice_counts_once() -> None:
    one = occurrence(user="a" * 32)

    record(one)

    assert record(one) is None
    assert recorded(one).count == 1
    assert kept(Sighting).get().count == 1
    assert kept(Event).count() == 1


def test_what_an_occurrence_was_to_its_issue_is_told() -> None:
    first, second, third = occurrence(), occurrence(count=3), occurrence()
    told = [record(first), record(second)]
    pk = kept(Issue).get().pk
    set_status([pk], Issue.Status.RESOLVED)
    kept(Issue).update(resolved_at=at(second.moment))

    told.append(record(third))

    assert told == [Recorded(pk, True, False), Recorded(pk, False, False), Recorded(pk, False, True)]


def test_each_combination_of_environment_release_and_endpoint_has_its_own_count() -> None:
    one, other = occurrence(), occurrence(environment="staging")

    issue = recorded(one, other, occurrence(count=5))

    seen = {sighting.environment: sighting for sighting in get(issue.pk).sightings}
    assert {name: sighting.count for name, sighting in seen.items()} == {"production": 6, "staging": 1}
    assert seen["production"].first_seen == at(one.moment)
    assert seen["production"].last_seen > seen["staging"].last_seen == at(other.moment)


def test_users_are_counted_once_and_nobody_is_none() -> None:
    ada, bob = "a" * 32, "b" * 32

    issue = recorded(occurrence(user=ada), occurrence(user=bob), occurrence(user=ada), occurrence())

    assert get(issue.pk).users == 2
    assert set(kept(AffectedUser).values_list("user", flat=True)) == {ada, bob}


def test_an_occurrence_that_cannot_be_recorded_whole_leaves_no_trace() -> None:
    record(occurrence())
    unfit: Any = occurrence(body=None)

    with pytest.raises(TypeError):
        record(unfit)

    assert recorded(occurrence()).count == 2
    assert kept(Sighting).get().count == 2


# -- many at once ---------------------------------------------------------------------------------------------------------


def at_once(*pieces: Sequence[Occurrence]) -> list[Recorded | None]:
    """Record each piece in a thread of its own, on a connection of its own, as processes do: tried again until it is done."""
    told: list[Recorded | None] = []
    start = threading.Barrier(len(pieces))

    def work(piece: Sequence[Occurrence]) -> None:
        start.wait()
        for one in piece:
            told.append(patiently(one))
        connections[ALIAS].close()

    threads = [threading.Thread(target=work, args=(piece,)) for piece in pieces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def patiently(one: Occurrence) -> Recorded | None:
    while True:
        try:
            return record(one)
        except Error:
            continue


def test_the_same_new_issue_from_eight_at_once_is_one() -> None:
    told = at_once(*([occurrence(user=f"{number:032}") for _ in range(4)] for number in range(8)))

    issue = kept(Issue).get()
    assert issue.count == kept(Event).count() == kept(Sighting).get().count == 32
    assert get(issue.pk).users == 8
    assert sum(one is not None and one.is_new for one in told) == 1


def test_the_same_event_from_eight_at_once_counts_once() -> None:
    one = occurrence()

    told = at_once(*([one] for _ in range(8)))

    assert kept(Issue).get().count == kept(Event).count() == 1
    assert sum(answer is not None for answer in told) == 1


def test_a_regression_that_eight_meet_at_once_is_one() -> None:
    issue = recorded(occurrence())
    set_status([issue.pk], Issue.Status.RESOLVED)
    later = timezone.now().timestamp() + 1

    told = at_once(*([occurrence(moment=later)] for _ in range(8)))

    assert sum(one is not None and one.is_regression for one in told) == 1


# -- status ---------------------------------------------------------------------------------------------------------------


def test_a_resolved_issue_that_comes_back_is_a_regression() -> None:
    issue = recorded(occurrence())
    set_status([issue.pk], Issue.Status.RESOLVED)
    again = timezone.now().timestamp() + 1

    record(occurrence(moment=again))

    issue.refresh_from_db()
    assert (issue.status, issue.regressed_at, issue.resolved_at) == ("open", at(again), None)


def test_what_happened_before_it_was_resolved_is_no_regression() -> None:
    issue = recorded(occurrence())
    set_status([issue.pk], Issue.Status.RESOLVED)

    record(occurrence())

    issue.refresh_from_db()
    assert (issue.status, issue.regressed_at, issue.count) == ("resolved", None, 2)


def test_an_ignored_issue_stays_ignored() -> None:
    issue = recorded(occurrence())
    set_status([issue.pk], Issue.Status.IGNORED)

    told = record(occurrence(moment=timezone.now().timestamp() + 1))

    issue.refresh_from_db()
    assert (issue.status, issue.count) == ("ignored", 2)
    assert told == Recorded(issue.pk, False, False)


def test_status_is_set_in_bulk_and_only_changes_are_counted() -> None:
    pks = [recorded(occurrence(name)).pk for name in ("a", "b", "c")]

    assert set_status(pks[:2], Issue.Status.RESOLVED) == 2
    assert set_status(pks, Issue.Status.RESOLVED) == 1
    assert set_status([0], Issue.Status.RESOLVED) == 0
    assert kept(Issue).filter(status="resolved", resolved_at__isnull=False).count() == 3


def test_a_reopened_issue_is_neither_resolved_nor_a_regression() -> None:
    issue = recorded(occurrence())
    set_status([issue.pk], Issue.Status.RESOLVED)

    set_status([issue.pk], Issue.Status.OPEN)

    issue.refresh_from_db()
    assert (issue.status, issue.resolved_at, issue.regressed_at) == ("open", None, None)


# -- what is kept ---------------------------------------------------------------------------------------------------------


def test_the_first_event_and_the_newest_are_kept(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=ALIAS, EVENTS_PER_ISSUE=4)
    made = [occurrence() for _ in range(10)]

    issue = recorded(*made, occurrence("another"))

    ids = kept(Event).filter(issue=issue).order_by("moment").values_list("event_id", flat=True)
    assert list(ids) == [one.event_id for one in (made[0], *made[-3:])]
    assert (issue.count, len(issues.event(issue).ids)) == (10, 4)


def test_one_event_is_always_kept(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=ALIAS, EVENTS_PER_ISSUE=0)
    first = occurrence()

    issue = recorded(first, occurrence(), occurrence())

    assert issues.event(issue).event.event_id == first.event_id


def test_of_each_endpoint_the_newest_slow_transactions_are_kept() -> None:
    made = [slow() for _ in range(SLOW_KEPT + 5)]
    for one in (*made, slow(endpoint="other")):
        record_slow(one)

    ids = kept(SlowTransaction).filter(endpoint=made[0].endpoint).values_list("event_id", flat=True)

    assert set(ids) == {one.event_id for one in made[5:]}
    assert kept(SlowTransaction).filter(endpoint="other").count() == 1


def test_a_slow_transaction_that_is_delivered_twice_is_kept_once() -> None:
    one = slow()

    record_slow(one)
    record_slow(one)

    assert kept(SlowTransaction).get().duration_ms == 1500.0


# -- finding --------------------------------------------------------------------------------------------------------------


def titles(filters: IssueFilters | None = None, sort: Sort = Sort.NEWEST) -> list[str]:
    return [issue.title.removeprefix("ValueError: ") for issue in find(filters or IssueFilters(), sort).items]


@pytest.fixture
def some() -> dict[str, Issue]:
    """Three issues, each first in another order."""
    often = recorded(occurrence("often", count=9), occurrence("often", user="a" * 32))
    users = recorded(*(occurrence("users", user=name * 32, environment="staging", release="2.0") for name in "ab"))
    newest = recorded(
        occurrence("newest", group=group("newest", "warning", "people.views in Show"), endpoint="GET people/{pk}/")
    )
    return {"often": often, "users": users, "newest": newest}


def test_issues_are_sorted(some: dict[str, Issue]) -> None:
    assert {sort: titles(sort=sort) for sort in Sort} == {
        Sort.NEWEST: ["newest", "users", "often"],
        Sort.FIRST_SEEN: ["newest", "users", "often"],
        Sort.MOST: ["often", "users", "newest"],
        Sort.USERS: ["users", "often", "newest"],
    }


def test_issues_are_filtered(some: dict[str, Issue]) -> None:
    set_status([some["users"].pk], Issue.Status.RESOLVED)
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({"search": "OFT"}, ["often"]),
        ({"search": "show people"}, ["newest"]),
        ({"search": "show often"}, []),
        ({"search": "100%"}, []),
        ({"search": "_"}, []),
        ({"search": "nul\0 \ud800"}, []),
        ({"level": "warning"}, ["newest"]),
        ({"environment": "staging"}, ["users"]),
        ({"release": "1.0"}, ["newest", "often"]),
        ({"endpoint": "GET people/{pk}/"}, ["newest"]),
        ({"environment": "staging", "release": "1.0"}, []),
        ({"status": "resolved"}, ["users"]),
        ({"status": "open"}, ["newest", "often"]),
        ({"status": "no such"}, []),
    ]

    found = [(filters, titles(IssueFilters(**filters))) for filters, _ in expected]

    assert found == expected


def test_an_issue_is_found_by_the_id_of_an_event() -> None:
    one = occurrence("one")
    recorded(one)
    recorded(occurrence("other"))

    assert titles(IssueFilters(search=one.event_id.upper())) == ["one"]


def test_a_sighting_matches_as_a_whole() -> None:
    recorded(occurrence(environment="staging", release="1.0"), occurrence(environment="production", release="2.0"))

    assert titles(IssueFilters(environment="staging", release="2.0")) == []


def test_pages_are_of_fifty_and_the_nearest_is_given() -> None:
    for number in range(issues.PAGE_SIZE + 1):
        record(occurrence(f"{number}"))

    first, last, beyond = (find(IssueFilters(), page=number) for number in (1, 2, 9))

    assert (len(first.items), first.number, first.pages, first.total) == (50, 1, 2, 51)
    assert [len(last.items), last.number, beyond.number] == [1, 2, 2]


def test_a_list_is_read_in_two_queries(some: dict[str, Issue], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2, connection=connections[ALIAS]):
        assert [issue.user_count for issue in find(IssueFilters(), Sort.USERS).items] == [2, 1, 0]  # type: ignore[attr-defined]


def test_an_issue_that_there_is_not_is_not_found() -> None:
    with pytest.raises(Issue.DoesNotExist):
        get(1)


def test_the_choices_are_what_was_seen(some: dict[str, Issue]) -> None:
    record(occurrence(endpoint="", release=""))

    offered = choices()

    assert offered.levels == ["error", "warning"]
    assert offered.environments == ["production", "staging"]
    assert offered.releases == ["1.0", "2.0"]
    assert offered.endpoints == ["GET people/{pk}/", "POST organisations/"]


# -- events ---------------------------------------------------------------------------------------------------------------


def test_an_event_is_given_whole_with_its_neighbours() -> None:
    made = [occurrence(body=orjson.dumps({"number": number})) for number in range(3)]
    issue = recorded(made[1], made[0], made[2])
    ids = [one.event_id for one in made]

    views = [issues.event(issue, event_id) for event_id in ids]

    assert [view.body["number"] for view in views] == [0, 1, 2]
    assert [(view.previous, view.next) for view in views] == [(None, ids[1]), (ids[0], ids[2]), (ids[1], None)]


def test_events_of_one_moment_are_neighbours_too() -> None:
    made = [occurrence(moment=START) for _ in range(3)]
    issue = recorded(*made)

    view = issues.event(issue, made[1].event_id)

    assert (view.previous, view.next) == (made[0].event_id, made[2].event_id)


def test_without_an_id_the_newest_event_is_given() -> None:
    first, last = occurrence(), occurrence()

    assert issues.event(recorded(first, last)).event.event_id == last.event_id


def test_an_event_of_another_issue_is_not_found() -> None:
    one, other = occurrence("one"), occurrence("other")
    recorded(one)

    with pytest.raises(Event.DoesNotExist):
        issues.event(recorded(other), one.event_id)


def test_an_issue_may_have_lost_its_events() -> None:
    issue = recorded(occurrence())
    kept(Event).all().delete()

    with pytest.raises(Event.DoesNotExist):
        issues.event(issue)


def test_a_body_holds_what_texts_may_hold() -> None:
    text = "nul \0, é, 🚀, </script>"
    issue = recorded(occurrence(body=orjson.dumps({"message": text})))

    assert issues.event(issue).body == {"message": text}


# -- slow transactions ----------------------------------------------------------------------------------------------------


def test_slow_transactions_are_found_newest_or_slowest_first() -> None:
    fast, longest = slow(), slow(duration_ms=9000.0)
    last = slow(environment="staging", endpoint="import")
    for one in (fast, longest, last):
        record_slow(one)

    def ids(filters: TransactionFilters | None = None, **how: Any) -> list[str]:
        return [row.event_id for row in transactions(filters or TransactionFilters(), **how).items]

    assert ids() == [last.event_id, longest.event_id, fast.event_id]
    assert ids(slowest_first=True)[0] == longest.event_id
    assert ids(TransactionFilters(environment="staging", release="1.0", endpoint="import")) == [last.event_id]
    assert transaction_choices().endpoints == ["GET organisations/", "import"]


def test_a_slow_transaction_is_given_whole() -> None:
    one = slow(body=b'{"spans": [{"op": "db"}]}')
    record_slow(one)

    view = issues.transaction(one.event_id)

    assert view.body == {"spans": [{"op": "db"}]}
    assert view.transaction.endpoint == "GET organisations/"
    with pytest.raises(SlowTransaction.DoesNotExist):
        issues.transaction("0" * 32)
