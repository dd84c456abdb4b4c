"""The database stays small: what is due is done by whoever flushes, and what is old goes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.models import AffectedUser, Event, Flush, Issue, RollUp, Sighting, SlowTransaction, Visit
from crm_monitoring.dashboard.store import clock as store_clock
from crm_monitoring.dashboard.store import leases, rollups, upkeep
from crm_monitoring.dashboard.store.flushes import KEPT_S
from crm_monitoring.dashboard.store.upkeep import PruneResult, prune
from tests.dashboard.measured import Clock
from tests.dashboard.metrics.test_flushing import is_down
from tests.dashboard.traffic import kept, measured, write

NOW = 1_700_006_400  # the start of an hour, and of no day
HOUR = 3_600
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(store_clock, "now", clock)
    return clock


def test_visits_move_to_hours_and_then_to_days(each_database: str) -> None:
    seen = [(NOW - HOUR, "a"), (NOW - 3 * DAY, "a"), (NOW - 3 * DAY + 300, "a"), (NOW - 3 * DAY + 300, "b")]
    seen += [(NOW - 9 * DAY, "a"), (NOW - 9 * DAY + HOUR, "a")]
    Visit.objects.using(each_database).bulk_create(
        Visit(started=started, environment="test", user=user) for started, user in seen
    )

    result = prune()

    midnight = (NOW - 9 * DAY) // DAY * DAY
    assert set(Visit.objects.using(each_database).values_list("started", "user")) == {
        (NOW - HOUR, "a"),
        (NOW - 3 * DAY, "a"),
        (NOW - 3 * DAY, "b"),
        (midnight, "a"),
    }
    assert result == PruneResult(merged=2)


def event(model: type[Any], moment: datetime, **given: Any) -> Any:
    return model(event_id=uuid4().hex, moment=moment, environment="test", body=b"", **given)


def test_what_is_older_than_the_retention_is_deleted(each_database: str) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    old, young = now - timedelta(days=31), now - timedelta(days=29)
    write(each_database, *(measured("GET a/", [1.0], at=NOW - days * DAY) for days in (31, 29)))
    for started in (NOW - 31 * DAY, NOW - 29 * DAY):
        Visit.objects.using(each_database).create(started=started, environment="test", user="a")
    for model in (Event, SlowTransaction):
        for moment in (old, young):
            about = {"duration_ms": 1.0} if model is SlowTransaction else {"issue": issue(each_database, moment)}
            event(model, moment, **about).save(using=each_database)

    result = prune()

    assert result == PruneResult(rolled=4, rollups=2, flushes=1, visits=1, events=1, transactions=1, issues=1)
    assert [one.started for one in kept(each_database)] == [(NOW - 29 * DAY) // DAY * DAY]
    assert list(Event.objects.using(each_database).values_list("moment", flat=True)) == [young]
    assert Issue.objects.using(each_database).get().last_seen == young
    assert SlowTransaction.objects.using(each_database).count() == 1


def issue(alias: str, moment: datetime) -> Issue:
    return Issue.objects.using(alias).create(
        fingerprint=uuid4().hex, title="ValueError", level="error", first_seen=moment, last_seen=moment
    )


def test_an_issue_that_still_has_an_event_stays(each_database: str) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    kept = issue(each_database, now - timedelta(days=31))
    event(Event, now - timedelta(days=1), issue=kept).save(using=each_database)

    assert prune() == PruneResult()


def test_the_setting_says_how_long(a_sqlite: str, monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite, RETENTION_DAYS=1)
    Visit.objects.using(a_sqlite).create(started=NOW - 2 * DAY, environment="test", user="a")

    assert prune() == PruneResult(visits=1)


def test_what_tells_of_a_person_goes_with_its_age_though_its_issue_stays(each_database: str) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    old, about = now - timedelta(days=31), {"issue": issue(each_database, now)}
    AffectedUser.objects.using(each_database).create(user="a", last_seen=old, **about)
    AffectedUser.objects.using(each_database).create(user="b", last_seen=now, **about)
    Sighting.objects.using(each_database).create(environment="test", first_seen=old, last_seen=old, **about)

    assert prune() == PruneResult(users=1, sightings=1)


def test_an_emptied_flush_keeps_its_id_for_a_second_attempt(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW))
    rollups.add_flushes(NOW)

    left = [rollups.old(NOW + age)["flushes"].count() for age in (KEPT_S, KEPT_S + 1)]

    assert left == [0, 1]


# -- by a flush -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A monotonic clock at which this process should look again."""
    clock = Clock(time.monotonic())
    monkeypatch.setattr(upkeep, "monotonic", clock)
    upkeep.reset()
    clock.now += 61
    return clock


def test_a_flush_rolls_up_what_waits_every_five_seconds(each_database: str, clock: Clock) -> None:
    waiting = []
    for seconds in (0, 4, 1):
        clock.now += seconds
        write(each_database, measured("GET a/", [1.0], at=clock.now))
        upkeep.run()
        waiting.append(Flush.objects.using(each_database).filter(emptied=None).count())

    assert waiting == [0, 1, 0]


def test_where_more_waits_than_one_turn_takes_the_next_flush_goes_on(
    a_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MAX_FLUSHES", 2)
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW) for _ in range(3)))

    upkeep.run()
    upkeep.run()

    assert not Flush.objects.using(a_sqlite).filter(emptied=None).exists()


def test_a_flush_makes_wider_roll_ups_once_a_minute(each_database: str, due: Clock) -> None:
    write(each_database, measured("GET a/", [1.0], at=NOW - HOUR))
    due.now -= 2
    flushing.flush()
    early = RollUp.objects.using(each_database).filter(seconds=900).exists()

    due.now += 2
    flushing.flush()

    assert (early, RollUp.objects.using(each_database).filter(seconds=900).exists()) == (False, True)
    assert not upkeep.is_due()


def test_of_many_processes_one_does_the_chores(each_database: str, due: Clock) -> None:
    for name in ("flushes", "widen", "forget_flushes", "merge_visits", "delete_old"):
        leases.take(name, 5)
    write(each_database, measured("GET a/", [1.0], at=NOW - HOUR))

    upkeep.run()

    assert not RollUp.objects.using(each_database).exists()


def test_a_flush_does_chores_for_a_short_while_and_the_next_goes_on(
    each_database: str, due: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BUDGET_S", -1)
    write(each_database, *(measured("GET a/", [1.0], at=NOW - hours * HOUR) for hours in (1, 2)))
    rolled = []
    for _ in range(2):
        upkeep.run()
        due.now += 61
        rolled.append(RollUp.objects.using(each_database).filter(seconds=900).count())

    assert rolled == [1, 2]


def test_a_database_that_is_down_is_told(each_database: str, due: Clock) -> None:
    with is_down(each_database):
        assert not flushing.flush()

    (problem,) = flushing.problems()
    assert problem.startswith("The dashboard's database cannot be written: OperationalError. Since ")
