"""Log lines, from the call to the stream: `get_logger`, and `Handler` and `Formatter` for a project's own LOGGING."""

from __future__ import annotations

from crm_monitoring.logs.logger import Formatter, Handler, get_logger

__all__ = ["Formatter", "Handler", "get_logger"]
