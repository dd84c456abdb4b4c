"""What a process that ends has sent, and what it says of the rest."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e.processes import Process
from tests.e2e.receiver import Receiver
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

CODES = {"exit": 0, "raises": 3, "sigterm": -signal.SIGTERM}


@pytest.fixture
def start(receiver: Receiver, variables: dict[str, str]) -> Any:
    """Start the flooding program."""

    def start(what: str, how: str) -> Process:
        return Process("-m", "tests.e2e.flooding", what, how, SENTRY_DSN=receiver.dsn, **variables)

    return start


@pytest.fixture
def run(start: Any) -> Any:
    """Run the flooding program until its end."""

    def run(what: str, how: str = "exit") -> Process:
        with start(what, how) as program:
            assert program.ended() == CODES[how]
        return program

    return run


def _lost(program: Process) -> list[dict[str, int]]:
    """Return what was told as lost. Python 3.12 and later warn of a fork beside threads."""
    lines = [line for line in program.lines if line["logger"] != "py.warnings"]
    assert all((line["event"], line["logger"]) == ("events_lost", "crm_monitoring") for line in lines)
    return [line["lost"] for line in lines]


@pytest.mark.parametrize("how", CODES)
def test_ten_thousand_failures_are_a_dozen_events_and_one_sum(run: Any, receiver: Receiver, how: str) -> None:
    program = run("flood", how)

    messages = Counter(event["message"] for event in receiver.payloads("event"))
    assert 10 <= messages["flood"] <= 12
    assert messages["events_held_back"] == 1
    (told,) = (event for event in receiver.payloads("event") if event["message"] == "events_held_back")
    assert told["extra"]["total"] == 10_000 - messages["flood"]
    assert _lost(program) == [{"events_held_back": told["extra"]["total"]}]


@pytest.mark.parametrize("how", CODES)
def test_a_process_sends_what_waits_however_it_ends(run: Any, receiver: Receiver, how: str) -> None:
    receiver.delay_s = 0.05

    program = run("errors", how)

    assert len(receiver.payloads("event")) == len(receiver.payloads("transaction")) == 5
    assert _lost(program) == []


@pytest.mark.parametrize("how", CODES)
def test_a_process_ends_in_time_and_tells_once_what_it_lost(start: Any, receiver: Receiver, how: str) -> None:
    receiver.delay_s = None

    with start("errors", how) as program:
        wait_for(lambda: receiver.asked, "delivery")
        started = time.perf_counter()
        code = program.ended()

    assert code == CODES[how]
    assert time.perf_counter() - started < 5
    (lost,) = _lost(program)
    assert (lost["sentry_error_shutdown"], lost["sentry_transaction_shutdown"]) == (5, 5)


def test_a_process_that_lost_nothing_says_nothing(run: Any) -> None:
    assert run("nothing").lines == []


def test_a_forked_process_sends_and_tells_only_its_own(run: Any, receiver: Receiver) -> None:
    receiver.delay_s = 0.05

    program = run("forks")

    messages = Counter(event["message"] for event in receiver.payloads("event"))
    sessions = [one for payload in receiver.payloads("sessions") for one in payload["aggregates"]]
    assert messages == {"flood": 10, "in the child": 1, "events_held_back": 1}
    assert sum(one["exited"] for one in sessions) == 1
    assert _lost(program) == [{"events_held_back": 2}]


def test_no_fork_can_find_a_sender_in_the_middle_of_an_import(run: Any, receiver: Receiver) -> None:
    run("first")

    assert [event["message"] for event in receiver.payloads("event")] == ["first"]


def test_a_command_that_logs_and_raises_is_one_event(receiver: Receiver, variables: dict[str, str]) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings"}
    with Process("manage.py", "fails", SENTRY_DSN=receiver.dsn, **variables, **settings) as command:
        code = command.ended()

    (event,) = receiver.payloads("event")
    assert code == 1
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["contexts"]["log"] == {"events": ["import_failed"], "row": 3, "command": "fails"}
    assert [line for line in command.err if "Sentry" in line] == []
