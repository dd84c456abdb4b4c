"""What the tests of metrics have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from crm_monitoring.dashboard.models import MetricRow
from crm_monitoring.records import OperationRecord, RequestRecord


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float

    def __call__(self) -> float:
        return self.now


def request(**given: Any) -> RequestRecord:
    known = {"request_id": "id", "method": "GET", "route": "ok/", "path": "/ok/", "status": 200}
    measured = {**_just_ended(**given), "db_queries": 0, "db_ms": 0.0}
    return RequestRecord(**{**known, **measured, **given})


def operation(**given: Any) -> OperationRecord:
    known = {"name": "import", "operation": "function", "slow": False}
    return OperationRecord(**{**known, **_just_ended(**given), **given})


def _just_ended(*, duration_ms: float = 100.0, **given: Any) -> dict[str, float]:
    return {"started": time.time() - duration_ms / 1000, "duration_ms": duration_ms}


def rows(alias: str, **filters: Any) -> list[MetricRow]:
    return list(MetricRow.objects.using(alias).filter(**filters).order_by("kind", "name", "started", "pk"))


def counts(alias: str, kind: str = "request") -> dict[str, int]:
    """How often each name was counted, in all rows together."""
    found: dict[str, int] = {}
    for row in rows(alias, kind=kind):
        found[row.name] = found.get(row.name, 0) + row.count
    return found
