"""Where a request spent its time: what it did one after the other, nested, with the gaps between named. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from crm_monitoring.dashboard.inbox import moment, objects
from crm_monitoring.dashboard.texts import string
from crm_monitoring.extending import pattern

MAX_ROWS = 100
OWN_CODE = "own"
"""Kind of what lies between: the project's own Python."""

_DEEPEST = 6
_NARROWEST = 0.4
_LEAST_GAP_MS = 5.0
_LEAST_GAP_SHARE = 0.02
_KINDS = ("db", "http", "cache", "template", "view", "middleware", "queue")
_MAX_OPERATION = 100
_COLUMNS = pattern(r"SELECT (?:DISTINCT )?[\w\"`.]++(?:, [\w\"`.]++){2,}+ FROM ")


class Piece(NamedTuple):
    """Something that took time: milliseconds after the beginning, and how long."""

    at_ms: float
    duration_ms: float
    operation: str
    text: str

    @property
    def end_ms(self) -> float:
        return self.at_ms + self.duration_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One bar, or the same several times in a row.

    Attributes:
        kind: What its operation is about, a word fit for a CSS class: "db.redis" is "db"; "own" for a gap.
        depth: How deep it is nested, at most 6.
        count: How often the same came one after the other; `duration_ms` is that of all of them.
        self_ms: What of it was spent in nothing that is shown below it.
        x: Where its bar starts, as an SVG length: "12.500%"; `width` likewise, wide enough to be seen.
    """

    operation: str
    kind: str
    text: str
    depth: int
    count: int
    at_ms: float
    duration_ms: float
    self_ms: float
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Course:
    """
    A request's time.

    Attributes:
        rows: In the order they began.
        left_out: How many rows are too many to show.
        sums: Milliseconds by kind, most first; together they are the whole.
    """

    rows: Sequence[Row]
    left_out: int
    sums: Sequence[tuple[str, float]]


@dataclass(slots=True)
class _Node:
    piece: Piece
    children: list[_Node] = field(default_factory=list)

    @property
    def self_ms(self) -> float:
        """What its children do not take; those that overlap count once."""
        covered, until = 0.0, self.piece.at_ms
        for child in self.children:
            covered += max(0.0, min(child.piece.end_ms, self.piece.end_ms) - max(child.piece.at_ms, until))
            until = max(until, child.piece.end_ms)
        return max(0.0, self.piece.duration_ms - covered)


def course_of(pieces: Iterable[Piece], whole_ms: float) -> Course:
    """Return the course of what took `whole_ms`: a piece that lies within another is part of it."""
    root = _Node(Piece(0.0, max(whole_ms, 0.0), "", ""))
    _nest(root, [_within(piece, root.piece) for piece in pieces])
    rows = list(_rows(root, 0, root.piece.duration_ms))
    sums: dict[str, float] = defaultdict(float)
    _add_up(root, sums)
    by_time = sorted(((kind, ms) for kind, ms in sums.items() if ms > 0), key=lambda item: -item[1])
    return Course(rows[:MAX_ROWS], max(0, len(rows) - MAX_ROWS), by_time)


def pieces_of_steps(steps: Any) -> Iterator[Piece]:
    """Yield the pieces of a kept work's steps, whatever they have become."""
    for step in objects(steps):
        at_ms, duration_ms = _number(step.get("at_ms")), _number(step.get("duration_ms"))
        yield Piece(at_ms, duration_ms, string(step.get("operation"), _MAX_OPERATION), string(step.get("text")))


def pieces_of_spans(body: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield the pieces of a transaction's spans."""
    began = moment(body.get("start_timestamp"))
    for span in objects(body.get("spans")):
        start, end = moment(span.get("start_timestamp")), moment(span.get("timestamp"))
        if began is not None and start is not None and end is not None:
            text = string(span.get("description") or span.get("name"))
            at_ms, until_ms = ((one - began).total_seconds() * 1000 for one in (start, end))
            yield Piece(at_ms, max(0.0, until_ms - at_ms), string(span.get("op"), _MAX_OPERATION), text)


def brief(statement: str) -> str:
    """Return an SQL statement without a long list of columns; any other text as it is."""
    return _COLUMNS.sub("SELECT … FROM ", statement)


def kind_of(operation: str) -> str:
    """Return what an operation is about, one of a few words: "db.redis" is "db"."""
    first = operation.split(".", 1)[0]
    return first if first in _KINDS else "other"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 0.0


def _within(piece: Piece, whole: Piece) -> Piece:
    at_ms = min(max(piece.at_ms, 0.0), whole.end_ms)
    return piece._replace(at_ms=at_ms, duration_ms=min(max(piece.duration_ms, 0.0), whole.end_ms - at_ms))


def _nest(root: _Node, pieces: Sequence[Piece]) -> None:
    path = [root]
    for piece in sorted(pieces, key=lambda one: (one.at_ms, -one.duration_ms)):
        while len(path) > 1 and piece.end_ms > path[-1].piece.end_ms:
            path.pop()
        node = _Node(piece)
        path[-1].children.append(node)
        path.append(node)


def _add_up(node: _Node, sums: dict[str, float]) -> None:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        # An operation of the project's own is its own code.
        kind = kind_of(one.piece.operation)
        sums[OWN_CODE if kind == "other" else kind] += one.self_ms
        waiting += one.children


# -- rows -----------------------------------------------------------------------------------------------------------------


def _rows(node: _Node, depth: int, whole_ms: float) -> Iterator[Row]:
    least = max(_LEAST_GAP_MS, _LEAST_GAP_SHARE * whole_ms)
    until = node.piece.at_ms
    for alike in _alike(node.children):
        first, last = alike[0].piece, alike[-1].piece
        if node.children and first.at_ms - until > least:
            yield _gap(until, first.at_ms, depth, whole_ms)
        yield _row(alike, depth, whole_ms)
        if len(alike) == 1:
            yield from _rows(alike[0], depth + 1, whole_ms)
        until = max(until, last.end_ms)
    if node.children and node.piece.end_ms - until > least:
        yield _gap(until, node.piece.end_ms, depth, whole_ms)


def _alike(nodes: Sequence[_Node]) -> Iterator[list[_Node]]:
    """Yield what comes one after the other and is the same, together."""
    if not nodes:
        return
    together = [nodes[0]]
    for before, node in pairwise(nodes):
        if not _is_same(before, node):
            yield together
            together = []
        together.append(node)
    yield together


def _is_same(one: _Node, other: _Node) -> bool:
    return not one.children and not other.children and one.piece[2:] == other.piece[2:]


def _row(alike: Sequence[_Node], depth: int, whole_ms: float) -> Row:
    first = alike[0].piece
    return _bar(
        first._replace(duration_ms=alike[-1].piece.end_ms - first.at_ms),
        depth,
        whole_ms,
        count=len(alike),
        duration_ms=sum(node.piece.duration_ms for node in alike),
        self_ms=sum(node.self_ms for node in alike),
    )


def _gap(start: float, end: float, depth: int, whole_ms: float) -> Row:
    piece = Piece(start, end - start, OWN_CODE, "")
    return _bar(piece, depth, whole_ms, count=1, duration_ms=end - start, self_ms=end - start)


def _bar(piece: Piece, depth: int, whole_ms: float, *, count: int, duration_ms: float, self_ms: float) -> Row:
    width = max(100 * piece.duration_ms / whole_ms, _NARROWEST) if whole_ms else 100.0
    x = min(100 * piece.at_ms / whole_ms, 100 - width) if whole_ms else 0.0
    return Row(
        operation=piece.operation,
        kind=OWN_CODE if piece.operation == OWN_CODE else kind_of(piece.operation),
        text=brief(piece.text),
        depth=min(depth, _DEEPEST),
        count=count,
        at_ms=piece.at_ms,
        duration_ms=duration_ms,
        self_ms=self_ms,
        x=f"{max(x, 0.0):.3f}%",
        width=f"{width:.3f}%",
    )
