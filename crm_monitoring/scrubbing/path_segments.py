"""What no one would write: random segments of a path, and codes of a body that let somebody in."""

from __future__ import annotations

import re

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing.spans import FILTERED

_SEGMENT = pattern(r"[^/?#]+")
_UUID = pattern(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LONG_HEX = pattern(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}+(?![0-9A-Za-z])")
_LONG_RUN = pattern(r"[\w=-]{20,}+", re.ASCII)
_CHUNK = pattern(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LETTERS_OF_A_WORD = 3
_SHORTEST_RANDOM = 20
_SEPARATORS = str.maketrans("", "", " -._")
_FEWEST_DIGITS_OF_A_CODE = 6
_SHORTEST_CODE = 8
_SHORTEST_LONG_CODE = 32


def looks_random(segment: str) -> bool:
    """Tell whether a segment of a path has a run that no one would write: 32 hex digits, or 20 signs in no order."""
    if len(segment) < _SHORTEST_RANDOM or _UUID.fullmatch(segment):
        return False
    return _LONG_HEX.search(segment) is not None or any(map(_has_no_words, _LONG_RUN.findall(segment)))


def _has_no_words(run: str) -> bool:
    chunks = _CHUNK.findall(run)
    letters = sum(map(len, chunks))
    return _SHORTEST_RANDOM <= letters < _LETTERS_OF_A_WORD * len(chunks)


def without_random(path: str) -> str:
    """Return a path or a URL with the segments replaced that look like a credential."""
    return path if len(path) < _SHORTEST_RANDOM else _SEGMENT.sub(_without_random, path)


def _without_random(match: re.Match[str]) -> str:
    return FILTERED if looks_random(match[0]) else match[0]


def looks_like_code(value: str) -> bool:
    """
    Tell whether a value may be a one-time code, a recovery code or a key, rather than "FR", "75001" or "annual-plan".

    These are six digits, eight letters and digits mixed, 32 letters, or letters in no order.
    """
    code = value.translate(_SEPARATORS)
    if code.isdecimal():
        return len(code) >= _FEWEST_DIGITS_OF_A_CODE
    if _is_mixed(code):
        return len(code) >= _SHORTEST_CODE
    return " " not in value and (len(code) >= _SHORTEST_LONG_CODE or looks_random(value))


def _is_mixed(code: str) -> bool:
    return code.isalnum() and any(map(str.isdecimal, code)) and not code.isdecimal()
