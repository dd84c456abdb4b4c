"""What an event says of its request: put together only when an event is made."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from itertools import islice
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from django.conf import settings

from crm_monitoring import faults
from crm_monitoring.places import TemplateLine, compiled_line, template_line
from crm_monitoring.requests import endpoint_of, evaluated_user_id
from crm_monitoring.scrubbing import FILTERED
from crm_monitoring.sentry.breadcrumbs import add_breadcrumbs, host_of
from crm_monitoring.sentry.sdk import (
    Event,
    Hint,
    Part,
    add_request_body,
    collects_cookies,
    template_frame,
    walk_exception_chain,
)
from crm_monitoring.work import Request, url_secrets_of

if TYPE_CHECKING:
    from django.http import HttpRequest

_PRIVATE_HEADERS = frozenset(
    (
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-csrftoken",
        # The client's address, by whatever name a proxy gives it: LOG_CLIENT_IP alone decides of that.
        "cf-connecting-ip",
        "client-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "true-client-ip",
        "x-appengine-user-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded-for",
        "x-original-forwarded-for",
        "x-real-ip",
        "x-remote-addr",
        "x-remote-ip",
    )
)
_ENVIRONMENT = ("SERVER_NAME", "SERVER_PORT")
_MAX_FRAMES = 50
_CONTEXT_LINES = 5


def add_request_data(event: Event, hint: Hint, request: HttpRequest, work: Request | None) -> Event:
    """Add to `event` what is known of `request`; of what the event has already, nothing is replaced."""
    _add_request(event, request, work)
    user_id = evaluated_user_id(request) if work is None else work.user_id
    if user_id is not None:
        event["user"] = {"id": user_id, **(event.get("user") or {})}
    if event.get("type") != "transaction":
        _add_name(event, request, work)
        if work is not None:
            _add_breadcrumbs(event, hint, work)
        _add_body(event, hint, request)
    return event


@faults.guarded
def _add_request(event: Event, request: HttpRequest, work: Request | None) -> None:
    event["request"] = {**_request_info(request, work), **event.get("request", {})}


@faults.guarded
def _add_name(event: Event, request: HttpRequest, work: Request | None) -> None:
    given_name = work.trace.given_name if work is not None and work.trace is not None else None
    event["transaction"] = given_name or endpoint_of(request)
    event["transaction_info"] = {"source": "custom" if given_name else "route"}


@faults.guarded
def _add_breadcrumbs(event: Event, hint: Hint, work: Request) -> None:
    add_breadcrumbs(event, hint, work)


def _request_info(request: HttpRequest, work: Request | None) -> Part:
    # Before our middleware has begun, no one else knows what is secret in the path.
    secrets = url_secrets_of(request) if work is None else work.url_secrets
    return {
        "url": f"{request.scheme}://{host_of(request)}{secrets.path}",
        "method": request.method,
        "query_string": request.META.get("QUERY_STRING", ""),
        "headers": {
            name: FILTERED if name.lower() in _PRIVATE_HEADERS else value for name, value in request.headers.items()
        },
        "env": {name: request.META[name] for name in _ENVIRONMENT if name in request.META},
    }


@faults.guarded
def _add_body(event: Event, hint: Hint, request: HttpRequest) -> None:
    """Add the body, if the project has read it: nobody knows when a stream comes that has not been read, or whether it does."""
    # Sent in chunks, it has no announced length, by which the limit on its size goes.
    if _has_read(request) and request.META.get("CONTENT_LENGTH"):
        add_request_body(event, _drf_request(hint, request) or request)
    elif collects_cookies():
        event["request"]["cookies"] = {
            name: FILTERED if name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME) else value
            for name, value in request.COOKIES.items()
        }


def _has_read(request: HttpRequest) -> bool:
    """Whether the body was read, by Django's private names, for there are no others. Without them no body is shown."""
    held = vars(request)
    return "_body" in held or bool(held.get("_read_started"))


def _drf_request(hint: Hint, request: HttpRequest) -> Any | None:
    """Return Django REST framework's wrapper of `request`: it holds the body that it parsed and that cannot be read again."""
    exc_info = (hint or {}).get("exc_info")
    for frame in islice(_frames(exc_info[2] if exc_info else None), _MAX_FRAMES):
        wrapper = frame.f_locals.get("request")
        if getattr(wrapper, "_request", None) is request:
            return wrapper
    return None


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def with_template_frames(event: Event, hint: Hint) -> Event:
    """Add to an exception raised in a template the frame of the template's own line."""
    exc_info = (hint or {}).get("exc_info")
    values = (event.get("exception") or {}).get("values")
    if exc_info is None or not values:
        return event
    for value, (_, error, traceback) in zip(reversed(values), walk_exception_chain(exc_info), strict=False):
        frame = _template_frame(error, traceback)
        if frame is not None:
            _insert_template_frame(value, frame)
    return event


def _template_frame(error: Any, traceback: TracebackType | None) -> Part | None:
    if getattr(error, "template_debug", None):
        return template_frame(error)
    # Django notes the line on the exception with DEBUG only; the frames know it always.
    found = (template_line(frame) or compiled_line(frame, error) for frame in _frames(traceback))
    lines = [line for line in found if line is not None]
    return _frame_of(lines[-1]) if lines else None


def _frame_of(line: TemplateLine) -> Part:
    # The lines are there where the template is a file.
    sources = [source.rstrip("\n") for source in linecache.getlines(line.path)]
    before, after = sources[: line.number - 1], sources[line.number :]
    shown = {
        "pre_context": before[-_CONTEXT_LINES:],
        "context_line": "".join(sources[line.number - 1 : line.number]),
        "post_context": after[:_CONTEXT_LINES],
    }
    frame = {"abs_path": line.path, "filename": line.name, "lineno": line.number, "in_app": True}
    return {**frame, **shown} if sources else frame


def _insert_template_frame(value: Part, frame: Part) -> None:
    frames = value.setdefault("stacktrace", {}).setdefault("frames", [])
    rendering = [
        index
        for index, known in enumerate(frames)
        if known.get("module") == "django.template.base"
        and known.get("function") in ("Parser.parse", "parse", "render")
    ]
    frames.insert(rendering[-1] + 1 if rendering else len(frames), frame)
