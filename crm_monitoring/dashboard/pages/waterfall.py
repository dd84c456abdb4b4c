"""The spans of a transaction, nested and placed in time, ready to be drawn. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm_monitoring.dashboard.inbox import Pair, mapping, moment, objects, pairs
from crm_monitoring.dashboard.texts import string

MAX_SPANS = 500
_DEEPEST = 8
_NARROWEST = 0.3
_KINDS = ("db", "http", "cache", "template", "view", "middleware", "queue")
_MAX_OPERATION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRow:
    """
    One span.

    Attributes:
        kind: What its operation is about, one of a few words fit for a CSS class: "db.redis" is "db".
        depth: 0 for the transaction itself; at most 8, for a narrow screen has no room for more.
        offset_ms: From the start of the transaction.
        x: Where its bar starts, as an SVG length: "12.500%"; `width` likewise, wide enough to be seen.
    """

    operation: str
    kind: str
    description: str
    depth: int
    offset_ms: float
    duration_ms: float
    x: str
    width: str
    data: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same span over and over: what N+1 queries look like."""

    operation: str
    description: str
    count: int
    total_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """
    A transaction as its page draws it.

    Attributes:
        rows: The transaction first, then its spans, each below its parent, by start.
        left_out: How many spans are too many to draw.
        db_ms: Time in which at least one database span was open, those that overlap counted once.
        db_share: That of the whole, from 0 to 1; None for a transaction that took no time.
        repeated: Most time first.
    """

    duration_ms: float
    rows: Sequence[SpanRow]
    left_out: int
    db_ms: float
    db_share: float | None
    repeated: Sequence[Repeated]


@dataclass(frozen=True, slots=True)
class _Span:
    """A span as it came, with its start and end in ms from the start of the transaction, and within it."""

    body: Mapping[Any, Any]
    start: float
    end: float

    @property
    def duration_ms(self) -> float:
        return self.end - self.start

    @property
    def operation(self) -> str:
        return string(self.body.get("op"), _MAX_OPERATION)

    @property
    def description(self) -> str:
        return string(self.body.get("description") or self.body.get("name"))


def arrange(body: Any, repeated_over: int = 0) -> Waterfall:
    """
    Place the spans of a transaction's body.

    Args:
        repeated_over: How often the same span may come before it counts as repeated; 0 for never.
    """
    transaction = mapping(body)
    whole = _whole(transaction)
    spans = list(_spans(transaction, whole))
    nested = [(whole, 0), *_nested(spans)]
    db_ms = _db_ms(spans)
    return Waterfall(
        duration_ms=whole.end,
        rows=[_row(span, depth, whole.end) for span, depth in nested[: MAX_SPANS + 1]],
        left_out=max(0, len(spans) - MAX_SPANS),
        db_ms=db_ms,
        db_share=db_ms / whole.end if whole.end else None,
        repeated=_repeated(spans, repeated_over) if repeated_over else [],
    )


def db_share(body: Any) -> float | None:
    """Return `Waterfall.db_share` alone."""
    transaction = mapping(body)
    whole = _whole(transaction)
    return _db_ms(_spans(transaction, whole)) / whole.end if whole.end else None


def _whole(transaction: Mapping[Any, Any]) -> _Span:
    trace = mapping(mapping(transaction.get("contexts")).get("trace"))
    about = {"op": trace.get("op"), "description": transaction.get("transaction"), "data": trace.get("data")}
    return _Span(about, 0.0, max(0.0, _ms(_start(transaction), moment(transaction.get("timestamp"))) or 0.0))


def _start(body: Mapping[Any, Any]) -> datetime | None:
    return moment(body.get("start_timestamp"))


def _ms(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds() * 1000


def _spans(transaction: Mapping[Any, Any], whole: _Span) -> Iterator[_Span]:
    began = _start(transaction)
    for body in objects(transaction.get("spans")):
        start = _within(_ms(began, _start(body)), whole, 0.0)
        end = _within(_ms(began, moment(body.get("timestamp"))), whole, start)
        yield _Span(body, start, max(start, end))


def _within(offset: float | None, whole: _Span, default: float) -> float:
    return default if offset is None else min(max(offset, 0.0), whole.end)


def _nested(spans: Sequence[_Span]) -> Iterator[tuple[_Span, int]]:
    """Yield each span below its parent, with its depth. One whose parent is not there, or is below itself, is the root's."""
    ordered = sorted(range(len(spans)), key=lambda index: spans[index].start)
    children: dict[str, list[int]] = defaultdict(list)
    known = {_id(span, "span_id") for span in spans}
    tops: list[int] = []
    for index in ordered:
        parent = _id(spans[index], "parent_span_id")
        (children[parent] if parent in known else tops).append(index)
    seen: set[int] = set()
    # Whoever is in a circle is met from no top, so everyone is tried as one in the end.
    for top in [*tops, *ordered]:
        yield from _below(top, spans, children, seen)


def _below(
    top: int, spans: Sequence[_Span], children: Mapping[str, list[int]], seen: set[int]
) -> Iterator[tuple[_Span, int]]:
    waiting = [(top, 1)]
    while waiting:
        index, depth = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        yield spans[index], depth
        below = children.get(_id(spans[index], "span_id"), [])
        waiting += [(child, depth + 1) for child in reversed(below)]


def _id(span: _Span, name: str) -> str:
    return string(span.body.get(name), _MAX_OPERATION)


def _row(span: _Span, depth: int, whole_ms: float) -> SpanRow:
    width = max(100 * span.duration_ms / whole_ms, _NARROWEST) if whole_ms else 100.0
    x = min(100 * span.start / whole_ms, 100 - width) if whole_ms else 0.0
    return SpanRow(
        operation=span.operation,
        kind=_kind(span.operation) if depth else "whole",
        description=span.description,
        depth=min(depth, _DEEPEST),
        offset_ms=span.start,
        duration_ms=span.duration_ms,
        x=f"{x:.3f}%",
        width=f"{width:.3f}%",
        data=pairs(span.body.get("data")),
    )


def _kind(operation: str) -> str:
    first = operation.split(".", 1)[0]
    return first if first in _KINDS else "other"


def _db_ms(spans: Iterable[_Span]) -> float:
    total = until = 0.0
    for span in sorted((one for one in spans if _kind(one.operation) == "db"), key=lambda one: one.start):
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total


def _repeated(spans: Sequence[_Span], over: int) -> list[Repeated]:
    alike: dict[tuple[str, str], list[_Span]] = defaultdict(list)
    for span in spans:
        if span.description:
            alike[span.operation, span.description].append(span)
    found = [
        Repeated(operation, description, len(same), sum(span.duration_ms for span in same))
        for (operation, description), same in alike.items()
        if len(same) > over
    ]
    return sorted(found, key=lambda repeated: -repeated.total_ms)
