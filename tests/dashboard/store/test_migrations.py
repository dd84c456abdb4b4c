"""What a version before has written is there after `migrate`."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from crm_monitoring.dashboard.metrics.counters import Counters
from crm_monitoring.dashboard.models import Flush
from tests.dashboard.traffic import kept, roll_up

APP = "crm_monitoring_dashboard"
MINUTE = 1_700_000_400


def migrate(alias: str, name: str) -> Any:
    """Migrate to one; returns the registry of apps as it was then."""
    executor = MigrationExecutor(connections[alias])
    executor.migrate([(APP, name)])
    return executor.loader.project_state([(APP, name)]).apps


@pytest.fixture
def before(each_database: str) -> Any:
    yield migrate(each_database, "0002_alerts_people_can_live_with")
    executor = MigrationExecutor(connections[each_database])
    executor.migrate(executor.loader.graph.leaf_nodes(APP))


def row(kind: str, name: str, started: int, **given: Any) -> dict[str, Any]:
    counters = Counters()
    for duration_ms in given.pop("durations", ()):
        counters.time(duration_ms)
    numbers = {"count": counters.count, "duration_ms": counters.duration_ms, "slowest_ms": counters.slowest_ms}
    # Without the format, as it was then.
    sketch = counters.sketch.to_bytes()[1:]
    known = {"environment": "production", "release": "1.4.2", "position": 0, "batch": uuid4(), "sketch": sketch}
    return {**known, **numbers, "kind": kind, "name": name, "started": started, **given}


def test_metric_rows_become_flushes_which_are_rolled_up(each_database: str, before: Any) -> None:
    rows = before.get_model(APP, "MetricRow").objects.using(each_database)
    for given in (
        row("request", "GET a/", MINUTE, durations=[10.0, 30.0], failed=1),
        row("request", "GET a/", MINUTE, durations=[50.0], release="1.4.3"),
        row("request", "GET a/", MINUTE - 3_600, durations=[1.0] * 300, seconds=3_600),
        row("error", "fingerprint", MINUTE, count=5),
        row("error", "fingerprint", MINUTE, count=7, environment="staging"),
    ):
        rows.create(**given)

    migrate(each_database, "0004_metric_rows_into_flushes")

    assert Flush.objects.using(each_database).count() == 3
    for _ in range(2):
        requests, errors = kept(each_database, kind="request"), kept(each_database, kind="error")
        assert sorted((one.count, one.failed, one.sketch.count) for one in requests) == [(3, 1, 3), (300, 0, 300)]
        assert {one.count for one in requests if one.slowest_ms == 50.0} == {3}
        assert sorted((one.count, one.environment, one.release) for one in errors) == [
            (5, "production", "1.4.2"),
            (7, "staging", "1.4.2"),
        ]
        roll_up(MINUTE + 60)
