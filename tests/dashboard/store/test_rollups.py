"""Flushes go into minutes and minutes into wider slots, and nobody sees a wrong sum meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections

from crm_monitoring.dashboard.metrics import sums
from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Flush, RollUp
from crm_monitoring.dashboard.store import WINDOWS, aside, gathering, rollups
from crm_monitoring.dashboard.store.figures import Figures, read
from crm_monitoring.dashboard.store.spans import LADDER, Span, floor_to
from tests.dashboard.metrics.test_flushing import is_down, somebody_else
from tests.dashboard.traffic import Counted, errors, flush_of, kept, measured, roll_up, write

NOW = 1_700_000_430  # 14 November 2023, 22:20:30
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def traffic(until: float, days: int = 9) -> Iterator[Counted]:
    """Some of all that is counted, the more the nearer."""
    source = random.Random(1)
    for number in range(150):
        at, environment = until - source.random() ** 4 * days * DAY, source.choice(["production", "staging"])
        durations = [round(source.lognormvariate(5, 1), 3) for _ in range(source.randrange(1, 9))]
        kind = Metric.OPERATION if number % 4 == 0 else Metric.REQUEST
        yield measured(f"{kind} {number % 5}", durations, at=at, environment=environment, kind=kind)
        yield errors("a", number, at=at, environment=environment, release=str(number % 3))
        yield errors("inbox", 1, at=at, environment=environment, kind=Metric.LOSS)


def shape(alias: str) -> list[tuple[int, int, bool]]:
    """Of every roll-up its width, how many seconds before the running minute it starts, and whether a wider one has it."""
    rows = RollUp.objects.using(alias).order_by("seconds", "-started")
    running = floor_to(NOW, MINUTE)
    return [(row.seconds, running - row.started, row.rolled) for row in rows]


def rounded(value: Any) -> Any:
    """Compare what was added up in another order."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: rounded(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def seen(key: str, environment: str = "") -> Any:
    found: Figures = read(WINDOWS[key], environment, NOW)
    return rounded(found)


def total(alias: str) -> int:
    return sum(one.count for one in kept(alias))


# -- into minutes, and on -------------------------------------------------------------------------------------------------


def test_flushes_of_a_minute_become_one_roll_up(each_database: str) -> None:
    write(each_database, measured("GET a/", [10.0], at=NOW), measured("GET a/", [30.0], at=NOW))

    moved = rollups.add_flushes(NOW)

    (one,) = kept(each_database)
    assert (moved, one.count, one.duration_ms, one.slowest_ms, one.sketch.count) == (2, 2, 40.0, 30.0, 2)
    assert set(Flush.objects.using(each_database).values_list("body", "emptied")) == {(None, NOW)}


def test_what_differs_is_not_mixed(each_database: str) -> None:
    write(
        each_database,
        errors("a", 1, at=NOW),
        errors("a", 2, at=NOW, release="1.5"),
        errors("b", 3, at=NOW),
        errors("a", 4, at=NOW, environment="staging"),
        errors("a", 5, at=NOW, kind=Metric.LOSS, release=""),
    )

    roll_up(NOW)

    assert sorted(one.count for one in kept(each_database)) == [1, 2, 3, 4, 5]


def test_slots_that_are_over_are_made_into_wider_ones(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW), measured("GET a/", [1.0], at=NOW - HOUR))

    roll_up(NOW)

    assert shape(a_sqlite) == [
        (60, 0, False),
        (60, HOUR, True),
        (900, HOUR + 300, True),
        (7_200, 2 * HOUR + 1_200, False),
    ]


def test_figures_are_the_same_however_far_they_are_rolled_up(each_database: str) -> None:
    write(each_database, *traffic(NOW))
    before = {(key, environment): seen(key, environment) for key in ("1h", "24h") for environment in ("", "staging")}

    roll_up(NOW)

    assert Flush.objects.using(each_database).filter(emptied=None).count() == 0
    assert {(key, environment): seen(key, environment) for key, environment in before} == before


def test_hardly_a_roll_up_is_read_for_a_month(a_sqlite: str) -> None:
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW - hours * HOUR) for hours in range(29 * 24)))
    roll_up(NOW)

    slots = gathering.cover(Span(NOW // 60 * 60 - 29 * DAY, NOW // 60 * 60), rollups.unsettled(Span(0, NOW)))

    assert rollups.within(slots).count() < 70


def test_no_more_names_are_kept_apart_than_are_allowed(a_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MAX_NAMES", 3)
    write(a_sqlite, *(errors(str(number), 1, at=NOW) for number in range(9)))

    roll_up(NOW)

    assert len(kept(a_sqlite)) == 4
    assert kept(a_sqlite, name="(other)")[0].count == 6


# -- what comes late, early, or from a newer version ----------------------------------------------------------------------


@pytest.mark.parametrize("age", [0, 5 * HOUR, 3 * DAY, 20 * DAY])
def test_what_comes_late_is_in_the_figures_at_once_and_after(each_database: str, age: int) -> None:
    write(each_database, *(measured("GET a/", [1.0], at=NOW - age + 600 * number) for number in range(-20, 20)))
    roll_up(NOW)
    expected = seen("30d")["requests"]["now"] + 1

    write(each_database, measured("GET late/", [1.0], at=NOW - age))
    told = [seen("30d")["requests"]["now"]]
    rollups.add_flushes(NOW)
    told.append(seen("30d")["requests"]["now"])
    roll_up(NOW)

    assert [*told, seen("30d")["requests"]["now"]] == [expected] * 3


def test_what_comes_after_its_minute_was_given_up_is_added_to_a_wider_slot(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW - 5 * DAY))

    roll_up(NOW)

    assert [width for width, _, rolled in shape(a_sqlite)] == [900, 7_200, 86_400]


def test_what_comes_late_waits_for_narrower_slots_that_are_about_to_be_made_wider(a_sqlite: str) -> None:
    slot = floor_to(NOW - 5 * DAY, 900)
    row = flush_of(measured("GET a/", [1.0], at=slot))
    totals = sums.Names.from_bytes(bytes(row.body or b"")).totals().to_bytes()
    RollUp.objects.using(a_sqlite).create(
        seconds=60, started=slot, environment="production", body=row.body, totals=totals
    )
    write(a_sqlite, measured("GET a/", [1.0], at=slot))

    early = rollups.add_flushes(NOW)
    roll_up(NOW)
    roll_up(NOW)

    assert (early, total(a_sqlite)) == (0, 2)


def test_a_flush_of_the_future_stops_nothing_and_counts_when_its_time_has_come(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW + DAY), measured("GET a/", [1.0], at=NOW))

    moved = rollups.add_flushes(NOW)

    assert (moved, seen("24h")["requests"]["now"]) == (1, 1)
    assert rollups.add_flushes(NOW + DAY) == 1


def newer(alias: str, model: Any) -> None:
    """A newer version has written them."""
    for row in model.objects.using(alias).all():
        row.body = b"\xff" + bytes(row.body)[1:]
        if model is RollUp:
            row.totals = b"\xff" + bytes(row.totals)[1:]
        row.save(using=alias)


def test_a_flush_of_a_newer_version_is_left_to_it(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW))
    newer(a_sqlite, Flush)

    assert rollups.add_flushes(NOW) == 0
    assert seen("1h")["requests"]["now"] == 0
    assert Flush.objects.using(a_sqlite).get().emptied is None


def test_a_roll_up_of_a_newer_version_is_left_to_it_and_so_is_what_belongs_into_it(a_sqlite: str) -> None:
    write(a_sqlite, measured("GET a/", [1.0], at=NOW - HOUR))
    rollups.add_flushes(NOW)
    newer(a_sqlite, RollUp)
    write(a_sqlite, measured("GET a/", [1.0], at=NOW - HOUR))

    assert (rollups.add_flushes(NOW), list(rollups.widen(NOW))) == (0, [0])
    assert seen("24h")["requests"]["now"] == 1


# -- side by side ---------------------------------------------------------------------------------------------------------


def test_rows_that_somebody_holds_are_left_to_the_next_time(each_database: str) -> None:
    write(each_database, measured("GET a/", [1.0], at=NOW))
    held = {"sqlite": "BEGIN IMMEDIATE", "mysql": "BEGIN", "postgresql": "BEGIN"}
    with somebody_else(each_database) as other, other.cursor() as cursor:
        cursor.execute(held[other.vendor])
        cursor.execute(f"UPDATE {Flush._meta.db_table} SET started = started")
        with aside():
            moved = rollups.add_flushes(NOW)

    assert (moved, total(each_database)) == (0, 1)


def test_rows_that_somebody_empties_meanwhile_are_counted_once(each_server: str) -> None:
    write(each_server, measured("GET a/", [1.0], at=NOW))

    def overtake(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and Flush._meta.db_table in sql:
            with somebody_else(each_server) as other, other.cursor() as cursor:
                cursor.execute(f"DELETE FROM {Flush._meta.db_table}")
        return execute(sql, *rest)

    with connections[each_server].execute_wrapper(overtake):
        moved = rollups.add_flushes(NOW)

    assert (moved, total(each_server)) == (0, 0)


def test_a_server_that_is_away_is_not_taken_for_one_that_somebody_holds(each_database: str) -> None:
    with is_down(each_database), pytest.raises(OperationalError):
        rollups.add_flushes(NOW)


def test_all_that_roll_up_at_once_and_one_who_reads_see_the_same_sum(each_database: str) -> None:
    write(each_database, *(measured(f"GET {number % 7}/", [1.0], at=NOW - number * 11) for number in range(200)))
    found: list[int] = []
    failed: list[BaseException] = []

    def in_thread(work: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                with aside():
                    for _ in range(10):
                        work()
            except BaseException as error:
                failed.append(error)
            finally:
                connections[each_database].close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollups, "MAX_FLUSHES", 20)
        threads = [in_thread(lambda: rollups.add_flushes(NOW)), in_thread(lambda: list(rollups.widen(NOW)))]
        threads.append(in_thread(lambda: rollups.add_flushes(NOW)))
        while any(thread.is_alive() for thread in threads):
            found.append(seen("1h")["requests"]["now"])

    roll_up(NOW)
    assert failed == []
    assert {*found, seen("1h")["requests"]["now"]} == {200}


# -- what is old ----------------------------------------------------------------------------------------------------------


def test_narrow_slots_are_given_up_once_a_wider_one_has_them(a_sqlite: str) -> None:
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW - days * DAY) for days in (0, 1, 3, 10)))
    roll_up(NOW + DAY)

    rollups.old(NOW + DAY)["rollups"].delete()

    ages = {width: [age // DAY for seconds, age, _ in shape(a_sqlite) if seconds == width] for width in LADDER}
    assert ages[60] == [0, 1]
    assert ages[900] == [0, 1, 3]
    assert ages[7_200][-1] == 10
    assert total(a_sqlite) == 4
