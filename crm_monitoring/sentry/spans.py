"""Spans: of queries, and of the operations that are measured."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import sentry_sdk
from sentry_sdk import Scope

from crm_monitoring.scrubbing import scrub_text
from crm_monitoring.sentry.mode import Mode, mode
from crm_monitoring.sentry.sdk import Part, Span, StreamedSpan, start_streamed_span, streamed_span, use_scope
from crm_monitoring.sentry.w3c import with_w3c
from crm_monitoring.work import current_request, url_scrubber

AnySpan = Span | StreamedSpan
_DB_ORIGIN = "auto.db.django"


def current_span(how: Mode) -> AnySpan | None:
    """Return the innermost span of what runs now, in either of the SDK's modes."""
    scope = sentry_sdk.get_current_scope()
    return streamed_span(scope) if how.is_streaming else scope.span


def current_trace_id() -> str | None:
    """Return the id of the trace that what runs now is part of, None outside of any span."""
    span = current_span(mode())
    return None if span is None else span.trace_id


def trace_headers() -> dict[str, str]:
    """Return what names the trace that what runs now is part of, for whoever goes on with it: see `w3c.TRACE_HEADERS`."""
    known = {"sentry-trace": sentry_sdk.get_traceparent(), "baggage": sentry_sdk.get_baggage()}
    return with_w3c({name: value for name, value in known.items() if value})


def start_query_span(sql: str, vendor: str, database: str) -> AnySpan | None:
    """Start the span of a database query, or return None where nothing is sampled."""
    how = mode()
    parent = current_span(how) if how.is_tracing and not how.watches_requests else None
    if parent is None or not parent.sampled:
        return None
    if isinstance(parent, StreamedSpan):
        return start_streamed_span(
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


def finish_query_span(span: AnySpan, place: Part | None) -> None:
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
    how = mode()
    if not how.is_tracing:
        return None
    parent = current_span(how)
    if parent is not None and not parent.sampled:
        return None
    if parent is None and current_request() is not None:
        # A request that is not traced, a health check or a HEAD, makes no transactions of its parts either.
        return None
    scope = sentry_sdk.get_current_scope().fork()
    with use_scope(scope):
        span = _start_span(parent, name, operation)
    return OperationSpan(span, scope)


def _start_span(parent: AnySpan | None, name: str, operation: str) -> AnySpan:
    # The name goes into headers of envelopes and of outgoing requests, which pass no hook.
    name = scrub_text(name, url_scrubber())
    # A streamed span is the current one of its scope from its start, the other kind once it is entered.
    if mode().is_streaming:
        return start_streamed_span(name=name, attributes={"sentry.op": operation})
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
