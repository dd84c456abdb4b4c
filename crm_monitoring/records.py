"""What was measured, as plain data: made once, handed to every hook."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

UNROUTED = "(unrouted)"
CLIENT_CLOSED_REQUEST = 499  # nginx's number for a client that went away before the response was complete


class RequestRecord(NamedTuple):
    """
    One finished HTTP request.

    Attributes:
        route: The matched URL pattern, "organisations/{pk}/", or "(unrouted)": bounded, never a path.
        status: HTTP status sent; 499 where the client went away, 500 where the request failed without a response.
        started: Unix time in seconds.
        duration_ms: Until the response was ready, or for a stream until it was closed.
        db_ms: Time spent in all database queries together.
        response_bytes: Body size, None where it is not known (a file handed to the server, a stream cut short).
        user_id: Primary key as text, only if something else had read the user already.
        error: Class name of the exception that ended the request, else None.
    """

    request_id: str
    method: str
    route: str
    path: str
    status: int
    started: float
    duration_ms: float
    db_queries: int
    db_ms: float
    response_bytes: int | None = None
    user_id: str | None = None
    client_ip: str | None = None
    trace_id: str | None = None
    error: str | None = None

    @property
    def endpoint(self) -> str:
        """Method and route, the name of the request's transaction: "GET organisations/{pk}/"."""
        return f"{self.method} {self.route}"

    @property
    def failed(self) -> bool:
        """Whether the server failed, which is any 5xx."""
        return self.status >= 500

    @property
    def started_at(self) -> datetime:
        """The aware UTC moment the request began."""
        return datetime.fromtimestamp(self.started, UTC)


class OperationRecord(NamedTuple):
    """
    One finished block of code under a `PerformanceMonitor`, or one finished unit of work: a run of a task, a job.

    Attributes:
        operation: The kind of work, Sentry's span operation: "function", "db.import", "queue.task", ...
        started: Unix time in seconds.
        duration_ms: Wall-clock time; of a generator only while its own code ran.
        slow: Whether it took longer than its threshold; a unit of work has none.
        error: Class name of the exception that ended it, else None.
    """

    name: str
    operation: str
    started: float
    duration_ms: float
    slow: bool
    request_id: str | None = None
    trace_id: str | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether an exception ended the operation."""
        return self.error is not None

    @property
    def started_at(self) -> datetime:
        """The aware UTC moment the operation began."""
        return datetime.fromtimestamp(self.started, UTC)
