"""
Counts requests, operations, errors, losses and users in memory, until a flush takes them.

Everything is bounded: names, users, and what waits while the database cannot be written. What is dropped is counted.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from time import time
from typing import NamedTuple

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.metrics.counters import OTHER, Counters
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.metrics.sums import ERROR, LOSS, OPERATION, REQUEST, Key, Names
from crm_monitoring.dashboard.models import ENVIRONMENT_LENGTH, NAME_LENGTH, RELEASE_LENGTH
from crm_monitoring.dashboard.schedule import note_failure
from crm_monitoring.dashboard.texts import one_line
from crm_monitoring.extending import OperationRecord, Record, RequestRecord, after_fork, sentry_status

MAX_NAMES = 200
MAX_CELLS = 5_000
MAX_VISITS = 20_000
LOST = "metrics"
LOST_VISITS = "metrics_visits"

_MINUTE_S = 60
_SLOT_S = 300

_hashed = lru_cache(maxsize=4096)(hashed)


class Taken(NamedTuple):
    """
    What was counted since the last time.

    Attributes:
        minutes: What was counted in each minute, by its start.
        visits: Start of a five-minute slot, and the hash of a user seen in it.
    """

    environment: str
    minutes: Mapping[int, Names]
    visits: set[tuple[int, str]]


class _Held:
    """What waits in memory."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int, str], Counters] = {}
        self.visits: set[tuple[int, str]] = set()
        self.labels: dict[str, dict[str, str]] = {REQUEST: {}, OPERATION: {}, ERROR: {}}
        self.told: dict[str, int] = {}
        # Reentrant: the garbage collector may close a generator of the host, and so end an operation, in between.
        self.lock = threading.RLock()

    def cell(self, metric: str, name: str, moment: float) -> Counters:
        key = (metric, int(moment) // _MINUTE_S, name)
        cell = self.cells.get(key)
        return self._new_cell(*key) if cell is None else cell

    def _new_cell(self, metric: str, minute: int, name: str) -> Counters:
        key = (metric, minute, self._bounded(metric, name))
        if key not in self.cells and len(self.cells) >= MAX_CELLS:
            faults.lose(LOST)
            return Counters()
        return self.cells.setdefault(key, Counters())

    def _bounded(self, metric: str, name: str) -> str:
        known = self.labels[metric]
        if name not in known and len(known) >= MAX_NAMES:
            return OTHER
        known.setdefault(name, one_line(name, NAME_LENGTH))
        return name

    def visit(self, user_id: str, moment: float) -> None:
        visit = (int(moment) // _SLOT_S * _SLOT_S, _hashed(user_id))
        if visit not in self.visits and len(self.visits) >= MAX_VISITS:
            faults.lose(LOST_VISITS)
            return
        self.visits.add(visit)


_held = _Held()


def collect(record: Record) -> None:
    """Count a request or an operation, in the minute it ended in; a hook."""
    moment = record.started + record.duration_ms / 1000
    if isinstance(record, RequestRecord):
        _collect_request(record, moment)
    else:
        _collect_operation(record, moment)
    if record.failed:
        note_failure()


def _collect_request(record: RequestRecord, moment: float) -> None:
    limits = config.get()
    with _held.lock:
        cell = _held.cell(REQUEST, record.endpoint, moment)
        cell.time(record.duration_ms)
        cell.judge(record.status, record.duration_ms, limits.APDEX_MS)
        if record.duration_ms > limits.SLOW_REQUEST_MS:
            cell.slow += 1
        if record.user_id is not None:
            _held.visit(record.user_id, moment)


def _collect_operation(record: OperationRecord, moment: float) -> None:
    with _held.lock:
        cell = _held.cell(OPERATION, record.name, moment)
        cell.time(record.duration_ms)
        cell.failed += record.failed
        cell.slow += record.slow


def count_error(fingerprint: str, quantity: int = 1) -> None:
    """Count events of level error or fatal of one issue, with those that the quota held back."""
    with _held.lock:
        _held.cell(ERROR, fingerprint, time()).count += quantity
    note_failure()


def has_work() -> bool:
    """Whether anything was counted since it was taken."""
    return bool(_held.cells or _held.visits or _losses_untold())


def take() -> Taken:
    """Return what was counted until now, and begin to count anew."""
    status = sentry_status()
    release = one_line(status.release, RELEASE_LENGTH)
    cells, visits = _empty()
    minutes: defaultdict[int, Names] = defaultdict(Names)
    for (metric, minute, name), cell in cells.items():
        key = Key(metric, _held.labels[metric].get(name, name), release if metric == ERROR else "")
        minutes[minute * _MINUTE_S].of(key).add(cell)
    for kind, quantity in _tell_losses().items():
        minutes[int(time()) // _MINUTE_S * _MINUTE_S].of(Key(LOSS, one_line(kind, NAME_LENGTH))).count += quantity
    return Taken(one_line(status.environment, ENVIRONMENT_LENGTH), minutes, visits)


def _empty() -> tuple[dict[tuple[str, int, str], Counters], set[tuple[int, str]]]:
    with _held.lock:
        taken = _held.cells, _held.visits
        _held.cells, _held.visits = {}, set()
    return taken


def _losses_untold() -> dict[str, int]:
    grown = {kind: quantity - _held.told.get(kind, 0) for kind, quantity in faults.losses().items()}
    return {kind: quantity for kind, quantity in grown.items() if quantity > 0}


def _tell_losses() -> dict[str, int]:
    untold = _losses_untold()
    for kind, quantity in untold.items():
        _held.told[kind] = _held.told.get(kind, 0) + quantity
    return untold


def reset() -> None:
    """Forget everything, as in a forked child: what its parent holds is the parent's to write."""
    global _held
    _held = _Held()


after_fork(reset)
