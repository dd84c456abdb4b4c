"""
A line as people read it on a terminal: what happened first, where and whose it was last, at a glance.

    10:30:45 info     GET /create/ 201 9 ms 0 queries  request=0f3c1d9b
    10:30:45 warning  partner_slow  partner=acme seconds=3.2  organisations.views request=0f3c1d9b

What values, names and messages hold is shown escaped: no value moves the cursor, colours the screen or makes a second line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crm_monitoring.rendering.escapes import escape_text
from crm_monitoring.rendering.values import Event, dumps, name_of, text

_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_COLOURS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_LEVEL_WIDTH = 8
_TIME = slice(11, 19)
_ID_LENGTH = 8
_BELOW = ("exception", "stack")
_OF_THE_REQUEST = ("method", "path", "status", "duration_ms", "db_queries")
_REQUEST_EVENTS = ("request_finished", "request_failed")
# Ids of traces are for machines; who needs one finds it by the request.
_NOT_SHOWN = frozenset(
    ("event", "level", "timestamp", "logger", "request_id", "user_id", "trace_id", "span_id", *_BELOW)
)
_BARE = re.compile(r'[^ "=\\]+')


class Console:
    """Renders lines for people."""

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, line: Event) -> bytes:
        """Return the line, and under it what has lines of its own: a traceback, a stack."""
        level = escape_text(text(line.get("level", "")))
        parts = [
            self._painted(_DIM, escape_text(text(line.get("timestamp", "")))[_TIME]),
            self._painted(_COLOURS.get(level, ""), level.ljust(_LEVEL_WIDTH)),
        ]
        is_request = _is_of_request(line)
        head = _request(line) if is_request else escape_text(text(line.get("event")))
        fields = " ".join(_fields(line, _hidden_of_request(line) if is_request else _NOT_SHOWN))
        parts.append(self._painted(_BOLD, head))
        parts += [f" {part}" for part in (fields, self._painted(_DIM, _whose(line, is_request))) if part]
        below = [_indented(text(line[name])) for name in _BELOW if name in line]
        return "\n".join([" ".join(part for part in parts if part), *below]).encode()

    def _painted(self, colour: str, shown: str) -> str:
        return f"{colour}{shown}{_RESET}" if self._colors and colour and shown else shown


def _is_of_request(line: Event) -> bool:
    return line.get("event") in _REQUEST_EVENTS and all(name in line for name in _OF_THE_REQUEST)


def _request(line: Event) -> str:
    method, path, status, duration_ms, queries = (escape_text(text(line[name])) for name in _OF_THE_REQUEST)
    plural = "query" if queries == "1" else "queries"
    return f"{method} {path} {status} {_rounded(line['duration_ms'], duration_ms)} ms {queries} {plural}"


def _rounded(number: Any, shown: str) -> str:
    return f"{number:.0f}" if isinstance(number, float) and number >= 1 else shown


def _hidden_of_request(line: Event) -> frozenset[str]:
    is_path = text(line.get("route")) == text(line["path"]).removeprefix("/")
    return _NOT_SHOWN.union(_OF_THE_REQUEST, ("route",) if is_path else ())


def _fields(line: Event, hidden: frozenset[str]) -> Iterator[str]:
    for name, value in line.items():
        if name not in hidden:
            yield f"{escape_text(name_of(name))}={_value(value)}"


def _value(value: Any) -> str:
    if not isinstance(value, str):
        return dumps(value).decode()
    shown = text(value)
    return shown if shown.isprintable() and _BARE.fullmatch(shown) else escape_text(dumps(shown).decode())


def _whose(line: Event, is_request: bool) -> str:
    found = [] if is_request else [escape_text(text(line.get("logger", "")))]
    if "user_id" in line:
        found.append(f"user={_value(line['user_id'])}")
    if "request_id" in line:
        found.append(f"request={_value(line['request_id'])[:_ID_LENGTH]}")
    return " ".join(part for part in found if part)


def _indented(shown: str) -> str:
    # A line that a message brings along is not taken for one of ours.
    return "\n".join(f"  {escape_text(row)}" for row in shown.split("\n"))
