"""The only package that talks to sentry_sdk; the rest of the house calls what is named here."""

from __future__ import annotations

from crm_monitoring.sentry.before_send import HELD_BACK, register_counter, unregister_counter
from crm_monitoring.sentry.client import captured, init_sentry
from crm_monitoring.sentry.events import (
    add_breadcrumb,
    capture_crash,
    capture_exception,
    capture_message,
    observe_line,
    report_handled,
    report_server_error,
    set_tag,
    set_transaction_context,
    set_user_context,
)
from crm_monitoring.sentry.failures import ignore_also, is_held, leave_unit, send_held, send_overdue
from crm_monitoring.sentry.sdk import LIMITS, Envelope
from crm_monitoring.sentry.spans import (
    AnySpan,
    OperationSpan,
    current_trace_id,
    finish_query_span,
    start_operation_span,
    start_query_span,
    trace_headers,
)
from crm_monitoring.sentry.status import (
    SentryStatus,
    counts_deliveries,
    destination,
    flush,
    get_traces_sample_rate,
    status,
)
from crm_monitoring.sentry.thread_scopes import fork_scopes
from crm_monitoring.sentry.tracing import is_unmonitored, trace_request
from crm_monitoring.sentry.transport import (
    DELIVERY_FAILED,
    MemoryTransport,
    has_receivers,
    register_receiver,
    unregister_receiver,
)
from crm_monitoring.sentry.unit_trace import UnitTrace
from crm_monitoring.sentry.w3c import TRACE_HEADERS

__all__ = [
    "DELIVERY_FAILED",
    "HELD_BACK",
    "AnySpan",
    "Envelope",
    "MemoryTransport",
    "LIMITS",
    "TRACE_HEADERS",
    "OperationSpan",
    "SentryStatus",
    "UnitTrace",
    "add_breadcrumb",
    "capture_crash",
    "capture_exception",
    "capture_message",
    "captured",
    "counts_deliveries",
    "current_trace_id",
    "destination",
    "finish_query_span",
    "flush",
    "fork_scopes",
    "get_traces_sample_rate",
    "has_receivers",
    "ignore_also",
    "init_sentry",
    "is_held",
    "is_unmonitored",
    "leave_unit",
    "observe_line",
    "register_counter",
    "register_receiver",
    "report_handled",
    "report_server_error",
    "send_held",
    "send_overdue",
    "set_tag",
    "set_transaction_context",
    "set_user_context",
    "start_operation_span",
    "start_query_span",
    "status",
    "trace_headers",
    "trace_request",
    "unregister_counter",
    "unregister_receiver",
]
