"""
Counts requests, operations, errors, losses and users in memory, until a flush writes them.

Everything is bounded: names, users, and what waits while the database cannot be written. What is dropped is counted.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import lru_cache
from time import time

from django.db import DataError, IntegrityError

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.flushing import note_failure
from crm_monitoring.dashboard.inbox.grouping import one_line
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import (
    ENVIRONMENT_LENGTH,
    NAME_LENGTH,
    OTHER,
    RELEASE_LENGTH,
    Kind,
    MetricRow,
    Visit,
)
from crm_monitoring.dashboard.store import rows
from crm_monitoring.dashboard.store.rows import Batch
from crm_monitoring.extending import OperationRecord, Record, RequestRecord, after_fork, sentry_status

MAX_NAMES = 200
MAX_CELLS = 5_000
MAX_VISITS = 20_000
LOST = "metrics"
LOST_VISITS = "metrics_visits"

_MINUTE_S = 60
_SLOT_S = 300
_BATCH_ROWS = 1_000
# Kind's members hash in Python, at half a microsecond; their values do not.
_REQUEST, _OPERATION, _ERROR, _LOSS = (kind.value for kind in (Kind.REQUEST, Kind.OPERATION, Kind.ERROR, Kind.LOSS))

_hashed = lru_cache(maxsize=4096)(hashed)


class _Cell:
    """What was counted of one name in one minute; the attributes are those of MetricRow."""

    __slots__ = (
        "count",
        "duration_ms",
        "failed",
        "redirected",
        "rejected",
        "satisfied",
        "sketch",
        "slow",
        "slowest_ms",
        "tolerating",
    )

    def __init__(self) -> None:
        self.count = self.redirected = self.rejected = self.failed = 0
        self.slow = self.satisfied = self.tolerating = 0
        self.duration_ms = self.slowest_ms = 0.0
        self.sketch = Sketch()

    def time(self, duration_ms: float) -> None:
        self.count += 1
        self.duration_ms += duration_ms
        if duration_ms > self.slowest_ms:
            self.slowest_ms = duration_ms
        self.sketch.add(duration_ms)

    def judge(self, status: int, duration_ms: float, threshold_ms: float) -> None:
        if status >= 500:
            self.failed += 1
            return
        if status >= 400:
            self.rejected += 1
        elif status >= 300:
            self.redirected += 1
        if duration_ms <= threshold_ms:
            self.satisfied += 1
        elif duration_ms <= 4 * threshold_ms:
            self.tolerating += 1


class _Held:
    """What waits in memory."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int, str], _Cell] = {}
        self.visits: set[tuple[int, str]] = set()
        self.batches: deque[Batch] = deque()
        self.labels: dict[str, dict[str, str]] = {_REQUEST: {}, _OPERATION: {}, _ERROR: {}}
        self.told: dict[str, int] = {}
        # Reentrant: the garbage collector may close a generator of the host, and so end an operation, in between.
        self.lock = threading.RLock()

    def cell(self, kind: str, name: str, moment: float) -> _Cell:
        key = (kind, int(moment) // _MINUTE_S, name)
        cell = self.cells.get(key)
        return self._new_cell(*key) if cell is None else cell

    def _new_cell(self, kind: str, minute: int, name: str) -> _Cell:
        key = (kind, minute, self._bounded(kind, name))
        if key not in self.cells and len(self.cells) >= MAX_CELLS:
            faults.lose(LOST)
            return _Cell()
        return self.cells.setdefault(key, _Cell())

    def _bounded(self, kind: str, name: str) -> str:
        known = self.labels[kind]
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
        cell = _held.cell(_REQUEST, record.endpoint, moment)
        cell.time(record.duration_ms)
        cell.judge(record.status, record.duration_ms, limits.APDEX_MS)
        if record.duration_ms > limits.SLOW_REQUEST_MS:
            cell.slow += 1
        if record.user_id is not None:
            _held.visit(record.user_id, moment)


def _collect_operation(record: OperationRecord, moment: float) -> None:
    with _held.lock:
        cell = _held.cell(_OPERATION, record.name, moment)
        cell.time(record.duration_ms)
        cell.failed += record.failed
        cell.slow += record.slow


def count_error(fingerprint: str, quantity: int = 1) -> None:
    """Count events of level error or fatal of one issue, with those that the quota held back."""
    with _held.lock:
        _held.cell(_ERROR, fingerprint, time()).count += quantity
    note_failure()


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(_held.cells or _held.visits or _held.batches or _losses_untold())


def write() -> None:
    """
    Write what waits.

    Rows that could not be written are tried again as they were, before anything newer: so each is there once, even where it was
    the database's answer that was lost.

    Raises:
        django.db.Error: if the database cannot take them.
    """
    _write_batches()
    _held.batches.extend(_cut())
    _write_batches()


def _write_batches() -> None:
    while _held.batches:
        _write(_held.batches[0])
        _held.batches.popleft()


def _write(batch: Batch) -> None:
    if batch.is_too_late(time()):
        faults.lose(LOST, batch.count)
        return
    try:
        rows.write(batch)
    except (DataError, IntegrityError):
        # Its own fault, and so for ever: what comes after it shall not wait.
        faults.lose(LOST, batch.count)


def _cut() -> list[Batch]:
    """Return what was counted until now as batches, and begin to count anew."""
    status = sentry_status()
    environment = one_line(status.environment, ENVIRONMENT_LENGTH)
    release = one_line(status.release, RELEASE_LENGTH)
    cells, visits = _take()
    metrics = [
        MetricRow(
            kind=kind,
            started=minute * _MINUTE_S,
            environment=environment,
            release=release,
            name=_held.labels[kind].get(name, name),
            count=cell.count,
            redirected=cell.redirected,
            rejected=cell.rejected,
            failed=cell.failed,
            slow=cell.slow,
            satisfied=cell.satisfied,
            tolerating=cell.tolerating,
            duration_ms=cell.duration_ms,
            slowest_ms=cell.slowest_ms,
            sketch=cell.sketch.to_bytes(),
        )
        for (kind, minute, name), cell in cells.items()
    ]
    metrics += [
        MetricRow(
            kind=_LOSS,
            started=int(time()) // _MINUTE_S * _MINUTE_S,
            environment=environment,
            release=release,
            name=one_line(kind, NAME_LENGTH),
            count=quantity,
        )
        for kind, quantity in _tell_losses().items()
    ]
    seen = [Visit(started=slot, environment=environment, user=user) for slot, user in sorted(visits)]
    return _batches(metrics, seen)


def _take() -> tuple[dict[tuple[str, int, str], _Cell], set[tuple[int, str]]]:
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


def _batches(metrics: list[MetricRow], visits: list[Visit]) -> list[Batch]:
    size = max(len(metrics), len(visits))
    return [
        Batch(metrics[start : start + _BATCH_ROWS], visits[start : start + _BATCH_ROWS])
        for start in range(0, size, _BATCH_ROWS)
    ]


def reset() -> None:
    """Forget everything, as in a forked child: what its parent holds is the parent's to write."""
    global _held
    _held = _Held()


after_fork(reset)
