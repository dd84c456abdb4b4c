"""
The inbox: takes Sentry's events as they leave, and writes them to the database when nobody waits for it.

`receive` runs in the middle of the host's work, so it only sorts, counts and queues. `write` is a flush's: what cannot be
written waits, within bounds, until the next.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from time import time
from typing import Any
from uuid import uuid4

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.inbox import tallies
from crm_monitoring.dashboard.inbox.grouping import group_of
from crm_monitoring.dashboard.inbox.untrusted import integer, mapping, moment, pairs
from crm_monitoring.dashboard.inbox.waiting import Waiting
from crm_monitoring.dashboard.metrics import collector, hashed
from crm_monitoring.dashboard.models import (
    ENVIRONMENT_LENGTH,
    NAME_LENGTH,
    RELEASE_LENGTH,
    REQUEST_ID_LENGTH,
    TAG_LENGTH,
    TRACE_ID_LENGTH,
)
from crm_monitoring.dashboard.schedule import note_failure
from crm_monitoring.dashboard.store import MOST_TAGS, Occurrence, Slow, issue_writer
from crm_monitoring.dashboard.texts import one_line, string
from crm_monitoring.extending import HELD_BACK, Envelope, after_fork, pattern, sentry_status
from crm_monitoring.rendering import dumps

MAX_EVENTS = 500
MAX_TRANSACTIONS = 100
UNWRITTEN_EVENTS = "inbox_unwritten_events"
UNWRITTEN_TRANSACTIONS = "inbox_unwritten_transactions"

_OF_ONE_EVENT = frozenset(("request_id", "task_id", "job_id"))
_EVENT_ID = pattern("[0-9a-f]{32}")
_ERRORS = ("error", "fatal")
_OTHER = "other"
_TYPES = frozenset(
    (
        "attachment",
        "check_in",
        "client_report",
        "event",
        "feedback",
        "log",
        "profile",
        "profile_chunk",
        "session",
        "sessions",
        "span",
        "trace_metric",
        "transaction",
    )
)

events = Waiting[Occurrence](MAX_EVENTS, issue_writer.record)
_transactions = Waiting[Slow](MAX_TRANSACTIONS, issue_writer.record_slow)
_received: Counter[str] = Counter()
_lock = threading.RLock()


def receive(envelope: Envelope) -> None:
    """Take what an envelope holds: queue events and slow transactions, count the rest. A receiver of `sentry.transport`."""
    for item in envelope.items:
        _count(item.type, integer(item.headers.get("item_count")) or 1)
        event, transaction = item.get_event(), item.get_transaction_event()
        if event is not None:
            _take_event(event)
        elif transaction is not None and _is_keeping():
            _take_transaction(transaction)


def _count(kind: str | None, quantity: int) -> None:
    with _lock:
        # Somebody else's code may put any type into an envelope.
        _received[kind if kind in _TYPES else _OTHER] += quantity


def _is_keeping() -> bool:
    return config.get().INBOX or sentry_status().local


def _take_event(event: Mapping[str, Any]) -> None:
    if event.get("logger") == HELD_BACK:
        # It tells of events that are counted already, one by one.
        return
    group = group_of(event)
    if group.level in _ERRORS:
        collector.count_error(group.fingerprint)
    if not _is_keeping():
        tallies.count(event, group)
        return
    happened = moment(event.get("timestamp"))
    user = string(mapping(event.get("user")).get("id"))
    about = _about(event, happened.timestamp() if happened else time())
    events.add(Occurrence(**about, group=group, user=hashed(user) if user else "", tags=_tags(event)))
    note_failure()


def _tags(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that may have a value in common with other events."""
    found = ((one_line(name, TAG_LENGTH), one_line(value, NAME_LENGTH)) for name, value in pairs(event.get("tags")))
    return dict(islice(((name, value) for name, value in found if name and name not in _OF_ONE_EVENT), MOST_TAGS))


def _take_transaction(event: Mapping[str, Any]) -> None:
    started, ended = moment(event.get("start_timestamp")), moment(event.get("timestamp"))
    if started is None or ended is None:
        return
    duration_ms = (ended - started).total_seconds() * 1000
    if duration_ms > config.get().SLOW_REQUEST_MS:
        _transactions.add(Slow(**_about(event, ended.timestamp()), duration_ms=duration_ms))


def _about(event: Mapping[str, Any], moment: float) -> dict[str, Any]:
    return {
        "event_id": _event_id(event),
        "request_id": one_line(mapping(event.get("tags")).get("request_id"), REQUEST_ID_LENGTH),
        "trace_id": one_line(mapping(mapping(event.get("contexts")).get("trace")).get("trace_id"), TRACE_ID_LENGTH),
        # A wrong clock may not keep an issue at the top of the list for years.
        "moment": min(moment, time()),
        "environment": one_line(event.get("environment"), ENVIRONMENT_LENGTH),
        "release": one_line(event.get("release"), RELEASE_LENGTH),
        "endpoint": one_line(event.get("transaction"), NAME_LENGTH),
        "body": dumps(event),
    }


def _event_id(event: Mapping[str, Any]) -> str:
    given = string(event.get("event_id")).replace("-", "").lower()
    return given if _EVENT_ID.fullmatch(given) else uuid4().hex


def write() -> None:
    """
    Write what waits, the events first. What is written already, by an attempt whose answer was lost, is not counted again.

    Raises:
        django.db.Error: if the database cannot take it; what is not written waits for the next call.
    """
    events.write()
    _transactions.write()


def lose() -> None:
    """Count what waits as lost."""
    if len(events):
        faults.lose(UNWRITTEN_EVENTS, len(events))
    if len(_transactions):
        faults.lose(UNWRITTEN_TRANSACTIONS, len(_transactions))
    events.start_over()
    _transactions.start_over()


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(len(events) + len(_transactions))


def counts() -> dict[str, Any]:
    """Return how many items of each type this process has received, and how many wait to be written."""
    with _lock:
        received = dict(_received)
    return {"received": received, "waiting": len(events) + len(_transactions)}


def reset() -> None:
    """Forget what was received and what waits, as in a forked child: it is the parent's to write."""
    global _lock
    _lock = threading.RLock()
    events.start_over()
    _transactions.start_over()
    _received.clear()


after_fork(reset)
