"""Reads a body that came as JSON from anywhere: whatever a field holds, what is asked for comes out, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

import orjson

from crm_monitoring.dashboard.texts import string
from crm_monitoring.rendering import plain

MAX_ITEMS = 250

# Further off, a moment can leave the calendar on its way into a time zone.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200


class Pair(NamedTuple):
    """A name and its value, as texts."""

    name: str
    value: str


def mapping(value: Any) -> Mapping[Any, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[Mapping[Any, Any]]:
    """Return the mappings of one of Sentry's lists: the list itself, `{"values": [...]}`, or a single member."""
    listed = mapping(value).get("values", [value]) if isinstance(value, Mapping) else value
    return [one for one in items(listed) if isinstance(one, Mapping)]


def pretty(value: Any) -> str:
    """Return text as it is, and anything else as indented JSON; empty for None."""
    return string(value if isinstance(value, str | None) else indented(value).decode())


def indented(value: Any) -> bytes:
    """Return `value` as indented JSON; what is nested too deeply for it is left out and marked."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except TypeError:
        return orjson.dumps(plain(value), option=orjson.OPT_INDENT_2)


def number(value: Any) -> float | None:
    """Return `value` if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def integer(value: Any) -> int | None:
    """Return `value` if it is a whole number that a page can show."""
    converted = number(value)
    return None if converted is None or abs(converted) > 1e15 else int(converted)


def moment(value: Any) -> datetime | None:
    """Return a moment given as Unix seconds or in ISO 8601, which is UTC where it does not say; None where it is neither."""
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else _from_seconds(number(value))
    except (ValueError, OverflowError, OSError):
        return None
    if parsed is None or not _FIRST_YEAR < parsed.year < _LAST_YEAR:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _from_seconds(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def pairs(value: Any) -> list[Pair]:
    """Return the names and values of a mapping, of a list of pairs, or of a list of `{"key": ..., "value": ...}`."""
    found: list[Pair] = [
        Pair(string(name, 200), string(item)) for name, item in islice(_named(value), MAX_ITEMS) if item is not None
    ]
    return found


def _named(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return (pair for pair in map(_pair, items(value)) if pair is not None)


def _pair(value: Any) -> tuple[Any, Any] | None:
    match value:
        case [name, item]:
            return name, item
        case {"key": name, "value": item}:
            return name, item
        case _:
            return None
