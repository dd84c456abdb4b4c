"""The pages of slow transactions."""

from __future__ import annotations

from typing import NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from crm_monitoring import conf
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.models import SlowTransaction
from crm_monitoring.dashboard.pages import formatting
from crm_monitoring.dashboard.pages.access import dashboard_view
from crm_monitoring.dashboard.pages.links import figures_of
from crm_monitoring.dashboard.pages.lists import Link, as_json, page_number, paging, places, query_with
from crm_monitoring.dashboard.pages.waterfall import arrange, db_share
from crm_monitoring.dashboard.presentation import present, user_of
from crm_monitoring.dashboard.store import issues
from crm_monitoring.dashboard.store.issues import TransactionFilters

_SLOWEST = "slowest"


class TransactionRow(NamedTuple):
    """A slow transaction with its figures as people read them; `user` is empty for nobody."""

    transaction: SlowTransaction
    duration: str
    db_share: str
    user: str


@dashboard_view
@require_safe
def list_transactions(request: HttpRequest) -> HttpResponse:
    """Show the slow transactions that match the filters, the newest first; `?sort=slowest`, `?page=`."""
    filters = _transaction_filters(request)
    slowest_first = request.GET.get("sort") == _SLOWEST
    choices = issues.transaction_choices()
    page = issues.transactions(filters, page_number(request), slowest_first=slowest_first)
    context = {
        "any_transaction": bool(choices.endpoints) or page.total > 0,
        "sort": _SLOWEST if slowest_first else "",
        "selects": places(choices, filters),
        "sorts": [
            Link(query_with(request, sort=""), gettext("Newest first"), not slowest_first),
            Link(query_with(request, sort=_SLOWEST), gettext("Slowest first"), slowest_first),
        ],
        "rows": [_transaction_row(transaction) for transaction in page.items],
        "limit": formatting.milliseconds(config.get().SLOW_REQUEST_MS),
        **paging(request, page),
    }
    return render(request, "crm_monitoring/dashboard/transactions.html", context)


def _transaction_row(transaction: SlowTransaction) -> TransactionRow:
    body = issues.body_of(transaction)
    return TransactionRow(
        transaction,
        formatting.milliseconds(transaction.duration_ms),
        formatting.percent(db_share(body)),
        user_of(body),
    )


def _transaction_filters(request: HttpRequest) -> TransactionFilters:
    get = request.GET.get
    return TransactionFilters(
        environment=get("environment", ""), release=get("release", ""), endpoint=get("endpoint", "")
    )


@dashboard_view
@require_safe
def show_transaction(request: HttpRequest, event_id: str) -> HttpResponse:
    """Show where a slow transaction has spent its time; `?format=json` gives it alone."""
    try:
        view = issues.transaction(event_id)
    except SlowTransaction.DoesNotExist as error:
        raise Http404 from error
    if request.GET.get("format") == "json":
        return as_json(view.body)
    waterfall = arrange(view.body, conf.get().N_PLUS_ONE_THRESHOLD)
    context = {
        "transaction": view.transaction,
        "figures": figures_of(view.transaction.endpoint) if view.transaction.endpoint else "",
        "event": present(view.body),
        "waterfall": waterfall,
        "duration": formatting.milliseconds(view.transaction.duration_ms),
        "db": formatting.milliseconds(waterfall.db_ms),
        "db_share": formatting.percent(waterfall.db_share),
    }
    return render(request, "crm_monitoring/dashboard/transaction.html", context)
