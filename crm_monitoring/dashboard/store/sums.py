"""What metric rows add up to: pure arithmetic. Sums add up themselves, so those of a long time are those of its parts."""

from __future__ import annotations

import struct
from binascii import a2b_base64, b2a_base64
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import Kind

COUNTERS = (
    "count",
    "redirected",
    "rejected",
    "failed",
    "slow",
    "satisfied",
    "tolerating",
    "duration_ms",
    "slowest_ms",
    "sketch",
)
"""The columns of a metric row that make a `Tally`, in this order."""

# Kind's members compare in Python, their values do not.
_REQUEST, _ERROR, _LOSS = Kind.REQUEST.value, Kind.ERROR.value, Kind.LOSS.value
_TIMED = (_REQUEST, Kind.OPERATION.value)

_LENGTH = struct.Struct("<I")


@dataclass(slots=True)
class Tally:
    """The counters of a metric row, added up; `slowest_ms` is the greatest."""

    count: int = 0
    redirected: int = 0
    rejected: int = 0
    failed: int = 0
    slow: int = 0
    satisfied: int = 0
    tolerating: int = 0
    duration_ms: float = 0.0
    slowest_ms: float = 0.0
    sketch: Sketch = field(default_factory=Sketch)

    @classmethod
    def of(cls, counters: Sequence[Any]) -> Tally:
        """Return the tally of a row's `COUNTERS`."""
        *numbers, sketch = counters
        tally = cls(*numbers)
        tally.sketch = Sketch.from_bytes(bytes(sketch))
        return tally

    def add(self, other: Tally) -> None:
        """Count everything that `other` has counted."""
        self.count += other.count
        self.redirected += other.redirected
        self.rejected += other.rejected
        self.failed += other.failed
        self.slow += other.slow
        self.satisfied += other.satisfied
        self.tolerating += other.tolerating
        self.duration_ms += other.duration_ms
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms = other.slowest_ms
        self.sketch.merge(other.sketch)


@dataclass(slots=True)
class Totals:
    """
    What a stretch of time adds up to.

    Attributes:
        errors: By release.
        losses: By kind.
    """

    requests: Tally = field(default_factory=Tally)
    errors: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def count(self, kind: str, name: str, release: str, tally: Tally) -> None:
        """Count a metric row."""
        if kind == _REQUEST:
            self.requests.add(tally)
        elif kind == _ERROR:
            self.errors[release] += tally.count
        elif kind == _LOSS:
            self.losses[name] += tally.count

    def add(self, other: Totals) -> None:
        """Count everything that `other` has counted."""
        self.requests.add(other.requests)
        self.errors.update(other.errors)
        self.losses.update(other.losses)

    def to_bytes(self) -> bytes:
        """Return the totals as they are stored."""
        return orjson.dumps(self.listed())

    @classmethod
    def from_bytes(cls, stored: bytes) -> Totals:
        """Return the totals that `to_bytes` has stored."""
        return cls.of_list(orjson.loads(stored))

    def listed(self) -> list[Any]:
        """Return the totals as JSON takes them."""
        sketch = b2a_base64(self.requests.sketch.to_bytes(), newline=False).decode()
        return [_numbers(self.requests), sketch, self.errors, self.losses]

    @classmethod
    def of_list(cls, listed: Sequence[Any]) -> Totals:
        """Return the totals that `listed` gave."""
        numbers, sketch, errors, losses = listed
        return cls(Tally.of((*numbers, a2b_base64(sketch))), Counter(errors), Counter(losses))


class Points(defaultdict[int, Totals]):
    """The totals of steps of time, by the start of the step, Unix seconds."""

    def __init__(self) -> None:
        super().__init__(Totals)

    def total(self) -> Totals:
        """Return the totals of all steps together."""
        total = Totals()
        for point in self.values():
            total.add(point)
        return total

    def to_bytes(self) -> bytes:
        """Return the points as they are stored."""
        return orjson.dumps([[started, totals.listed()] for started, totals in self.items()])

    @classmethod
    def from_bytes(cls, stored: bytes) -> Points:
        """Return the points that `to_bytes` has stored."""
        points = cls()
        points.update({started: Totals.of_list(listed) for started, listed in orjson.loads(stored)})
        return points


class Names(dict[tuple[str, str], Tally]):
    """What each endpoint and operation adds up to, by kind and name."""

    def add(self, other: Names) -> None:
        """Count everything that `other` has counted."""
        for key, tally in other.items():
            self.count(*key, tally)

    def count(self, kind: str, name: str, tally: Tally) -> None:
        """Count a metric row; those of other kinds have no duration."""
        if kind in _TIMED:
            known = self.get((kind, name))
            if known is None:
                known = self[kind, name] = Tally()
            known.add(tally)

    def to_bytes(self) -> bytes:
        """Return the names as they are stored: JSON of all but the sketches, after its length, and then the sketches."""
        sketches = [tally.sketch.to_bytes() for tally in self.values()]
        entries = [
            [kind, name, len(sketch), *_numbers(tally)]
            for ((kind, name), tally), sketch in zip(self.items(), sketches, strict=True)
        ]
        head = orjson.dumps(entries)
        return b"".join([_LENGTH.pack(len(head)), head, *sketches])

    @classmethod
    def from_bytes(cls, stored: bytes) -> Names:
        """Return the names that `to_bytes` has stored."""
        names, start = cls(), _LENGTH.size + _LENGTH.unpack_from(stored)[0]
        for kind, name, length, *numbers in orjson.loads(stored[_LENGTH.size : start]):
            names[kind, name] = Tally.of((*numbers, stored[start : start + length]))
            start += length
        return names


def _numbers(tally: Tally) -> list[float]:
    return [
        tally.count,
        tally.redirected,
        tally.rejected,
        tally.failed,
        tally.slow,
        tally.satisfied,
        tally.tolerating,
        round(tally.duration_ms, 3),
        round(tally.slowest_ms, 3),
    ]
