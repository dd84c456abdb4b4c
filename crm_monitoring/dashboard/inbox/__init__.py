"""The inbox: events as they leave, kept as issues in the database of the project."""

from __future__ import annotations

from crm_monitoring.dashboard.inbox import receiver, tallies, waiting, works
from crm_monitoring.dashboard.inbox.untrusted import (
    MAX_ITEMS,
    Pair,
    indented,
    integer,
    items,
    mapping,
    moment,
    objects,
    pairs,
    pretty,
)

__all__ = [
    "MAX_ITEMS",
    "Pair",
    "indented",
    "integer",
    "items",
    "mapping",
    "moment",
    "objects",
    "pairs",
    "pretty",
    "receiver",
    "tallies",
    "waiting",
    "works",
]
