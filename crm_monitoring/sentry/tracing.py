"""One request's place in Sentry: its scope, its trace and, where sampled, its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk import Scope

from crm_monitoring import conf
from crm_monitoring.ids import randbytes, random
from crm_monitoring.records import UNROUTED
from crm_monitoring.requests import endpoint_of, resolved, route_of
from crm_monitoring.scrubbing import scrub_text
from crm_monitoring.sentry import sessions
from crm_monitoring.sentry.mode import Mode, mode
from crm_monitoring.sentry.sdk import (
    Part,
    PropagationContext,
    StreamedSpan,
    Transaction,
    continue_streamed_trace,
    start_streamed_span,
)
from crm_monitoring.sentry.spans import AnySpan, current_span
from crm_monitoring.sentry.tuning import ROUTED, UNSAMPLED, takes
from crm_monitoring.sentry.tuning.routed import RoutedTransaction
from crm_monitoring.sentry.tuning.unsampled import TracePlace, UnsampledTransaction
from crm_monitoring.sentry.w3c import TRACE_HEADERS, continued
from crm_monitoring.work import url_scrubber

if TYPE_CHECKING:
    from django.http import HttpRequest

_OP = "http.server"
_ORIGIN = "auto.http.django"
_META = tuple((name, f"HTTP_{name.upper().replace('-', '_')}") for name in TRACE_HEADERS)
_DRAWS = 1_000_000  # six digits, and never rounded up to 1


class RequestTrace:
    """
    The Sentry side of one request.

    It isolates what is set during the request (tags, user, breadcrumbs) from `__init__` to `close`, which must be called once.

    Attributes:
        trace_id: 32 hexadecimal digits, the caller's where it sent a `sentry-trace` header.
        given_name: What its author called the transaction, in place of the route.
    """

    __slots__ = (
        "_how",
        "_is_monitored",
        "_is_sampled",
        "_isolation",
        "_own_span_id",
        "_request",
        "_scope",
        "_segment",
        "given_name",
        "trace_id",
    )

    trace_id: str
    _own_span_id: str

    def __init__(self, how: Mode, request: HttpRequest, request_id: str, method: str, *, unmonitored: bool) -> None:
        self._how = how
        self._request = request
        self._isolation: AbstractContextManager[Scope] = sentry_sdk.isolation_scope()
        self._scope = self._isolation.__enter__()
        self._segment: AnySpan | None = None
        self._is_sampled = False
        self._is_monitored = not unmonitored
        self.given_name: str | None = None
        try:
            self._begin(request, request_id, method)
        except Exception:
            # Left here, or whatever this thread does next would be on it.
            self._isolation.__exit__(None, None, None)
            raise

    def _begin(self, request: HttpRequest, request_id: str, method: str) -> None:
        self._scope.clear_breadcrumbs()
        self._scope.set_tag("request_id", request_id)
        headers = _trace_headers(request.META)
        if not self._is_monitored or not self._how.is_tracing or method not in conf.get().TRACES_METHODS:
            self._propagate(headers)
        elif self._how.is_streaming:
            self._start_segment(request, request_id, method, headers)
        else:
            self._start_transaction(request, method, headers)

    def _propagate(self, headers: dict[str, str]) -> None:
        place = self._continue(headers)
        self.trace_id, self._own_span_id = place.trace_id, place.span_id

    def _continue(self, headers: dict[str, str]) -> PropagationContext:
        if headers:
            self._scope.generate_propagation_context(headers)
        else:
            self._scope.set_new_propagation_context()
        return self._scope.get_active_propagation_context()

    def _start_transaction(self, request: HttpRequest, method: str, headers: dict[str, str]) -> None:
        place = self._place(headers)
        self.trace_id, self._own_span_id = place.trace_id, place.span_id
        rate = self._rate_to_stay_below(place)
        if rate is None:
            self._sample(place, request, method)
        else:
            self._segment = UnsampledTransaction(request, _OP, _ORIGIN, place, rate)
            sentry_sdk.get_current_scope().span = self._segment

    def _place(self, headers: dict[str, str]) -> TracePlace:
        known, ids, draw = self._continue(headers), randbytes(24).hex(), None
        if not headers:
            known.trace_id = ids[16:]
            # Here, so that the SDK decides by the same number if it comes to that.
            draw = int(random() * _DRAWS) / _DRAWS
        return TracePlace(known.trace_id, ids[:16], known.parent_span_id, known.parent_sampled, draw, known.baggage)

    def _rate_to_stay_below(self, place: TracePlace) -> float | None:
        """Return the sample rate that leaves the request out, None where it does not, or where a sampler decides."""
        options = self._how.client.options
        if options["traces_sampler"] is not None or not takes(UNSAMPLED):
            return None
        rate = float(options["traces_sample_rate"])
        is_left_out = place.parent_sampled is False if place.draw is None else place.draw >= rate
        return rate if is_left_out else None

    def _sample(self, place: TracePlace, request: HttpRequest, method: str) -> None:
        if self._how.client.options["traces_sampler"] is None and takes(ROUTED):
            routed = RoutedTransaction(request, _OP, _ORIGIN, place)
            self._enter(routed)
            routed.look_up(request)
            return
        about = self._sampling_context(request, method)
        name = f"{method} {about['route'] or UNROUTED}"
        self._enter(Transaction(name, op=_OP, source="route", origin=_ORIGIN, **place.arguments()), about)

    def _enter(self, transaction: Transaction, about: Part | None = None) -> None:
        self._segment = transaction
        sentry_sdk.start_transaction(transaction, custom_sampling_context=about).__enter__()
        self._is_sampled = bool(transaction.sampled)

    def _start_segment(self, request: HttpRequest, request_id: str, method: str, headers: dict[str, str]) -> None:
        # A streamed span cannot be called back once the view is known, so the view is looked up before.
        match = resolved(request)
        if match is not None and is_unmonitored(match.func):
            self._propagate(headers)
            return
        self._scope.set_attribute("request_id", request_id)
        about = self._sampling_context(request, method)
        continue_streamed_trace(headers)
        Scope.set_custom_sampling_context(about)
        self._segment = start_streamed_span(
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
        self.trace_id, self._own_span_id = self._segment.trace_id, self._segment.span_id

    def _sampling_context(self, request: HttpRequest, method: str) -> Part:
        """Return what a sampler may decide by. The view is looked up before Django does, at some cost: of most requests nobody asks."""
        match = resolved(request)
        route = None if match is None else route_of(match)
        about: Part = {"method": method, "path": request.path_info, "route": route}
        if hasattr(request, "scope"):
            about["asgi_scope"] = request.scope
        else:
            about["wsgi_environ"] = getattr(request, "environ", {})
        return about

    @property
    def span_id(self) -> str:
        """The id of the innermost span, 16 hexadecimal digits."""
        span = current_span(self._how) if self._is_sampled else None
        return self._own_span_id if span is None else span.span_id

    def rename(self, name: str, operation: str) -> None:
        """Name the transaction as its author wants, whatever its route."""
        self.given_name = name = scrub_text(name, url_scrubber())
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
        """Finish the transaction with its route and the HTTP status, count the session with its outcome, and leave the scope."""
        try:
            if self._is_sampled and self.given_name is None:
                sentry_sdk.set_transaction_name(endpoint_of(self._request), source="route")
            self._finish_segment(status)
            if self._is_monitored and self._how.client.transport is not None:
                is_unsampled = isinstance(self._segment, Transaction) and not self._is_sampled
                sessions.count(self._how.client, outcome, is_unsampled=is_unsampled)
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

    def __init__(self, how: Mode, request_id: str) -> None:
        self._how = how
        self._scope = sentry_sdk.get_isolation_scope()
        self._scope.set_tag("request_id", request_id)
        self._scope.set_attribute("request_id", request_id)
        self._segment = current_span(how)
        self._is_sampled = True
        self._is_monitored = False
        self.given_name = None
        place = self._segment or self._scope.get_active_propagation_context()
        self.trace_id = place.trace_id
        self._own_span_id = place.span_id

    def close(self, status: int, outcome: str) -> None:
        """Leave the transaction, the session and the scope to the SDK."""


def trace_request(request: HttpRequest, request_id: str, method: str, *, unmonitored: bool) -> RequestTrace:
    """Return the trace of a request that begins."""
    how = mode()
    if not how.watches_requests:
        return RequestTrace(how, request, request_id, method, unmonitored=unmonitored)
    trace = BorrowedTrace(how, request_id)
    if unmonitored:
        trace.discard()
    return trace


def _trace_headers(meta: Mapping[str, object]) -> dict[str, str]:
    """Return what the caller says of its trace; its baggage alone says nothing."""
    return continued({name: meta[key] for name, key in _META if key in meta})


def is_unmonitored(view: object) -> bool:
    """Whether `@unmonitored` marks the view, or the class it was made from (`cls` is REST framework's name for it)."""
    made_from = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return getattr(view, "unmonitored", False) or getattr(made_from, "unmonitored", False)
