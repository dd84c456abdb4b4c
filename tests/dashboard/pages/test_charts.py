"""Points to paths, and round ticks on both axes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring.dashboard.pages.charts import Plane, bars, line, time_ticks, value_ticks

PARIS = ZoneInfo("Europe/Paris")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
PLANE = Plane(since=0, until=100, top=10, left=0, right=100, upper=0, lower=100)


def at(text: str, zone: ZoneInfo = PARIS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def shown(since: float, until: float, zone: ZoneInfo = PARIS) -> list[str]:
    return [moment.strftime("%d %H:%M") for moment in time_ticks(since, until, zone)]


def test_plane_places_the_edges_at_the_edges() -> None:
    assert (PLANE.x(0), PLANE.x(100), PLANE.y(0), PLANE.y(10)) == (0, 100, 100, 0)


def test_plane_keeps_moments_within() -> None:
    assert (PLANE.x(-5), PLANE.x(105)) == (0, 100)


def test_bar_is_a_little_narrower_than_its_step() -> None:
    assert bars(PLANE, [0], [5], 10) == "M1.0 100V50.0H9.0V100Z"


def test_nothing_is_drawn_for_zero() -> None:
    assert bars(PLANE, [0, 10, 20], [0, 1, 0], 10).count("M") == 1


def test_line_runs_through_the_middles() -> None:
    assert line(PLANE, [0, 10], [0.0, 10.0], 10) == "M5.0 100.0L5.0 100.0L15.0 0.0"


def test_line_has_a_gap_where_nothing_was_measured() -> None:
    assert line(PLANE, [0, 10, 20], [1.0, None, 1.0], 10).count("M") == 2


def test_lonely_value_is_a_line_of_no_length_which_a_round_cap_shows() -> None:
    assert line(PLANE, [0, 10, 20], [None, 10.0, None], 10) == "M15.0 0.0L15.0 0.0"


def test_no_points_are_no_path() -> None:
    assert line(PLANE, [], [], 10) == bars(PLANE, [], [], 10) == ""


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [
        (0, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (7, [0, 2, 4, 6, 8]),
        (230, [0, 100, 200, 300]),
        (800, [0, 200, 400, 600, 800]),
        (1_000_000, [0, 500_000, 1_000_000]),
    ],
)
def test_values_have_round_ticks(largest: float, ticks: list[float]) -> None:
    assert value_ticks(largest) == ticks


def test_what_is_counted_has_whole_ticks() -> None:
    assert value_ticks(1) == pytest.approx([0, 0.5, 1])
    assert value_ticks(1, whole=True) == [0, 1]


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_ticks_reach_any_value_and_stay_few(largest: float) -> None:
    ticks = value_ticks(largest)

    assert ticks[-1] >= largest * (1 - 1e-6)
    assert ticks[-2] < largest
    assert 2 <= len(ticks) <= 5


def test_an_hour_has_ticks_at_tens_of_minutes() -> None:
    ticks = shown(at("2026-11-23 12:07"), at("2026-11-23 13:07"))

    assert ticks == ["23 12:10", "23 12:20", "23 12:30", "23 12:40", "23 12:50", "23 13:00"]


def test_a_day_has_ticks_at_hours_of_the_reader() -> None:
    assert shown(at("2026-11-22 13:00"), at("2026-11-23 13:00"))[:3] == ["22 16:00", "22 20:00", "23 00:00"]


def test_zone_with_odd_minutes_has_full_hours_all_the_same() -> None:
    ticks = shown(at("2026-11-22 13:00", KATHMANDU), at("2026-11-23 13:00", KATHMANDU), KATHMANDU)

    assert ticks[0] == "22 16:00"


def test_a_week_has_ticks_at_midnights_of_the_reader_though_the_clocks_change() -> None:
    ticks = time_ticks(at("2026-10-22 13:00"), at("2026-10-29 13:00"), PARIS)

    assert {(tick.hour, tick.minute) for tick in ticks} == {(0, 0)}
    assert {(later.toordinal() - earlier.toordinal()) for earlier, later in pairwise(ticks)} == {2}


def test_hour_that_clocks_skip_has_no_tick_twice() -> None:
    ticks = shown(at("2026-03-29 01:30"), at("2026-03-29 03:30"))

    assert ticks == sorted(set(ticks))


def test_very_long_stretch_has_the_widest_step() -> None:
    assert len(time_ticks(at("2026-01-01 00:00"), at("2026-06-01 00:00"), PARIS)) == 11


@given(st.integers(0, 4_000_000_000), st.sampled_from([3_600, 86_400, 7 * 86_400, 30 * 86_400]))
def test_ticks_lie_within_and_stay_few(since: int, seconds: int) -> None:
    ticks = time_ticks(since, since + seconds, UTC)

    assert all(since <= tick.timestamp() <= since + seconds for tick in ticks)
    assert 2 <= len(ticks) <= 7
