"""
The list of counters: the name, type, way of adding up and first stored format of each stand here, and nowhere else.

Cells in memory, sums, stored roll-ups and JSON derive from it. A new counter is a line here, a line where it is counted, and a line
where it is shown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

from crm_monitoring.dashboard.metrics.sketch import Sketch, apdex

FORMAT = 1
"""The format that roll-ups are stored in, their first byte. A counter that is added is `since` the next one."""

OTHER = "(other)"
"""The name of all endpoints, operations or issues that came after the first 200."""

_DECIMALS = 3


class Metric(StrEnum):
    """What is counted; all but requests and operations have nothing but a count."""

    REQUEST = "request"
    OPERATION = "operation"
    ERROR = "error"
    LOSS = "loss"


def _counter(default: float = 0, *, adds: Callable[[Any, Any], Any] = operator.add, since: int = 1) -> Any:
    return field(default=default, metadata={"adds": adds, "since": since})


@dataclass(slots=True)
class Counters:
    """
    What was counted of one name.

    Attributes:
        redirected: Responses with status 3xx; `rejected` 4xx, `failed` 5xx or operations that raised. The rest of `count` is 2xx and 1xx.
        slow: Requests over SLOW_REQUEST_MS, operations over their threshold.
        satisfied: Answered without failing within APDEX_MS; `tolerating` within four times that.
        duration_ms: Sum of all durations.
        sketch: How the durations are distributed.
    """

    count: int = _counter()
    redirected: int = _counter()
    rejected: int = _counter()
    failed: int = _counter()
    slow: int = _counter()
    satisfied: int = _counter()
    tolerating: int = _counter()
    duration_ms: float = _counter(0.0)
    slowest_ms: float = _counter(0.0, adds=max)
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, other: Counters) -> None:
        """Count everything that `other` has counted."""
        for name, number in zip(NAMES, added(_numbers(self), _numbers(other)), strict=True):
            setattr(self, name, number)
        self.sketch.merge(other.sketch)

    def __add__(self, other: Counters) -> Counters:
        return of_numbers(added(_numbers(self), _numbers(other)), self.sketch + other.sketch)

    def numbers(self) -> list[float]:
        """List all but the sketch, as it is stored."""
        return [round(number, _DECIMALS) for number in _numbers(self)]

    def time(self, duration_ms: float) -> None:
        """Count what has taken so long."""
        self.count += 1
        self.duration_ms += duration_ms
        if duration_ms > self.slowest_ms:
            self.slowest_ms = duration_ms
        self.sketch.add(duration_ms)

    def judge(self, status: int, duration_ms: float, threshold_ms: float) -> None:
        """Count how a request was answered."""
        if status >= 500:
            self.failed += 1
            return
        if status >= 400:
            self.rejected += 1
        elif status >= 300:
            self.redirected += 1
        if duration_ms <= threshold_ms:
            self.satisfied += 1
        elif duration_ms <= 4 * threshold_ms:
            self.tolerating += 1

    @property
    def average_ms(self) -> float | None:
        """The mean duration, None where nothing was counted."""
        return self.duration_ms / self.count if self.count else None

    @property
    def error_rate(self) -> float | None:
        """The share that failed, from 0 to 1; None where nothing was counted."""
        return self.failed / self.count if self.count else None

    @property
    def apdex(self) -> float | None:
        """How satisfied users were, from 0 to 1; None where nothing was counted."""
        return apdex(self.count, self.satisfied, self.tolerating)


_COUNTERS = [counter for counter in fields(Counters) if counter.metadata]
NAMES = tuple(counter.name for counter in _COUNTERS)
"""The names of all counters, in the order they are stored in."""

_numbers = attrgetter(*NAMES)
# Most are added: all are at once, in C, and then the others.
_OTHERWISE = [
    (index, counter.metadata["adds"])
    for index, counter in enumerate(_COUNTERS)
    if counter.metadata["adds"] is not operator.add
]


def added(numbers: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return what two lists of `NAMES` add up to."""
    sums = list(map(operator.add, numbers, others))
    for index, adds in _OTHERWISE:
        sums[index] = adds(numbers[index], others[index])
    return sums


def completed(numbers: list[float]) -> list[float]:
    """Return what `Counters.numbers` has listed in any format; a counter that it did not have is as at the start."""
    return numbers if len(numbers) == len(NAMES) else [*numbers, *_numbers(Counters())[len(numbers) :]]


def of_numbers(numbers: Sequence[float], sketch: Sketch) -> Counters:
    """Return the counters of a list of `NAMES`."""
    values: list[Any] = [*numbers, sketch]
    return Counters(*values)
