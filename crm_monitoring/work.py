"""The request that runs now, as everybody who adds something to it sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from time import perf_counter, time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.functional import LazyObject

from crm_monitoring.requests.routes import resolved, route_of
from crm_monitoring.scrubbing.configured import UrlSecrets

if TYPE_CHECKING:
    from types import TracebackType

    from django.http import HttpRequest
    from django.urls import ResolverMatch

    from crm_monitoring.sentry.failures import Report
    from crm_monitoring.sentry.tracing import RequestTrace

RECENT_QUERIES = 10
RECENT_LINES = 100


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
        unmonitored: The path is on the list, or, known in the end, the view asked not to be measured.
        trace: The request's place in Sentry, None where there is none.
        error: What the request failed with, once it has.
        event_id: Id of the Sentry event that reports the failure.
        shown_error: The last exception that a line of it carried, where that was raised, and both as text.
        outcome: How it ends for release health: "exited", "errored" or "crashed".
        reports: Failures that were reported and not sent yet.
        outer: The request that was running when this one began inside it.
        outer_bound: The fields that the lines of that request, or of the command or task, carry.
        bound: Names that were bound by `structlog.contextvars` when its latest line was written.
        handed_over: Its response has left the middleware; only a stream may still run.
        concluded: Its line is written and its record emitted.
        status_on_leave: The status of a stream, to conclude with if the server is done before the stream has said so.
        recent_lines: Lines that lead to an event if one is made, each with its moment in Unix seconds.
        extra: Fields that receivers of django-structlog's signals want on the request's line.
    """

    # Of most requests these stay as they are here.
    unmonitored = False
    trace: RequestTrace | None = None
    error: BaseException | None = None
    handled_error: Exception | None = None
    shown_error: tuple[tuple[BaseException, TracebackType | None], str] | None = None
    event_id: str | None = None
    outcome = "exited"
    outer: RequestContext | None = None
    outer_bound: Mapping[str, Any] = MappingProxyType({})
    bound: Collection[str] = ()
    handed_over = False
    concluded = False
    status_on_leave: int | None = None
    bytes_on_leave: int | None = None
    db_queries = 0
    db_ms = 0.0
    _url_secrets: tuple[ResolverMatch | None, UrlSecrets] | None = None

    def __init__(self, request: HttpRequest, request_id: str, method: str) -> None:
        self.request = request
        self.request_id = request_id
        self.method = method
        self.started = time()
        self.started_clock = perf_counter()
        self.reports: list[Report] = []
        self.extra: dict[str, Any] = {}
        self.statements: dict[str, int] = {}
        self.repeated: dict[str, dict[str, Any]] = {}
        self.recent_queries: deque[Query] = deque(maxlen=RECENT_QUERIES)
        self.recent_lines: deque[tuple[float, Mapping[str, Any]]] = deque(maxlen=RECENT_LINES)

    @property
    def route(self) -> str:
        """The pattern that matched, "organisations/{pk}/", or "(unrouted)" until Django has resolved the URL."""
        return route_of(self.request.resolver_match)

    @property
    def endpoint(self) -> str:
        """Method and route: "GET organisations/{pk}/"."""
        return f"{self.method} {self.route}"

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
    match = request.resolver_match or resolved(request)
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
