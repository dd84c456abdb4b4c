"""
Our Django integration for sentry_sdk, in place of its own.

The SDK's wraps responses, middleware, signals and cursors, reads the user and costs most of what monitoring costs. Ours hooks in
where Django offers it: a signal for crashes, processors that add what they know when, and only when, an event is made.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import sentry_sdk
from django.core.signals import got_request_exception
from django.db.models import QuerySet

from crm_monitoring import faults
from crm_monitoring.sentry.breadcrumbs import add_breadcrumbs
from crm_monitoring.sentry.events import capture_crash
from crm_monitoring.sentry.mode import OwnIntegration, mode
from crm_monitoring.sentry.request_data import add_request_data, with_template_frames
from crm_monitoring.sentry.sdk import Event, Hint, add_global_event_processor, add_global_repr_processor
from crm_monitoring.sentry.sensitive_variables import hide_marked
from crm_monitoring.sentry.sessions import outcome_of, worse
from crm_monitoring.sentry.tuning import SERIALIZER, takes
from crm_monitoring.sentry.tuning.serializer import PlainEvent
from crm_monitoring.sentry.tuning.source_context import add_sources
from crm_monitoring.sentry.w3c import write_on_calls
from crm_monitoring.work import Request, current_request, current_work, nearest_request


class RequestIntegration(OwnIntegration):
    """
    Reports crashed requests, and describes the request on every event made while one runs.

    Args:
        adds_sources: The client leaves the lines of code around each frame to us.
        watches_libraries: The client leaves it to us to enable the SDK's integrations of libraries.
    """

    def __init__(self, *, adds_sources: bool = False, watches_libraries: bool = False) -> None:
        self.adds_sources = adds_sources
        self.watches_libraries = watches_libraries

    @staticmethod
    def setup_once() -> None:
        """Connect the signal and the processors."""
        got_request_exception.connect(_request_crashed, dispatch_uid="crm_monitoring")
        add_global_event_processor(_describe)
        add_global_event_processor(_plain)
        add_global_repr_processor(_unevaluated)
        write_on_calls()


def _request_crashed(sender: object, request: Any, **kwargs: object) -> None:
    try:
        error = sys.exc_info()[1]
        if error is not None and mode().is_ours:
            _report(error, request)
    except Exception as fault:
        faults.record("Reporting a crash", fault)


def _report(error: BaseException, request: Any) -> None:
    work = current_request()
    if work is not None and (request is None or work.request is request):
        work.event_id = capture_crash(error)
        return
    # Raised by a middleware outside ours: the request has no scope of its own any more, or never had one.
    with sentry_sdk.isolation_scope() as scope:
        scope.add_event_processor(lambda event, hint: add_request_data(event, hint, request, None))
        capture_crash(error)


def _describe(event: Event, hint: Hint) -> Event | None:
    how = mode()
    if not how.is_ours:
        return event
    work = current_work()
    try:
        if isinstance(work, Request):
            work.outcome = worse(work.outcome, outcome_of(event))
            add_request_data(event, hint, work.request, work)
        elif work is not None and event.get("type") != "transaction":
            add_breadcrumbs(event, hint, work)
        event = with_template_frames(event, hint)
        if how.adds_sources:
            add_sources(event)
    except Exception as error:
        # Less is known then. Left to the SDK it would go on with the event, and without what follows.
        faults.record("Describing an event", error)
    try:
        request = nearest_request()
        hide_marked(event, hint, request.request if request is not None else None)
    except Exception as error:
        faults.record("Hiding what is marked as sensitive", error)
        return None
    return event


def _plain(event: Event, hint: Hint) -> Event:
    return cast(Event, PlainEvent(event)) if takes(SERIALIZER) else event


def _unevaluated(value: object, hint: Hint) -> object:
    # The repr of a QuerySet would run its query.
    if isinstance(value, QuerySet):
        return f"<QuerySet of {value.model._meta.label}>"
    return NotImplemented
