"""Few rows say what many said, the old go, and nobody sees a wrong sum meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connections
from django.db.models import Sum

from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import Digest, Event, Issue, MetricRow, SlowTransaction, Visit
from crm_monitoring.dashboard.store import compaction, leases
from crm_monitoring.dashboard.store.compaction import PruneResult, prune
from tests.dashboard.measured import Clock, rows
from tests.dashboard.metrics.test_flushing import is_down, somebody_else

NOW = 1_700_006_400  # the start of an hour, and of no day
HOUR = 3_600
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(compaction, "time", clock)
    monkeypatch.setattr(leases, "time", clock)
    return clock


def row(started: int, name: str = "GET ok/", **given: Any) -> MetricRow:
    sketch = Sketch()
    sketch.add(given.setdefault("duration_ms", 100.0))
    known = {"kind": "request", "environment": "test", "release": "1.0", "count": 1, "slowest_ms": given["duration_ms"]}
    return MetricRow(
        batch=uuid4(), position=0, started=started // 60 * 60, name=name, sketch=sketch.to_bytes(), **{**known, **given}
    )


def write(alias: str, *written: MetricRow) -> None:
    MetricRow.objects.using(alias).bulk_create(written)


def shape(alias: str) -> list[tuple[int, int, int]]:
    """Of every row how many seconds ago it starts, how wide it is, and what it counts."""
    return sorted((NOW - row.started, row.seconds, row.count) for row in rows(alias))


def total(alias: str) -> tuple[int, float, int]:
    found = rows(alias)
    sketches = Sketch.sum(Sketch.from_bytes(bytes(row.sketch)) for row in found)
    return sum(row.count for row in found), round(sum(row.duration_ms for row in found), 6), sketches.count


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        # Young rows are left as they were written.
        ((540, 540), [(540, 60, 1), (540, 60, 1)]),
        ((660, 660, 720), [(660, 60, 2), (720, 60, 1)]),
        ((2 * HOUR - 60, 2 * HOUR - 120), [(2 * HOUR - 60, 60, 1), (2 * HOUR - 120, 60, 1)]),
        ((2 * HOUR + 60, 2 * HOUR + 120, 2 * HOUR + 960), [(2 * HOUR + 900, 900, 2), (2 * HOUR + 1800, 900, 1)]),
        ((2 * DAY + 60, 2 * DAY + 3_540), [(2 * DAY + HOUR, HOUR, 2)]),
    ],
)
def test_rows_move_into_wider_buckets_as_they_age(
    each_database: str, ages: tuple[int, ...], expected: list[tuple[int, int, int]]
) -> None:
    write(each_database, *(row(NOW - age) for age in ages))

    result = prune()

    assert shape(each_database) == sorted(expected)
    assert result == PruneResult(compacted=len(ages) - len(expected))


def test_what_a_row_says_is_kept(each_database: str) -> None:
    figures = ("count", "redirected", "rejected", "failed", "slow", "satisfied", "tolerating")
    one = {name: number for number, name in enumerate(figures, 1)}
    write(each_database, row(NOW - HOUR, duration_ms=10.0, **one), row(NOW - HOUR, duration_ms=1_000.0, **one))

    prune()

    (merged,) = rows(each_database)
    assert {name: getattr(merged, name) for name in figures} == {name: 2 * number for name, number in one.items()}
    assert (merged.duration_ms, merged.slowest_ms) == (1_010.0, 1_000.0)
    assert (merged.kind, merged.environment, merged.release, merged.name) == ("request", "test", "1.0", "GET ok/")
    assert Sketch.from_bytes(bytes(merged.sketch)).quantiles(0, 1) == pytest.approx([10.0, 1_000.0], rel=0.02)


@pytest.mark.parametrize(
    "other", [{"kind": "operation"}, {"environment": "staging"}, {"release": "1.1"}, {"name": "POST ok/"}]
)
def test_what_differs_is_not_mixed(each_database: str, other: dict[str, Any]) -> None:
    write(each_database, row(NOW - HOUR), row(NOW - HOUR, **other))

    prune()

    assert [row.count for row in rows(each_database)] == [1, 1]


def test_what_comes_late_moves_into_the_row_that_is_there(each_database: str) -> None:
    for _ in range(2):
        write(each_database, row(NOW - 3 * DAY))
        prune()

    assert shape(each_database) == [(3 * DAY, HOUR, 2)]


def test_much_is_moved_in_portions(each_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_MAX_GROUPS", 40)
    monkeypatch.setattr(compaction, "_MAX_NAMES", 2)
    monkeypatch.setattr(compaction, "_MAX_ROWS", 25)
    chance = random.Random(1)
    write(
        each_database,
        *(
            row(NOW - age, name=f"GET {number}/", duration_ms=chance.uniform(1, 500))
            for age in range(0, 3 * DAY, 3_000)
            for number in range(3)
            for _ in range(2)
        ),
    )
    before = total(each_database)

    prune()

    again = prune()
    assert total(each_database) == before
    assert again == PruneResult()
    for level in compaction.LEVELS:
        old = [row for row in rows(each_database) if row.started < level.until(NOW)]
        assert all(row.seconds >= level.seconds for row in old)
        assert len({(row.started, row.name) for row in old}) == len(old)


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
    assert result == PruneResult(compacted=2)


def event(model: type[Any], moment: datetime, **given: Any) -> Any:
    return model(event_id=uuid4().hex, moment=moment, environment="test", body=b"", **given)


def test_what_is_older_than_the_retention_is_deleted(each_database: str) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    old, young = now - timedelta(days=31), now - timedelta(days=29)
    write(each_database, row(NOW - 31 * DAY), row(NOW - 31 * DAY, kind="loss"), row(NOW - 29 * DAY))
    for started in (NOW - 31 * DAY, NOW - 29 * DAY):
        Visit.objects.using(each_database).create(started=started, environment="test", user="a")
    for model in (Event, SlowTransaction):
        for moment in (old, young):
            about = {"duration_ms": 1.0} if model is SlowTransaction else {"issue": issue(each_database, moment)}
            event(model, moment, **about).save(using=each_database)

    result = prune()

    assert result == PruneResult(rows=2, visits=1, events=1, transactions=1, issues=1)
    assert [row.started for row in rows(each_database)] == [NOW - 29 * DAY]
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
    write(a_sqlite, row(NOW - 2 * DAY), row(NOW - HOUR))

    assert prune() == PruneResult(rows=1)


# -- by a flush -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A monotonic clock at which this process should look again."""
    clock = Clock(time.monotonic())
    monkeypatch.setattr(compaction, "monotonic", clock)
    compaction.reset()
    clock.now += 61
    return clock


def test_a_flush_compacts_once_a_minute(each_database: str, due: Clock, clock: Clock) -> None:
    write(each_database, row(NOW - HOUR), row(NOW - HOUR))
    due.now -= 2
    flushing.flush()
    early = len(rows(each_database))

    due.now += 2
    flushing.flush()

    assert (early, len(rows(each_database))) == (2, 1)
    assert not compaction.is_due()


def test_of_many_processes_one_compacts(each_database: str, due: Clock) -> None:
    for chore in compaction._CHORES:
        leases.take(chore.name, 60)
    write(each_database, row(NOW - HOUR), row(NOW - HOUR))

    compaction.run()

    assert len(rows(each_database)) == 2


def test_a_flush_does_not_compact_for_long_and_the_next_goes_on(
    each_database: str, due: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "BUDGET_S", -1)
    write(each_database, *(row(NOW - age) for age in (HOUR, HOUR, HOUR + 60, HOUR + 60)))

    compaction.run()
    first = len(rows(each_database))
    compaction.run()

    assert (first, len(rows(each_database))) == (3, 2)


def test_a_database_that_is_down_is_told(each_database: str, due: Clock) -> None:
    with is_down(each_database):
        assert not flushing.flush()

    assert flushing.problems() == ["The dashboard's database cannot be written: OperationalError."]


def test_a_flush_keeps_the_digests_up_to_date(each_database: str, due: Clock) -> None:
    write(each_database, row(NOW - HOUR), row(NOW - HOUR))

    flushing.flush()

    assert Digest.objects.using(each_database).filter(seconds=900).get().count == 2


def test_digests_are_left_to_who_makes_them(each_database: str) -> None:
    leases.take("digests", 60)
    write(each_database, row(NOW - HOUR))

    prune()

    assert not Digest.objects.using(each_database).exists()


def test_rows_are_not_taken_for_held_where_the_server_is_away(each_database: str) -> None:
    with is_down(each_database), pytest.raises(OperationalError):
        compaction._move(compaction.LEVELS[0], NOW - HOUR, ["GET ok/"])


# -- side by side ---------------------------------------------------------------------------------------------------------


def test_rows_that_somebody_holds_are_left_to_the_next_time(each_database: str) -> None:
    write(each_database, row(NOW - HOUR), row(NOW - HOUR))
    held = {"sqlite": "BEGIN IMMEDIATE", "mysql": "BEGIN", "postgresql": "BEGIN"}
    with somebody_else(each_database) as other, other.cursor() as cursor:
        cursor.execute(held[other.vendor])
        cursor.execute(f"UPDATE {MetricRow._meta.db_table} SET count = count")
        with flushing.store.aside():
            compacted = compaction._move(compaction.LEVELS[0], NOW - HOUR, ["GET ok/"])

    assert compacted == 0
    assert shape(each_database) == [(HOUR, 60, 1)] * 2


def test_rows_that_somebody_moves_meanwhile_are_moved_once(each_server: str) -> None:
    write(each_server, row(NOW - HOUR), row(NOW - HOUR))

    def overtake(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("DELETE"):
            with somebody_else(each_server) as other, other.cursor() as cursor:
                cursor.execute(f"DELETE FROM {MetricRow._meta.db_table} WHERE started > 0")
        return execute(sql, *rest)

    with connections[each_server].execute_wrapper(overtake):
        compacted = compaction._move(compaction.LEVELS[0], NOW - HOUR, ["GET ok/"])

    assert compacted == 0
    assert shape(each_server) == []


def test_two_that_prune_at_once_and_one_who_reads_see_the_same_sum(each_database: str) -> None:
    chance = random.Random(2)
    write(
        each_database,
        *(
            row(NOW - age, name=f"GET {number}/", duration_ms=chance.uniform(1, 500))
            for age in range(0, 4 * DAY, 9_000)
            for number in range(10)
            for _ in range(5)
        ),
    )
    before = total(each_database)
    seen: list[Any] = []
    failed: list[BaseException] = []

    def in_thread(work: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failed.append(error)
            finally:
                connections[each_database].close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [in_thread(prune) for _ in range(2)]
    while any(thread.is_alive() for thread in threads):
        found = MetricRow.objects.using(each_database).aggregate(count=Sum("count"), duration=Sum("duration_ms"))
        seen.append((found["count"], round(found["duration"], 6)))

    assert failed == []
    assert set(seen) == {before[:2]}
    prune()
    assert total(each_database) == before
    assert prune() == PruneResult()
