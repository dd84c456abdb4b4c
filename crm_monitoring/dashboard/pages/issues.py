"""The pages of issues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from crm_monitoring.dashboard.models import Issue
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.lists import (
    Link,
    options,
    page_number,
    paging,
    places,
    query_with,
    select,
)
from crm_monitoring.dashboard.presentation import level_of
from crm_monitoring.dashboard.store import issues
from crm_monitoring.dashboard.store.issues import IssueFilters, Sort

CHANGE = "crm_monitoring_dashboard.change_issue"

_NEW = timedelta(days=1)
_GREATEST_PK = 2**63 - 1
_MOST_DIGITS = 19
_COLUMNS = {
    Sort.NEWEST: gettext_lazy("Last seen"),
    Sort.FIRST_SEEN: gettext_lazy("First seen"),
    Sort.MOST: gettext_lazy("Count"),
    Sort.USERS: gettext_lazy("Users"),
}


@dataclass(frozen=True, slots=True)
class IssueRow:
    """An issue, and what its badges say of it."""

    issue: Issue

    @property
    def level(self) -> str:
        return level_of(self.issue.level)

    @property
    def is_regressed(self) -> bool:
        return self.issue.regressed_at is not None and self.issue.status == Issue.Status.OPEN

    @property
    def is_new(self) -> bool:
        return not self.is_regressed and datetime.now(UTC) - self.issue.first_seen < _NEW


@dashboard_view
@require_safe
def list_issues(request: HttpRequest) -> HttpResponse:
    """Show the issues that match the filters, the open ones unless asked otherwise; `?page=`, `?sort=`."""
    filters = _issue_filters(request)
    sort = _sort(request)
    choices = issues.choices()
    page = issues.find(filters, sort, page_number(request))
    context = {
        "any_issue": bool(choices.levels),
        "filters": filters,
        "sort": sort.value,
        "selects": [
            select("status", gettext("Status"), filters.status, Issue.Status.choices),
            select("level", gettext("Level"), filters.level, options(choices.levels)),
            *places(choices, filters),
        ],
        "columns": [Link(query_with(request, sort=one.value), _COLUMNS[one], one is sort) for one in Sort],
        "rows": [IssueRow(issue) for issue in page.items],
        "may_change": request.user.has_perm(CHANGE),
        "address": request.get_full_path(),
        **paging(request, page),
    }
    return render(request, "crm_monitoring/dashboard/issues.html", context)


def _issue_filters(request: HttpRequest) -> IssueFilters:
    get = request.GET.get
    return IssueFilters(
        search=get("search", ""),
        status=get("status", Issue.Status.OPEN.value),
        level=get("level", ""),
        environment=get("environment", ""),
        release=get("release", ""),
        endpoint=get("endpoint", ""),
    )


def _sort(request: HttpRequest) -> Sort:
    asked = request.GET.get("sort")
    return next((sort for sort in Sort if sort.value == asked), Sort.NEWEST)


@dashboard_view
@csrf_protect
@require_POST
def act(request: HttpRequest) -> HttpResponse:
    """Resolve, ignore or reopen the issues of the form, then go back to where it was."""
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    try:
        status = Issue.Status(request.POST.get("status", ""))
        pks = [_pk(pk) for pk in request.POST.getlist("issue")]
    except ValueError:
        return HttpResponseBadRequest("No such status or issue.", content_type="text/plain")
    issues.set_status(pks, status)
    messages.success(request, _success(status, len(pks)), fail_silently=True)
    return HttpResponseRedirect(_way_back(request))


def _pk(text: str) -> int:
    pk = int(text) if text.isascii() and len(text) <= _MOST_DIGITS else 0
    if not 0 < pk <= _GREATEST_PK:
        raise ValueError(text)
    return pk


def _success(status: Issue.Status, count: int) -> str:
    match status:
        case Issue.Status.RESOLVED:
            text = ngettext("%(count)s issue is resolved.", "%(count)s issues are resolved.", count)
        case Issue.Status.IGNORED:
            text = ngettext("%(count)s issue is ignored.", "%(count)s issues are ignored.", count)
        case _:
            text = ngettext("%(count)s issue is open.", "%(count)s issues are open.", count)
    return text % {"count": formatting.count(count)}


def _way_back(request: HttpRequest) -> str:
    address = request.POST.get("next", "")
    here = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if here else reverse("crm_monitoring_dashboard:issues")
