"""
The breadcrumbs of a request: its beginning, its lines and its queries.

Most requests make no event, so a line and a query are only kept; they become breadcrumbs when an event is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

import sentry_sdk
from django.core.exceptions import DisallowedHost

from crm_monitoring import conf, severity
from crm_monitoring.notes import Query
from crm_monitoring.rendering import text
from crm_monitoring.requests import client_ip
from crm_monitoring.sentry.mode import Mode
from crm_monitoring.sentry.sdk import Event, Hint, Part
from crm_monitoring.work import Request, Work, current_work

if TYPE_CHECKING:
    from django.http import HttpRequest

UNTIL = "crm_monitoring_until"
"""Name in an event's hint: up to which moment, in Unix seconds, lines led to it. Without it all so far did."""

Line = Mapping[str, Any]
"""A log line: its fields by name."""

_NOT_FIELDS = frozenset(
    ("event", "level", "timestamp", "logger", "exc_info", "request_id", "trace_id", "span_id", "user_id")
)


def level_of(line: Line) -> Any:
    """Return Sentry's word for the line's level."""
    return severity.in_sentry(line["level"])


def fields_of(line: Line) -> Part:
    """Return what the line's author has said beside the event."""
    return {name: value for name, value in line.items() if name not in _NOT_FIELDS}


def leave_crumb(line: Line, how: Mode) -> None:
    """Make the line a breadcrumb of what runs now."""
    work = current_work()
    # A hook of the project wants each breadcrumb at once, and the SDK's own integration knows nothing of our request.
    if work is None or how.watches_requests or how.client.options.get("before_breadcrumb") is not None:
        sentry_sdk.add_breadcrumb(**_line_crumb(line))
        return
    if not isinstance(work, Request):
        # Its events may be made after its end.
        sentry_sdk.add_breadcrumb(**_line_crumb(line))
    if "exc_info" in line:
        # An exception holds its frames, and these hold the request.
        line = {name: line[name] for name in line if name != "exc_info"}
    work.recent_lines.append((time(), line))


def _line_crumb(line: Line) -> Part:
    return {
        "type": "log",
        "category": line["logger"],
        "level": level_of(line),
        "message": text(line["event"]),
        "data": fields_of(line),
    }


def add_breadcrumbs(event: Event, hint: Hint, work: Work) -> None:
    """Add to `event` what has happened in the request or unit of work, in its order, among the breadcrumbs that the SDK holds."""
    held = event.get("breadcrumbs")
    crumbs = held["values"] if isinstance(held, dict) and "values" in held else []
    own = [*_earlier_queries(work), *map(_query_crumb, list(work.recent_queries))]
    if isinstance(work, Request):
        own += [_request_crumb(work), *_line_crumbs(work, (hint or {}).get(UNTIL))]
    every = sorted([*own, *crumbs], key=lambda crumb: crumb["timestamp"])
    event["breadcrumbs"] = {"values": every[max(0, len(every) - sentry_sdk.get_client().options["max_breadcrumbs"]) :]}


def _line_crumbs(work: Request, until: float | None) -> Iterator[Part]:
    for moment, line in list(work.recent_lines):
        if until is None or moment <= until:
            yield {**_line_crumb(line), "timestamp": datetime.fromtimestamp(moment, UTC)}


def _request_crumb(work: Request) -> Part:
    request = work.request
    return {
        "timestamp": datetime.fromtimestamp(work.started, UTC),
        "type": "http",
        "category": "http",
        "level": "info",
        "message": f"HTTP Request: {request.method} {request.path}",
        "data": {
            "method": request.method,
            "url": f"{request.scheme}://{host_of(request)}{request.path}",
            # The one key that decides of the address, wherever it would stand.
            **({"client_ip": client_ip(request)} if conf.get().LOG_CLIENT_IP else {}),
        },
    }


def host_of(request: HttpRequest) -> str:
    """Return the host that the client asked for, or the server's own name where that host is not allowed."""
    try:
        return request.get_host()
    except DisallowedHost:
        return str(request.META.get("SERVER_NAME", ""))


def _earlier_queries(work: Work) -> Iterator[Part]:
    shown = list(work.recent_queries)
    count = work.db_queries - len(shown)
    if count > 0:
        duration_ms = max(0.0, work.db_ms - sum(query.duration_ms for query in shown))
        plural = "y" if count == 1 else "ies"
        yield {
            "timestamp": datetime.fromtimestamp(shown[0].started, UTC),
            "type": "query",
            "category": "query",
            "level": "info",
            "message": f"{count} earlier quer{plural}, {duration_ms:.1f} ms",
        }


def _query_crumb(query: Query) -> Part:
    return {
        "timestamp": datetime.fromtimestamp(query.started, UTC),
        "type": "query",
        "category": "query",
        "level": "info",
        "message": query.sql,
        "data": {"duration_ms": round(query.duration_ms, 3), "database": query.alias},
    }
