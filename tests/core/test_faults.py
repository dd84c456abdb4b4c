from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from crm_monitoring import faults
from tests.conftest import Lines


@pytest.fixture(autouse=True)
def _swallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that `faults` reads; replace the one item to let time pass."""
    now = [1000.0]
    monkeypatch.setattr(faults, "monotonic", lambda: now[0])
    return now


def test_a_failure_becomes_one_sentence() -> None:
    faults.record("The collector", ValueError("boom"))

    assert faults.sentences() == ["The collector failed 1 time, last with ValueError."]


def test_failures_at_one_place_are_counted_together_with_the_last_kind() -> None:
    faults.record("The collector", ValueError("boom"))
    faults.record("The collector", KeyError("gone"))

    assert faults.sentences() == ["The collector failed 2 times, last with KeyError."]


def test_a_sentence_repeats_no_message_of_an_exception() -> None:
    faults.record("The collector", ValueError("postgres://user:hunter2@host/db"))

    assert "hunter2" not in str(faults.sentences())


def test_only_the_first_failure_of_a_minute_is_logged(lines: Lines, clock: list[float]) -> None:
    faults.record("The collector", ValueError("boom"))
    clock[0] += 59
    faults.record("The collector", ValueError("boom"))

    line = lines.one("monitoring_failed")
    assert (line["level"], line["where"]) == ("warning", "The collector")


def test_after_a_minute_the_next_failure_is_logged_again(lines: Lines, clock: list[float]) -> None:
    faults.record("The collector", ValueError("boom"))
    clock[0] += 60
    faults.record("The collector", ValueError("boom"))

    assert len(lines.named("monitoring_failed")) == 2


def test_each_place_is_quiet_for_itself(lines: Lines, clock: list[float]) -> None:
    faults.record("The collector", ValueError("boom"))
    faults.record("The transport", ValueError("boom"))

    assert [line["where"] for line in lines.named("monitoring_failed")] == ["The collector", "The transport"]


def test_failures_in_threads_are_all_counted() -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(800):
            pool.submit(faults.record, "The collector", ValueError("boom"))

    assert faults.sentences() == ["The collector failed 800 times, last with ValueError."]


def test_a_failure_inside_a_count_does_not_wait_for_itself() -> None:
    """The garbage collector may run a finaliser that fails while the lock is held."""

    class Interrupted(str):
        def __hash__(self) -> int:
            faults.record("A finaliser", ValueError("boom"))
            return super().__hash__()

    faults.record(Interrupted("The collector"), KeyError("boom"))

    assert "The collector failed 1 time, last with KeyError." in faults.sentences()
    assert any(sentence.startswith("A finaliser failed") for sentence in faults.sentences())


def test_logging_that_fails_is_counted_and_raises_nothing() -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("filter")

    logger = logging.getLogger("crm_monitoring")
    logger.addFilter(refuse)
    try:
        faults.record("The collector", ValueError("boom"))
    finally:
        logger.removeFilter(refuse)

    assert faults.sentences() == [
        "The collector failed 1 time, last with ValueError.",
        "Logging a failure failed 1 time, last with RuntimeError.",
    ]


def _number(text: str) -> int:
    return int(text)


def _number_of_one(text: str, /) -> int:
    return int(text)


def _number_of_two(text: str, other: str, /) -> int:
    return int(text) + int(other)


def test_a_guarded_partial_is_named_by_what_it_is() -> None:
    assert faults.guarded(partial(_number, "seven"))() is None
    assert faults.sentences() == ["partial failed 1 time, last with ValueError."]


SHAPES = [(_number, ("7",)), (_number_of_one, ("7",)), (_number_of_two, ("5", "2"))]


@pytest.mark.parametrize(("function", "arguments"), SHAPES)
def test_a_guarded_function_returns_what_it_returns(function: Any, arguments: tuple[str, ...]) -> None:
    guarded = faults.guarded(function)

    assert guarded(*arguments) == 7
    assert guarded.__wrapped__ is function  # type: ignore[attr-defined]


@pytest.mark.parametrize(("function", "arguments"), SHAPES)
def test_a_guarded_function_returns_none_where_it_would_raise(function: Any, arguments: tuple[str, ...]) -> None:
    assert faults.guarded(function)(*["seven" for _ in arguments]) is None
    assert faults.sentences() == [f"{function.__name__} failed 1 time, last with ValueError."]


def test_a_guard_lets_the_end_of_the_process_through() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        faults.guarded(leave)()


def test_tests_see_what_production_swallows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", True)

    with pytest.raises(ValueError, match="boom"):
        faults.record("The collector", ValueError("boom"))


def test_losses_are_summed_by_kind() -> None:
    faults.lose("log_lines")
    faults.lose("log_lines", 4)
    faults.lose("sentry_error_ratelimit_backoff", 2)

    assert faults.losses() == {"log_lines": 5, "sentry_error_ratelimit_backoff": 2}


def test_the_losses_that_are_told_are_a_copy() -> None:
    faults.losses()["log_lines"] = 7

    assert faults.losses() == {}


def test_reset_forgets_everything(lines: Lines, clock: list[float]) -> None:
    faults.record("The collector", ValueError("boom"))
    faults.lose("log_lines")

    faults.reset()
    faults.record("The collector", ValueError("boom"))

    assert faults.losses() == {}
    assert faults.sentences() == ["The collector failed 1 time, last with ValueError."]
    assert len(lines.named("monitoring_failed")) == 2


def test_a_forked_child_starts_with_no_losses() -> None:
    faults.lose("lines")

    faults.start_over()

    assert faults.losses() == {}
