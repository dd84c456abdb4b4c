"""The only readers and writers of the dashboard's tables."""

from __future__ import annotations

from crm_monitoring.dashboard.store import clock, flushes, issue_writer, rollups, upkeep, works
from crm_monitoring.dashboard.store.answers import Unanswered, answered, silent_since
from crm_monitoring.dashboard.store.connection import aside, database, is_values_fault, snapshot, timeout_s, transaction
from crm_monitoring.dashboard.store.issue_writer import About, Group, Occurrence, Slow, Tally
from crm_monitoring.dashboard.store.links import Link, is_callers, lend
from crm_monitoring.dashboard.store.spans import floor_to
from crm_monitoring.dashboard.store.tags import MOST_TAGS
from crm_monitoring.dashboard.store.windows import DEFAULT_WINDOW, WINDOWS, Window

__all__ = [
    "DEFAULT_WINDOW",
    "MOST_TAGS",
    "WINDOWS",
    "About",
    "Group",
    "Link",
    "Occurrence",
    "Slow",
    "Tally",
    "Unanswered",
    "Window",
    "answered",
    "aside",
    "clock",
    "database",
    "floor_to",
    "flushes",
    "is_callers",
    "is_values_fault",
    "issue_writer",
    "lend",
    "rollups",
    "silent_since",
    "snapshot",
    "timeout_s",
    "transaction",
    "upkeep",
    "works",
]
