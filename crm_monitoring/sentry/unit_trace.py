"""One unit's place in Sentry, where the unit is no request: its scope, its trace and, where sampled, its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import sentry_sdk
from sentry_sdk import Scope

from crm_monitoring.scrubbing import scrub_text
from crm_monitoring.sentry.mode import Mode, mode
from crm_monitoring.sentry.sdk import Part, StreamedSpan, Transaction, continue_streamed_trace, start_streamed_span
from crm_monitoring.sentry.spans import AnySpan, current_span
from crm_monitoring.sentry.w3c import continued
from crm_monitoring.work import current_work, url_scrubber

_ORIGIN = "auto.function.crm_monitoring"


class UnitTrace:
    """
    The Sentry side of one unit of work.

    It isolates what is set meanwhile (tags, user, breadcrumbs) from `__init__` to `close`, which must be called once, and names
    the events made in between.

    Args:
        name: The transaction of its events: "send_invoices".
        source: Sentry's word for where the name comes from.
        operation: Sentry's word for what the transaction is, "queue.task"; empty for a unit that makes none.
        headers: What whoever asked for the unit says of the trace: see `w3c.TRACE_HEADERS`.

    Attributes:
        trace_id: 32 hexadecimal digits.
        given_name: What its author called the transaction meanwhile.
    """

    trace_id: str
    _own_span_id: str

    __slots__ = ("_how", "_isolation", "_own_span_id", "_scope", "_segment", "given_name", "trace_id")

    def __init__(self, name: str, source: str, operation: str, headers: Mapping[str, str]) -> None:
        self._how = how = mode()
        self.given_name: str | None = None
        self._segment: AnySpan | None = None
        headers = continued(headers)
        with ExitStack() as stack:
            self._scope: Scope = stack.enter_context(sentry_sdk.isolation_scope())
            self._begin(how, name, source, operation, headers)
            # Left where this fails, and otherwise when the unit ends.
            self._isolation = stack.pop_all()

    def _begin(self, how: Mode, name: str, source: str, operation: str, headers: Mapping[str, str]) -> None:
        self._scope.clear_breadcrumbs()
        self._scope.generate_propagation_context(dict(headers))
        # The name goes into headers of envelopes and of outgoing requests, which pass no hook.
        name = scrub_text(name, url_scrubber())
        if operation and how.is_tracing and not _is_part_of_another(how):
            self._segment = _start_segment(how, name, source, operation, headers)
        place = self._segment or current_span(how) or self._scope.get_active_propagation_context()
        self.trace_id, self._own_span_id = place.trace_id, place.span_id
        # On this scope alone: by the other one the name of a transaction under way would change.
        self._scope.set_transaction_name(name, source=source)

    @property
    def span_id(self) -> str:
        """The id of the innermost span, 16 hexadecimal digits."""
        span = current_span(self._how) if self._segment is not None else None
        return self._own_span_id if span is None else span.span_id

    def rename(self, name: str, operation: str) -> None:
        """Name the unit's events and its transaction as its author wants."""
        self.given_name = name = scrub_text(name, url_scrubber())
        sentry_sdk.set_transaction_name(name, source="custom")
        match self._segment:
            case Transaction():
                self._segment.op = operation
            case StreamedSpan():
                self._segment.set_attribute("sentry.op", operation)

    def close(self, *, failed: bool) -> None:
        """Finish the transaction, and leave the scope."""
        try:
            match self._segment:
                case Transaction():
                    self._segment.set_status("internal_error" if failed else "ok")
                    self._segment.__exit__(None, None, None)
                case StreamedSpan():
                    self._segment.status = "error" if failed else "ok"
                    self._segment.end()
        finally:
            self._isolation.close()


def _is_part_of_another(how: Mode) -> bool:
    """Whether somebody else has begun a transaction, for the same as a rule: an integration of the SDK's, or a script."""
    return current_work() is None and current_span(how) is not None


def _start_segment(how: Mode, name: str, source: str, operation: str, headers: Mapping[str, str]) -> AnySpan:
    if how.is_streaming:
        continue_streamed_trace(dict(headers))
        attributes: Part = {
            "sentry.op": operation,
            "sentry.origin": _ORIGIN,
            "sentry.segment.name.source": source,
        }
        return start_streamed_span(name=name, attributes=attributes, parent_span=None)
    transaction = sentry_sdk.continue_trace(dict(headers), op=operation, name=name, source=source, origin=_ORIGIN)
    sentry_sdk.start_transaction(transaction).__enter__()
    return transaction
