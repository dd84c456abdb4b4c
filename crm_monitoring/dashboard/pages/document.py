"""The figures as JSON: for programs, at figures.json and by `manage.py monitoring status --json`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from crm_monitoring.dashboard.models import Deploy, Issue
from crm_monitoring.dashboard.store.figures import Figures, Point

_CHANGES = (
    "requests",
    "errors",
    "average_ms",
    "active_users",
    "users",
    "error_rate",
    "apdex",
    "p95_ms",
    "failed",
    "slow",
)


def document(figures: Figures) -> dict[str, Any]:
    """
    Return figures as JSON takes them. Moments are ISO 8601 in UTC, durations milliseconds, rates from 0 to 1.

    Returns:
        "window" ("key", "seconds", "step"), "environment" (empty for all), "environments", "until".
        "requests", "errors", "average_ms", "active_users", "users", "error_rate", "apdex", "p95_ms", "failed", "slow": each "now"
        and "before", the same of the window before; null where nothing was measured.
        "hottest" and "slowest": the names of endpoints, or null.
        "endpoints" and "operations": "name", "count", "redirected", "rejected", "failed", "slow", "average_ms", "p50_ms", "p95_ms",
        "p99_ms", "slowest_ms", "apdex" each.
        "points": "started", "requests", "errors", "failed", "p50_ms", "p95_ms" of each step of the charts.
        "issues": "id", "title", "place", "level", "count", "first_seen", "last_seen" of the newest open ones.
        "deploys": "release", "environment", "moment", "url" each. "errors_by_release": "release" and "count" each.
        "source": "since", "newest", "dropped" (counts by kind).
    """
    return {
        "window": asdict(figures.window),
        "environment": figures.environment,
        "environments": list(figures.environments),
        "until": _moment(figures.until),
        **{name: asdict(getattr(figures, name)) for name in _CHANGES},
        "hottest": figures.hottest and figures.hottest.name,
        "slowest": figures.slowest and figures.slowest.name,
        "endpoints": [asdict(endpoint) for endpoint in figures.endpoints],
        "operations": [asdict(operation) for operation in figures.operations],
        "points": [_point(point) for point in figures.points],
        "issues": [_issue(issue) for issue in figures.issues],
        "deploys": [_deploy(deploy) for deploy in figures.deploys],
        "errors_by_release": [{"release": release, "count": count} for release, count in figures.errors_by_release],
        "source": {
            "since": _moment(figures.source.since),
            "newest": _moment(figures.source.newest),
            "dropped": dict(figures.source.dropped),
        },
    }


def _point(point: Point) -> dict[str, Any]:
    return {**asdict(point), "started": _moment(datetime.fromtimestamp(point.started, UTC))}


def _issue(issue: Issue) -> dict[str, Any]:
    return {
        "id": issue.pk,
        "title": issue.title,
        "place": issue.place,
        "level": issue.level,
        "count": issue.count,
        "first_seen": _moment(issue.first_seen),
        "last_seen": _moment(issue.last_seen),
    }


def _deploy(deploy: Deploy) -> dict[str, Any]:
    return {
        "release": deploy.release,
        "environment": deploy.environment,
        "moment": _moment(deploy.moment),
        "url": deploy.url,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
