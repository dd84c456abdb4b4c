"""The page of one issue, with one of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.metrics import OTHER
from crm_monitoring.dashboard.models import Event, Issue, Sighting
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.issues import CHANGE, IssueRow
from crm_monitoring.dashboard.pages.links import address_of, figures_of
from crm_monitoring.dashboard.pages.lists import as_json, as_text
from crm_monitoring.dashboard.presentation import EventPage, Route, as_curl, as_markdown, as_test, place_of, present
from crm_monitoring.dashboard.store import issues, tags
from crm_monitoring.dashboard.store.issues import EventView
from crm_monitoring.dashboard.store.terms import Filter
from crm_monitoring.extending import sentry_destination, sentry_status

_MOST_TAGS = 12
_MOST_VALUES = 5
_WIDTH, _HEIGHT = 100.0, 100.0


@dataclass(frozen=True, slots=True)
class Seen:
    """How often an issue was seen somewhere; `query` leads to the issues there, `found` to those with the tag, `figures` to an endpoint's figures."""

    name: str
    count: int
    share: str
    query: str
    found: str
    figures: str


@dataclass(frozen=True, slots=True)
class SeenWhere:
    """One way to tell where an issue was seen."""

    label: str
    values: Sequence[Seen]


@dataclass(frozen=True, slots=True)
class Bar:
    """How often it happened in an hour; `x` and so on as in an SVG of 100 by 100."""

    started: datetime
    count: int
    x: float
    y: float
    width: float
    height: float


@dashboard_view
@require_safe
def show_issue(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an issue with its newest event."""
    return _show(request, pk)


@dashboard_view
@require_safe
def show_event(request: HttpRequest, pk: int, event_id: str) -> HttpResponse:
    """Show an issue with one of its events; `?format=` text, markdown, json, curl and test give it alone."""
    return _show(request, pk, event_id)


def _show(request: HttpRequest, pk: int, event_id: str | None = None) -> HttpResponse:
    try:
        view = issues.get(pk)
    except Issue.DoesNotExist as error:
        raise Http404 from error
    event = _event(view.issue, event_id)
    shown_as = request.GET.get("format", "")
    if event is not None and shown_as == "json":
        return as_json(event.body)
    shown = present(event.body) if event is not None else None
    context = {
        "view": view,
        "issue": view.issue,
        "row": IssueRow(view.issue),
        "may_change": request.user.has_perm(CHANGE),
        "address": request.get_full_path(),
        "kept": event,
        "event": shown,
        "event_url": _event_url(request, event),
        "keeps_events": config.get().INBOX or sentry_status().local,
        "destination": sentry_destination(),
    }
    if event is not None and shown is not None and shown_as in _TEXTS:
        return as_text(_TEXTS[shown_as](shown, context))
    context |= {
        "place": place_of(shown.exceptions) if shown is not None else None,
        "bars": list(_bars(issues.occurred(view.issue))),
        "places": [*_seen(view.sightings), *_tags(view.issue)],
    }
    return render(request, "crm_monitoring/dashboard/issue.html", context)


def _plain(shown: EventPage, context: dict[str, Any]) -> str:
    return render_to_string("crm_monitoring/dashboard/_event.txt", context)


def _markdown(shown: EventPage, context: dict[str, Any]) -> str:
    return as_markdown(shown, context["issue"].title, context["event_url"])


def _curl(shown: EventPage, context: dict[str, Any]) -> str:
    return as_curl(shown.request) if shown.request is not None else ""


def _test(shown: EventPage, context: dict[str, Any]) -> str:
    return as_test(shown, _route_of(shown.request.url) if shown.request is not None else None)


def _route_of(url: str) -> Route | None:
    """Return what a path leads to, by name; None where that is not known any more, or has none."""
    try:
        match = resolve(urlsplit(url).path)
        kwargs = {name: str(value) for name, value in match.kwargs.items()}
        reverse(match.view_name, kwargs=match.kwargs)
    except (NoReverseMatch, Resolver404, ValueError):
        return None
    return Route(match.view_name, kwargs)


_TEXTS: Mapping[str, Callable[[EventPage, dict[str, Any]], str]] = {
    "text": _plain,
    "markdown": _markdown,
    "curl": _curl,
    "test": _test,
}


def _event(issue: Issue, event_id: str | None) -> EventView | None:
    """Return the event asked for, or the newest; None where an issue has none any more."""
    try:
        return issues.event(issue, event_id)
    except Event.DoesNotExist as error:
        if event_id is not None:
            raise Http404 from error
        return None


def _event_url(request: HttpRequest, event: EventView | None) -> str:
    if event is None:
        return ""
    path = reverse("crm_monitoring_dashboard:event", args=(event.event.issue_id, event.event.event_id))
    return request.build_absolute_uri(path)


def _seen(sightings: Iterable[Sighting]) -> list[SeenWhere]:
    labels = {
        "endpoint": gettext("Endpoints"),
        "environment": gettext("Environments"),
        "release": gettext("Releases"),
    }
    counts: dict[str, Counter[str]] = {name: Counter() for name in labels}
    for sighting in sightings:
        for name, counted in counts.items():
            counted[getattr(sighting, name)] += sighting.count
    return [SeenWhere(label, list(_most(counts[name], name))) for name, label in labels.items() if counts[name]]


def _most(counted: Counter[str], name: str = "", tag: str = "") -> Iterator[Seen]:
    total = counted.total()
    for value, count in counted.most_common():
        yield Seen(
            name=value,
            count=count,
            share=formatting.percent(count / total),
            query=urlencode({name: value}) if name and value else "",
            found=address_of(Filter(tag, value)) if tag and value != OTHER else "",
            figures=figures_of(value) if name == "endpoint" and value else "",
        )


def _tags(issue: Issue) -> Iterator[SeenWhere]:
    """Yield what tags its events had, those with the fewest values first."""
    found = sorted(tags.of(issue.pk).items(), key=lambda item: (len(item[1]), item[0]))
    for name, values in found[:_MOST_TAGS]:
        yield SeenWhere(name, list(_most(Counter(dict(values)), tag=name))[:_MOST_VALUES])


def _bars(hours: Sequence[tuple[datetime, int]]) -> Iterator[Bar]:
    highest = max((count for _, count in hours), default=0)
    step = _WIDTH / max(1, len(hours))
    for number, (started, count) in enumerate(hours):
        height = max(_HEIGHT * count / highest, 6.0) if count else 1.0
        yield Bar(
            started, count, round(number * step, 2), round(_HEIGHT - height, 2), round(step * 0.8, 2), round(height, 2)
        )
