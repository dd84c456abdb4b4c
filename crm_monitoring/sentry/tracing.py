"""One request's place in Sentry: its scope, its trace and, where sampled, its transaction; and the spans within."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from random import getrandbits, random
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.scope import Scope, use_scope
from sentry_sdk.traces import StreamedSpan
from sentry_sdk.tracing import Span, Transaction
from sentry_sdk.tracing_utils import Baggage

from crm_monitoring import conf, context
from crm_monitoring.names import resolved, route_of
from crm_monitoring.privacy import scrub_text
from crm_monitoring.records import UNROUTED
from crm_monitoring.sentry import tally
from crm_monitoring.sentry.integration import sdk_watches_requests

if TYPE_CHECKING:
    from django.http import HttpRequest

AnySpan = Span | StreamedSpan
_TRACE_HEADERS = {"HTTP_SENTRY_TRACE": "sentry-trace", "HTTP_BAGGAGE": "baggage"}
_ORIGIN = "auto.http.django"
_DB_ORIGIN = "auto.db.django"
_BELOW_ONE = 0.999999  # six digits, and never rounded up to 1


def is_streaming(options: Mapping[str, Any] | None = None) -> bool:
    """Whether the SDK, with these options or its own, sends each span by itself (`trace_lifecycle="stream"`), not transactions."""
    options = sentry_sdk.get_client().options if options is None else options
    lifecycle = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return lifecycle == "stream"


def _is_tracing(options: Mapping[str, Any]) -> bool:
    return options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None


class RequestTrace:
    """
    The Sentry side of one request.

    It isolates what is set during the request (tags, user, breadcrumbs) from `__init__` to `close`, which must be called once.

    Attributes:
        trace_id: 32 hexadecimal digits, the caller's where it sent a `sentry-trace` header.
        given_name: What its author called the transaction, in place of the route.
    """

    __slots__ = (
        "_client",
        "_is_monitored",
        "_is_sampled",
        "_isolation",
        "_own_span_id",
        "_scope",
        "_segment",
        "given_name",
        "trace_id",
    )

    def __init__(self, request: HttpRequest, request_id: str, method: str, *, unmonitored: bool) -> None:
        self._isolation: AbstractContextManager[Scope] = sentry_sdk.isolation_scope()
        self._scope = self._isolation.__enter__()
        self._scope.clear_breadcrumbs()
        self._scope.set_tag("request_id", request_id)
        self._scope.set_attribute("request_id", request_id)
        self._segment: AnySpan | None = None
        self._is_sampled = False
        self._is_monitored = not unmonitored
        self.given_name: str | None = None
        self._client = sentry_sdk.get_client()
        options = self._client.options
        headers = {name: request.META[key] for key, name in _TRACE_HEADERS.items() if key in request.META}
        if unmonitored or not _is_tracing(options) or method not in conf.get().TRACES_METHODS:
            self._propagate(headers)
        elif is_streaming(options):
            self._start_segment(request, method, headers)
        else:
            self._start_transaction(request, method, headers, options)
        place = self._segment or self._scope.get_active_propagation_context()
        self.trace_id: str = place.trace_id
        self._own_span_id: str = place.span_id

    def _propagate(self, headers: dict[str, str]) -> None:
        if headers:
            self._scope.generate_propagation_context(headers)
        else:
            self._scope.set_new_propagation_context()

    def _start_transaction(
        self, request: HttpRequest, method: str, headers: dict[str, str], options: Mapping[str, Any]
    ) -> None:
        self._propagate(headers)
        place = self._scope.get_active_propagation_context()
        if not headers:
            place.trace_id = f"{getrandbits(128):032x}"
            # Drawn here, so that the SDK decides by the same number if it comes to that.
            sample_rand = f"{random() * _BELOW_ONE:.6f}"  # noqa: S311 - a draw, no secret
            draw = float(sample_rand)
            place.baggage = Baggage({"sample_rand": sample_rand}, mutable=True)
            is_left_out = options["traces_sampler"] is None and draw >= options["traces_sample_rate"]
        else:
            is_left_out = options["traces_sampler"] is None and place.parent_sampled is False
        transaction = Transaction(
            op="http.server",
            name=f"{method} {UNROUTED}",
            source="route",
            origin=_ORIGIN,
            trace_id=place.trace_id,
            span_id=f"{getrandbits(64):016x}",
            parent_span_id=place.parent_span_id,
            parent_sampled=place.parent_sampled,
            baggage=place.baggage,
            same_process_as_parent=False,
            sampled=False if is_left_out else None,
        )
        self._segment = transaction
        if is_left_out:
            # Never started: it is there for the headers of outgoing requests, which say that nobody samples this trace.
            transaction.sample_rate = float(options["traces_sample_rate"])
            sentry_sdk.get_current_scope().span = transaction
        else:
            self._sample(transaction, request, method)

    def _sample(self, transaction: Transaction, request: HttpRequest, method: str) -> None:
        about = _sampling_context(request, method)
        transaction.name = f"{method} {about['route'] or UNROUTED}"
        sentry_sdk.start_transaction(transaction, custom_sampling_context=about).__enter__()
        self._is_sampled = bool(transaction.sampled)

    def _start_segment(self, request: HttpRequest, method: str, headers: dict[str, str]) -> None:
        # A streamed span cannot be called back once the view is known, so the view is looked up before.
        match = resolved(request)
        if match is not None and is_unmonitored(match.func):
            self._propagate(headers)
            return
        about = _sampling_context(request, method)
        sentry_sdk.traces.continue_trace(headers)
        Scope.set_custom_sampling_context(about)
        self._segment = sentry_sdk.traces.start_span(
            name=f"{method} {about['route'] or UNROUTED}",
            attributes={
                "sentry.op": "http.server",
                "sentry.origin": _ORIGIN,
                "sentry.segment.name.source": "route",
                "http.request.method": method,
            },
            parent_span=None,
        )
        self._is_sampled = bool(self._segment.sampled)

    @property
    def span_id(self) -> str:
        """The id of the innermost span, 16 hexadecimal digits."""
        span = current_span() if self._is_sampled else None
        return self._own_span_id if span is None else span.span_id

    def name(self, endpoint: str) -> None:
        """Name the transaction after its route, unless somebody named it otherwise."""
        if self.given_name is not None:
            return
        if self._is_sampled:
            sentry_sdk.set_transaction_name(endpoint, source="route")
        elif isinstance(self._segment, Transaction):
            self._segment.name = endpoint

    def rename(self, name: str, operation: str) -> None:
        """Name the transaction as its author wants, whatever its route."""
        self.given_name = name = scrub_text(name, context.current())
        sentry_sdk.set_transaction_name(name, source="custom")
        match self._segment:
            case Transaction():
                self._segment.op = operation
            case StreamedSpan():
                self._segment.set_attribute("sentry.op", operation)

    def discard(self) -> None:
        """Send no transaction after all, and count no session."""
        self._is_monitored = False
        if isinstance(self._segment, Transaction):
            self._segment.sampled = False

    def close(self, status: int, outcome: str) -> None:
        """Finish the transaction with the HTTP status, count the session with its outcome, and leave the scope."""
        try:
            self._finish_segment(status)
            if self._is_monitored and self._client.transport is not None:
                is_unsampled = isinstance(self._segment, Transaction) and not self._is_sampled
                tally.count(self._client, outcome, is_unsampled=is_unsampled)
        finally:
            self._isolation.__exit__(None, None, None)

    def _finish_segment(self, status: int) -> None:
        match self._segment:
            case Transaction() if self._is_sampled:
                self._segment.set_http_status(status)
                self._segment.__exit__(None, None, None)
            case StreamedSpan():
                self._segment.status = "error" if status >= 400 else "ok"
                self._segment.set_attribute("http.response.status_code", status)
                self._segment.end()


class BorrowedTrace(RequestTrace):
    """The trace of a request that the SDK's own DjangoIntegration watches: only the request id is ours."""

    __slots__ = ()

    def __init__(self, request_id: str) -> None:
        self._scope = sentry_sdk.get_isolation_scope()
        self._scope.set_tag("request_id", request_id)
        self._scope.set_attribute("request_id", request_id)
        self._segment = current_span()
        self._is_sampled = True
        self._is_monitored = False
        self.given_name = None
        place = self._segment or self._scope.get_active_propagation_context()
        self.trace_id = place.trace_id
        self._own_span_id = place.span_id

    def name(self, endpoint: str) -> None:
        """Leave the name to the SDK."""

    def close(self, status: int, outcome: str) -> None:
        """Leave the transaction, the session and the scope to the SDK."""


def trace_request(request: HttpRequest, request_id: str, method: str, *, unmonitored: bool) -> RequestTrace:
    """Return the trace of a request that begins."""
    if not sdk_watches_requests():
        return RequestTrace(request, request_id, method, unmonitored=unmonitored)
    trace = BorrowedTrace(request_id)
    if unmonitored:
        trace.discard()
    return trace


def _sampling_context(request: HttpRequest, method: str) -> dict[str, Any]:
    """Return what a sampler may decide by. The route costs a look-up, so only where a sampler asks for it."""
    options = sentry_sdk.get_client().options
    route = None
    if options.get("traces_sampler") is not None or is_streaming():
        match = resolved(request)
        route = None if match is None else route_of(match)
    about: dict[str, Any] = {"method": method, "path": request.path_info, "route": route}
    if hasattr(request, "scope"):
        about["asgi_scope"] = request.scope
    else:
        about["wsgi_environ"] = getattr(request, "environ", {})
    return about


def is_unmonitored(view: Any) -> bool:
    """Whether `@unmonitored` marks the view, or the class it was made from (`cls` is REST framework's name for it)."""
    made_from = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return getattr(view, "unmonitored", False) or getattr(made_from, "unmonitored", False)


def current_span() -> AnySpan | None:
    """Return the innermost span of what runs now, in either of the SDK's modes."""
    return sentry_sdk.traces.get_current_span() or sentry_sdk.get_current_span()


def start_query_span(sql: str, vendor: str, database: str) -> AnySpan | None:
    """Start the span of a database query, or return None where nothing is sampled."""
    parent = current_span()
    if parent is None or not parent.sampled or sdk_watches_requests():
        return None
    if isinstance(parent, StreamedSpan):
        return sentry_sdk.traces.start_span(
            name=sql,
            attributes={
                "sentry.op": "db",
                "sentry.origin": _DB_ORIGIN,
                "db.system.name": vendor,
                "db.namespace": database,
            },
            active=False,
        )
    span = parent.start_child(op="db", name=sql, origin=_DB_ORIGIN)
    span.set_data("db.system", vendor)
    span.set_data("db.name", database)
    return span


def finish_query_span(span: AnySpan, place: dict[str, Any] | None) -> None:
    """Finish the span of a query; a slow one says where in the user's code it was made."""
    for name, value in (place or {}).items():
        _set(span, name, value)
    _end(span)


class OperationSpan:
    """The span of an operation, or its own transaction where none runs, on a scope of its own."""

    __slots__ = ("_entered", "_scope", "_span")

    def __init__(self, span: AnySpan, scope: Scope) -> None:
        self._span = span
        self._scope = scope
        self._entered: AbstractContextManager[Scope] | None = None

    def enter(self) -> None:
        """Make what starts from here on a child of this span."""
        self._entered = use_scope(self._scope)
        self._entered.__enter__()

    def leave(self) -> None:
        """Make the former span the current one again."""
        if self._entered is not None:
            self._entered.__exit__(None, None, None)
            self._entered = None

    def set_data(self, name: str, value: Any) -> None:
        """Attach a value to the span."""
        _set(self._span, name, value)

    def set_tag(self, name: str, value: Any) -> None:
        """Attach a value to search by to the span."""
        if isinstance(self._span, StreamedSpan):
            self._span.set_attribute(name, value)
        else:
            self._span.set_tag(name, value)

    def finish(self, *, failed: bool) -> None:
        """End the span."""
        if failed:
            _fail(self._span)
        if isinstance(self._span, StreamedSpan):
            self._span.end()
        else:
            self._span.__exit__(None, None, None)


def start_operation_span(name: str, operation: str) -> OperationSpan | None:
    """
    Start the span of an operation, or return None where nothing is sampled.

    The span lives on a fork of the current scope: tasks that run side by side share a scope, and would take each other's
    spans for their parents.
    """
    parent = current_span()
    if not _is_tracing(sentry_sdk.get_client().options) or (parent is not None and not parent.sampled):
        return None
    if parent is None and context.current() is not None:
        # A request that is not traced, a health check or a HEAD, makes no transactions of its parts either.
        return None
    scope = sentry_sdk.get_current_scope().fork()
    with use_scope(scope):
        span = _start_span(parent, name, operation)
    return OperationSpan(span, scope)


def _start_span(parent: AnySpan | None, name: str, operation: str) -> AnySpan:
    # The name goes into headers of envelopes and of outgoing requests, which pass no hook.
    name = scrub_text(name, context.current())
    # A streamed span is the current one of its scope from its start, the other kind once it is entered.
    if is_streaming():
        return sentry_sdk.traces.start_span(name=name, attributes={"sentry.op": operation})
    if isinstance(parent, Span):
        return parent.start_child(op=operation, name=name).__enter__()
    return sentry_sdk.start_transaction(op=operation, name=name, source="custom").__enter__()


def _set(span: AnySpan, name: str, value: Any) -> None:
    if isinstance(span, StreamedSpan):
        span.set_attribute(name, value)
    else:
        span.set_data(name, value)


def _fail(span: AnySpan) -> None:
    if isinstance(span, StreamedSpan):
        span.status = "error"
    else:
        span.set_status("internal_error")


def _end(span: AnySpan) -> None:
    if isinstance(span, StreamedSpan):
        span.end()
    else:
        span.finish()
