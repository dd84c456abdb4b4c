"""When the next flush is due, and since when the database does not take any: pure, and asked on every request."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from crm_monitoring.extending import after_fork

INTERVAL_S = 10.0
INTERVAL_AFTER_FAILURE_S = 1.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0


class Schedule:
    """
    When the next flush is due, in seconds of the monotonic clock.

    Attributes:
        problem: What keeps the last one from having been written, empty where nothing did.
        since: When that began.
    """

    def __init__(self) -> None:
        self.last = monotonic()
        self.pause = 0.0
        self.urgent = False
        self.problem = ""
        self.since: datetime | None = None

    def is_due(self) -> bool:
        """Whether the next flush is due."""
        return monotonic() - self.last >= self._pause()

    def is_urgent(self) -> bool:
        """Whether something has failed since the last flush, and the database can be written."""
        return self.urgent and not self.problem

    def _pause(self) -> float:
        if self.problem:
            return self.pause
        return INTERVAL_AFTER_FAILURE_S if self.urgent else INTERVAL_S

    def begin(self) -> None:
        """Note that a flush begins."""
        self.last = monotonic()
        self.urgent = False

    def succeed(self) -> None:
        """Note that it is written."""
        self.pause = 0.0
        self.problem = ""
        self.since = None

    def fail(self, problem: str) -> None:
        """Note that it is not written: the next waits, and the longer the more have failed."""
        self.pause = min(max(_FIRST_PAUSE_S, 2 * self.pause), _LONGEST_PAUSE_S)
        self.last = monotonic()
        self.problem = problem
        self.since = self.since or datetime.now(UTC)


schedule = Schedule()


def note_failure() -> None:
    """Make the next flush due at once: somebody looks for what has just failed."""
    schedule.urgent = True


def reset() -> None:
    """Start over, as in a forked child."""
    schedule.__init__()  # type: ignore[misc]  # others hold it


after_fork(reset)
