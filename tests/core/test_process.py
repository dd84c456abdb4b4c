"""What is done when a process forks or ends: in this process by a `Life` of its own, and by real ones that end in each way there is."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crm_monitoring import faults, process
from crm_monitoring.process import Life, Stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def life() -> Iterator[Life]:
    """A life of its own, in a process where SIGTERM means what it means in a new one."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    life = Life()
    yield life
    signal.signal(signal.SIGTERM, before)
    atexit.unregister(life.end)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that this process has sent itself."""
    signals: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", signals.append)
    return signals


def refuse(*args: object) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def terminate() -> None:
    handler: Any = signal.getsignal(signal.SIGTERM)
    handler(signal.SIGTERM, None)


# -- in what order --------------------------------------------------------------------------------------------------------


def test_at_the_end_each_stage_comes_after_the_one_before(life: Life) -> None:
    told: list[str] = []
    for stage in reversed(Stage):
        life.at_end(lambda stage=stage: told.append(stage.name), stage)  # type: ignore[misc]

    life.end()

    assert told == ["REPORT", "WRITE", "CLOSE", "TELL"]


def test_within_a_stage_who_came_first_goes_first_and_once(life: Life) -> None:
    told: list[str] = []

    def first() -> None:
        told.append("first")

    life.at_end(first, Stage.WRITE)
    life.at_end(lambda: told.append("second"), Stage.WRITE)
    life.at_end(first, Stage.WRITE)
    life.end()

    assert told == ["first", "second"]


def test_one_that_fails_costs_nobody_else_the_end(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(faults, "reraise", False)

    def fail() -> None:
        raise OSError("no")

    life.at_end(fail, Stage.WRITE)
    life.at_end(lambda: told.append("told"), Stage.WRITE)
    life.end()

    assert told == ["told"]
    assert faults.sentences()[0].startswith("The end of the process (WRITE): tests.core.test_process.")


def test_a_child_starts_over_in_the_order_that_was_asked_for(life: Life) -> None:
    told: list[str] = []
    life.after_fork(lambda: told.append("first"))
    life.after_fork(lambda: told.append("second"))

    life.start_over()

    assert told == ["first", "second"]


@pytest.mark.processes
def test_a_fork_is_heard_of() -> None:
    told: list[str] = []
    process.after_fork(lambda: told.append("child"))

    child = os.fork()
    if child == 0:
        os._exit(len(told))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert told == []


# -- SIGTERM --------------------------------------------------------------------------------------------------------------


def test_sigterm_does_what_there_is_to_do_and_kills_then(life: Life, killed: list[int]) -> None:
    told: list[int] = []
    life.at_end(lambda: told.append(len(killed)), Stage.WRITE)

    terminate()

    assert told == [0]
    assert killed == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_waits_for_what_hangs_no_longer_than_it_may(life: Life, killed: list[int]) -> None:
    forever = threading.Event()
    life.allow(-0.5)
    life.at_end(forever.wait, Stage.WRITE)

    terminate()
    forever.set()

    assert killed == [signal.SIGTERM]


def test_sigterm_is_left_to_a_process_that_has_taken_it(life: Life) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    life.at_end(print, Stage.WRITE)

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_sigterm_is_left_alone_in_a_thread(life: Life) -> None:
    thread = threading.Thread(target=life.at_end, args=(print, Stage.WRITE))

    thread.start()
    thread.join()

    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_lets_an_end_that_is_under_way_go_on(
    life: Life, killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    life.at_end(terminate, Stage.WRITE)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    life.end()

    assert killed == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_kills_where_no_thread_is_to_be_had(
    life: Life, killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    life.at_end(print, Stage.WRITE)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    terminate()

    assert killed == [signal.SIGTERM]


# -- os._exit -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def exits(life: Life, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a child that was just forked does when it ends: the crash it tells of, that it ended, and its exit code."""
    told: list[object] = []
    monkeypatch.setattr(os, "_exit", told.append)
    monkeypatch.setattr(process, "_exit", told.append)
    life.at_crash(told.append)
    life.at_end(lambda: told.append("ended"), Stage.WRITE)
    life.begin_child()
    return told


def test_a_child_does_what_there_is_to_do_before_it_exits(exits: list[object]) -> None:
    os._exit(3)

    assert exits == ["ended", 3]


def test_a_child_without_threads_does_so_too(exits: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", refuse)

    os._exit(0)

    assert exits == ["ended", 0]


def test_what_a_child_exits_with_unheard_is_told(exits: list[object]) -> None:
    error = ValueError("no")

    with suppress(ValueError):
        try:
            raise error
        finally:
            os._exit(1)

    assert exits == [error, "ended", 1]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_child_that_is_asked_to_leave_has_not_crashed(exits: list[object], error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        os._exit(1)

    assert exits == ["ended", 1]


def test_what_its_parent_was_handling_is_no_crash_of_the_child(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(os, "_exit", told.append)
    monkeypatch.setattr(process, "_exit", told.append)
    life.at_crash(told.append)

    try:
        raise ValueError("in the parent")
    except ValueError:
        life.begin_child()
        os._exit(0)

    assert told == [0]


# -- multiprocessing ------------------------------------------------------------------------------------------------------


def end_of(child: Callable[[], object], method: str = "fork") -> None:
    """Run `child` in a child of multiprocessing, whose end is waited for."""
    running: Any = multiprocessing.get_context(method).Process(target=child)
    running.start()
    running.join()


@pytest.mark.processes
def test_a_child_of_multiprocessing_is_followed_to_its_end(life: Life) -> None:
    reading, writing = os.pipe()
    life.at_end(lambda: os.write(writing, b"ended"), Stage.WRITE)

    end_of(print)

    assert os.read(reading, 99) == b"ended"
    os.close(reading)
    os.close(writing)


@pytest.mark.processes
def test_a_child_that_has_begun_before_we_came_is_followed_to_its_end(life: Life) -> None:
    reading, writing = os.pipe()

    end_of(lambda: life.at_end(lambda: os.write(writing, b"."), Stage.WRITE))

    # Later Pythons call what is registered with atexit in such a child too, and an end may be told of twice.
    assert os.read(reading, 99) in (b".", b"..")
    os.close(reading)
    os.close(writing)


def test_a_process_is_followed_once(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    finalizers: list[Any] = []
    monkeypatch.setattr(multiprocessing.util, "Finalize", lambda *args, **kwargs: finalizers.append(args))

    life.at_end(print, Stage.WRITE)
    life.at_end(repr, Stage.WRITE)  # type: ignore[arg-type]

    assert len(finalizers) == 1


def test_the_end_of_no_child_is_left_to_python(life: Life) -> None:
    told: list[str] = []
    life.at_end(lambda: told.append("ended"), Stage.WRITE)

    life.end_worker()

    assert told == []


def test_the_end_of_a_child_is_not(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("multiprocessing.process.parent_process", lambda: "the parent")
    life.at_end(lambda: told.append("ended"), Stage.WRITE)

    life.end_worker()

    assert told == ["ended"]


def test_where_multiprocessing_is_not_imported_nobody_imports_it(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "multiprocessing.util")

    life.at_end(print, Stage.WRITE)

    assert "multiprocessing.util" not in sys.modules


# -- real processes -------------------------------------------------------------------------------------------------------

TOLD = """
import multiprocessing, os, signal, sys, time
from crm_monitoring import process
from crm_monitoring.process import Stage

def tell():
    # One call of the system: whoever ends beside does not come between.
    os.write(1, f"ended in {'the child' if os.getpid() != first else 'the parent'}\\n".encode())

first = int(os.environ.setdefault("FIRST", str(os.getpid())))
process.at_end(tell, Stage.WRITE)

def work():
    pass

def fail():
    sys.stderr = open(os.devnull, "w")
    raise ValueError("no")

def forked(way):
    child = os.fork()
    if child == 0:
        way()
    os.waitpid(child, 0)

def started(target, method):
    child = multiprocessing.get_context(method).Process(target=target)
    child.start()
    child.join()

if __name__ == "__main__":
    WAY
"""
BOTH = ["ended in the child", "ended in the parent"]
WAYS = {
    "pass": BOTH[1:],
    "os.kill(os.getpid(), signal.SIGTERM)": BOTH[1:],
    "sys.exit(3)": BOTH[1:],
    "raise KeyboardInterrupt": BOTH[1:],
    "forked(sys.exit)": BOTH,
    "forked(lambda: os.kill(os.getpid(), signal.SIGTERM))": BOTH,
    "started(work, 'fork')": BOTH,
    "started(fail, 'fork')": BOTH,
    "started(sys.exit, 'fork')": BOTH,
    "started(work, 'forkserver')": BOTH,
    "started(fail, 'forkserver')": BOTH,
    "started(work, 'spawn')": BOTH,
    "started(fail, 'spawn')": BOTH,
    "multiprocessing.Pool(1).map(abs, [1]); import gc; gc.collect()": BOTH,
    "__import__('concurrent.futures').futures.ProcessPoolExecutor(1).submit(work).result()": BOTH,
}


@pytest.mark.processes
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_end_is_heard_of(way: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TOLD.replace("WAY", way))
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert sorted(set(done.stdout.splitlines())) == WAYS[way]
