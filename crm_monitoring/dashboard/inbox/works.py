"""
Keeps requests and units of work whole: those that failed, those that were slow, and of the rest one per endpoint and five minutes.

`keep` runs at the end of each, so what is not kept costs it two comparisons and a look into a dict.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from functools import cache
from time import monotonic
from typing import Any
from uuid import uuid4

from crm_monitoring import faults
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.inbox.waiting import Waiting
from crm_monitoring.dashboard.metrics import hashed
from crm_monitoring.dashboard.models import ENVIRONMENT_LENGTH, NAME_LENGTH, RELEASE_LENGTH, KeptWork
from crm_monitoring.dashboard.store import works
from crm_monitoring.dashboard.texts import one_line
from crm_monitoring.extending import (
    OperationRecord,
    Query,
    Record,
    Request,
    RequestRecord,
    Work,
    after_fork,
    scrub,
    scrub_text,
    sentry_status,
)
from crm_monitoring.rendering import dumps

MAX_WORKS = 200
MAX_NAMES = 200
MOST_ALIKE = 10
"""How many of one endpoint may wait: of a hundred that fail at once the first tell enough."""

UNWRITTEN_WORKS = "inbox_unwritten_requests"

_MOST_STATEMENTS = 50
_NOT_FIELDS = frozenset(
    ("event", "level", "timestamp", "logger", "exc_info", "request_id", "trace_id", "span_id", "user_id")
)

kept = Waiting[works.Whole](MAX_WORKS, works.record)
_alike: Counter[str] = Counter()
_sampled: dict[str, float] = {}


def keep(work: Work, record: Record) -> None:
    """Keep `work`, which has ended, if it is worth it; a keeper."""
    name = record.endpoint if isinstance(record, RequestRecord) else record.name
    reason = _reason(record, name)
    if reason is None or not config.get().KEPT_REQUESTS_MB or _alike[name] >= MOST_ALIKE:
        return
    _alike[name] += 1
    kept.add(_whole(work, record, name, reason))


def _reason(record: Record, name: str) -> KeptWork.Reason | None:
    if record.failed:
        return KeptWork.Reason.FAILED
    if isinstance(record, RequestRecord) and record.duration_ms > config.get().SLOW_REQUEST_MS:
        return KeptWork.Reason.SLOW
    return KeptWork.Reason.SAMPLE if _is_due(name) else None


def _is_due(name: str) -> bool:
    now, last = monotonic(), _sampled.get(name)
    if (last is None and len(_sampled) >= MAX_NAMES) or (last is not None and now - last < works.SAMPLE_EVERY_S):
        return False
    _sampled[name] = now
    return True


def _whole(work: Work, record: Record, name: str, reason: KeptWork.Reason) -> works.Whole:
    status = sentry_status()
    user = record.user_id if isinstance(record, RequestRecord) else work.user_id
    return works.Whole(
        event_id=uuid4().hex,
        request_id=work.request_id,
        trace_id=work.trace_id or "",
        moment=record.started + record.duration_ms / 1000,
        environment=one_line(status.environment, ENVIRONMENT_LENGTH),
        release=one_line(status.release, RELEASE_LENGTH),
        endpoint=one_line(name, NAME_LENGTH),
        body=dumps(_body(work, record)),
        kind="request" if isinstance(work, Request) else one_line(getattr(work, "kind", ""), ENVIRONMENT_LENGTH),
        duration_ms=record.duration_ms,
        status=record.status if isinstance(record, RequestRecord) else None,
        failed=record.failed,
        reason=reason.value,
        user=hashed(user) if user else "",
    )


# -- what it did ----------------------------------------------------------------------------------------------------------


def _body(work: Work, record: Record) -> dict[str, Any]:
    body: dict[str, Any] = {
        "host": _host(),
        "process": os.getpid(),
        "db_queries": work.db_queries,
        "db_ms": round(work.db_ms, 3),
        "error": record.error,
        "lines": list(_lines(work, record)),
        "statements": list(_statements(work)),
        "steps": [_step(step, record.started) for step in work.steps or ()],
        "asked": [{"name": asked.name, "id": asked.job_id} for asked in work.asked],
    }
    if isinstance(record, RequestRecord):
        body |= {"method": record.method, "path": record.path}
    return body


@cache
def _host() -> str:
    return socket.gethostname()


def _lines(work: Work, record: Record) -> Iterator[dict[str, Any]]:
    for moment, line in list(work.recent_lines):
        fields = {name: value for name, value in line.items() if name not in _NOT_FIELDS}
        shown = {"event": line.get("event"), "logger": line.get("logger"), "fields": fields}
        yield {"at_ms": _after(moment, record.started), "level": line.get("level"), **scrub(shown)}


def _statements(work: Work) -> Iterator[dict[str, Any]]:
    by_time = sorted(work.statements.items(), key=lambda item: -item[1].total_ms)
    for sql, statement in by_time[:_MOST_STATEMENTS]:
        place = work.repeated.get(sql, {})
        yield {
            "sql": scrub_text(sql),
            "count": statement.count,
            "total_ms": round(statement.total_ms, 3),
            "max_ms": round(statement.max_ms, 3),
            **({"place": place} if place else {}),
        }


def _step(step: Query | OperationRecord, started: float) -> dict[str, Any]:
    operation, text = ("db", step.sql) if isinstance(step, Query) else (step.operation, step.name)
    return {
        "at_ms": _after(step.started, started),
        "duration_ms": round(step.duration_ms, 3),
        "operation": operation,
        "text": scrub_text(text),
    }


def _after(moment: float, started: float) -> float:
    return round(max(0.0, (moment - started) * 1000), 3)


# -- how it is written ----------------------------------------------------------------------------------------------------


def write() -> None:
    """
    Write what waits.

    Raises:
        django.db.Error: if the database cannot take it; what is not written waits for the next call.
    """
    _alike.clear()
    kept.write()


def has_work() -> bool:
    """Whether anything waits to be written."""
    return bool(len(kept))


def lose() -> None:
    """Count what waits as lost."""
    if len(kept):
        faults.lose(UNWRITTEN_WORKS, len(kept))
    kept.start_over()


def reset() -> None:
    """Forget what waits, as in a forked child: it is the parent's to write."""
    kept.start_over()
    _alike.clear()
    _sampled.clear()


after_fork(reset)
