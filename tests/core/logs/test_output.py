from __future__ import annotations

import io
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest

from crm_monitoring import faults
from crm_monitoring.logs.output import LOST_LINES, StandardOutput, descriptor_of
from tests.clients import WSGIClient
from tests.docs.markdown import DOCS, blocks

PIPE_SIZE = 1024 * 1024

START = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks beside threads, which is what is tested
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["crm_monitoring"], CRM_MONITORING={keys})
django.setup()
from crm_monitoring import faults, get_logger
logger = get_logger("child")
"""


def child(code: str, stdout: int = subprocess.PIPE, **keys: Any) -> subprocess.Popen[bytes]:
    """Start a process whose standard output is a pipe, with Django and the keys of CRM_MONITORING set up."""
    source = START.replace("{keys}", repr(keys)) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", source], stdout=stdout, stderr=subprocess.PIPE)


def events(code: str, **keys: Any) -> list[Any]:
    """Run `code` in a process of its own and return the events of its lines. It must end well and print nothing else."""
    process = child(code, **keys)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    return [orjson.loads(line)["event"] for line in out.splitlines()]


@pytest.fixture
def output() -> StandardOutput:
    return StandardOutput()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def stdout(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.TextIOWrapper]:
    """Make standard output a pipe. The test calls it, because pytest sets `sys.stdout` when a test begins."""

    def replace() -> io.TextIOWrapper:
        stream = os.fdopen(pipe[1], "w", closefd=False)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return replace


def fill(descriptor: int) -> None:
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            os.write(descriptor, b"x" * 4096)


def test_a_line_is_on_the_pipe_when_the_call_returns(
    output: StandardOutput, stdout: Callable[[], io.TextIOWrapper], pipe: tuple[int, int]
) -> None:
    stdout()

    output.write(b"line\n")

    assert os.read(pipe[0], 100) == b"line\n"


def test_what_was_printed_before_comes_before(
    output: StandardOutput, stdout: Callable[[], io.TextIOWrapper], pipe: tuple[int, int]
) -> None:
    stream = stdout()

    stream.write("printed ")
    output.write(b"line\n")

    assert os.read(pipe[0], 100) == b"printed line\n"


def test_a_stream_without_a_descriptor_gets_text(output: StandardOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    output.write("é\n".encode())

    assert sys.stdout.getvalue() == "é\n"  # type: ignore[attr-defined]


class Bare:
    """As little of a stream as there may be; Celery's has a fileno() that returns None."""

    def __init__(self, fileno: Any = None) -> None:
        self.text = ""
        self.fileno = lambda: fileno

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_a_stream_whose_descriptor_is_none_gets_text(output: StandardOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Bare())

    output.write(b"line\n")

    assert sys.stdout.text == "line\n"  # type: ignore[attr-defined]
    assert descriptor_of(object()) is None


class Broken(Bare):
    def write(self, text: str) -> None:
        raise OSError


class Framed(io.TextIOWrapper):
    """A pipe that puts a frame around what is written, as dramatiq's does around what its workers print."""

    def write(self, text: str) -> int:
        return super().write(f"<{text}>")


def test_a_stream_that_frames_what_is_written_gets_lines_by_its_own_write(
    output: StandardOutput, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    framed = Framed(os.fdopen(pipe[1], "wb", closefd=False))
    monkeypatch.setattr(sys, "stdout", framed)

    output.write(b"line\n")

    assert os.read(pipe[0], 100) == b"<line\n>"


def test_a_tee_gets_lines_though_it_has_the_descriptor_of_another_stream(
    output: StandardOutput, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Bare(fileno=pipe[1]))

    output.write(b"line\n")

    assert sys.stdout.text == "line\n"  # type: ignore[attr-defined]


def test_a_stream_over_something_that_is_no_file_gets_lines_by_its_own_write(
    output: StandardOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = socket.socketpair()
    with one, other, other.makefile("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        output.write("é line\n".encode())

        assert one.recv(100) == b"? line\n"


def test_a_stream_without_a_buffer_is_written_to_by_its_descriptor(
    output: StandardOutput, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As standard output is with `python -u`."""
    raw: Any = os.fdopen(pipe[1], "wb", buffering=0, closefd=False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, write_through=True))

    output.write(b"line\n")
    output.write(b"next\n")

    assert os.read(pipe[0], 100) == b"line\nnext\n"


@pytest.mark.parametrize("stream", [None, object(), Broken()])
def test_a_stream_that_is_none_or_broken_costs_the_line_and_is_counted(
    output: StandardOutput, monkeypatch: pytest.MonkeyPatch, stream: Any
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)

    output.write(b"line\n")

    assert faults.losses() == {LOST_LINES: 1}


@pytest.mark.parametrize("stream", [None, "closed", "no reader"])
def test_a_request_is_served_though_its_lines_are_lost(
    server: WSGIClient, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int], stream: Any
) -> None:
    replaced: Any = None if stream is None else os.fdopen(pipe[1], "w", closefd=False)
    if stream == "closed":
        replaced.close()
    elif stream == "no reader":
        os.close(pipe[0])
    monkeypatch.setattr(sys, "stdout", replaced)

    answer = server.get("/ok/")

    assert answer.status == 200
    assert faults.losses() == {LOST_LINES: 2}


def test_a_stream_that_logs_what_it_is_given_does_not_go_on_for_ever(
    output: StandardOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Echo(Bare):
        def write(self, text: str) -> None:
            output.write(text.encode())

    monkeypatch.setattr(sys, "stdout", Echo())

    output.write(b"line\n")

    assert faults.losses() == {LOST_LINES: 1}


def test_an_interrupt_while_a_line_is_written_is_not_swallowed(
    output: StandardOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Bare):
        def write(self, text: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Interrupted())

    with pytest.raises(KeyboardInterrupt):
        output.write(b"line\n")


def test_a_long_line_waits_for_a_reader_of_a_pipe_that_does_not_block(
    output: StandardOutput, stdout: Callable[[], io.TextIOWrapper], pipe: tuple[int, int]
) -> None:
    stdout()
    os.set_blocking(pipe[1], False)
    line = b"x" * PIPE_SIZE + b"\n"
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(pipe[0], 65536), b"")))

    reader.start()
    output.write(line)
    os.close(pipe[1])
    reader.join()

    assert b"".join(read) == line
    assert faults.losses() == {}


def test_a_line_that_was_torn_does_not_spoil_the_next(
    output: StandardOutput,
    stdout: Callable[[], io.TextIOWrapper],
    pipe: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crm_monitoring.logs.output.STALL_SECONDS", 0.05)
    stdout()
    os.set_blocking(pipe[1], False)
    output.write(b"x" * PIPE_SIZE + b"\n")
    while os.read(pipe[0], 65536).endswith(b"x") and _has_more(pipe[0]):
        pass

    output.write(b"next\n")

    assert os.read(pipe[0], 65536) == b"\nnext\n"
    assert faults.losses() == {LOST_LINES: 1}


def _has_more(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


@pytest.mark.processes
def test_lines_of_threads_and_processes_do_not_mix() -> None:
    lines = events(
        """
        def work(name):
            for _ in range(50):
                logger.info(name, filler="x" * 3000)
        pids = []
        for _ in range(3):
            pid = os.fork()
            if not pid:
                threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(3)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                os._exit(0)
            pids.append(pid)
        [os.waitpid(pid, 0) for pid in pids]
        """
    )

    assert {name: lines.count(name) for name in set(lines)} == {"w0": 150, "w1": 150, "w2": 150}


@pytest.mark.processes
def test_a_fork_in_the_middle_of_a_write_leaves_the_child_able_to_log() -> None:
    lines = events(
        """
        from crm_monitoring.logs import lines
        held, go = threading.Event(), threading.Event()
        def hold():
            with lines.output._lock:
                held.set()
                go.wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        pid = os.fork()
        if not pid:
            logger.info("from_child")
            os._exit(0)
        os.waitpid(pid, 0)
        go.set()
        """
    )

    assert lines == ["from_child"]


@pytest.mark.processes
def test_a_signal_handler_may_log_while_its_thread_writes() -> None:
    lines = events(
        """
        import signal
        signal.signal(signal.SIGALRM, lambda *args: logger.info("alarm"))
        from crm_monitoring.logs import lines
        with lines.output._lock:
            signal.raise_signal(signal.SIGALRM)
        """
    )

    assert lines == ["alarm"]


@pytest.mark.processes
def test_each_line_is_written_once_when_a_process_forks() -> None:
    lines = events(
        """
        logger.info("before")
        pid = os.fork()
        logger.info("child" if not pid else "parent")
        if not pid:
            sys.exit()
        os.waitpid(pid, 0)
        """
    )

    assert sorted(lines) == ["before", "child", "parent"]


@pytest.mark.processes
def test_a_full_pipe_holds_up_the_process(pipe: tuple[int, int]) -> None:
    """A line is on the stream before the response is. A queue of the standard library is for those who want it otherwise."""
    fill(pipe[1])
    os.set_blocking(pipe[1], True)

    process = child("print('ready', file=sys.stderr, flush=True); logger.info('n')", stdout=pipe[1])
    assert process.stderr is not None and process.stderr.readline() == b"ready\n"

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.processes
def test_lines_behind_a_queue_of_the_standard_library_are_whole_and_stall_nobody(pipe: tuple[int, int]) -> None:
    (recipe,) = (block.text for block in blocks(DOCS / "log-lines.md", "python") if "QueueListener" in block.text)
    fill(pipe[1])
    os.set_blocking(pipe[1], True)
    code = """
        import logging
        from crm_monitoring import work
        from django.test import RequestFactory
        queue_lines()
        work.use(work.Request(RequestFactory().get("/"), "r-1", "GET"))
        logger.warning("native", n=1)
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger("library").exception("failed", extra={"n": 2})
        print("went on", file=sys.stderr, flush=True)
    """

    process = child(recipe + textwrap.dedent(code), stdout=pipe[1], CONFIGURE_LOGGING=False)
    assert process.stderr is not None and process.stderr.readline() == b"went on\n"
    os.close(pipe[1])
    out = b"".join(iter(lambda: os.read(pipe[0], 65536), b""))
    process.communicate(timeout=30)

    native, failed = (orjson.loads(line) for line in out.lstrip(b"x").splitlines())
    assert (native["event"], native["n"], native["request_id"]) == ("native", 1, "r-1")
    assert (failed["event"], failed["n"], failed["request_id"]) == ("failed", 2, "r-1")
    assert failed["exception"].endswith("ValueError: boom")


@pytest.mark.processes
def test_a_pipe_without_a_reader_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])

    process = child("logger.info('n'); print(faults.losses(), file=sys.stderr)", stdout=pipe[1])
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"{'log_lines': 1}\n")


@pytest.mark.processes
def test_a_closed_standard_output_costs_lines_and_nothing_else() -> None:
    process = child("sys.stdout.close(); os.dup2(2, 1); logger.info('n'); print(faults.losses(), file=sys.stderr)")
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"{'log_lines': 1}\n")
