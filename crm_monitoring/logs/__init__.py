"""Log lines, from the call to the stream: `get_logger`, and `Handler` and `Formatter` for a project's own LOGGING."""

from __future__ import annotations

from crm_monitoring.logs.bound import bind, bound, rebind, unbind
from crm_monitoring.logs.calls import Call
from crm_monitoring.logs.consoles import prints
from crm_monitoring.logs.lines import is_structured, log_format
from crm_monitoring.logs.logger import get_logger
from crm_monitoring.logs.output import LOST_LINES
from crm_monitoring.logs.processors import handled_error
from crm_monitoring.logs.setup import (
    STRUCTLOG_RECONFIGURED,
    effective_level,
    init_structured_logging,
    is_structlog_ours,
    observed,
    take_over,
)
from crm_monitoring.logs.stdlib import Formatter, Handler

__all__ = [
    "LOST_LINES",
    "STRUCTLOG_RECONFIGURED",
    "Call",
    "Formatter",
    "Handler",
    "bind",
    "bound",
    "effective_level",
    "get_logger",
    "handled_error",
    "init_structured_logging",
    "is_structlog_ours",
    "is_structured",
    "log_format",
    "observed",
    "prints",
    "rebind",
    "take_over",
    "unbind",
]
