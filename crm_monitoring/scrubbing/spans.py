"""Where in a text something is to be replaced, and by what."""

from __future__ import annotations

from collections.abc import Iterator

FILTERED = "[Filtered]"

Span = tuple[int, int]
"""Where in a text something to be replaced begins and ends."""


def spliced(text: str, spans: Iterator[Span]) -> str:
    """Return `text` with each span replaced. Spans come in order and do not overlap."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += text[done:start], FILTERED
        done = end
    return "".join([*parts, text[done:]]) if parts else text
