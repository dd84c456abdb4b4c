"""Where lines go: whole, in order, to standard output, at once or through a queue."""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
from queue import Empty, Full, Queue
from typing import TextIO

from crm_monitoring import faults

LOST_LINES = "log_lines"
_STALL_SECONDS = 1.0
_EXIT_SECONDS = 2.0


class StandardOutput:
    """
    Write lines to whatever `sys.stdout` is now.

    A line is one write where the stream has a file descriptor, so that lines of several threads and processes do not mix.
    A stream that is closed or broken costs the line, which is counted, and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._new_lock)

    def _new_lock(self) -> None:
        # Another thread may have held the lock when the process forked.
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Write `line`, which ends with a newline."""
        try:
            with self._lock:
                self._write(sys.stdout, line)
        except (OSError, ValueError, AttributeError):
            faults.lose(LOST_LINES)

    @staticmethod
    def _write(stream: TextIO, line: bytes) -> None:
        # What print() left in the stream's buffer comes first.
        stream.flush()
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:
            stream.write(line.decode())
            return
        _write_all(descriptor, line)


def _write_all(descriptor: int, line: bytes) -> None:
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:
            # A pipe that its other end set to non-blocking: wait for room, but not for ever.
            if not select.select([], [descriptor], [], _STALL_SECONDS)[1]:
                raise


class QueuedOutput:
    """
    Hand lines to a thread that writes them, so that a reader that stalls stops nobody.

    The thread starts with the first line of a process, and anew in a forked child. Lines that find the queue full are
    counted and dropped; at exit what is queued is written within two seconds.
    """

    def __init__(self, output: StandardOutput, size: int) -> None:
        self._output = output
        self.size = size
        self._start_over()
        os.register_at_fork(after_in_child=self._start_over)
        atexit.register(self.flush)

    def _start_over(self) -> None:
        # What the parent queued is the parent's to write.
        self._queue: Queue[bytes] = Queue(self.size)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def write(self, line: bytes) -> None:
        """Queue `line`, or count it as lost."""
        if self._thread is None:
            self._start()
        try:
            self._queue.put_nowait(line)
        except Full:
            faults.lose(LOST_LINES)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="crm_monitoring-log-writer", daemon=True
                )
                self._thread.start()

    def _run(self, queue: Queue[bytes]) -> None:
        while True:
            self._output.write(queue.get())
            queue.task_done()

    def flush(self, timeout: float = _EXIT_SECONDS) -> None:
        """Wait until what is queued is written, at most `timeout` seconds; count what is left as lost."""
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, timeout)
        try:
            while True:
                self._queue.get_nowait()
                faults.lose(LOST_LINES)
        except Empty:
            pass


Output = StandardOutput | QueuedOutput
