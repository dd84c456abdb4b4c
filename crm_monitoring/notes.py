"""What is noted of a request or unit of work while it runs: bounded, and thrown away at its end unless somebody keeps it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from crm_monitoring.records import OperationRecord

RECENT_QUERIES = 10
RECENT_LINES = 100
MOST_STEPS = 200
MOST_ASKED = 20


class Query(NamedTuple):
    """One database query, without its parameters."""

    started: float
    sql: str
    duration_ms: float
    alias: str


class Statement:
    """How often a work has run a query of one shape, and how long that took, in milliseconds."""

    __slots__ = ("count", "max_ms", "total_ms")

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0

    def add(self, duration_ms: float) -> int:
        """Count one more; returns how many there are."""
        self.count += 1
        self.total_ms += duration_ms
        if duration_ms > self.max_ms:
            self.max_ms = duration_ms
        return self.count


class Asked(NamedTuple):
    """A task or job that a work has asked for: what is done, and the runner's id of it."""

    name: str
    job_id: str


class Notes:
    """
    What a work has done so far.

    Attributes:
        recent_lines: Lines that lead to an event if one is made, each with its moment in Unix seconds.
        recent_queries: The latest of its queries.
        statements: Its queries by shape, at most a thousand shapes.
        repeated: Shapes that were repeated too often, with where in the project's code that was noticed.
        steps: The first of its queries and operations, for whoever may keep it whole; None where nobody does.
        asked: Tasks and jobs that it has asked for.
    """

    asked: tuple[Asked, ...] = ()

    def __init__(self, *, keeps_steps: bool) -> None:
        self.statements: dict[str, Statement] = {}
        self.repeated: dict[str, dict[str, Any]] = {}
        self.recent_queries: deque[Query] = deque(maxlen=RECENT_QUERIES)
        self.recent_lines: deque[tuple[float, Mapping[str, Any]]] = deque(maxlen=RECENT_LINES)
        self.steps: list[Query | OperationRecord] | None = [] if keeps_steps else None

    def note_step(self, step: Query | OperationRecord) -> None:
        """Note a query or an operation, if anybody may want to know."""
        if self.steps is not None and len(self.steps) < MOST_STEPS:
            self.steps.append(step)

    def note_asked(self, name: str, job_id: str) -> None:
        """Note a task or job that was asked for."""
        if len(self.asked) < MOST_ASKED:
            self.asked = (*self.asked, Asked(name, job_id))
