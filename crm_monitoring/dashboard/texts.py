"""Text of anybody's, as the database and a page take it."""

from __future__ import annotations

from typing import Any

from crm_monitoring.rendering import cut, text

MAX_TEXT = 4_000


def string(value: Any, limit: int = MAX_TEXT) -> str:
    """Return `value` as text, its middle cut out where it is too long; empty for None."""
    return "" if value is None else cut(text(value), limit)


def in_any_charset(line: str) -> str:
    """Return `line` without what columns of some databases cannot hold: MySQL's utf8 has no emoji, LATIN1 but Western letters."""
    return line.encode("latin-1", "replace").decode("latin-1")


def one_line(value: Any, length: int) -> str:
    """Return `value` as one line of at most `length` characters that every database takes: no NUL, no lone surrogate."""
    line = " ".join(string(value).replace("\0", "\ufffd").split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
