from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from crm_monitoring import capture_message, hooks
from crm_monitoring.dashboard import config, flushing, timely
from crm_monitoring.sentry import init_sentry
from tests.dashboard.measured import request
from tests.e2e.waiting import wait_for


def is_awake() -> bool:
    return "crm_monitoring-background" in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def live(a_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site that is no test, and soon writes what it holds."""
    monkeypatch.setattr(config, "is_test_run", lambda: False)
    monkeypatch.setattr(timely, "WITHIN_S", 0.05)
    monkeypatch.setattr(timely, "FAILURES_WITHIN_S", 0.05)
    # What other tests have left waiting is asked for first.
    timely.disconnect()
    timely.connect()
    flushing.reset()
    yield
    timely.disconnect()
    wait_for(lambda: not is_awake(), "end of the thread")


def a_failed_request() -> None:
    hooks.emit(request(status=500))


def an_event() -> None:
    init_sentry()
    capture_message("it broke", level="error")


@pytest.mark.parametrize("happen", [a_failed_request, an_event])
def test_what_fails_is_written_though_nothing_follows(live: None, happen: Callable[[], None]) -> None:
    happen()

    wait_for(lambda: not flushing.has_work(), "flush")
    assert flushing.problems() == []


def test_what_waits_is_asked_for_until_it_is_written(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(flushing, "after_task", lambda: asked.append(flushing.has_work()))

    hooks.emit(request())

    wait_for(lambda: len(asked) > 2, "third question")
    assert set(asked) == {True}


def test_in_the_tests_of_a_project_nobody_is_woken(a_sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[float] = []
    monkeypatch.setattr(timely, "wake", woken.append)
    monkeypatch.setattr(timely, "wakes_within", lambda seconds: False)

    hooks.emit(request())

    assert woken == []
