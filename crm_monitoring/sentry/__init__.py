"""The only package that talks to sentry_sdk; the rest of the house calls what is named here."""

from __future__ import annotations

from crm_monitoring.sentry.client import (
    SentryStatus,
    counts_deliveries,
    destination,
    flush,
    get_traces_sample_rate,
    init_sentry,
    status,
)
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
from crm_monitoring.sentry.spans import (
    OperationSpan,
    current_trace_id,
    start_operation_span,
    start_query_span,
    trace_headers,
)
from crm_monitoring.sentry.tracing import trace_request
from crm_monitoring.sentry.transport import DELIVERY_FAILED, has_receivers
from crm_monitoring.sentry.unit_trace import UnitTrace

__all__ = [
    "DELIVERY_FAILED",
    "OperationSpan",
    "SentryStatus",
    "UnitTrace",
    "add_breadcrumb",
    "capture_crash",
    "capture_exception",
    "capture_message",
    "counts_deliveries",
    "current_trace_id",
    "destination",
    "flush",
    "get_traces_sample_rate",
    "has_receivers",
    "init_sentry",
    "observe_line",
    "report_handled",
    "report_server_error",
    "set_tag",
    "set_transaction_context",
    "set_user_context",
    "start_operation_span",
    "start_query_span",
    "status",
    "trace_headers",
    "trace_request",
]
