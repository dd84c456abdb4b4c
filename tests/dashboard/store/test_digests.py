"""Figures from digests are those from rows, whatever happens to the rows meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from crm_monitoring.dashboard.models import Digest, Kind, MetricRow
from crm_monitoring.dashboard.store import compaction, digests, leases
from crm_monitoring.dashboard.store.digests import FINEST, Slots, Span, cover
from crm_monitoring.dashboard.store.figures import WINDOWS, Figures, read
from tests.dashboard.measured import Clock
from tests.dashboard.traffic import errors, measured

NOW = 1_700_000_430  # 14 November 2023, 22:20:30
MINUTE, HOUR, DAY = 60, 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    for module in (digests, compaction, leases):
        monkeypatch.setattr(module, "time", clock)
    return clock


def update(now: float = NOW) -> int:
    """Make what digests are due; returns how many were made."""
    return sum(digests.update(now))


def write(alias: str, *rows: MetricRow) -> None:
    MetricRow.objects.using(alias).bulk_create(rows)


def traffic(until: float, days: int = 9) -> Iterator[MetricRow]:
    """Rows of all kinds, the more the nearer."""
    source = random.Random(1)
    for number in range(150):
        ago = source.random() ** 4 * days * DAY
        at, environment = until - ago, source.choice(["production", "staging"])
        durations = [round(source.lognormvariate(5, 1), 3) for _ in range(source.randrange(1, 9))]
        kind = Kind.OPERATION if number % 4 == 0 else Kind.REQUEST
        yield measured(f"{kind} {number % 5}", durations, at=at, environment=environment, kind=kind)
        yield errors("a", number, at=at, environment=environment, release=str(number % 3))
        yield errors("inbox", 1, at=at, environment=environment, kind=Kind.LOSS)


def of_rows(alias: str, key: str, environment: str = "", now: float = NOW) -> Figures:
    """The figures without digests, which are put back afterwards."""
    kept = list(Digest.objects.using(alias).all())
    Digest.objects.using(alias).all().delete()
    found = read(WINDOWS[key], environment, now)
    Digest.objects.using(alias).bulk_create(kept)
    return found


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


def assert_same(alias: str, now: float = NOW) -> None:
    for key in WINDOWS:
        for environment in ("", "staging"):
            from_digests = read(WINDOWS[key], environment, now)
            assert rounded(from_digests) == rounded(of_rows(alias, key, environment, now))


def rows_read(alias: str, key: str) -> int:
    """How many metric rows a window takes one by one."""
    with CaptureQueriesContext(connections[alias]) as queries:
        read(WINDOWS[key], "", NOW)
    (query,) = [each["sql"] for each in queries if '"sketch"' in each["sql"]]
    with connections[alias].cursor() as cursor:
        return len(cursor.execute(query).fetchall())


# -- the same figures -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_figures_from_digests_are_those_from_rows(each_database: str) -> None:
    write(each_database, *traffic(NOW))

    assert update() > 0

    assert_same(each_database)


@pytest.mark.slow
def test_digests_made_as_time_goes_by_are_those_made_at_once(a_sqlite: str, clock: Clock) -> None:
    rows = sorted(traffic(NOW), key=lambda row: row.started)
    for hours in range(9 * 24, -1, -1):
        clock.now = NOW - hours * HOUR
        write(a_sqlite, *[row for row in rows if clock.now - HOUR < row.started <= clock.now])
        update(clock.now)

    assert_same(a_sqlite)


@pytest.mark.slow
def test_hardly_a_row_is_read_where_digests_are(a_sqlite: str) -> None:
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW - minutes * MINUTE) for minutes in range(3 * 24 * 60)))
    update()

    # Up to a quarter of an hour at each end of the window, and what is not over for two minutes; where rows may be compacted also
    # at each end of the one before.
    assert rows_read(a_sqlite, "1h") <= 2 * 15 + 2
    assert rows_read(a_sqlite, "24h") <= 4 * 15 + 2


# -- what is stale --------------------------------------------------------------------------------------------------------


def test_what_comes_late_is_in_the_figures_at_once(each_database: str) -> None:
    write(each_database, *traffic(NOW))
    update()

    write(each_database, measured("GET late/", [1.0], at=NOW - 5 * HOUR))

    assert "GET late/" in [endpoint.name for endpoint in read(WINDOWS["24h"], "", NOW).endpoints]
    assert_same(each_database)


def test_what_comes_late_costs_no_more_than_the_rows_since(a_sqlite: str) -> None:
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW - minutes * MINUTE) for minutes in range(2 * 24 * 60)))
    update()

    write(a_sqlite, measured("GET late/", [1.0], at=NOW - 40 * MINUTE))

    # From the start of its quarter of an hour on.
    assert rows_read(a_sqlite, "24h") <= 15 + 40 + 15 + 1 + 15
    assert "GET late/" in [endpoint.name for endpoint in read(WINDOWS["24h"], "", NOW).endpoints]


@pytest.mark.slow
@pytest.mark.parametrize("days", [0.3, 1.3, 2.3, 5.3])
def test_what_comes_late_is_in_the_digests_when_they_are_made_again(a_sqlite: str, days: float) -> None:
    moment = NOW - days * DAY
    write(a_sqlite, *traffic(NOW), *(measured("GET a/", [1.0], at=moment + 600 * number) for number in range(-20, 20)))
    update()
    write(a_sqlite, measured("GET late/", [1.0], at=moment))

    update()

    assert "GET late/" in [endpoint.name for endpoint in read(WINDOWS["7d"], "", NOW).endpoints]
    assert_same(a_sqlite)


def test_nothing_is_made_where_nothing_is_new(a_sqlite: str) -> None:
    write(a_sqlite, *traffic(NOW))
    update()

    assert update() == 0


def test_a_slot_that_may_still_get_rows_has_no_digest(a_sqlite: str) -> None:
    end = NOW // FINEST * FINEST
    write(a_sqlite, measured("GET a/", [1.0], at=end - 1))

    assert update(end + 119) == 0
    assert update(end + 120) == 1


@pytest.mark.slow
def test_what_is_deleted_is_gone_from_the_digests(a_sqlite: str) -> None:
    write(a_sqlite, *traffic(NOW))
    update()
    MetricRow.objects.using(a_sqlite).filter(started__lt=NOW - 3 * DAY).delete()

    update()

    assert_same(a_sqlite)
    assert not Digest.objects.using(a_sqlite).filter(started__lt=NOW - 4 * DAY).exists()


@pytest.mark.slow
def test_compaction_makes_no_digest_stale(a_sqlite: str) -> None:
    week = Span(NOW // HOUR * HOUR - 7 * DAY, NOW // HOUR * HOUR)
    write(a_sqlite, *traffic(NOW))
    update()
    part = digests.part_of(week, is_checked=True)

    compaction.prune()

    assert MetricRow.objects.using(a_sqlite).filter(seconds__gt=60).exists()
    assert digests.part_of(week, is_checked=True) == part
    assert part.span.end > NOW - HOUR
    assert update() == 0


@pytest.mark.slow
def test_narrow_digests_that_are_old_only_tell_what_is_stale(a_sqlite: str) -> None:
    write(a_sqlite, *(measured("GET a/", [1.0], at=NOW - hours * HOUR) for hours in range(9 * 24)))

    update()

    narrow = Digest.objects.using(a_sqlite).filter(seconds=FINEST)
    assert {bytes(digest.names) for digest in narrow.filter(started__lt=NOW - 4 * DAY)} == {b""}
    assert b"" not in {bytes(digest.names) for digest in narrow.filter(started__gt=NOW - 2 * DAY)}
    assert_same(a_sqlite)


def test_a_site_that_was_idle_for_days_has_its_figures(a_sqlite: str, clock: Clock) -> None:
    write(a_sqlite, *traffic(NOW))
    update()
    clock.now = NOW + 5 * DAY

    update(clock.now)

    assert_same(a_sqlite, clock.now)


# -- slots ----------------------------------------------------------------------------------------------------------------


def test_widest_slots_cover_a_stretch_of_time_without_gap_or_overlap() -> None:
    span = Span(DAY - 8_100, 3 * DAY + 9_000)

    slots = cover(span)

    assert slots == [
        Slots(900, Span(DAY - 8_100, DAY - 7_200)),
        Slots(7_200, Span(DAY - 7_200, DAY)),
        Slots(86_400, Span(DAY, 3 * DAY)),
        Slots(7_200, Span(3 * DAY, 3 * DAY + 7_200)),
        Slots(900, Span(3 * DAY + 7_200, 3 * DAY + 9_000)),
    ]


def test_no_slots_cover_nothing() -> None:
    assert cover(Span(900, 900)) == []
