"""
What was counted of many names, and what a stretch of time adds up to: pure arithmetic, and how it is stored.

Sums add up themselves, so those of a long time are those of its parts. What is stored begins with its format: what a newer version
has written is recognised, and left to it.
"""

from __future__ import annotations

import struct
import zlib
from binascii import a2b_base64, b2a_base64
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from crm_monitoring.dashboard.metrics.counters import FORMAT, OTHER, Counters, Metric, added, completed, of_numbers
from crm_monitoring.dashboard.metrics.sketch import Sketch, UnknownFormat

# The members of an enumeration hash in Python, at half a microsecond; their values do not.
REQUEST, OPERATION, ERROR, LOSS = (metric.value for metric in Metric)

MAX_NAMES = 1_000
"""How many names are kept apart, of all processes; what comes after them is counted as OTHER."""

_LENGTH = struct.Struct("<I")


class Key(NamedTuple):
    """
    What is counted by itself.

    Attributes:
        metric: The value of a `Metric`.
        name: Endpoint ("GET organisations/{pk}/"), operation, fingerprint of an issue, or kind of a loss.
        release: Of errors only.
    """

    metric: str
    name: str
    release: str = ""


@dataclass(slots=True)
class Totals:
    """
    What a stretch of time adds up to.

    Attributes:
        errors: By release.
        losses: By kind.
    """

    requests: Counters = field(default_factory=Counters)
    errors: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def add(self, other: Totals) -> None:
        """Count everything that `other` has counted."""
        self.requests.add(other.requests)
        self.errors.update(other.errors)
        self.losses.update(other.losses)

    def to_bytes(self) -> bytes:
        """Return the totals as they are stored: their format, and JSON."""
        sketch = b2a_base64(self.requests.sketch.to_bytes(), newline=False).decode()
        return bytes([FORMAT]) + orjson.dumps([self.requests.numbers(), sketch, self.errors, self.losses])

    @classmethod
    def from_bytes(cls, stored: bytes) -> Totals:
        """
        Return the totals that `to_bytes` has stored.

        Raises:
            UnknownFormat: if a newer version has stored them.
        """
        _check(stored)
        numbers, sketch, errors, losses = orjson.loads(memoryview(stored)[1:])
        requests = of_numbers(completed(numbers), Sketch.from_bytes(a2b_base64(sketch)))
        return cls(requests, Counter(errors), Counter(losses))


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


class Names(dict[Key, Counters]):
    """What was counted of each name."""

    def of(self, key: Key) -> Counters:
        """Return the counters of a name, new ones where there were none; those of OTHER where there are too many."""
        known = self.get(key)
        if known is None and len(self) >= MAX_NAMES:
            key = Key(key[0], OTHER, key[2])
            known = self.get(key)
        if known is None:
            known = self[key] = Counters()
        return known

    def add(self, other: Names) -> None:
        """Count everything that `other` has counted."""
        for key, counters in other.items():
            self.of(key).add(counters)

    def by_name(self, metric: str) -> dict[str, Counters]:
        """Return what was counted of one metric by name, of all releases."""
        found: dict[str, Counters] = {}
        for (of, name, _), counters in self.items():
            if of == metric:
                # Of one release alone it is as it is.
                found[name] = found[name] + counters if name in found else counters
        return found

    def totals(self) -> Totals:
        """Return what all names together add up to."""
        totals = Totals()
        for (metric, name, release), counters in self.items():
            if metric == REQUEST:
                totals.requests.add(counters)
            elif metric == ERROR:
                totals.errors[release] += counters.count
            elif metric == LOSS:
                totals.losses[name] += counters.count
        return totals

    def to_bytes(self) -> bytes:
        """Return the names as they are stored: format; packed, the length of JSON, JSON of all but the sketches, and the sketches."""
        sketches = [counters.sketch.to_bytes() for counters in self.values()]
        entries = [
            [*key, len(sketch), *counters.numbers()]
            for (key, counters), sketch in zip(self.items(), sketches, strict=True)
        ]
        head = orjson.dumps(entries)
        # Quick to pack, and a quarter of the bytes.
        return bytes([FORMAT]) + zlib.compress(b"".join([_LENGTH.pack(len(head)), head, *sketches]), 1)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Names:
        """
        Return the names that `to_bytes` has stored.

        Raises:
            UnknownFormat: if a newer version has stored them.
        """
        _check(stored)
        return cls.sum([stored])

    @classmethod
    def sum(cls, bodies: Iterable[bytes], only: tuple[str, str] | None = None) -> Names:
        """
        Return what all bodies that `to_bytes` has stored add up to; one of a newer version is that version's to show.

        Args:
            only: The metric and the name that are wanted; all unless given.
        """
        # Ten thousand are added for a page: as lists, which takes a fifth of the time.
        sums: dict[Any, list[float]] = {}
        sketches: dict[Any, Sketch] = {}
        for body in filter(is_known, bodies):
            for key, numbers, stored in _entries(body):
                if only is not None and key[:2] != only:
                    continue
                known = sums.get(key)
                if known is None and len(sums) >= MAX_NAMES:
                    key = (key[0], OTHER, key[2])
                    known = sums.get(key)
                sums[key] = added(known, numbers) if known else numbers
                sketches.setdefault(key, Sketch()).merge_bytes(stored)
        return cls({Key(*key): of_numbers(numbers, sketches[key]) for key, numbers in sums.items()})


def _entries(body: bytes) -> Iterator[tuple[Any, list[float], bytes]]:
    unpacked = zlib.decompress(memoryview(body)[1:])
    start = _LENGTH.size + _LENGTH.unpack_from(unpacked)[0]
    for metric, name, release, length, *numbers in orjson.loads(memoryview(unpacked)[_LENGTH.size : start]):
        yield (metric, name, release), completed(numbers), unpacked[start : start + length]
        start += length


def is_known(stored: bytes) -> bool:
    """Whether this version, or one before, has stored it."""
    return bool(stored) and 0 < stored[0] <= FORMAT


def _check(stored: bytes) -> None:
    if not is_known(stored):
        raise UnknownFormat
