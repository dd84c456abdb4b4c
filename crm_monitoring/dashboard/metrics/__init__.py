"""What is counted: in memory, and as arithmetic."""

from __future__ import annotations

from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.metrics.collector import LOST
from crm_monitoring.dashboard.metrics.counters import OTHER, Counters, Metric
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.metrics.sketch import Sketch, UnknownFormat
from crm_monitoring.dashboard.metrics.sums import ERROR, REQUEST, Key, Names, Points, Totals, is_known

__all__ = [
    "ERROR",
    "LOST",
    "OTHER",
    "REQUEST",
    "Counters",
    "Key",
    "Metric",
    "Names",
    "Points",
    "Sketch",
    "Totals",
    "UnknownFormat",
    "collector",
    "hashed",
    "is_known",
]
