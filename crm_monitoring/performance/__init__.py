"""`PerformanceMonitor` and `@monitored`: a span, a line and a record for a block of code, and nothing else changed."""

from __future__ import annotations

from crm_monitoring.performance.monitor import PerformanceMonitor, current_monitor
from crm_monitoring.performance.monitored import monitored, unmonitored

__all__ = ["PerformanceMonitor", "current_monitor", "monitored", "unmonitored"]
