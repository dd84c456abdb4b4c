"""Metric rows of known traffic, as a process would have written them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from crm_monitoring.dashboard.metrics.sketch import Sketch
from crm_monitoring.dashboard.models import Kind, MetricRow

APDEX_MS = 500
SLOW_MS = 1000


def measured(name: str, durations_ms: Sequence[float], *, at: float | None = None, **fields: Any) -> MetricRow:
    """A row of the minute of `at`, now unless given. With `failed` the slowest of its durations are those that failed."""
    sketch = Sketch()
    for duration_ms in durations_ms:
        sketch.add(duration_ms)
    answered = sorted(durations_ms)[: len(durations_ms) - fields.get("failed", 0)]
    return MetricRow(
        **{
            "kind": Kind.REQUEST,
            "environment": "production",
            "release": "1.4.2",
            "slow": sum(duration_ms > SLOW_MS for duration_ms in durations_ms),
            "satisfied": sum(duration_ms <= APDEX_MS for duration_ms in answered),
            "tolerating": sum(APDEX_MS < duration_ms <= 4 * APDEX_MS for duration_ms in answered),
            **fields,
        },
        batch=uuid4(),
        position=0,
        started=_minute(at),
        name=name,
        count=len(durations_ms),
        duration_ms=sum(durations_ms),
        slowest_ms=max(durations_ms),
        sketch=sketch.to_bytes(),
    )


def errors(fingerprint: str, count: int, *, at: float | None = None, **fields: Any) -> MetricRow:
    """A row of errors, or with another `kind` of what else is only counted."""
    return MetricRow(
        **{"kind": Kind.ERROR, "environment": "production", "release": "1.4.2", **fields},
        batch=uuid4(),
        position=0,
        started=_minute(at),
        name=fingerprint,
        count=count,
    )


def _minute(at: float | None) -> int:
    return int(time.time() if at is None else at) // 60 * 60
