"""What the project has marked with Django's `@sensitive_variables` and `@sensitive_post_parameters`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any

from django.utils.datastructures import MultiValueDict

from crm_monitoring import faults
from crm_monitoring.scrubbing import FILTERED
from crm_monitoring.sentry.marks import chain_of
from crm_monitoring.sentry.sdk import Event, Hint, Part

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.views.debug import SafeExceptionReporterFilter

FramePlace = tuple[str, int]
"""File and line of a frame, as the event has them."""


@cache
def _filter() -> SafeExceptionReporterFilter:
    """Return Django's own reader of the marks, which with DEBUG would show everything."""
    # Imported here, for its module is heavy and only an event needs it.
    from django.views.debug import SafeExceptionReporterFilter

    class Filter(SafeExceptionReporterFilter):
        cleansed_substitute = FILTERED

        def is_active(self, request: HttpRequest | None) -> bool:
            return True

        def cleanse_special_types(self, request: HttpRequest | None, value: Any) -> object:
            # Django asks isinstance(), which evaluates a lazy object: a query, for `request.user`.
            return _cleansed(dict(value.lists()), request) if issubclass(type(value), MultiValueDict) else value

    return Filter()


def hide_marked(event: Event, hint: Hint, request: HttpRequest | None) -> None:
    """Replace the values of marked variables and parameters on `event`."""
    try:
        _hide_variables(event, hint, request)
        _hide_parameters(event.get("request"), request)
    except Exception as error:
        # Rather an event that shows too little.
        for frame in _frames_of(event):
            frame.pop("vars", None)
        (event.get("request") or {}).pop("data", None)
        faults.record("Hiding what is marked as sensitive", error)


def _hide_variables(event: Event, hint: Hint, request: HttpRequest | None) -> None:
    exc_info = (hint or {}).get("exc_info")
    hidden = hidden_by_place(exc_info[1], request) if exc_info and exc_info[1] is not None else {}
    for frame in _frames_of(event) if hidden else ():
        (frame.get("vars") or {}).update(hidden.get((frame.get("abs_path"), frame.get("lineno")), {}))


def hidden_by_place(error: BaseException, request: HttpRequest | None) -> dict[Any, Part]:
    """Return what to show in place of variables, by place. A place that two frames share hides what either has marked."""
    hidden: dict[Any, Part] = {}
    for place, live in _live_frames(error):
        known = live.f_locals
        for name, safe in _filter().get_traceback_frame_variables(request, live):
            if safe is not known.get(name):
                hidden.setdefault(place, {})[name] = safe
    return hidden


def _live_frames(error: BaseException) -> Iterator[tuple[FramePlace, FrameType]]:
    for one in chain_of(error):
        traceback = one.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            yield (os.path.abspath(frame.f_code.co_filename), traceback.tb_lineno), frame
            traceback = traceback.tb_next


def _frames_of(event: Event) -> Iterator[Part]:
    for value in (event.get("exception") or {}).get("values") or ():
        yield from (value.get("stacktrace") or {}).get("frames") or ()


def _hide_parameters(info: Part | None, request: HttpRequest | None) -> None:
    if info is not None and isinstance(body := info.get("data"), dict):
        info["data"] = _cleansed(body, request)


def _cleansed(parameters: Part, request: HttpRequest | None) -> Part:
    marked = getattr(request, "sensitive_post_parameters", None) or ()
    return {name: FILTERED if marked == "__ALL__" or name in marked else value for name, value in parameters.items()}
