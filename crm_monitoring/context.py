"""The request that runs now, as everybody who adds something to it sees it."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.functional import LazyObject

from crm_monitoring.names import resolved
from crm_monitoring.privacy import UrlSecrets
from crm_monitoring.records import UNROUTED

if TYPE_CHECKING:
    from types import TracebackType

    from django.http import HttpRequest
    from django.urls import ResolverMatch

    from crm_monitoring.sentry.reports import Report
    from crm_monitoring.sentry.tracing import RequestTrace

RECENT_QUERIES = 10


class Query(NamedTuple):
    """One database query, without its parameters."""

    started: float
    sql: str
    duration_ms: float
    alias: str


class RequestContext:
    """
    What is known so far of one running request.

    Attributes:
        route: The matched pattern, None until Django has resolved the URL.
        unmonitored: The view asked not to be measured, or the path is on the list.
        trace: The request's place in Sentry, None where there is none.
        error: What the request failed with, once it has.
        event_id: Id of the Sentry event that reports the failure.
        shown_error: The last exception that a line of it carried, where that was raised, and both as text.
        outcome: How it ends for release health: "exited", "errored" or "crashed".
        reports: Failures that were reported and not sent yet.
        outer: The request that was running when this one began inside it.
        outer_bound: The fields that the lines of that request, or of the command or task, carry.
        handed_over: Its response has left the middleware; only a stream may still run.
        concluded: Its line is written and its record emitted.
        status_on_leave: The status of a stream, to conclude with if the server is done before the stream has said so.
        extra: Fields that receivers of django-structlog's signals want on the request's line.
    """

    __slots__ = (
        "_url_secrets",
        "bytes_on_leave",
        "concluded",
        "db_ms",
        "db_queries",
        "error",
        "event_id",
        "extra",
        "handed_over",
        "handled_error",
        "method",
        "outcome",
        "outer",
        "outer_bound",
        "recent_queries",
        "repeated",
        "reports",
        "request",
        "request_id",
        "route",
        "shown_error",
        "started",
        "started_clock",
        "statements",
        "status_on_leave",
        "trace",
        "unmonitored",
    )

    def __init__(self, request: HttpRequest, request_id: str, method: str) -> None:
        self.request = request
        self.request_id = request_id
        self.method = method
        self.started = time()
        self.started_clock = perf_counter()
        self.route: str | None = None
        self._url_secrets: tuple[ResolverMatch | None, UrlSecrets] | None = None
        self.unmonitored = False
        self.trace: RequestTrace | None = None
        self.error: BaseException | None = None
        self.handled_error: Exception | None = None
        self.shown_error: tuple[tuple[BaseException, TracebackType | None], str] | None = None
        self.event_id: str | None = None
        self.outcome = "exited"
        self.reports: list[Report] = []
        self.outer: RequestContext | None = None
        self.outer_bound: dict[str, Any] = {}
        self.handed_over = False
        self.concluded = False
        self.status_on_leave: int | None = None
        self.bytes_on_leave: int | None = None
        self.extra: dict[str, Any] = {}
        self.db_queries = 0
        self.db_ms = 0.0
        self.statements: dict[str, int] = {}
        self.repeated: dict[str, dict[str, Any]] = {}
        self.recent_queries: deque[Query] = deque(maxlen=RECENT_QUERIES)

    @property
    def endpoint(self) -> str:
        """Method and route: "GET organisations/{pk}/"."""
        return f"{self.method} {UNROUTED if self.route is None else self.route}"

    @property
    def trace_id(self) -> str | None:
        """The id of the trace this request belongs to, 32 hexadecimal digits."""
        return self.trace.trace_id if self.trace else None

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text, if something else has read the user."""
        return evaluated_user_id(self.request)

    @property
    def url_secrets(self) -> UrlSecrets:
        """What is secret in the URL: asked for when something leaves, and made once for each view that Django has found."""
        match = self.request.resolver_match
        if self._url_secrets is None or self._url_secrets[0] is not match:
            self._url_secrets = match, url_secrets_of(self.request)
        return self._url_secrets[1]

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the request began."""
        return (perf_counter() - self.started_clock) * 1000


_current: ContextVar[RequestContext | None] = ContextVar("crm_monitoring_request", default=None)

current = _current.get
use = _current.set


def url_secrets_of(request: HttpRequest) -> UrlSecrets:
    """Return what is secret in the request's URL. A middleware may log or answer before Django has looked for the view."""
    match = request.resolver_match
    if match is None:
        # A urlconf that cannot be imported is Django's to complain of.
        with suppress(Exception):
            match = resolved(request)
    return UrlSecrets(request.path, match.kwargs if match is not None else {})


def evaluated_user(request: HttpRequest) -> Any | None:
    """
    Return the request's user if that costs nothing: no query, no session access.

    `request.user` is lazy, and reading it makes two queries. Where it was read before, django.contrib.auth keeps the
    result on the request. These names are Django's private ones: without them the user would be unknown, nothing worse.
    """
    attributes = vars(request)
    user = attributes.get("user")
    if user is None or isinstance(user, LazyObject):
        user = attributes.get("_cached_user") or attributes.get("_acached_user")
    return user


def evaluated_user_id(request: HttpRequest) -> str | None:
    """Return the primary key of `evaluated_user` as text, None for nobody and for anonymous users."""
    user = evaluated_user(request)
    if user is None or not getattr(user, "is_authenticated", False):
        return None
    pk = getattr(user, "pk", None)
    return None if pk is None else str(pk)
