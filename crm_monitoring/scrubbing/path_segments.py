"""Segments of a path that no one would write: what looks random in a URL is a credential."""

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
