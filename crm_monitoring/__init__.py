"""Error tracking, tracing and structured logs for a Django backend, in one line."""

from __future__ import annotations

# First: the deeper among other imports sentry_sdk is loaded, the longer CPython takes to load it.
from crm_monitoring.sentry import (
    add_breadcrumb,
    capture_exception,
    capture_message,
    get_traces_sample_rate,
    init_sentry,
    set_tag,
    set_transaction_context,
    set_user_context,
)

# isort: split
from crm_monitoring.health import check_monitoring_health
from crm_monitoring.logs import get_logger, init_structured_logging
from crm_monitoring.performance import PerformanceMonitor, current_monitor, monitored, unmonitored
from crm_monitoring.records import OperationRecord, RequestRecord
from crm_monitoring.units import unit_of_work

__all__ = [
    "OperationRecord",
    "PerformanceMonitor",
    "RequestRecord",
    "add_breadcrumb",
    "capture_exception",
    "capture_message",
    "check_monitoring_health",
    "current_monitor",
    "get_logger",
    "get_traces_sample_rate",
    "init_sentry",
    "init_structured_logging",
    "monitored",
    "set_tag",
    "set_transaction_context",
    "set_user_context",
    "unit_of_work",
    "unmonitored",
]
