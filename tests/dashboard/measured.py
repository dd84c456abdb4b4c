"""What the tests of metrics have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from crm_monitoring.records import OperationRecord, RequestRecord
from tests.dashboard.traffic import kept


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


def counts(alias: str, kind: str = "request") -> dict[str, int]:
    """How often each name was counted, by all together."""
    found: dict[str, int] = {}
    for one in kept(alias, kind=kind):
        found[one.name] = found.get(one.name, 0) + one.count
    return found
