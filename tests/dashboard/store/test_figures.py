"""Figures of known traffic, worked out by hand: of flushes that wait, and of roll-ups."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Deploy, Issue, Sighting, Visit
from crm_monitoring.dashboard.store import WINDOWS
from crm_monitoring.dashboard.store.figures import Change, knows, read
from tests.dashboard import traffic
from tests.dashboard.traffic import Counted, errors, measured, roll_up

NOW = 1_700_000_430  # half a minute after 22:20
MINUTE, HOUR, DAY = 60, 3_600, 86_400
Write = Callable[..., None]


@pytest.fixture(params=["waiting", "rolled up"])
def write(each_database: str, request: pytest.FixtureRequest) -> Write:
    """Write what was counted, which waits or is rolled up at once."""

    def written(*counted: Counted) -> None:
        traffic.write(each_database, *counted)
        if request.param == "rolled up":
            roll_up(NOW)

    return written


def figures(key: str = "1h", environment: str = "", until: float = NOW) -> Any:
    return read(WINDOWS[key], environment, until)


def issue(alias: str, title: str, minutes: int = 0, **given: Any) -> Issue:
    seen = datetime.fromtimestamp(NOW, UTC) - timedelta(minutes=minutes)
    fields = {"title": title, "fingerprint": title, "level": "error", "first_seen": seen, "last_seen": seen, **given}
    return Issue.objects.using(alias).create(**fields)


def visit(alias: str, user: str, ago: float, environment: str = "production") -> None:
    started = int(NOW - ago) // 300 * 300
    Visit.objects.using(alias).create(started=started, user=user, environment=environment)


# -- nothing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", WINDOWS)
def test_without_rows_counts_are_zero_and_the_rest_is_nothing(each_database: str, key: str) -> None:
    found = figures(key)

    assert (found.requests, found.errors, found.failed, found.slow) == (Change(0, 0),) * 4
    assert (found.users, found.active_users) == (Change(0, 0),) * 2
    assert (found.average_ms, found.error_rate, found.apdex, found.p95_ms) == (Change(None, None),) * 4
    assert (found.hottest, found.slowest) == (None, None)
    assert (found.endpoints, found.operations, found.issues, found.deploys) == ([], [], [], [])
    assert (found.errors_by_release, found.environments) == ([], [])
    assert (found.source.since, found.source.newest, found.source.dropped) == (None, None, {})
    assert {(point.requests, point.errors, point.failed, point.p50_ms, point.p95_ms) for point in found.points} == {
        (0, 0, 0, None, None)
    }


# -- sums -----------------------------------------------------------------------------------------------------------------


def test_figures_are_sums_over_all_endpoints(write: Write) -> None:
    write(
        measured("GET a/", [100.0] * 90 + [3_000.0] * 6 + [5_000.0] * 4, at=NOW, failed=4),
        measured("GET b/", [600.0] * 100, at=NOW - 600),
        measured("GET b/", [200.0] * 50, at=NOW - HOUR - 600, failed=1),
    )

    found = figures()

    assert found.requests == Change(200, 50)
    assert found.average_ms == Change((9_000 + 18_000 + 20_000 + 60_000) / 200, 200)
    assert found.failed == Change(4, 1)
    assert found.error_rate == Change(0.02, 0.02)
    assert found.slow == Change(10, 0)
    # Within 500 ms 90, within 2 s the other endpoint's 100; before, 49 of 50, for one failed.
    assert found.apdex == Change((90 + 100 / 2) / 200, 0.98)
    # Between the 190th, 600 ms, and the next, 3 s.
    assert found.p95_ms.now == pytest.approx(600 + 0.05 * 2_400, rel=0.02)
    assert found.p95_ms.before == pytest.approx(200, rel=0.02)


def test_one_endpoint_is_the_sum_of_its_rows(write: Write) -> None:
    write(
        measured("GET a/", [100.0] * 98, at=NOW, redirected=2, rejected=3),
        measured("GET a/", [2_000.0] * 2, at=NOW - 300, release="1.5", environment="staging", failed=1),
    )

    (endpoint,) = figures().endpoints

    assert (endpoint.name, endpoint.count) == ("GET a/", 100)
    assert (endpoint.redirected, endpoint.rejected, endpoint.failed, endpoint.slow) == (2, 3, 1, 2)
    assert endpoint.average_ms == pytest.approx(138)
    assert endpoint.p50_ms == pytest.approx(100, rel=0.02)
    assert endpoint.p95_ms == pytest.approx(100, rel=0.02)
    assert endpoint.p99_ms == pytest.approx(2_000, rel=0.02)
    assert endpoint.slowest_ms == 2_000
    assert endpoint.apdex == (98 + 1 / 2) / 100


def test_operations_are_no_requests_and_have_no_apdex(write: Write) -> None:
    write(measured("import_organisations", [3_000.0, 1_000.0], at=NOW, kind=Metric.OPERATION, failed=1, slow=1))

    found = figures()

    (operation,) = found.operations
    assert (operation.name, operation.count, operation.failed, operation.slow) == ("import_organisations", 2, 1, 1)
    assert operation.average_ms == 2_000
    assert operation.apdex is None
    assert (found.requests, found.failed, found.endpoints) == (Change(0, 0), Change(0, 0), [])


def test_the_most_frequent_come_first(write: Write) -> None:
    write(*(measured(f"GET {name}/", [1.0] * count, at=NOW) for name, count in (("a", 1), ("c", 5), ("b", 5))))

    assert [endpoint.name for endpoint in figures().endpoints] == ["GET b/", "GET c/", "GET a/"]


def test_hottest_has_the_most_requests_and_slowest_the_highest_average(write: Write) -> None:
    write(
        measured("GET hot/", [10.0] * 50, at=NOW),
        measured("GET slow/", [800.0] * 2, at=NOW),
        measured("GET once/", [700.0], at=NOW),
        measured("(other)", [9_000.0] * 99, at=NOW),
    )

    found = figures()

    assert found.hottest.name == "GET hot/"
    assert found.slowest.name == "GET slow/"


def test_other_endpoints_are_the_hottest_when_there_are_no_more(write: Write) -> None:
    write(measured("(other)", [10.0], at=NOW))

    assert figures().hottest.name == "(other)"


def test_errors_are_counted_and_told_by_release(write: Write) -> None:
    write(
        errors("a", 2, at=NOW, release="1.4"),
        errors("b", 5, at=NOW - 600, release="1.5"),
        errors("a", 1, at=NOW - 600, release="1.5"),
        errors("a", 3, at=NOW, release=""),
        errors("a", 7, at=NOW - HOUR - MINUTE),
    )

    found = figures()

    assert found.errors == Change(11, 7)
    assert found.errors_by_release == [("1.5", 6), ("", 3), ("1.4", 2)]
    assert found.endpoints == []


def test_what_was_dropped_in_the_window_is_told_by_kind(write: Write) -> None:
    write(
        errors("inbox", 2, at=NOW, kind=Metric.LOSS),
        errors("inbox", 3, at=NOW - 60, kind=Metric.LOSS),
        errors("metrics", 1, at=NOW, kind=Metric.LOSS),
        errors("metrics", 9, at=NOW - HOUR - MINUTE, kind=Metric.LOSS),
    )

    found = figures()

    assert found.source.dropped == {"inbox": 5, "metrics": 1}
    assert found.errors == Change(0, 0)


# -- time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["1h", "24h"])
def test_a_window_is_whole_minutes_with_the_running_one_as_its_last(write: Write, key: str) -> None:
    end = NOW // 60 * 60 + 60
    since = end - WINDOWS[key].seconds
    before = since - WINDOWS[key].seconds
    write(
        measured("after", [1.0] * 1, at=end),
        measured("last", [1.0] * 2, at=end - 1),
        measured("first", [1.0] * 4, at=since),
        measured("last before", [1.0] * 8, at=since - 1),
        measured("first before", [1.0] * 16, at=before),
        measured("long ago", [1.0] * 32, at=before - 1),
    )

    found = figures(key)

    assert found.requests == Change(2 + 4, 8 + 16)
    assert {endpoint.name for endpoint in found.endpoints} == {"last", "first"}


@pytest.mark.parametrize(("key", "width"), [("7d", 900), ("30d", 7_200)])
def test_where_minutes_are_not_kept_a_slot_is_in_the_window_that_it_starts_in(
    write: Write, key: str, width: int
) -> None:
    since = NOW // 60 * 60 + 60 - WINDOWS[key].seconds
    first = -(-since // width) * width
    write(measured("now", [1.0] * 2, at=first), measured("before", [1.0] * 4, at=first - 60))

    assert figures(key).requests == Change(2, 4)


@pytest.mark.parametrize("key", WINDOWS)
def test_points_are_multiples_of_the_step_and_cover_the_window(write: Write, key: str) -> None:
    step = WINDOWS[key].step
    write(
        measured("GET a/", [100.0] * 3, at=NOW, failed=1),
        measured("GET b/", [400.0], at=NOW),
        measured("GET a/", [200.0] * 5, at=NOW - 10 * step),
        errors("a", 2, at=NOW - 10 * step),
    )

    points = figures(key).points

    end = NOW // 60 * 60 + 60
    assert [point.started for point in points] == list(range((end - WINDOWS[key].seconds) // step * step, end, step))
    assert points[-1].started <= NOW < points[-1].started + step
    assert (points[-1].requests, points[-1].failed, points[-1].errors) == (4, 1, 0)
    assert points[-1].p50_ms == pytest.approx(100, rel=0.02)
    assert points[-1].p95_ms == pytest.approx(100 + 0.85 * 300, rel=0.02)
    assert (points[-11].requests, points[-11].failed, points[-11].errors) == (5, 0, 2)
    assert sum(point.requests for point in points) == 9


def test_source_tells_the_oldest_and_the_newest_row_whatever_the_window(write: Write) -> None:
    write(
        measured("a", [1.0], at=NOW - 20 * DAY),
        measured("a", [1.0], at=NOW - 5 * HOUR, environment="staging"),
        measured("a", [1.0], at=NOW + HOUR),
    )

    source = figures(environment="production").source

    assert source.since == datetime.fromtimestamp((NOW - 20 * DAY) // 60 * 60, UTC)
    assert source.newest == datetime.fromtimestamp((NOW - 5 * HOUR) // 60 * 60, UTC)


def test_without_a_moment_the_window_ends_now(write: Write) -> None:
    write(measured("GET a/", [1.0]))

    found = read(WINDOWS["1h"])

    assert found.requests.now == 1
    assert found.until - datetime.now(UTC) < timedelta(seconds=5)


# -- environments ---------------------------------------------------------------------------------------------------------


def test_an_environment_has_its_own_figures(write: Write, each_database: str) -> None:
    moment = datetime.fromtimestamp(NOW - 60, UTC)
    write(
        measured("GET a/", [100.0], at=NOW),
        measured("GET a/", [300.0] * 2, at=NOW, environment="staging"),
        errors("a", 3, at=NOW, environment="staging"),
    )
    for environment in ("production", "staging"):
        found_there = issue(each_database, f"in {environment}")
        Sighting.objects.using(each_database).create(
            issue=found_there, environment=environment, first_seen=moment, last_seen=moment
        )
        Deploy.objects.using(each_database).create(release="1", environment=environment, moment=moment)
        visit(each_database, environment, 60, environment)

    staging = figures(environment="staging")
    everything = figures()

    assert staging.environment == "staging"
    assert (staging.requests.now, staging.errors.now, staging.average_ms.now) == (2, 3, 300)
    assert [endpoint.count for endpoint in staging.endpoints] == [2]
    assert (staging.users.now, staging.active_users.now) == (1, 1)
    assert [found.title for found in staging.issues] == ["in staging"]
    assert [deploy.environment for deploy in staging.deploys] == ["staging"]
    assert (everything.requests.now, everything.users.now, len(everything.issues), len(everything.deploys)) == (
        3,
        2,
        2,
        2,
    )


def test_all_environments_of_the_window_are_told_whichever_is_chosen(write: Write) -> None:
    write(
        measured("GET a/", [1.0], at=NOW, environment="staging"),
        measured("GET a/", [1.0], at=NOW - 600),
        measured("GET a/", [1.0], at=NOW - 2 * HOUR, environment="gone"),
    )

    assert figures().environments == ["production", "staging"]
    assert figures(environment="staging").environments == ["production", "staging"]


def test_an_environment_is_known_if_it_was_ever_measured(write: Write) -> None:
    write(measured("GET a/", [1.0], at=NOW - 20 * DAY))

    assert knows("production")
    assert not knows("prod")


# -- users, issues, deploys -----------------------------------------------------------------------------------------------


def test_active_users_are_those_of_the_last_quarter_of_an_hour(each_database: str) -> None:
    visit(each_database, "a", 0)
    visit(each_database, "a", 300)
    visit(each_database, "b", 600)
    visit(each_database, "c", 1_200)
    visit(each_database, "a", 1_500)
    visit(each_database, "d", 3_000)
    visit(each_database, "e", 5_000)

    found = figures()

    assert found.active_users == Change(2, 2)
    assert found.users == Change(4, 1)


def test_newest_issues_are_the_ten_open_ones_that_were_last_seen(each_database: str) -> None:
    for minutes in range(12):
        issue(each_database, f"{minutes} minutes ago", minutes)
    issue(each_database, "done", status=Issue.Status.RESOLVED)
    issue(each_database, "noise", status=Issue.Status.IGNORED)

    assert [found.title for found in figures().issues] == [f"{minutes} minutes ago" for minutes in range(10)]


def test_deploys_are_those_in_the_window(each_database: str) -> None:
    for hours in (-1, 0.5, 2):
        moment = datetime.fromtimestamp(NOW, UTC) - timedelta(hours=hours)
        Deploy.objects.using(each_database).create(release=str(hours), environment="production", moment=moment)

    assert [deploy.release for deploy in figures().deploys] == ["0.5"]


@pytest.mark.parametrize("environment", ["", "production"])
def test_at_most_twelve_queries(write: Write, each_database: str, environment: str) -> None:
    write(measured("GET a/", [1.0], at=NOW), errors("a", 1, at=NOW))

    for key in WINDOWS:
        with CaptureQueriesContext(connections[each_database]) as queries:
            figures(key, environment)

        assert len([query for query in queries if query["sql"].startswith("SELECT")]) <= 12


def test_without_time_zones_deploys_are_found_too(each_database: str, settings: Any) -> None:
    settings.USE_TZ = False
    Deploy.objects.using(each_database).create(release="1", environment="production", moment=datetime.now())

    assert [deploy.release for deploy in read(WINDOWS["1h"]).deploys] == ["1"]
