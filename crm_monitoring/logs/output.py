"""Where lines go: whole, in order, to standard output, at once or through a queue."""

from __future__ import annotations

import atexit
import os
import select
import sys
import threading
from queue import Empty, SimpleQueue
from typing import TextIO

from crm_monitoring import faults, process

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
        self._start_over()
        process.after_fork(self._start_over)

    def _start_over(self) -> None:
        # Another thread may have held the lock when the process forked. It is reentrant, because a signal handler or a
        # finaliser may log while its own thread writes.
        self._lock = threading.RLock()
        self._is_torn = False

    def write(self, line: bytes) -> None:
        """Write `line`, which ends with a newline."""
        try:
            with self._lock:
                self._write(sys.stdout, line)
        except Exception:
            # The stream is whatever the host has put there.
            faults.lose(LOST_LINES)

    def _write(self, stream: TextIO, line: bytes) -> None:
        # What print() left in the stream's buffer comes first.
        stream.flush()
        descriptor = descriptor_of(stream)
        if descriptor is None:
            stream.write(line.decode())
            stream.flush()
        else:
            self._write_all(descriptor, line)

    def _write_all(self, descriptor: int, line: bytes) -> None:
        # The line after one that was lost half written must not continue it.
        rest: bytes | memoryview = b"\n" + line if self._is_torn else line
        while rest:
            try:
                written = os.write(descriptor, rest)
                self._is_torn = written < len(rest)
                rest = memoryview(rest)[written:] if self._is_torn else b""
            except BlockingIOError:
                # A pipe that its other end set to non-blocking: wait for room, but not for ever.
                if not select.select([], [descriptor], [], _STALL_SECONDS)[1]:
                    raise


def descriptor_of(stream: object) -> int | None:
    """Return the file descriptor behind `stream`, None where there is none."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) else None


class QueuedOutput:
    """
    Hand lines to a thread that writes them, so that a reader that stalls stops nobody.

    The thread starts with the first line of a process, and anew in a forked child. Lines that find the queue full are
    counted and dropped; at exit what is queued is written within two seconds.

    Attributes:
        size: How many lines may wait.
    """

    def __init__(self, output: StandardOutput) -> None:
        self._output = output
        self.size = 0
        self._start_over()
        process.after_fork(self._start_over)
        atexit.register(self._exit)

    def _start_over(self) -> None:
        # What the parent queued is the parent's to write. A SimpleQueue may be put to by a finaliser or a signal handler
        # that interrupts another put; a Queue would wait for itself.
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._is_exiting = False
        self._is_stuck = False

    def write(self, line: bytes) -> None:
        """Queue `line`, or count it as lost."""
        if self._thread is None and not self._start():
            self._write_late(line)
        elif self._queue.qsize() < self.size:
            self._queue.put(line)
        else:
            faults.lose(LOST_LINES)

    def _start(self) -> bool:
        with self._starting:
            if self._thread is None and not self._is_exiting:
                thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="crm_monitoring-log-writer", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    # The interpreter is on its way out, or the system has no thread to give.
                    return False
                self._thread = thread
        return self._thread is not None

    def _write_late(self, line: bytes) -> None:
        if self._is_stuck:
            faults.lose(LOST_LINES)
        else:
            self._output.write(line)

    def _run(self, queue: SimpleQueue[bytes | None]) -> None:
        while (line := queue.get()) is not None:
            self._output.write(line)

    def stop(self, timeout: float = _EXIT_SECONDS) -> bool:
        """
        End the thread once it has written what is queued; the next line starts another.

        Args:
            timeout: Seconds to wait at most; what is left then is counted as lost.

        Returns:
            Whether everything was written.
        """
        thread, queue = self._thread, self._queue
        if thread is None:
            return True
        self._queue, self._thread = SimpleQueue(), None
        queue.put(None)
        thread.join(timeout)
        self._lose_all(queue)
        return not thread.is_alive()

    @staticmethod
    def _lose_all(queue: SimpleQueue[bytes | None]) -> None:
        try:
            while True:
                if queue.get_nowait() is not None:
                    faults.lose(LOST_LINES)
        except Empty:
            # For the thread that may still be writing.
            queue.put(None)

    def _exit(self) -> None:
        self._is_exiting = True
        self._is_stuck = not self.stop()


Output = StandardOutput | QueuedOutput
