"""What happened, as the tables of the dashboard have it: requests, errors and issues."""

from __future__ import annotations

from time import time
from typing import Any
from uuid import uuid4

from crm_monitoring.dashboard.inbox.grouping import group_of
from crm_monitoring.dashboard.metrics.counters import Counters
from crm_monitoring.dashboard.models import Issue
from crm_monitoring.dashboard.store import database, issue_writer
from crm_monitoring.dashboard.store.issue_writer import Occurrence
from crm_monitoring.rendering import dumps
from tests.dashboard.traffic import Counted, write


def event(title: str = "no such category", **given: Any) -> dict[str, Any]:
    """An event with an exception as Sentry has it."""
    frames = [
        {
            "module": "django.core.handlers",
            "filename": "django/core/handlers/base.py",
            "function": "get",
            "lineno": 7,
            "in_app": False,
        },
        {"module": "shop.views", "filename": "shop/views.py", "function": "buy", "lineno": 42, "in_app": True},
    ]
    value = {"type": "ValueError", "value": title, "stacktrace": {"frames": frames}}
    return {"level": "error", "exception": {"values": [value]}, "fingerprint": [title], **given}


def happen(title: str = "no such category", moment: float | None = None, **given: Any) -> Issue:
    """Let an issue happen once."""
    body = event(title, level=given.get("level", "error"), **given.get("event", {}))
    recorded = issue_writer.record(
        Occurrence(
            event_id=uuid4().hex,
            moment=moment or time(),
            environment=given.get("environment", "production"),
            release=given.get("release", "1.0"),
            endpoint=given.get("endpoint", "POST buy/"),
            body=dumps(body),
            group=group_of(body),
            user=given.get("user", ""),
        )
    )
    assert recorded is not None
    return Issue.objects.using(database()).get(pk=recorded.issue_id)


def measure(
    kind: str = "request", count: int = 20, ms: float = 100.0, moment: float | None = None, **given: Any
) -> None:
    """Let something be counted: requests unless told otherwise, each as long as the other."""
    counters = Counters()
    for _ in range(count):
        counters.time(ms)
    counters.satisfied = count if ms <= 500 else 0
    counters.failed = given.pop("failed", 0)
    started = int(moment or time()) // 60 * 60
    one = Counted(**{"name": "GET ok/", **given}, kind=kind, started=started, counters=counters)
    write(database(), one)
