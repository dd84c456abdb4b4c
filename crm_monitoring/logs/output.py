"""Where lines go: whole, in order, to standard output."""

from __future__ import annotations

import os
import select
import sys
import threading
from typing import TextIO

from crm_monitoring import faults, process

LOST_LINES = "log_lines"
_STALL_SECONDS = 1.0


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
