"""The pages of requests and units of work that are kept whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.inbox import Pair, integer, mapping, objects, pairs
from crm_monitoring.dashboard.models import KeptWork, SlowTransaction
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.lists import Link, as_json, options, page_number, paging, query_with, select
from crm_monitoring.dashboard.presentation import Course, course_of, level_of, pieces_of_spans, pieces_of_steps
from crm_monitoring.dashboard.store import issues, stories
from crm_monitoring.dashboard.store.stories import Story, WorkFilters
from crm_monitoring.dashboard.texts import one_line, string
from crm_monitoring.extending import moment_of_id

_SLOWEST = "slowest"
_MAX_ID = 64
_SHOWN_OF_USER = 12
_MAX_NAME = 300
_WRITTEN_WITHIN = timedelta(seconds=30)


class Line(NamedTuple):
    """A log line, so many milliseconds after the beginning."""

    at_ms: float
    level: str
    logger: str
    event: str
    fields: Sequence[Pair]


class Statement(NamedTuple):
    """A query's shape and what it took; `place` is where in the project's code it was repeated too often."""

    sql: str
    times: int
    total_ms: float
    max_ms: float
    place: str


class Part(NamedTuple):
    """
    One work of a request id, as its page shows it.

    Attributes:
        is_traced: Its course comes from the spans of its transaction, else from what was noted of it.
        asked: Tasks and jobs that it has asked for, each with what is kept of it.
    """

    work: KeptWork
    started: datetime
    about: Sequence[tuple[str, str]]
    course: Course
    sums: Sequence[tuple[str, str, str]]
    is_traced: bool
    lines: Sequence[Line]
    statements: Sequence[Statement]
    asked: Sequence[tuple[str, str]]


# -- the list -------------------------------------------------------------------------------------------------------------


@dashboard_view
@require_safe
def list_requests(request: HttpRequest) -> HttpResponse:
    """Show the kept requests and units of work that match the filters, the newest first; `?sort=slowest`, `?page=`."""
    get = request.GET.get
    filters = WorkFilters(get("environment", ""), get("release", ""), get("endpoint", ""), get("reason", ""))
    slowest_first = get("sort") == _SLOWEST
    page = stories.find(filters, page_number(request), slowest_first=slowest_first)
    endpoints = stories.choices("endpoint")
    context = {
        "any_work": bool(endpoints),
        "keeps": config.get().KEPT_REQUESTS_MB > 0,
        "limit": formatting.milliseconds(config.get().SLOW_REQUEST_MS),
        "sort": _SLOWEST if slowest_first else "",
        "selects": [
            select("reason", gettext("Kept because"), filters.reason, KeptWork.Reason.choices),
            select("environment", gettext("Environment"), filters.environment, options(stories.choices("environment"))),
            select("release", gettext("Release"), filters.release, options(stories.choices("release"))),
            select("endpoint", gettext("Endpoint"), filters.endpoint, options(endpoints)),
        ],
        "sorts": [
            Link(query_with(request, sort=""), gettext("Newest first"), not slowest_first),
            Link(query_with(request, sort=_SLOWEST), gettext("Slowest first"), slowest_first),
        ],
        **paging(request, page),
    }
    return render(request, "crm_monitoring/dashboard/requests.html", context)


# -- one ------------------------------------------------------------------------------------------------------------------


@dashboard_view
@require_safe
def show_request(request: HttpRequest, request_id: str) -> HttpResponse:
    """Show what is kept of a request, and of the tasks it has asked for; `?format=json` gives it alone."""
    request_id = one_line(request_id, _MAX_ID)
    story = stories.story(request_id)
    if request.GET.get("format") == "json" and story.works:
        return as_json([_with_columns(*both) for both in zip(story.works, story.bodies, strict=True)])
    context = {
        "request_id": request_id,
        "parts": [_part(work, body, story) for work, body in zip(story.works, story.bodies, strict=True)],
        "story": story,
        "why_not": "" if story.works else why_not_kept(request_id),
    }
    is_there = story.works or story.events or story.transactions
    return render(request, "crm_monitoring/dashboard/request.html", context, status=200 if is_there else 404)


def why_not_kept(request_id: str) -> str:
    """Return a sentence on why nothing is kept of a request: it was fast and fine, has just been, or is too old."""
    days, moment = config.get().RETENTION_DAYS, moment_of_id(request_id)
    if moment is None:
        text = gettext(
            "Nothing is kept of it: it was fast and did not fail, or it is older than %(days)s days, or its id is another one."
        )
        return text % {"days": formatting.count(days)}
    shown = {"when": date_format(timezone.localtime(moment_of(moment)), "SHORT_DATETIME_FORMAT")}
    age = datetime.now(UTC) - moment_of(moment)
    if age > timedelta(days=days):
        return gettext("It began on %(when)s, and what is older than %(days)s days is not kept.") % {
            **shown,
            "days": formatting.count(days),
        }
    if age < _WRITTEN_WITHIN:
        return gettext("It began on %(when)s: it may still run, or be written in a moment. Reload the page.") % shown
    return gettext("It began on %(when)s, was fast and did not fail, so nothing is kept of it.") % shown


def _with_columns(work: KeptWork, body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("request_id", "trace_id", "kind", "endpoint", "status", "failed", "duration_ms", "environment", "release")
    return {**{name: getattr(work, name) for name in names}, "ended": work.moment.isoformat(), **body}


def _part(work: KeptWork, body: Mapping[str, Any], story: Story) -> Part:
    spans = _spans_of(work, story.transactions)
    pieces = list(pieces_of_spans(spans)) if spans else list(pieces_of_steps(body.get("steps")))
    course = course_of(pieces, work.duration_ms)
    return Part(
        work=work,
        started=work.moment - timedelta(milliseconds=work.duration_ms),
        about=_about(work, body),
        course=course,
        sums=[(kind, formatting.milliseconds(ms), _kind_name(kind)) for kind, ms in course.sums],
        is_traced=bool(spans),
        lines=[_line(line) for line in objects(body.get("lines"))],
        statements=[_statement(statement) for statement in objects(body.get("statements"))],
        asked=[(string(one.get("name"), _MAX_NAME), _fate(one, story)) for one in objects(body.get("asked"))],
    )


def _spans_of(work: KeptWork, transactions: Sequence[SlowTransaction]) -> Mapping[str, Any]:
    same = (one for one in transactions if one.endpoint == work.endpoint)
    return next((issues.body_of(one) for one in same), {})


def _about(work: KeptWork, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    queries = gettext("%(count)s in %(time)s") % {
        "count": formatting.count(integer(body.get("db_queries")) or 0),
        "time": formatting.milliseconds(float(body.get("db_ms") or 0)),
    }
    shown = [
        (gettext("Path"), " ".join(string(body.get(name), _MAX_NAME) for name in ("method", "path")).strip()),
        (gettext("Queries"), queries),
        (gettext("User"), work.user[:_SHOWN_OF_USER]),
        (gettext("Environment"), work.environment),
        (gettext("Release"), formatting.release(work.release)),
        (gettext("Server"), f"{string(body.get('host'), _MAX_NAME)}, {string(body.get('process'), _MAX_NAME)}"),
        (gettext("Error"), string(body.get("error"), _MAX_NAME)),
        (gettext("Trace id"), work.trace_id),
    ]
    return [(name, value) for name, value in shown if value]


def _kind_name(kind: str) -> str:
    names = {
        "own": gettext("your Python"),
        "db": gettext("database"),
        "http": gettext("outgoing calls"),
        "cache": gettext("cache"),
        "template": gettext("templates"),
        "queue": gettext("queue"),
    }
    return names.get(kind, kind)


def _line(line: Mapping[Any, Any]) -> Line:
    return Line(
        at_ms=float(line.get("at_ms") or 0),
        level=level_of(line.get("level")),
        logger=string(line.get("logger"), _MAX_NAME),
        event=string(line.get("event")),
        fields=pairs(line.get("fields")),
    )


def _statement(statement: Mapping[Any, Any]) -> Statement:
    place = dict(pairs(statement.get("place")))
    parts = (place.get("code.filepath", ""), place.get("code.lineno", ""))
    where = ":".join(part for part in parts if part)
    function = place.get("code.function", "")
    return Statement(
        sql=string(statement.get("sql")),
        times=integer(statement.get("count")) or 0,
        total_ms=float(statement.get("total_ms") or 0),
        max_ms=float(statement.get("max_ms") or 0),
        place=f"{where} {function}".strip() if mapping(statement.get("place")) else "",
    )


def _fate(asked: Mapping[Any, Any], story: Story) -> str:
    name = string(asked.get("name"), _MAX_NAME)
    same = [work for work in story.works if work.endpoint == name]
    if not same:
        return gettext("neither failed nor kept")
    if any(work.failed for work in same):
        return gettext("failed")
    return gettext("ran in %(time)s") % {"time": formatting.milliseconds(same[0].duration_ms)}
