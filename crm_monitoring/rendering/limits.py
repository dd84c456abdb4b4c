"""Lines cut to their limits: what is longer loses its middle, and a mark says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from crm_monitoring.rendering.escapes import escape_line
from crm_monitoring.rendering.values import Event, dumps, name_of, text

Renderer = Callable[[Event], bytes]

CORE_FIELDS = ("event", "level", "timestamp", "logger", "request_id")
"""The fields of the line itself, which stay longest."""

_MIN_KEPT = 48
_FEWEST_FIELDS = 3
_SHORTEST_FIELD = len(b"a=1 ")


class Limits(Protocol):
    """How long a value may be in characters, and a line in bytes."""

    @property
    def LOG_MAX_STRING(self) -> int: ...  # noqa: N802 - the setting's own names

    @property
    def LOG_MAX_LINE(self) -> int: ...  # noqa: N802


def limited(render: Renderer, limits: Limits) -> Renderer:
    """Return a renderer of whole lines whose values and lines keep to the limits."""
    max_string, max_line = limits.LOG_MAX_STRING, limits.LOG_MAX_LINE
    # A line shorter than one value may be cannot hold a value that is too long.
    surely_fits = min(max_string, max_line)

    def render_limited(event: Event) -> bytes:
        line = escape_line(render(event))
        return line if len(line) <= surely_fits else _fit(event, max_string, max_line, render)

    return render_limited


def _fit(event: Event, max_string: int, max_line: int, render: Renderer) -> bytes:
    """Render `event` with what is longer than the limits cut and marked; the fields of the line itself stay longest."""
    names = [*(name for name in CORE_FIELDS if name in event), *(name for name in event if name not in CORE_FIELDS)]
    fields = {name: _cuttable(event[name], max_string) for name in names}
    for limit, count in _attempts(max_string, min(len(fields), max_line // _SHORTEST_FIELD)):
        line = escape_line(render(_reduced(fields, limit, count)))
        if len(line) <= max_line:
            return line
    core = {name: event.get(name) for name in ("level", "timestamp")}
    return render({"event": "line_too_long", **core, "fields_left_out": len(event)})


def _attempts(limit: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield ever shorter limits of a value, then ever fewer fields. Each is half of the last, so the work stays linear."""
    while limit > _MIN_KEPT:
        yield limit, count
        limit //= 2
    while count >= _FEWEST_FIELDS:
        yield _MIN_KEPT, count
        count //= 2


def _reduced(fields: Event, limit: int, count: int) -> Event:
    kept = list(fields.items())[:count]
    reduced: Event = {cut(name_of(name), limit): _shortened(value, limit) for name, value in kept}
    if len(reduced) < len(fields):
        reduced["fields_left_out"] = len(fields) - len(reduced)
    return reduced


def _cuttable(value: Any, limit: int) -> Any:
    """Return a value that is too long as its text, made once however often it is cut."""
    if issubclass(type(value), str):
        return value
    dumped = dumps(value)
    return value if len(dumped) <= limit else dumped.decode()


def _shortened(value: Any, limit: int) -> Any:
    if value is None or issubclass(type(value), int | float):
        return value
    shown = text(value)
    return value if len(shown) <= limit else cut(shown, limit)


def cut(value: str, limit: int) -> str:
    """
    Return `value` with its middle cut out where it is too long, and a mark there.

    Args:
        limit: How many characters are returned at most; 48 are never too many.
    """
    limit = max(limit, _MIN_KEPT)
    if len(value) <= limit:
        return value
    kept = limit - len(_mark(len(value)))
    tail = kept // 3
    return f"{value[: kept - tail]}{_mark(len(value) - kept)}{value[len(value) - tail :]}"


def _mark(length: int) -> str:
    return f"… [cut {length} characters] …"
