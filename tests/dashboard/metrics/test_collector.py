"""What is counted of requests, operations, errors, losses and users, and within which bounds."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from crm_monitoring import faults, hooks
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import Visit
from tests.dashboard.measured import counts, operation, request
from tests.dashboard.traffic import Counted, kept

pytestmark = pytest.mark.django_db

MINUTE = int(time.time()) // 300 * 300 - 1_800
MOMENT = MINUTE + 20.0


def one_row(**filters: str) -> Counted:
    assert flushing.flush()
    (row,) = kept("default", **filters)
    return row


def test_requests_of_one_minute_and_endpoint_are_one_row() -> None:
    for duration_ms in (100.0, 300.0):
        hooks.emit(request(started=MOMENT, duration_ms=duration_ms))

    row = one_row()

    assert (row.kind, row.name, row.started) == ("request", "GET ok/", MINUTE)
    assert (row.count, row.duration_ms, row.slowest_ms) == (2, 400.0, 300.0)
    assert row.sketch.quantile(0.5) == pytest.approx(200, rel=0.02)


def test_a_request_counts_in_the_minute_it_ended_in() -> None:
    hooks.emit(request(started=MOMENT, duration_ms=90_000.0))

    assert one_row().started == MINUTE + 60


def test_another_minute_and_another_endpoint_are_other_rows() -> None:
    hooks.emit(request(started=MOMENT))
    hooks.emit(request(started=MOMENT + 60))
    hooks.emit(request(started=MOMENT, method="POST"))

    flushing.flush()

    assert [(row.name, row.started) for row in kept("default")] == [
        ("GET ok/", MINUTE),
        ("GET ok/", MINUTE + 60),
        ("POST ok/", MINUTE),
    ]


def test_an_error_says_where_it_was_counted(monitoring: Any) -> None:
    monitoring(ENVIRONMENT="staging", SENTRY_RELEASE="1.4.2")
    collector.count_error("fingerprint")

    row = one_row()

    assert (row.environment, row.release) == ("staging", "1.4.2")


@pytest.mark.parametrize(
    ("status", "duration_ms", "expected"),
    [
        (200, 500.0, {"satisfied"}),
        (200, 501.0, {"tolerating"}),
        (200, 2_001.0, {"slow"}),
        (302, 10.0, {"redirected", "satisfied"}),
        (404, 1_001.0, {"rejected", "tolerating", "slow"}),
        (500, 10.0, {"failed"}),
        (503, 1_500.0, {"failed", "slow"}),
    ],
)
def test_a_request_is_judged_by_status_and_duration(status: int, duration_ms: float, expected: set[str]) -> None:
    hooks.emit(request(status=status, duration_ms=duration_ms))

    row = one_row()

    judgements = ("redirected", "rejected", "failed", "satisfied", "tolerating", "slow")
    assert {name for name in judgements if getattr(row, name)} == expected


def test_the_setting_has_the_thresholds(monitoring: Any) -> None:
    monitoring(APDEX_MS=10, SLOW_REQUEST_MS=20)
    hooks.emit(request(duration_ms=30.0))

    row = one_row()

    assert (row.satisfied, row.tolerating, row.slow) == (0, 1, 1)


def test_operations_are_counted_with_their_failures() -> None:
    hooks.emit(operation())
    hooks.emit(operation(error="ValueError", slow=True))

    row = one_row(kind="operation")

    assert (row.name, row.count, row.failed, row.slow, row.duration_ms) == ("import", 2, 1, 1, 200.0)


def test_errors_are_counted_by_their_fingerprint() -> None:
    collector.count_error("a")
    collector.count_error("b", 40)
    collector.count_error("a")

    flushing.flush()

    assert counts("default", "error") == {"a": 2, "b": 40}


def test_users_are_counted_by_the_hash_of_their_id_once_in_five_minutes() -> None:
    for user_id, moment in (("7", MOMENT), ("7", MOMENT + 1), ("7", MOMENT + 300), ("8", MOMENT), (None, MOMENT)):
        hooks.emit(request(user_id=user_id, started=moment))

    flushing.flush()

    slot = MINUTE
    visits = set(Visit.objects.values_list("started", "user"))
    assert visits == {(slot, hashed("7")), (slot + 300, hashed("7")), (slot, hashed("8"))}


def test_the_hash_of_a_user_is_keyed(settings: Any) -> None:
    before = hashed("7")

    settings.SECRET_KEY = "another"

    assert len(before) == 32
    assert hashed("7") != before


def test_losses_are_told_once() -> None:
    faults.lose("sentry_delivery_network", 3)
    flushing.flush()
    flushing.flush()
    faults.lose("sentry_delivery_network")
    flushing.flush()

    assert counts("default", "loss") == {"sentry_delivery_network": 4}


def test_after_two_hundred_names_the_others_are_one() -> None:
    for number in range(203):
        hooks.emit(request(route=f"{number}/"))
        hooks.emit(operation(name=f"{number}"))
    hooks.emit(request(route="0/"))

    flushing.flush()

    for kind, first in (("request", "GET 0/"), ("operation", "0")):
        counted = counts("default", kind)
        assert len(counted) == 201
        assert counted[collector.OTHER] == 3
        assert counted[first] == (2 if kind == "request" else 1)


def test_a_name_is_cut_to_what_its_column_takes() -> None:
    hooks.emit(operation(name="a\0b\ud800" + "n" * 300))

    assert len(one_row(kind="operation").name) == 200


def test_cells_are_bounded_and_what_is_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MAX_CELLS", 3)

    for minute in range(5):
        hooks.emit(request(started=MOMENT + 60 * minute))

    flushing.flush()
    assert counts("default") == {"GET ok/": 3}
    assert faults.losses() == {"metrics": 2}


def test_users_are_bounded_and_what_is_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MAX_VISITS", 2)

    for user_id in "abca":
        hooks.emit(request(user_id=user_id))

    flushing.flush()
    assert Visit.objects.count() == 2
    assert faults.losses() == {"metrics_visits": 1}


def test_threads_lose_nothing() -> None:
    def count() -> None:
        for number in range(3_000):
            hooks.emit(request(route=f"{number % 7}/", started=MOMENT, user_id=str(number % 5)))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        flushing.flush()
    flushing.flush()

    assert sum(counts("default").values()) == 12_000
    assert Sketch.sum(one.sketch for one in kept("default")).count == 12_000
