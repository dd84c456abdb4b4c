"""The figures for programs, at figures.json."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from crm_monitoring.dashboard.metrics.counters import Metric
from crm_monitoring.dashboard.models import Deploy, Issue
from tests.dashboard import traffic as traffic_of
from tests.dashboard.traffic import errors, measured

pytestmark = pytest.mark.django_db

ADDRESS = "/monitoring/figures.json"
MOMENT = datetime(2023, 11, 14, 22, 20, 30, tzinfo=UTC)


@pytest.fixture
def reader() -> Client:
    """Staff who may see the dashboard."""
    user = User.objects.create_user("camille", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def figures(reader: Client) -> Callable[..., Any]:
    """Ask for the figures: `figures(window="1h")`."""

    def ask(**parameters: str) -> Any:
        response = reader.get(ADDRESS, parameters)
        assert response.status_code == 200
        assert response["Content-Type"] == "application/json"
        return response.json()

    return ask


write = partial(traffic_of.write, "default")


def test_figures_have_what_is_now_and_what_was_before(figures: Callable[..., Any]) -> None:
    now = time.time()
    write(
        measured("GET a/", [100.0] * 3 + [300.0], at=now - 60, failed=1),
        measured("GET b/", [50.0] * 2, at=now - 25 * 3_600),
        measured("import", [70.0], at=now - 60, kind=Metric.OPERATION),
        errors("a", 5, at=now - 60),
        errors("inbox", 2, at=now - 60, kind=Metric.LOSS),
    )

    found = figures()

    assert found["window"] == {"key": "24h", "seconds": 86_400, "step": 900}
    assert (found["environment"], found["environments"]) == ("", ["production"])
    assert found["requests"] == {"now": 4, "before": 2}
    assert found["errors"] == {"now": 5, "before": 0}
    assert found["average_ms"] == {"now": 150.0, "before": 50.0}
    assert found["error_rate"] == {"now": 0.25, "before": 0.0}
    assert found["apdex"] == {"now": 0.75, "before": 1.0}
    assert found["failed"] == {"now": 1, "before": 0}
    assert (found["slow"], found["users"], found["active_users"]) == ({"now": 0, "before": 0},) * 3
    assert found["p95_ms"]["before"] == pytest.approx(50, rel=0.02)
    assert (found["hottest"], found["slowest"]) == ("GET a/", "GET a/")
    assert [operation["name"] for operation in found["operations"]] == ["import"]
    assert found["errors_by_release"] == [{"release": "1.4.2", "count": 5}]
    assert found["source"]["dropped"] == {"inbox": 2}


def test_an_endpoint_has_all_its_figures(figures: Callable[..., Any]) -> None:
    write(measured("GET a/", [100.0] * 4, at=time.time() - 60, redirected=1, rejected=2))

    (endpoint,) = figures()["endpoints"]

    percentiles = [endpoint.pop(name) for name in ("p50_ms", "p95_ms", "p99_ms")]
    assert percentiles == pytest.approx([100, 100, 100], rel=0.02)
    assert endpoint == {
        "name": "GET a/",
        "count": 4,
        "redirected": 1,
        "rejected": 2,
        "failed": 0,
        "slow": 0,
        "average_ms": 100.0,
        "slowest_ms": 100.0,
        "apdex": 1.0,
    }


def test_without_rows_what_was_not_measured_is_null(figures: Callable[..., Any]) -> None:
    found = figures(window="1h")

    assert found["average_ms"] == {"now": None, "before": None}
    assert (found["hottest"], found["slowest"], found["endpoints"]) == (None, None, [])
    assert found["source"] == {"since": None, "newest": None, "dropped": {}}
    assert {point["p95_ms"] for point in found["points"]} == {None}


def test_moments_are_iso_8601_in_utc(figures: Callable[..., Any]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    minute = now.replace(second=0)
    written = now.isoformat().replace("+00:00", "Z")
    write(measured("GET a/", [1.0], at=now.timestamp()))
    Deploy.objects.create(release="1.5", environment="production", moment=now, url="https://ci/7")
    issue = Issue.objects.create(
        title="ValueError: no",
        place="a in b",
        fingerprint="a",
        level="error",
        count=3,
        first_seen=MOMENT,
        last_seen=now,
    )

    found = figures(window="1h")

    assert found["source"]["newest"] == minute.isoformat().replace("+00:00", "Z")
    assert found["points"][-1]["started"] >= found["source"]["newest"]
    assert datetime.fromisoformat(found["until"]) >= now
    assert found["deploys"] == [
        {"release": "1.5", "environment": "production", "moment": written, "url": "https://ci/7"}
    ]
    assert found["issues"] == [
        {
            "id": issue.pk,
            "title": "ValueError: no",
            "place": "a in b",
            "level": "error",
            "count": 3,
            "first_seen": "2023-11-14T22:20:30Z",
            "last_seen": written,
        }
    ]


def test_window_and_environment_are_chosen_by_parameters(figures: Callable[..., Any]) -> None:
    now = time.time()
    write(
        measured("GET a/", [1.0], at=now - 5 * 86_400, environment="staging"),
        measured("GET b/", [1.0], at=now - 5 * 86_400),
    )

    found = figures(window="7d", environment="staging")

    assert (found["window"]["key"], found["environment"]) == ("7d", "staging")
    assert [endpoint["name"] for endpoint in found["endpoints"]] == ["GET a/"]


def test_an_environment_that_is_quiet_is_no_unknown_one(figures: Callable[..., Any]) -> None:
    write(measured("GET a/", [1.0], at=time.time() - 5 * 86_400, environment="staging"))

    assert figures(window="1h", environment="staging")["requests"] == {"now": 0, "before": 0}


def test_an_unknown_window_is_refused_with_those_there_are(reader: Client) -> None:
    response = reader.get(ADDRESS, {"window": "2h"})

    assert response.status_code == 400
    assert response.json() == {"error": "Unknown window. Choose one of 1h, 24h, 7d, 30d."}


@pytest.mark.parametrize("environment", ["prod", "production\0", "x" * 1_000])
def test_an_unknown_environment_is_refused(reader: Client, environment: str) -> None:
    write(measured("GET a/", [1.0]))

    response = reader.get(ADDRESS, {"environment": environment})

    assert response.status_code == 400
    assert response.json() == {"error": "Nothing was measured in such an environment. Leave it out for all."}


def test_nobody_sees_the_figures_without_the_permission(client: Client) -> None:
    client.force_login(User.objects.create_user("robin", is_staff=True))

    assert client.get(ADDRESS).status_code == 403


def test_figures_are_only_read(reader: Client) -> None:
    assert reader.post(ADDRESS).status_code == 405
