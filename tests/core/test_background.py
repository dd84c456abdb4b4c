from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from threading import Event
from time import monotonic
from typing import Any

import pytest

from crm_monitoring import background as module
from crm_monitoring import faults, unit_of_work, work
from crm_monitoring.background import Background
from tests.e2e.waiting import wait_for

NAME = "background-of-a-test"


@pytest.fixture
def background() -> Iterator[Background]:
    """A background of its own, whose thread has ended after the test."""
    background = Background(NAME)
    yield background
    wait_for(lambda: not threads(), "end of the thread")


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def tick(answers: list[float | None], asked: Event) -> Callable[[], float | None]:
    """Give these answers in turn, and say when the last was given."""

    def give() -> float | None:
        answer = answers.pop(0)
        if not answers:
            asked.set()
        return answer

    return give


def test_where_nothing_waits_there_is_no_thread(background: Background) -> None:
    def nothing() -> None:
        raise AssertionError

    background.add(nothing)
    background.remove(nothing)

    assert threads() == []


def test_who_waits_is_asked_in_time(background: Background) -> None:
    asked, since = Event(), monotonic()
    background.add(tick([None], asked))

    background.wake(0.05)

    assert asked.wait(30)
    assert monotonic() - since >= 0.05


def test_who_wants_to_be_asked_again_is(background: Background) -> None:
    asked, answers = Event(), [0.01, 0.01, None]
    background.add(tick(answers, asked))

    background.wake(0.0)

    assert asked.wait(30)
    assert answers == []


def test_the_sooner_of_two_counts(background: Background) -> None:
    asked = Event()
    background.add(tick([None], asked))

    background.wake(1000.0)
    background.wake(0.0)

    assert asked.wait(30)


def test_one_that_fails_costs_nobody_else(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Event()
    monkeypatch.setattr(faults, "reraise", False)

    def fail() -> float:
        raise ValueError("no")

    background.add(fail)
    background.add(tick([None], asked))
    background.wake(0.0)

    assert asked.wait(30)
    assert faults.sentences()[0].startswith("In the background: ")


def test_the_thread_ends_where_nothing_waits_and_starts_again(background: Background) -> None:
    first, second = Event(), Event()
    answers: list[float | None] = [None]
    background.add(tick(answers, first))
    background.wake(0.0)
    assert first.wait(30)
    wait_for(lambda: not threads(), "end of the thread")

    answers.append(None)
    background.add(tick([None], second))
    background.wake(0.0)

    assert second.wait(30)


def test_who_is_taken_away_is_not_waited_for(background: Background) -> None:
    def forever() -> float:
        return 1000.0

    background.add(forever)
    background.wake(1000.0)

    background.remove(forever)

    wait_for(lambda: not threads(), "end of the thread")


def test_it_is_part_of_nobodys_work(background: Background) -> None:
    asked, seen = Event(), list[Any]()

    def look() -> None:
        seen.append(work.current_work())
        asked.set()

    background.add(look)
    with unit_of_work("send_invoices"):
        background.wake(0.0)
        assert asked.wait(30)

    assert seen == [None]


def test_where_no_thread_can_start_nobody_is_asked_and_nobody_fails(
    background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    background.add(lambda: None)

    background.wake(0.0)
    background.wake(0.0)

    assert threads() == []


@pytest.mark.processes
def test_a_forked_child_has_a_thread_of_its_own() -> None:
    waiting = Event()
    module.add(waiting.is_set)  # type: ignore[arg-type]
    module.wake(1000.0)
    child = os.fork()
    if child == 0:
        asked = Event()
        module.add(lambda: asked.set())  # type: ignore[arg-type, func-returns-value]
        module.wake(0.0)
        os._exit(0 if asked.wait(30) else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    module.remove(waiting.is_set)  # type: ignore[arg-type]
