"""A flood of failures costs a few events, and its size is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crm_monitoring.sentry import quota
from crm_monitoring.sentry.quota import QuotaGuard, fingerprint_of, source_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quota, "monotonic", clock)
    return clock


@pytest.fixture
def guard(clock: Clock) -> QuotaGuard:
    return QuotaGuard(burst=10, per_minute=1, overall_per_minute=60)


def test_a_flood_of_one_kind_gives_a_burst_and_then_one_a_minute(guard: QuotaGuard, clock: Clock) -> None:
    admitted = 0
    for _ in range(10_000):
        clock.now += 60 / 10_000
        admitted += guard.admit("boom") is not None

    assert 10 <= admitted <= 12
    assert sum(guard.held().values()) == 10_000 - admitted


def test_the_next_event_says_how_many_were_held_back(guard: QuotaGuard, clock: Clock) -> None:
    for _ in range(15):
        guard.admit("boom")
    clock.now += 61

    assert guard.admit("boom") == 5
    assert guard.held() == {}


def test_a_new_kind_gets_through_while_another_floods(guard: QuotaGuard) -> None:
    for _ in range(40):
        guard.admit("boom")

    assert guard.admit("rare") == 0


def test_the_overall_bucket_bounds_all_kinds_together(guard: QuotaGuard) -> None:
    admitted = [guard.admit(f"kind {number}") for number in range(100)]

    assert sum(answer is not None for answer in admitted) == 60


def test_memory_is_bounded_and_no_count_is_lost(clock: Clock) -> None:
    guard = QuotaGuard(burst=1, per_minute=1, overall_per_minute=1)

    for number in range(5_000):
        guard.admit(f"kind {number}")

    assert len(guard.held()) <= quota.MAX_FINGERPRINTS + 1
    assert sum(guard.held().values()) == 4_999


def _exception(kind: str, *frames: tuple[str, bool]) -> dict[str, Any]:
    trace = [{"module": "m", "function": function, "in_app": own} for function, own in frames]
    return {"exception": {"values": [{"type": kind, "stacktrace": {"frames": trace}}]}}


@pytest.mark.parametrize(
    ("event", "fingerprint"),
    [
        (_exception("ValueError", ("view", True), ("library", False)), "ValueError in m.view"),
        (_exception("ValueError", ("library", False)), "ValueError in m.library"),
        ({"exception": {"values": [{"type": "ValueError"}]}}, "ValueError in None.None"),
        ({"fingerprint": ["a", 1], **_exception("ValueError")}, "a 1"),
        ({"logger": "shop", "logentry": {"message": "import_failed"}}, "shop import_failed"),
        ({"message": "all is well"}, "all is well"),
        ({}, ""),
    ],
)
def test_the_fingerprint_is_stable(event: dict[str, Any], fingerprint: str) -> None:
    assert fingerprint_of(event) == fingerprint


def test_threads_lose_no_count() -> None:
    guard = QuotaGuard(burst=10, per_minute=0, overall_per_minute=60)

    def ask() -> int:
        return sum(guard.admit("boom") is not None for _ in range(500))

    with ThreadPoolExecutor(8) as pool:
        admitted = sum(pool.map(lambda _: ask(), range(8)))

    assert admitted == 10
    assert guard.held() == {"boom": 3990}


def test_a_report_made_while_one_is_counted_does_not_wait_for_itself(guard: QuotaGuard) -> None:
    """A finaliser may log in the middle of it."""

    class Interrupted(str):
        def __hash__(self) -> int:
            guard.admit("finaliser")
            return super().__hash__()

    assert guard.admit(Interrupted("boom")) == 0


def test_a_guard_that_starts_over_knows_nothing(clock: Clock) -> None:
    guard = QuotaGuard(burst=1, per_minute=1, overall_per_minute=1)
    guard.admit("boom")
    guard.admit("boom")

    guard.start_over()

    assert guard.held() == {}
    assert guard.admit("boom") == 0


def test_all_kinds_of_one_source_leave_half_of_what_leaves_overall_to_others(guard: QuotaGuard, clock: Clock) -> None:
    admitted = [kind for kind in range(200) if guard.admit(f"shop {kind}", "shop") is not None]

    assert len(admitted) == 30
    assert guard.admit("billing", "billing") == 0
    clock.now += 60
    assert guard.admit("shop once more", "shop") == 0


def test_a_source_may_tell_of_something_however_little_leaves_overall() -> None:
    assert QuotaGuard(burst=1, per_minute=1, overall_per_minute=1).admit("boom", "shop") == 0


def test_sources_are_forgotten_as_kinds_are(guard: QuotaGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_FINGERPRINTS", 2)
    first = [guard.admit(f"shop {kind}", "shop") for kind in range(31)]

    for source in ("billing", "mail"):
        guard.admit("boom", source)

    assert first[-1] is None
    assert guard.admit("shop once more", "shop") is not None


@pytest.mark.parametrize(
    ("event", "source"),
    [
        ({"logger": "shop", "logentry": {"message": "x"}}, "shop"),
        ({"logger": "shop", "exception": {"values": [{"type": "ValueError"}]}}, ""),
        ({"message": "x"}, ""),
    ],
)
def test_who_tells_of_a_message_is_its_logger(event: dict[str, Any], source: str) -> None:
    assert source_of(event) == source
