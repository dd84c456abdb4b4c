"""Commands as people start them: `manage.py works`, seen from outside."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import Process
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.processes

Run = Callable[..., Process]
SETTINGS = "tests.e2e.project.settings"


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The file to which each end that is told adds a line."""
    return tmp_path / "told"


@pytest.fixture
def run(variables: dict[str, str], told: Path) -> Run:
    """Run the command until its end, which has the code expected."""

    def run(way: str, code: int, dsn: str = "") -> Process:
        arguments = ("manage.py", "works", way, f"--told={told}")
        with Process(*arguments, SENTRY_DSN=dsn, DJANGO_SETTINGS_MODULE=SETTINGS, **variables) as command:
            assert command.ended() == code, command.err
        return command

    return run


def test_a_crash_is_one_event_and_a_line_that_says_what_python_would_print(run: Run, receiver: Receiver) -> None:
    command = run("report_and_crash", 1, receiver.dsn)

    (event,) = receiver.payloads("event")
    (value,) = event["exception"]["values"]
    assert event["transaction"] == "manage.py works"
    assert value["mechanism"] == {"type": "command", "handled": False}
    assert event["contexts"]["log"] == {"events": ["import_failed"], "row": 3, "command": "works"}
    assert event["extra"] == {"file": "organisations.csv"}
    (line,) = [line for line in command.lines if line["event"] == "uncaught_exception"]
    assert re.findall(r", in (.+)", line["exception"]) == [
        *("<module>", "main", "execute_from_command_line", "execute", "run_from_argv"),
        *("execute", "handle", "report_and_crash", "_fail"),
    ]
    assert line["exception"].endswith("ValueError: row 3 is broken")
    assert command.err == []


def test_a_crash_that_nobody_reports_is_one_event(run: Run, receiver: Receiver) -> None:
    run("crash", 1, receiver.dsn)

    (event,) = receiver.payloads("event")
    assert event["transaction"] == "manage.py works"


def test_an_event_says_nothing_of_the_arguments(run: Run, receiver: Receiver) -> None:
    run("crash", 1, receiver.dsn)

    (event,) = receiver.payloads("event")
    assert "sys.argv" not in event.get("extra", {})
    assert "--told" not in str({name: event[name] for name in event if name != "exception"})


@pytest.mark.parametrize(("way", "code"), [("refuse", 1), ("leave", 3)])
def test_a_command_that_refuses_or_leaves_is_no_event(run: Run, receiver: Receiver, way: str, code: int) -> None:
    command = run(way, code, receiver.dsn)

    assert receiver.payloads("event") == []
    assert command.err == (["CommandError: There is no such file."] if way == "refuse" else [])


def test_what_was_reported_before_a_command_refuses_is_handled(run: Run, receiver: Receiver) -> None:
    command = run("report_and_refuse", 1, receiver.dsn)

    (event,) = receiver.payloads("event")
    (value,) = event["exception"]["values"]
    assert (value["type"], value["mechanism"]["handled"]) == ("ValueError", True)
    assert command.err == ["CommandError: There is no such file."]


def test_an_interrupted_command_is_the_event_it_was_without_a_unit(run: Run, receiver: Receiver) -> None:
    run("interrupt", -signal.SIGINT, receiver.dsn)

    (event,) = receiver.payloads("event")
    assert event["exception"]["values"][-1]["mechanism"] == {"type": "excepthook", "handled": False}


def test_a_command_that_is_stopped_sends_what_it_holds(run: Run, receiver: Receiver) -> None:
    run("report_and_be_stopped", -signal.SIGTERM, receiver.dsn)

    (event,) = receiver.payloads("event")
    assert event["contexts"]["log"]["events"] == ["import_failed"]


def test_what_a_command_holds_as_it_forks_is_sent_once(run: Run, receiver: Receiver) -> None:
    run("report_fork_and_report", 0, receiver.dsn)

    sent = [event["exception"]["values"][-1]["type"] for event in receiver.payloads("event")]
    assert sorted(sent) == ["KeyError", "ValueError"]


@pytest.mark.parametrize("is_sent", [True, False], ids=["with a DSN", "without"])
@pytest.mark.parametrize(
    ("way", "code", "ends"),
    [
        # Of the command, and of the process.
        ("refuse", 1, 2),
        ("crash", 1, 2),
        ("report_and_be_stopped", -signal.SIGTERM, 1),
    ],
)
def test_the_end_is_told(
    run: Run, receiver: Receiver, told: Path, way: str, code: int, ends: int, is_sent: bool
) -> None:
    run(way, code, receiver.dsn if is_sent else "")

    assert told.read_text() == "ended\n" * ends
