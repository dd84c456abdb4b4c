"""What nobody catches comes out as a line of ours, once."""

from __future__ import annotations

import multiprocessing.process
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from crm_monitoring import faults
from crm_monitoring.logs import setup, uncaught
from tests.conftest import Lines

START = """
import os, sys, threading, multiprocessing, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["crm_monitoring"], CRM_MONITORING=KEYS)
django.setup()
"""


def ended(code: str, **keys: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Run `code` in a process of its own; return its status, its lines and what it wrote to standard error."""
    source = START.replace("KEYS", repr({"LOG_FORMAT": "json", **keys})) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False, timeout=60)
    return done.returncode, [orjson.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


@pytest.mark.processes
@pytest.mark.parametrize(
    "options", [{}, {"dsn": "http://key@127.0.0.1:9/1", "shutdown_timeout": 0}], ids=["alone", "sentry"]
)
def test_a_crash_of_the_process_is_one_line(options: dict[str, Any]) -> None:
    keys = {"SENTRY_DSN": options["dsn"], "SHUTDOWN_SECONDS": 0} if options else {}

    status, lines, err = ended("raise ValueError('boom')", **keys)

    (line,) = (line for line in lines if line["event"] == "uncaught_exception")
    assert (status, line["level"], line["logger"]) == (1, "critical", "crm_monitoring.uncaught")
    assert line["exception"].startswith("Traceback") and line["exception"].endswith("ValueError: boom")
    assert "Traceback" not in err


@pytest.mark.processes
def test_a_crash_of_a_thread_is_one_line_with_its_name() -> None:
    status, (line,), err = ended(
        """
        def work():
            raise ValueError("boom")
        threading.Thread(target=work, name="importer").start()
        """
    )

    assert (status, err) == (0, "")
    assert (line["event"], line["thread"]) == ("uncaught_exception", "importer")


@pytest.mark.processes
def test_a_crash_of_a_child_of_multiprocessing_is_one_line_with_its_name_and_its_status_stays() -> None:
    status, (line,), err = ended(
        """
        def work():
            raise ValueError("boom")
        child = multiprocessing.get_context("fork").Process(target=work, name="importer")
        child.start()
        child.join()
        sys.exit(child.exitcode)
        """
    )

    assert (status, err) == (1, "")
    assert (line["event"], line["process"]) == ("uncaught_exception", "importer")
    assert line["exception"].endswith("ValueError: boom")


@pytest.mark.processes
def test_a_hook_of_the_projects_own_stays() -> None:
    code = "settings.configure(INSTALLED_APPS=['crm_monitoring'], CRM_MONITORING={'LOG_FORMAT': 'json'}); django.setup(); 1 / 0"
    source = (
        f"import sys, django; sys.excepthook = lambda *a: print('theirs'); from django.conf import settings; {code}"
    )

    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False, timeout=60)

    assert done.stdout == b"theirs\n"


@pytest.mark.processes
@pytest.mark.parametrize("keys", [{"LOG_FORMAT": "console"}, {"CONFIGURE_LOGGING": False}])
def test_for_people_python_prints_it_as_ever(keys: dict[str, Any]) -> None:
    code = """
    def work():
        raise ValueError("thread")
    one = threading.Thread(target=work); one.start(); one.join()
    def work():
        raise ValueError("child")
    child = multiprocessing.get_context("fork").Process(target=work); child.start(); child.join()
    raise ValueError("boom")
    """

    status, lines, err = ended(code, **keys)

    assert (status, lines) == (1, [])
    assert err.count("Traceback") == 3


@pytest.fixture
def hooks_of_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    return


@pytest.mark.usefixtures("hooks_of_python")
def test_an_interrupt_is_no_crash(monitoring: Any, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    undo = uncaught.watch()

    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    threading.excepthook(threading.ExceptHookArgs((SystemExit, SystemExit(), None, None)))

    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "KeyboardInterrupt\n"
    for step in undo:
        step()
    assert (sys.excepthook, threading.excepthook) == (sys.__excepthook__, threading.__excepthook__)


@pytest.mark.usefixtures("hooks_of_python")
def test_a_crash_is_a_line_and_for_people_what_python_prints(
    monitoring: Any, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    uncaught.watch()
    about = threading.ExceptHookArgs((ValueError, ValueError("boom"), None, threading.current_thread()))

    sys.excepthook(ValueError, ValueError("boom"), None)
    threading.excepthook(about)
    told = [line["event"] for line in lines.all()]
    monitoring(LOG_FORMAT="console")
    sys.excepthook(ValueError, ValueError("boom"), None)
    threading.excepthook(about)

    captured = capsys.readouterr()
    assert told == ["uncaught_exception", "uncaught_exception"]
    assert (captured.out, captured.err.count("ValueError: boom")) == ("", 2)


@pytest.mark.usefixtures("hooks_of_python")
def test_hooks_that_are_there_already_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*about: Any) -> None: ...

    monkeypatch.setattr(sys, "excepthook", own)
    monkeypatch.setattr(threading, "excepthook", own)

    assert uncaught.watch() == []
    assert (sys.excepthook, threading.excepthook) == (own, own)


class Child:
    """As much of a child of multiprocessing as is asked for."""

    name = "importer"

    def run(self) -> None:
        raise ValueError("boom")


def test_a_child_that_crashes_ends_with_the_status_of_multiprocessing(
    monitoring: Any, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child()
    monkeypatch.setattr(multiprocessing.process, "current_process", lambda: child)

    uncaught.watch_child()
    with pytest.raises(SystemExit) as ended:
        child.run()
    monitoring(LOG_FORMAT="console")
    with pytest.raises(ValueError):
        child.run()

    assert ended.value.code == 1
    assert lines.one("uncaught_exception")["process"] == "importer"


@pytest.mark.usefixtures("hooks_of_python")
def test_a_thread_that_is_gone_is_told_without_a_name(lines: Lines) -> None:
    uncaught.watch()

    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError("boom"), None, None)))

    assert lines.one("uncaught_exception")["thread"] is None


@pytest.mark.usefixtures("hooks_of_python")
def test_who_has_wrapped_our_hook_keeps_it() -> None:
    undo = uncaught.watch()
    ours, sys.excepthook = sys.excepthook, lambda *about: ours(*about)
    wrapper = sys.excepthook

    for step in undo:
        step()

    assert sys.excepthook is wrapper


@pytest.mark.usefixtures("hooks_of_python")
def test_where_no_line_can_be_made_python_prints_the_crash(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(uncaught, "is_structured", lambda: 1 / 0)
    uncaught.watch()

    sys.excepthook(ValueError, ValueError("boom"), None)

    assert "ValueError: boom" in capsys.readouterr().err


def test_the_hooks_are_given_back_with_logging(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monitoring(CONFIGURE_LOGGING=False)
    monitoring(CONFIGURE_LOGGING=True)
    taken = sys.excepthook

    monitoring(CONFIGURE_LOGGING=False)

    assert taken is not sys.__excepthook__
    assert sys.excepthook is sys.__excepthook__
    assert setup.effective_level()
