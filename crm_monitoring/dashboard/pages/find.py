"""The page of what a search finds."""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.issues import IssueRow
from crm_monitoring.dashboard.pages.links import address_of
from crm_monitoring.dashboard.pages.requests import why_not_kept
from crm_monitoring.dashboard.store import finding
from crm_monitoring.dashboard.store.finding import Found
from crm_monitoring.dashboard.store.terms import Terms, parse
from crm_monitoring.extending import moment_of_id


class Chip(NamedTuple):
    """A term, and the address of what is found without it."""

    text: str
    without: str


@dashboard_view
@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """Show what `?q=` finds. What is one thing alone is opened at once."""
    terms = parse(request.GET.get("q", ""))
    found = finding.find(terms)
    only = _only(found, terms)
    if only:
        return HttpResponseRedirect(only)
    context = {
        "terms": str(terms),
        "chips": [Chip(str(one), address_of(terms.without(one))) for one in terms.all],
        "found": found,
        "rows": [IssueRow(issue) for issue in found.issues],
        "why_not": why_not_kept(terms.only_word) if terms.only_word and not found.size else "",
        "is_id": moment_of_id(terms.only_word) is not None,
    }
    return render(request, "crm_monitoring/dashboard/find.html", context)


def _only(found: Found, terms: Terms) -> str:
    """Return the address of the one thing that was found, empty where there are more."""
    if found.size != 1 or not terms.only_word:
        return ""
    if found.request_ids:
        return reverse("crm_monitoring_dashboard:request", args=found.request_ids)
    if found.events:
        (event,) = found.events
        return reverse("crm_monitoring_dashboard:event", args=(event.issue_id, event.event_id))
    return reverse("crm_monitoring_dashboard:issue", args=(found.issues[0].pk,))
