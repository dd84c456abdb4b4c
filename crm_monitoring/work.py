"""What runs now, as everybody who adds something to it sees it: a request, or another unit of work."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from itertools import count
from time import perf_counter, time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from crm_monitoring import faults, process
from crm_monitoring.notes import Notes
from crm_monitoring.records import UNROUTED, OperationRecord, RequestRecord
from crm_monitoring.registry import Registry
from crm_monitoring.requests import evaluated_user_id, match_of, resolved, route_of
from crm_monitoring.scrubbing import UrlSecrets

if TYPE_CHECKING:
    from types import TracebackType

    from django.http import HttpRequest
    from django.urls import ResolverMatch

    from crm_monitoring.scrubbing import TextScrubber


class Trace(Protocol):
    """The place of a work in Sentry: its scope and its ids."""

    trace_id: str
    given_name: str | None

    @property
    def span_id(self) -> str: ...
    def rename(self, name: str, operation: str) -> None: ...


class RequestTrace(Trace, Protocol):
    """The place of a request in Sentry."""

    def discard(self) -> None: ...
    def close(self, status: int, outcome: str) -> None: ...


class UnitTrace(Trace, Protocol):
    """The place of another unit of work in Sentry."""

    def close(self, *, failed: bool) -> None: ...


class HeldFailure(Protocol):
    """What is known so far of a failure that was reported and not sent yet."""

    event_id: str
    since: float

    def is_of(self, error: BaseException) -> bool: ...
    def add(self, error: BaseException, about: Any) -> None: ...
    def send(self) -> str | None: ...


class Work(Notes):
    """
    What runs between a beginning and an end, and is told of as one: its failures are held until it ends, and each is sent once.

    Attributes:
        number: Which one of this process it is.
        request_id: What its lines and events can be found by.
        started: When it began, in Unix seconds.
        started_clock: The same in seconds of `perf_counter`.
        reports: Failures that were reported and not sent yet.
        trace: Its place in Sentry, None where there is none.
        outer: What was running when it began inside of that.
        outer_bound: The fields that the lines of what runs around it carry.
        concluded: It has ended, and holds nothing any more.
        event_id: Id of the Sentry event that reports its failure.
        shown_error: The last exception that a line of it carried, where that was raised, and both as text.
        bound: Names that were bound by `structlog.contextvars` when its latest line was written.
        given_user_id: Whom `set_user_context` says it acts for.
        task: Gives the asyncio task that runs it, None where it runs in none.
    """

    # Of most these stay as they are here.
    trace: Trace | None = None
    outer: Work | None = None
    outer_bound: Mapping[str, Any] = MappingProxyType({})
    concluded = False
    event_id: str | None = None
    shown_error: tuple[tuple[BaseException, TracebackType | None], str] | None = None
    bound: Collection[str] = ()
    given_user_id: str | None = None
    task: weakref.ref[asyncio.Task[Any]] | None = None
    db_queries = 0
    db_ms = 0.0

    def __init__(self, request_id: str) -> None:
        super().__init__(keeps_steps=bool(_keepers))
        self.number = next(_numbers)
        self.request_id = request_id
        self.started = time()
        self.started_clock = perf_counter()
        self.reports: list[HeldFailure] = []

    @property
    def trace_id(self) -> str | None:
        """The id of the trace it belongs to, 32 hexadecimal digits."""
        return self.trace.trace_id if self.trace else None

    @property
    def user_id(self) -> str | None:
        """Whom it acts for, as text: the project has said so."""
        return self.given_user_id

    def remember_task(self) -> None:
        """Keep which asyncio task runs it: the ORM's async calls run in threads that know nothing of who waits for them."""
        task = asyncio.current_task()
        self.task = None if task is None else weakref.ref(task)

    def elapsed_ms(self) -> float:
        """Return the milliseconds since it began."""
        return (perf_counter() - self.started_clock) * 1000


class Request(Work):
    """
    One running HTTP request.

    Attributes:
        unmonitored: The path is on the list, or, known in the end, the view asked not to be measured.
        error: What the request failed with, once it has.
        handled_error: What its view raised and Django may have answered.
        outcome: How it ends for release health: "exited", "errored" or "crashed".
        handed_over: Its response has left the middleware; only a stream may still run.
        status_on_leave: The status of a stream, to conclude with if the server is done before the stream has said so.
        extra: Fields that receivers of django-structlog's signals want on the request's line.
    """

    # Of most requests these stay as they are here.
    trace: RequestTrace | None = None
    unmonitored = False
    error: BaseException | None = None
    handled_error: Exception | None = None
    outcome = "exited"
    handed_over = False
    status_on_leave: int | None = None
    bytes_on_leave: int | None = None
    _url_secrets: tuple[ResolverMatch | None, UrlSecrets] | None = None

    def __init__(self, request: HttpRequest, request_id: str, method: str) -> None:
        super().__init__(request_id)
        self.request = request
        self.method = method
        self.extra: dict[str, Any] = {}

    @property
    def route(self) -> str:
        """The pattern that matched, "organisations/{pk}/", or "(unrouted)" until the URL is resolved, by Django or for what is secret in it."""
        return _route(self.request) or UNROUTED

    @property
    def endpoint(self) -> str:
        """Method and route: "GET organisations/{pk}/"."""
        return f"{self.method} {self.route}"

    @property
    def user_id(self) -> str | None:
        """Whom it acts for, as text: the project has said so, or something else has read the user."""
        return self.given_user_id or evaluated_user_id(self.request)

    @property
    def url_secrets(self) -> UrlSecrets:
        """What is secret in the URL: asked for when something leaves, and made once for each view that Django has found."""
        match = self.request.resolver_match
        if self._url_secrets is None or self._url_secrets[0] is not match:
            self._url_secrets = match, url_secrets_of(self.request)
        return self._url_secrets[1]


class Unit(Work):
    """
    One running unit of work that is no request: a command, a task, a job.

    Attributes:
        name: What is done, the same for every run: "send_invoices".
        kind: What sort of work it is: "job", "task", "command".
        is_counted: Its end makes a record.
    """

    is_counted = True
    trace: UnitTrace | None = None

    def __init__(self, name: str, kind: str, request_id: str) -> None:
        super().__init__(request_id)
        self.name = name
        self.kind = kind

    def enter(self) -> None:
        """Make it what runs now."""
        self.outer = current_work()
        use(self)

    def leave(self) -> None:
        """Give way to what ran around it, for which its queries were made too."""
        use(self.outer)
        if self.outer is not None:
            self.outer.db_queries += self.db_queries
            self.outer.db_ms += self.db_ms


Keeper = Callable[[Work, RequestRecord | OperationRecord], None]

_keepers = Registry[[Work, RequestRecord | OperationRecord], None]("The keeper")


def register_keeper(keeper: Keeper) -> None:
    """Call `keeper` with each request and unit of work that has ended, and its record: all that was noted of it is thrown away after."""
    _keepers.add(keeper)


def unregister_keeper(keeper: Keeper) -> None:
    """Take away a keeper added by `register_keeper`."""
    _keepers.remove(keeper)


def show_to_keepers(work: Work, record: RequestRecord | OperationRecord) -> None:
    """Let whoever keeps works whole see one that has ended."""
    _keepers.call(work, record)


_numbers = count()
_current: ContextVar[Work | None] = ContextVar("crm_monitoring_work", default=None)

current_work = _current.get
use = _current.set


def current_request() -> Request | None:
    """Return the request that runs now, if what runs is one."""
    work = _current.get()
    return work if isinstance(work, Request) else None


def nearest_request() -> Request | None:
    """Return the request that runs now, or that what runs now runs inside of."""
    work = _current.get()
    while work is not None and not isinstance(work, Request):
        work = work.outer
    return work


def url_scrubber() -> TextScrubber | None:
    """Return what takes the secrets of the running request's URL out of a text, None where there are none."""
    request = nearest_request()
    return request.url_secrets.replaced if request is not None and request.url_secrets else None


@faults.guarded
def _route(request: HttpRequest, /) -> str:
    return route_of(match_of(request))


def url_secrets_of(request: HttpRequest) -> UrlSecrets:
    """Return what is secret in the request's URL. A middleware may log or answer before Django has looked for the view."""
    secrets = _readable_secrets(request)
    return UrlSecrets.unreadable(request.path) if secrets is None else secrets


@faults.guarded
def _readable_secrets(request: HttpRequest, /) -> UrlSecrets:
    match = request.resolver_match or resolved(request)
    return UrlSecrets(request.path, match.kwargs if match is not None else {})


def _start_over_in_child() -> None:
    # What runs here goes on in the parent, which sends what is held of it and tells of its end. What is reported from now on leaves
    # at once, for nobody knows when this process ends.
    work = current_work()
    while work is not None:
        work.reports.clear()
        work.concluded = True
        work = work.outer


process.after_fork(_start_over_in_child)
