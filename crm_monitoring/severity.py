"""The five levels of lines and events: by name, by the standard library's number, and in Sentry's words."""

from __future__ import annotations

NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The levels a line may have, each with its number. There are no others, whatever levels a project has added."""

SENTRY_LEVELS = ("debug", "info", "warning", "error", "fatal")
"""The levels an event may have, the least first."""

_NAMES = tuple(NUMBERS)
_OTHER_NAMES = {"exception": "error", "warn": "warning", "fatal": "critical", "notset": "debug"}
_BY_METHOD = {**{name: name for name in _NAMES}, **_OTHER_NAMES}
_IN_SENTRY = dict(zip(_NAMES, SENTRY_LEVELS, strict=True))


def name_of(number: int) -> str:
    """Return the level of a number: one between two of the five, as a project may add, counts as the lower."""
    return _NAMES[min(max(number // 10, 1), len(_NAMES)) - 1]


def name_by_method(method: str) -> str:
    """Return the level of lines that a logger's method of this name writes."""
    return _BY_METHOD.get(method, "info")


def in_sentry(level: str) -> str:
    """Return Sentry's word for a level; a word of its own stays."""
    return _IN_SENTRY.get(level, level)


def rank_in_sentry(level: str) -> int:
    """Return the place of a Sentry level among them, 0 for one that it does not know."""
    return SENTRY_LEVELS.index(level) if level in SENTRY_LEVELS else 0
