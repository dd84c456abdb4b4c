"""
One event dict to one line of bytes, whatever its values are.

orjson does nearly all of it in one call. What it cannot take (an integer past 64 bits, a lone surrogate, a cycle) goes the
slow road through `plain`, which returns something for any value there is.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Protocol

import orjson
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import LogfmtRenderer

Event = dict[str, Any]
Renderer = Callable[[Event], bytes]

CORE_FIELDS = ("event", "level", "timestamp", "logger", "request_id")

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_MAX_DEPTH = 12
_MAX_ITEMS = 1000
_MIN_KEPT = 64
_INT64 = 1 << 63


class Limits(Protocol):
    """How long a value may be in characters, and a line in bytes."""

    @property
    def LOG_MAX_STRING(self) -> int: ...  # noqa: N802 - the setting's own names

    @property
    def LOG_MAX_LINE(self) -> int: ...  # noqa: N802


def json_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of JSON, without its newline."""
    max_string, max_line = limits.LOG_MAX_STRING, limits.LOG_MAX_LINE

    def render(event: Event) -> bytes:
        line = dumps(event)
        # A line shorter than one value may be cannot hold a value that is too long.
        return line if len(line) <= max_string else dumps(fit(event, max_string, max_line))

    return render


def logfmt_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of key=value pairs, without its newline."""
    logfmt = LogfmtRenderer(bool_as_flag=False)

    def render(event: Event) -> bytes:
        fitting = fit(event, limits.LOG_MAX_STRING, limits.LOG_MAX_LINE)
        words = {_word(name): _flat(value) for name, value in fitting.items()}
        return _encode(logfmt(None, "", words))

    return render


def console_renderer(limits: Limits, *, colors: bool) -> Renderer:
    """Return a renderer for people: coloured, a traceback on lines of its own."""
    console = ConsoleRenderer(colors=colors, exception_formatter=plain_traceback)

    def render(event: Event) -> bytes:
        fitting = fit(event, limits.LOG_MAX_STRING, limits.LOG_MAX_LINE)
        return _encode(console(None, "", plain(fitting)))

    return render


def dumps(value: Any) -> bytes:
    """Return `value` as JSON, whatever it is."""
    try:
        return orjson.dumps(value, default=simple, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        return orjson.dumps(plain(value), option=_OPTIONS)


def simple(value: Any) -> Any:
    """Return something JSON knows for a value it does not know. Never runs a query."""
    try:
        return _simple(value)
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def _simple(value: Any) -> Any:
    match value:
        case Model():
            return f"<{value._meta.label} {value.pk}>"
        case QuerySet():
            return f"<QuerySet of {value.model._meta.label}>"
        case HttpRequest():
            return f"<{value.method} {value.path}>"
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case type():
            return f"{value.__module__}.{value.__qualname__}"
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case Mapping():
            return dict(value)
        case set() | frozenset() | tuple():
            return list(value)
        case Enum():
            return value.value
        case _:
            return str(value)


def plain(value: Any, depth: int = 0, inside: frozenset[int] = frozenset()) -> Any:
    """
    Return `value` as a tree of dict, list, str, int, float, bool and None that any renderer takes.

    At most 12 levels and 1000 items a level are kept, and what is left out is marked.
    """
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(simple(value), depth + 1, inside)
        case str():
            return str(value).encode("utf-8", "backslashreplace").decode()
        case int():
            return int(value) if -_INT64 <= value < _INT64 else str(int(value))
        case float():
            return float(value) if isfinite(value) else str(float(value))
    if id(value) in inside:
        return "[cycle]"
    if depth >= _MAX_DEPTH:
        return "[too deep]"
    inside = inside | {id(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {spec.name: getattr(value, spec.name, None) for spec in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _bounded_dict(value, depth, inside)
    if isinstance(value, list | tuple | set | frozenset):
        return _bounded_list(value, depth, inside)
    return plain(simple(value), depth + 1, inside)


def _bounded_dict(value: Mapping[Any, Any], depth: int, inside: frozenset[int]) -> Event:
    pairs = list(value.items())
    tree = {str(plain(name, depth + 1, inside)): plain(item, depth + 1, inside) for name, item in pairs[:_MAX_ITEMS]}
    if len(pairs) > _MAX_ITEMS:
        tree["[left out]"] = len(pairs) - _MAX_ITEMS
    return tree


def _bounded_list(value: Iterable[Any], depth: int, inside: frozenset[int]) -> list[Any]:
    items = list(value)
    tree = [plain(item, depth + 1, inside) for item in items[:_MAX_ITEMS]]
    if len(items) > _MAX_ITEMS:
        tree.append(f"[{len(items) - _MAX_ITEMS} left out]")
    return tree


def fit(event: Event, max_string: int, max_line: int) -> Event:
    """Return `event` with what is longer than the limits cut and marked; the fields of the line itself last."""
    fitting = {name: _shortened(value, max_string) for name, value in event.items()}
    excess = len(dumps(fitting)) - max_line
    for name in sorted(fitting, key=lambda name: _size(name, fitting), reverse=True):
        if excess <= 0:
            break
        before = len(dumps(fitting[name]))
        fitting[name] = cut(_text(fitting[name]), max(_MIN_KEPT, before - excess - _MIN_KEPT))
        excess -= before - len(dumps(fitting[name]))
    if len(dumps(fitting)) <= max_line:
        return fitting
    core = {name: fitting[name] for name in CORE_FIELDS if name in fitting}
    return {**core, "fields_left_out": len(fitting) - len(core)}


def _size(name: str, event: Event) -> int:
    return 0 if name in CORE_FIELDS else len(dumps(event[name]))


def _shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return cut(value, limit)
    return value if len(dumps(value)) <= limit else cut(_text(value), limit)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of `text`, its beginning and its end, with a mark where something is missing."""
    if len(text) <= limit:
        return text
    tail = limit // 3
    head = limit - tail
    return f"{text[:head]}… [cut {len(text) - limit} characters] …{text[len(text) - tail :]}"


def format_exception(error: BaseException) -> str:
    """Return the traceback of `error` and of what caused it, as Python prints it."""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    except Exception:
        return simple(error)


def _word(name: Any) -> str:
    return (
        "".join("_" if character in ' ="' or not character.isprintable() else character for character in str(name))
        or "_"
    )


def _flat(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else _text(value)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
