"""What pages of lists have in common: filters, order, one page after the other, and what is shown alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext

from crm_monitoring.dashboard.inbox import indented
from crm_monitoring.dashboard.store import issues
from crm_monitoring.dashboard.store.issues import IssueFilters, Page, TransactionFilters


class Option(NamedTuple):
    """One choice of a filter; the empty value excludes nothing."""

    value: str
    text: str | Promise


class Select(NamedTuple):
    """A filter to choose from."""

    name: str
    label: str
    chosen: str
    options: Sequence[Option]


class Link(NamedTuple):
    """A link that changes what a list shows; `is_current` where it shows that already."""

    query: str
    label: str | Promise
    is_current: bool


def places(choices: issues.Choices, filters: IssueFilters | TransactionFilters) -> list[Select]:
    """Return the filters by where something was seen."""
    return [
        select("environment", gettext("Environment"), filters.environment, options(choices.environments)),
        select("release", gettext("Release"), filters.release, options(choices.releases)),
        select("endpoint", gettext("Endpoint"), filters.endpoint, options(choices.endpoints)),
    ]


def options(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return values as choices that are called what they are."""
    return [(value, value) for value in values]


def select(name: str, label: str, chosen: str, offers: Iterable[tuple[str, str | Promise]]) -> Select:
    """Return a filter, with "All" first."""
    offered = [Option("", gettext("All")), *(Option(*option) for option in offers)]
    if all(chosen != option.value for option in offered):
        # A link from elsewhere may ask for more than the list offers: the form must not lose it.
        offered.append(Option(chosen, chosen))
    return Select(name, label, chosen, offered)


def page_number(request: HttpRequest) -> int:
    """Return the number of the page that is asked for, 1 where that is none."""
    asked = request.GET.get("page", "")
    return int(asked) if asked.isdecimal() and len(asked) < 10 else 1


def paging(request: HttpRequest, page: Page[Any]) -> dict[str, Any]:
    """Return the page, and the queries of those around it."""
    return {
        "page": page,
        "previous_query": query_with(request, page=page.number - 1) if page.number > 1 else "",
        "next_query": query_with(request, page=page.number + 1) if page.number < page.pages else "",
    }


def query_with(request: HttpRequest, **changes: str | int) -> str:
    """Return the query of the address with changes; another order begins on its first page."""
    query = request.GET.copy()
    query.pop("page", None)
    for name, value in changes.items():
        query[name] = str(value)
    return query.urlencode()


def as_json(body: Any) -> HttpResponse:
    """Answer with a body as indented JSON."""
    return _alone(indented(body), "application/json")


def as_text(content: str) -> HttpResponse:
    """Answer with plain text."""
    return _alone(content.encode(), "text/plain; charset=utf-8")


def _alone(content: bytes, content_type: str) -> HttpResponse:
    # Without nosniff a browser may take what an event holds for a page.
    return HttpResponse(content, content_type=content_type, headers={"X-Content-Type-Options": "nosniff"})
