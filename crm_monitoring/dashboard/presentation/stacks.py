"""The exceptions of an event and their frames: what Sentry's protocol orders oldest first comes innermost first, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from crm_monitoring.dashboard.inbox import MAX_ITEMS, integer, items, mapping, objects, pairs
from crm_monitoring.dashboard.presentation.parts import MAX_NAME, ExceptionPart, Frame, SourceLine, Stretch
from crm_monitoring.dashboard.texts import string

MAX_EXCEPTIONS = 50
_MAX_SOURCE_LINE = 500
_CIRCLES = (1, 2, 3)
_LEAST_REPEATS = 2
_LINKS = {"__cause__": "cause", "__context__": "context"}


def exceptions_of(event: Mapping[Any, Any]) -> list[ExceptionPart]:
    """Return the exceptions of an event, or the stack that its message was sent with, the outermost first as it escaped."""
    values = objects(event.get("exception"))[-MAX_EXCEPTIONS:] or _stacks(event)
    values.reverse()
    types = {integer(mapping(value.get("mechanism")).get("exception_id")): value.get("type") for value in values}
    return [_exception(value, index, types) for index, value in enumerate(values)]


def place_of(exceptions: Sequence[ExceptionPart]) -> Frame | None:
    """Return where in the project's own code the first exception was raised, or where in a library if it never was in it."""
    return next(
        (frame for part in exceptions[:1] for one in part.stretches for frame in one.frames if frame.is_open), None
    )


def _stacks(event: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    """Return the stack that a message was sent with."""
    threads = [thread for thread in objects(event.get("threads")) if mapping(thread.get("stacktrace")).get("frames")]
    return [{"stacktrace": thread["stacktrace"]} for thread in threads if thread.get("current") or len(threads) == 1]


def _exception(value: Mapping[Any, Any], index: int, types: Mapping[Any, Any]) -> ExceptionPart:
    mechanism = mapping(value.get("mechanism"))
    handled = mechanism.get("handled")
    parent = integer(mechanism.get("parent_id"))
    frames = [_frame(frame) for frame in objects(mapping(value.get("stacktrace")).get("frames"))]
    shown = _with_open(_folded(frames[::-1]), is_first=not index)[:MAX_ITEMS]
    return ExceptionPart(
        type=string(value.get("type"), MAX_NAME),
        value=string(value.get("value")),
        module=string(value.get("module"), MAX_NAME),
        link=_link(string(mechanism.get("source"))) if index else "",
        parent="" if parent is None else string(types.get(parent), MAX_NAME),
        mechanism=string(mechanism.get("type"), MAX_NAME),
        handled=handled if isinstance(handled, bool) else None,
        stretches=_stretches(shown),
        left_out=max(0, len(frames) - sum(1 + frame.repeats for frame in shown)),
    )


def _link(source: str) -> str:
    return "member" if source.startswith("exceptions[") else _LINKS.get(source, "earlier")


def _folded(frames: Sequence[Frame]) -> list[Frame]:
    """Leave out what a recursion repeats: the same call, or the same two or three in a circle, over and over."""
    folded: list[Frame] = []
    at = 0
    while at < len(frames):
        size, times = max(
            ((size, _repeats(frames, at, size)) for size in _CIRCLES), key=lambda found: found[0] * found[1]
        )
        if times < _LEAST_REPEATS:
            size, times = 1, 0
        folded += frames[at : at + size]
        folded[-1] = replace(folded[-1], repeats=size * times)
        at += size * (times + 1)
    return folded


def _repeats(frames: Sequence[Frame], at: int, size: int) -> int:
    """Return how often the `size` frames from `at` on come again, one after the other."""
    calls = [_call(frame) for frame in frames[at : at + size]]
    times = 0
    while [_call(frame) for frame in frames[at + (times + 1) * size : at + (times + 2) * size]] == calls:
        times += 1
    return times


def _call(frame: Frame) -> tuple[str, str, int | None]:
    return frame.function, frame.filename, frame.number


def _with_open(frames: list[Frame], *, is_first: bool) -> list[Frame]:
    if not (frames and is_first):
        return frames
    at = next((index for index, frame in enumerate(frames) if not frame.is_library), 0)
    return [*frames[:at], replace(frames[at], is_open=True), *frames[at + 1 :]]


def _stretches(frames: Sequence[Frame]) -> list[Stretch]:
    has_own = any(not frame.is_library for frame in frames)
    return [
        Stretch(list(together), is_library, is_library and has_own)
        for is_library, together in groupby(frames, lambda frame: frame.is_library)
    ]


def _frame(frame: Mapping[Any, Any]) -> Frame:
    return Frame(
        function=string(frame.get("function"), MAX_NAME),
        module=string(frame.get("module"), MAX_NAME),
        filename=string(frame.get("filename") or frame.get("abs_path"), MAX_NAME),
        number=integer(frame.get("lineno")),
        is_library=frame.get("in_app") is False,
        source=list(_source(frame)),
        variables=pairs(frame.get("vars")),
    )


def _source(frame: Mapping[Any, Any]) -> Iterator[SourceLine]:
    current = frame.get("context_line")
    if current is None:
        return
    before = items(frame.get("pre_context"))[-MAX_ITEMS:]
    lines = [*before, current, *items(frame.get("post_context"))[:MAX_ITEMS]]
    number = integer(frame.get("lineno"))
    for offset, code in enumerate(lines, -len(before)):
        yield SourceLine(None if number is None else number + offset, string(code, _MAX_SOURCE_LINE), offset == 0)
