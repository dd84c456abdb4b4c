"""
The inbox: takes Sentry's events as they leave, and writes them to the database when nobody waits for it.

`receive` runs in the middle of the host's work, so it only sorts, counts and queues. `write` is a flush's: what cannot be
written waits, within bounds, until the next.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Generic, TypeVar
from uuid import uuid4

from django.db import Error

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.inbox.grouping import group_of
from crm_monitoring.dashboard.inbox.untrusted import integer, mapping, moment
from crm_monitoring.dashboard.metrics import collector, hashed
from crm_monitoring.dashboard.models import ENVIRONMENT_LENGTH, NAME_LENGTH, RELEASE_LENGTH
from crm_monitoring.dashboard.schedule import note_failure
from crm_monitoring.dashboard.store import About, Occurrence, Slow, is_values_fault, issue_writer
from crm_monitoring.dashboard.texts import one_line, string
from crm_monitoring.extending import Envelope, after_fork, pattern, sentry_status
from crm_monitoring.rendering import dumps

MAX_EVENTS = 500
MAX_TRANSACTIONS = 100
MAX_BYTES = 8 * 1024 * 1024
"""How much JSON may wait, of events and of transactions each."""

FULL = "inbox_full"
UNWRITABLE = "inbox_unwritable"
UNWRITTEN_EVENTS = "inbox_unwritten_events"
UNWRITTEN_TRANSACTIONS = "inbox_unwritten_transactions"

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

T = TypeVar("T", bound=About)


class _Waiting(Generic[T]):
    """
    What waits to be written, bounded in number and bytes: what comes when it is full is lost, and counted.

    Args:
        record: Writes one to the database; once more does no harm.
    """

    def __init__(self, limit: int, record: Callable[[T], object]) -> None:
        self._limit = limit
        self._record = record
        self.start_over()

    def start_over(self) -> None:
        """Forget what waits."""
        self._kept: dict[str, T] = {}
        self._bytes = 0
        # Reentrant: a finaliser may report a failure while its own thread is in here.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, one: T) -> None:
        """Let `one` wait, unless it does already or there is no room."""
        with self._lock:
            if one.event_id in self._kept:
                return
            if len(self._kept) >= self._limit or self._bytes + len(one.body) > MAX_BYTES:
                faults.lose(FULL)
                return
            self._kept[one.event_id] = one
            self._bytes += len(one.body)

    def write(self) -> None:
        """
        Write what waits now, one after the other; each stays until it is written.

        Raises:
            django.db.Error: if the database cannot take them.
        """
        for _ in range(len(self._kept)):
            one = self._first()
            if one is None:
                return
            try:
                self._record_somehow(one)
            except Exception as error:
                if isinstance(error, Error) and not is_values_fault(error):
                    # To the end: should it be this one's own fault after all, the next flush begins with another.
                    self._move_to_end(one)
                    raise
                faults.lose(UNWRITABLE)
                self._remove(one)
                faults.record("Writing an event to the inbox", error)
            else:
                self._remove(one)

    def _record_somehow(self, one: T) -> None:
        try:
            self._record(one)
        except Error as error:
            if not is_values_fault(error):
                raise
            self._record(one.in_any_charset())

    def _first(self) -> T | None:
        with self._lock:
            return next(iter(self._kept.values()), None)

    def _remove(self, one: T) -> bool:
        with self._lock:
            is_there = self._kept.pop(one.event_id, None) is not None
            self._bytes -= len(one.body) if is_there else 0
            return is_there

    def _move_to_end(self, one: T) -> None:
        with self._lock:
            if self._remove(one):
                self.add(one)


_events = _Waiting[Occurrence](MAX_EVENTS, issue_writer.record)
_transactions = _Waiting[Slow](MAX_TRANSACTIONS, issue_writer.record_slow)
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
    group, count = group_of(event), 1 + _held_back(event)
    if group.level in _ERRORS:
        collector.count_error(group.fingerprint, count)
    if _is_keeping():
        happened = moment(event.get("timestamp"))
        user = string(mapping(event.get("user")).get("id"))
        about = _about(event, happened.timestamp() if happened else time())
        _events.add(Occurrence(**about, group=group, count=count, user=hashed(user) if user else ""))
        note_failure()


def _held_back(event: Mapping[str, Any]) -> int:
    quota = mapping(mapping(event.get("contexts")).get("quota"))
    return max(0, integer(quota.get("held_back")) or 0)


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
    _events.write()
    _transactions.write()


def lose() -> None:
    """Count what waits as lost."""
    if len(_events):
        faults.lose(UNWRITTEN_EVENTS, len(_events))
    if len(_transactions):
        faults.lose(UNWRITTEN_TRANSACTIONS, len(_transactions))
    _events.start_over()
    _transactions.start_over()


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(len(_events) + len(_transactions))


def counts() -> dict[str, Any]:
    """Return how many items of each type this process has received, and how many wait to be written."""
    with _lock:
        received = dict(_received)
    return {"received": received, "waiting": len(_events) + len(_transactions)}


def reset() -> None:
    """Forget what was received and what waits, as in a forked child: it is the parent's to write."""
    global _lock
    _lock = threading.RLock()
    _events.start_over()
    _transactions.start_over()
    _received.clear()


after_fork(reset)
