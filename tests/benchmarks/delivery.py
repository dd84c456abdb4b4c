"""What a stack delivered for a request, in words common to all of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """
    One error event.

    Attributes:
        breadcrumbs: How many it carries.
        request: Whether it says what was asked for.
        user: Whether it says who asked.
        trace: Whether it names its trace.
        frames: Frames of its stack, and how many of them have their local variables.
    """

    title: str
    breadcrumbs: int = 0
    request: bool = False
    user: bool = False
    trace: bool = False
    frames: int = 0
    with_locals: int = 0


@dataclass(frozen=True)
class Trace:
    """One transaction and its spans."""

    name: str
    spans: int = 0


@dataclass
class Delivery:
    """
    Everything that left for one request.

    Attributes:
        lines: Of the log, each parsed.
        records: Metrics, rows and the like: how many of which kind.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    records: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return dataclasses.asdict(self)
