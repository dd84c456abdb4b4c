"""Requests and units of work that are kept whole, as people look for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crm_monitoring.dashboard.models import Event, KeptWork, SlowTransaction
from crm_monitoring.dashboard.store.connection import database
from crm_monitoring.dashboard.store.issues import Page, body_of, chosen, distinct, paged

_MOST_SHOWN = 50


class WorkFilters(NamedTuple):
    """Which works to find; what is empty excludes nothing. `reason` is a value of `KeptWork.Reason`."""

    environment: str = ""
    release: str = ""
    endpoint: str = ""
    reason: str = ""


class Story(NamedTuple):
    """
    What is kept under one request id.

    Attributes:
        works: The request, and the tasks and jobs it has asked for; by their start.
        bodies: What each of them did, in the same order.
        events: Failures in them, each with its issue.
        transactions: Those that were traced and slow.
        others: Other works of the same trace.
    """

    works: Sequence[KeptWork]
    bodies: Sequence[Mapping[str, Any]]
    events: Sequence[Event]
    transactions: Sequence[SlowTransaction]
    others: Sequence[KeptWork]


def story(request_id: str) -> Story:
    """Return what is kept under a request id: nothing may be."""
    using = database()
    works = list(KeptWork.objects.using(using).filter(request_id=request_id)[:_MOST_SHOWN])
    works.sort(key=lambda work: work.moment.timestamp() - work.duration_ms / 1000)
    events = Event.objects.using(using).filter(request_id=request_id).select_related("issue").defer("body")
    transactions = SlowTransaction.objects.using(using).filter(request_id=request_id)
    traces = {work.trace_id for work in works} - {""}
    others = KeptWork.objects.using(using).filter(trace_id__in=traces).exclude(request_id=request_id).defer("body")
    return Story(
        works,
        [body_of(work) for work in works],
        list(events[:_MOST_SHOWN]),
        list(transactions[:_MOST_SHOWN]),
        list(others[:_MOST_SHOWN]) if traces else [],
    )


def find(filters: WorkFilters, page: int = 1, *, slowest_first: bool = False) -> Page[KeptWork]:
    """Return a page of kept works, the newest first unless asked otherwise."""
    among = chosen(
        environment=filters.environment, release=filters.release, endpoint=filters.endpoint, reason=filters.reason
    )
    found = KeptWork.objects.using(database()).filter(**among).defer("body")
    return paged(found.order_by(*(("-duration_ms", "-pk") if slowest_first else ("-moment", "-pk"))), page)


def choices(name: str) -> list[str]:
    """Return what there is in a column to filter by, in alphabetical order."""
    return distinct(KeptWork.objects.using(database()), name)
