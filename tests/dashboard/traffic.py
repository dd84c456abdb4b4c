"""What processes have counted of known traffic, as their flushes write it, and how to read it back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from crm_monitoring.dashboard.metrics.counters import Counters, Metric
from crm_monitoring.dashboard.metrics.sums import Key, Names
from crm_monitoring.dashboard.models import Flush, RollUp
from crm_monitoring.dashboard.store import rollups

APDEX_MS = 500
SLOW_MS = 1000


@dataclass(kw_only=True)
class Counted:
    """What was counted of one name in one minute."""

    kind: str
    name: str
    started: int
    environment: str = "production"
    release: str = ""
    counters: Counters = field(default_factory=Counters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.counters, name)


def measured(name: str, durations_ms: Sequence[float], *, at: float | None = None, **fields: Any) -> Counted:
    """In the minute of `at`, now unless given. With `failed` the slowest of its durations are those that failed."""
    counters = Counters()
    for duration_ms in durations_ms:
        counters.time(duration_ms)
    answered = sorted(durations_ms)[: len(durations_ms) - fields.get("failed", 0)]
    counters.slow = fields.pop("slow", sum(duration_ms > SLOW_MS for duration_ms in durations_ms))
    counters.satisfied = sum(duration_ms <= APDEX_MS for duration_ms in answered)
    counters.tolerating = sum(APDEX_MS < duration_ms <= 4 * APDEX_MS for duration_ms in answered)
    for counter in ("redirected", "rejected", "failed"):
        setattr(counters, counter, fields.pop(counter, 0))
    return Counted(**{"kind": Metric.REQUEST, **fields}, name=name, started=_minute(at), counters=counters)


def errors(fingerprint: str, count: int, *, at: float | None = None, **fields: Any) -> Counted:
    """Errors, or with another `kind` of what else is only counted."""
    given = {"kind": Metric.ERROR, "release": "1.4.2", **fields}
    return Counted(**given, name=fingerprint, started=_minute(at), counters=Counters(count=count))


def _minute(at: float | None) -> int:
    return int(time.time() if at is None else at) // 60 * 60


def write(alias: str, *counted: Counted) -> None:
    """Write each as a flush of its own, which waits to be rolled up."""
    Flush.objects.using(alias).bulk_create(flush_of(one) for one in counted)


def flush_of(one: Counted) -> Flush:
    release = one.release if one.kind == Metric.ERROR else ""
    names = Names({Key(str(one.kind), one.name, release): one.counters})
    return Flush(id=uuid4(), started=one.started, environment=one.environment, body=names.to_bytes())


def roll_up(now: float) -> int:
    """Roll up all that can be; returns how many flushes and roll-ups went into wider ones."""
    moved = 0
    while added := rollups.add_flushes(now):
        moved += added
    return moved + sum(rollups.widen(now))


def kept(alias: str, **filters: Any) -> list[Counted]:
    """All that is kept, each once: of flushes that wait and of roll-ups that no wider one has."""
    columns = "started", "environment", "body"
    waiting = Flush.objects.using(alias).filter(emptied=None).values_list(*columns)
    rolled = RollUp.objects.using(alias).filter(rolled=False).values_list(*columns)
    return _counted([*waiting, *rolled], filters)


def kept_in(path: str, **filters: Any) -> list[Counted]:
    """The same of a SQLite file."""
    flush, rollup, columns = Flush._meta.db_table, RollUp._meta.db_table, "started, environment, body"
    with closing(sqlite3.connect(path)) as connection:
        waiting = connection.execute(f"SELECT {columns} FROM {flush} WHERE emptied IS NULL").fetchall()
        rolled = connection.execute(f"SELECT {columns} FROM {rollup} WHERE NOT rolled").fetchall()
    return _counted([*waiting, *rolled], filters)


def _counted(rows: Iterable[tuple[int, str, Any]], filters: dict[str, Any]) -> list[Counted]:
    found = [
        Counted(kind=kind, name=name, release=release, started=started, environment=environment, counters=counters)
        for started, environment, body in rows
        for (kind, name, release), counters in Names.from_bytes(bytes(body)).items()
    ]
    matching = [one for one in found if all(getattr(one, name) == value for name, value in filters.items())]
    return sorted(matching, key=lambda one: (one.kind, one.name, one.started))
