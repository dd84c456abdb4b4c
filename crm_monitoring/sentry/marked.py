"""What the project has marked with Django's `@sensitive_variables` and `@sensitive_post_parameters`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from django.views.debug import SafeExceptionReporterFilter
from sentry_sdk.utils import walk_exception_chain

if TYPE_CHECKING:
    from django.http import HttpRequest

FILTERED = "[Filtered]"


class _Filter(SafeExceptionReporterFilter):
    """Django's own reader of the marks, which with DEBUG would show everything."""

    cleansed_substitute = FILTERED

    def is_active(self, request: HttpRequest | None) -> bool:
        """Whether to hide anything: always."""
        return True


_filter = _Filter()


def hide_marked(event: Any, hint: Any, request: HttpRequest | None) -> None:
    """Replace the values of marked variables and parameters on `event`."""
    exc_info = (hint or {}).get("exc_info")
    values = (event.get("exception") or {}).get("values")
    if exc_info is not None and values:
        for value, (_, _, traceback) in zip(reversed(values), walk_exception_chain(exc_info), strict=False):
            _hide_variables(value, traceback, request)
    _hide_parameters(event.get("request"), request)


def _hide_variables(value: dict[str, Any], traceback: TracebackType | None, request: HttpRequest | None) -> None:
    frames = deque((value.get("stacktrace") or {}).get("frames") or ())
    for live in _frames(traceback):
        # The SDK leaves out frames of its own.
        if frames and frames[0].get("function") == live.f_code.co_name:
            variables = _filter.get_traceback_frame_variables(request, live)
            frames.popleft().get("vars", {}).update({name: FILTERED for name, safe in variables if safe == FILTERED})


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _hide_parameters(info: Any, request: HttpRequest | None) -> None:
    marked = getattr(request, "sensitive_post_parameters", None)
    body = (info or {}).get("data")
    if not marked or not isinstance(body, dict):
        return
    for name in body:
        if marked == "__ALL__" or name in marked:
            body[name] = FILTERED
