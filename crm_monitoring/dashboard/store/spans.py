"""Stretches of time and the slots that make them up: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LADDER = (60, 900, 7_200, 86_400)
"""Widths of roll-ups in seconds, each of which has the next as its multiple."""

MINUTE = LADDER[0]


class Span(NamedTuple):
    """A stretch of time, Unix seconds; its end is not in it."""

    start: int
    end: int


class Slots(NamedTuple):
    """The slots of one width in a stretch of time."""

    seconds: int
    span: Span


def floor_to(moment: float, step: int) -> int:
    """Return the last multiple of `step` that is not after `moment`."""
    return int(moment // step) * step


def ceil_to(moment: float, step: int) -> int:
    """Return the first multiple of `step` that is not before `moment`."""
    return -floor_to(-moment, step)


def cover(span: Span, unsettled: Iterable[tuple[int, int]] = (), widths: Sequence[int] = LADDER) -> list[Slots]:
    """
    Return the widest slots that make up `span`, whose ends are whole minutes.

    Args:
        unsettled: Width and start of slots that no wider one has as they are: none that holds one is taken.
    """
    if not widths or span.start >= span.end:
        return []
    *finer, seconds = widths
    inner = Span(ceil_to(span.start, seconds), floor_to(span.end, seconds))
    unsettled = list(unsettled)
    broken = sorted({floor_to(start, seconds) for width, start in unsettled if width < seconds})
    found: list[Slots] = []
    for stretch, is_whole in _stretches(span, inner, seconds, broken):
        found += [Slots(seconds, stretch)] if is_whole else cover(stretch, unsettled, finer)
    return found


def _stretches(span: Span, inner: Span, seconds: int, broken: Iterable[int]) -> Iterator[tuple[Span, bool]]:
    """Cut `span` into stretches of whole slots and what lies between."""
    if inner.start >= inner.end:
        yield span, False
        return
    start = inner.start
    yield Span(span.start, start), False
    for slot in broken:
        if inner.start <= slot < inner.end:
            if start < slot:
                yield Span(start, slot), True
            yield Span(slot, slot + seconds), False
            start = slot + seconds
    if start < inner.end:
        yield Span(start, inner.end), True
    yield Span(inner.end, span.end), False
