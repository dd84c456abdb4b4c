"""Where lines go: whole, in order, to standard output."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import TextIO

from crm_monitoring import faults, process

LOST_LINES = "log_lines"
STALL_SECONDS = 1.0
"""How long a line waits for whoever reads the output."""


class StandardOutput:
    """
    Write lines to whatever `sys.stdout` is now.

    A line is one write where the stream is Python's own over a file, so that lines of several threads and processes do not mix.
    Any other (a framed pipe, a tee, a notebook) knows better what to do with what is written to it.
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
        self._stream: TextIO | None = None
        self._descriptor: int | None = None

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
        if stream is not self._stream:
            self._stream, self._descriptor = stream, _descriptor_of_file(stream)
        if self._descriptor is None:
            stream.write(_encodable(line.decode(), stream))
            stream.flush()
        else:
            self._write_all(self._descriptor, line)

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
                if not select.select([], [descriptor], [], STALL_SECONDS)[1]:
                    raise


def _encodable(line: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line if line.isascii() else line.encode(encoding, "replace").decode(encoding)


def _descriptor_of_file(stream: object) -> int | None:
    """Return the descriptor that may be written to in the place of `stream`: of a text stream of Python's own over a real file."""
    if type(stream) is not io.TextIOWrapper:
        return None
    # With `python -u` there is no buffer in between.
    file = getattr(stream.buffer, "raw", stream.buffer)
    return descriptor_of(stream) if type(file) is io.FileIO else None


def descriptor_of(stream: object) -> int | None:
    """Return the file descriptor behind `stream`, None where there is none."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) else None
