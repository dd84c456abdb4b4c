"""
The lines of code around each frame of an event.

The SDK reads and splits each frame's whole file for every event. Python's own `linecache`, which its tracebacks come from, asks
only whether the file has changed.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator

from crm_monitoring.sentry.sdk import Event, Part

_LINES_AROUND = 5


def add_sources(event: Event) -> None:
    """Add the line of each frame, and five before and after it, as the SDK does."""
    checked: set[str] = set()
    for frame in _frames_of(event):
        path, number = frame.get("abs_path"), frame.get("lineno")
        # Code that was never in a file, "<string>", has a module with other code all the same.
        if path and number and not os.path.basename(path).startswith("<"):
            if path not in checked:
                checked.add(path)
                linecache.checkcache(path)
            _add_source(frame, _lines_of(path, frame.get("module")), number - 1)


def _frames_of(event: Event) -> Iterator[Part]:
    for value in (event.get("exception") or {}).get("values") or ():
        for frame in (value.get("stacktrace") or {}).get("frames") or ():
            # A template's frame comes with its lines.
            if "context_line" not in frame:
                yield frame


def _lines_of(path: str, module: str | None) -> list[str]:
    # Out of a zip file only its loader, which the module knows, can read.
    loaded = sys.modules.get(module or "")
    return linecache.getlines(path, None if loaded is None else vars(loaded))


def _add_source(frame: Part, lines: list[str], at: int) -> None:
    # The file may have become shorter since it was imported.
    if at < len(lines):
        around = [line.rstrip("\r\n") for line in lines[max(0, at - _LINES_AROUND) : at + _LINES_AROUND + 1]]
        before = min(at, _LINES_AROUND)
        frame["pre_context"], frame["context_line"] = around[:before], around[before]
        frame["post_context"] = around[before + 1 :]
