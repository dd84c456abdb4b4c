"""
An event as its page shows it: whatever arrived, only texts, numbers and moments leave here. Pure.

What Sentry's protocol orders oldest first, exceptions and frames, comes innermost or newest first, as people read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from crm_monitoring.dashboard.inbox.untrusted import (
    MAX_ITEMS,
    Pair,
    integer,
    items,
    mapping,
    moment,
    objects,
    pairs,
    pretty,
)
from crm_monitoring.dashboard.texts import string
from crm_monitoring.extending import SENTRY_LEVELS

MAX_EXCEPTIONS = 50
_MAX_NAME = 300
_MAX_SOURCE_LINE = 500
_LINKS = {"__cause__": "cause", "__context__": "context"}


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a source file; `number` is None where the frame does not say, `is_current` for the one that ran."""

    number: int | None
    code: str
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One call."""

    function: str
    module: str
    filename: str
    number: int | None
    is_library: bool
    source: Sequence[SourceLine]
    variables: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Calls that follow each other, all of the project's own code or all of libraries; `is_folded` if they matter less."""

    frames: Sequence[Frame]
    is_library: bool
    is_folded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionPart:
    """
    One exception of a chain.

    Attributes:
        link: How it led to the one shown before it: "cause" (raise ... from), "context" (while handling it), "member" (of a
            group), "earlier" where the event does not say; empty for the first.
        parent: Type of the exception that `link` leads to, where the event says which.
        handled: Whether somebody caught it; None where the event does not say.
        left_out: How many frames are too many to show: those furthest out.
    """

    type: str
    value: str
    module: str
    link: str
    parent: str
    mechanism: str
    handled: bool | None
    stretches: Sequence[Stretch]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadcrumb:
    """A step on the way."""

    moment: datetime | None
    level: str
    category: str
    message: str
    data: Sequence[Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPart:
    """The request that was being answered."""

    method: str
    url: str
    query: str
    headers: Sequence[Pair]
    environ: Sequence[Pair]
    body: str


@dataclass(frozen=True, slots=True)
class Section:
    """Named values that belong together."""

    name: str
    pairs: Sequence[Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """
    Everything the page shows of an event.

    Attributes:
        title: Its outermost exception, else its message.
        level: One of SENTRY_LEVELS; "error" where it says something else, as Sentry takes it.
        handled: Whether the exception was caught; None for a message.
        exceptions: The one of the title first, then what led to it.
        breadcrumbs: Newest last, as a log reads.
        fields: The context "log": what the reporting lines carried.
        contexts: The other contexts, and the extra values.
        held_back: How many like it the quota held back since the last that was kept.
    """

    title: str
    message: str
    level: str
    logger: str
    moment: datetime | None
    endpoint: str
    environment: str
    release: str
    server: str
    mechanism: str
    handled: bool | None
    trace_id: str
    request_id: str
    exceptions: Sequence[ExceptionPart]
    breadcrumbs: Sequence[Breadcrumb]
    request: RequestPart | None
    user: Sequence[Pair]
    tags: Sequence[Pair]
    fields: Sequence[Pair]
    contexts: Sequence[Section]
    held_back: int


def present(body: Any) -> EventPage:
    """Return what the page shows of an event's body."""
    event = mapping(body)
    contexts = mapping(event.get("contexts"))
    exceptions = _exceptions(event)
    message = _message(event)
    return EventPage(
        title=_title(exceptions, message),
        message=message,
        level=level_of(event.get("level")),
        logger=string(event.get("logger"), _MAX_NAME),
        moment=moment(event.get("timestamp")),
        endpoint=string(event.get("transaction"), _MAX_NAME),
        environment=string(event.get("environment"), _MAX_NAME),
        release=string(event.get("release"), _MAX_NAME),
        server=string(event.get("server_name"), _MAX_NAME),
        mechanism=exceptions[0].mechanism if exceptions else "",
        handled=exceptions[0].handled if exceptions else None,
        trace_id=string(mapping(contexts.get("trace")).get("trace_id"), _MAX_NAME),
        request_id=dict(pairs(event.get("tags"))).get("request_id", ""),
        exceptions=exceptions,
        breadcrumbs=_breadcrumbs(event),
        request=_request(event.get("request")),
        user=pairs(event.get("user")),
        tags=pairs(event.get("tags")),
        fields=pairs(contexts.get("log")),
        contexts=[*_sections(contexts), *_extra(event)],
        held_back=integer(mapping(contexts.get("quota")).get("held_back")) or 0,
    )


def user_of(body: Any) -> str:
    """Return the name, else the id, of the user in an event's body; empty where there is none."""
    user = mapping(mapping(body).get("user"))
    return string(user.get("username") or user.get("id"), _MAX_NAME)


def level_of(value: Any) -> str:
    """Return one of SENTRY_LEVELS."""
    return value if value in SENTRY_LEVELS else "error"


def _title(exceptions: Sequence[ExceptionPart], message: str) -> str:
    if not exceptions:
        return message
    named = [part for part in (exceptions[0].type, exceptions[0].value) if part]
    return ": ".join(named) or message


def _message(event: Mapping[Any, Any]) -> str:
    entry = event.get("logentry")
    message = mapping(entry).get("formatted") or mapping(entry).get("message") or event.get("message")
    return string(mapping(message).get("formatted") if isinstance(message, Mapping) else message)


# -- exceptions -----------------------------------------------------------------------------------------------------------


def _exceptions(event: Mapping[Any, Any]) -> list[ExceptionPart]:
    values = objects(event.get("exception"))[-MAX_EXCEPTIONS:] or _stacks(event)
    values.reverse()
    types = {integer(mapping(value.get("mechanism")).get("exception_id")): value.get("type") for value in values}
    return [_exception(value, index, types) for index, value in enumerate(values)]


def _stacks(event: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    """Return the stack that a message was sent with."""
    threads = [thread for thread in objects(event.get("threads")) if mapping(thread.get("stacktrace")).get("frames")]
    return [{"stacktrace": thread["stacktrace"]} for thread in threads if thread.get("current") or len(threads) == 1]


def _exception(value: Mapping[Any, Any], index: int, types: Mapping[Any, Any]) -> ExceptionPart:
    mechanism = mapping(value.get("mechanism"))
    handled = mechanism.get("handled")
    parent = integer(mechanism.get("parent_id"))
    frames = [_frame(frame) for frame in objects(mapping(value.get("stacktrace")).get("frames"))]
    shown = frames[-MAX_ITEMS:]
    return ExceptionPart(
        type=string(value.get("type"), _MAX_NAME),
        value=string(value.get("value")),
        module=string(value.get("module"), _MAX_NAME),
        link=_link(string(mechanism.get("source"))) if index else "",
        parent="" if parent is None else string(types.get(parent), _MAX_NAME),
        mechanism=string(mechanism.get("type"), _MAX_NAME),
        handled=handled if isinstance(handled, bool) else None,
        stretches=_stretches(shown[::-1]),
        left_out=len(frames) - len(shown),
    )


def _link(source: str) -> str:
    return "member" if source.startswith("exceptions[") else _LINKS.get(source, "earlier")


def _stretches(frames: Sequence[Frame]) -> list[Stretch]:
    has_own = any(not frame.is_library for frame in frames)
    return [
        Stretch(list(together), is_library, is_library and has_own)
        for is_library, together in groupby(frames, lambda frame: frame.is_library)
    ]


def _frame(frame: Mapping[Any, Any]) -> Frame:
    return Frame(
        function=string(frame.get("function"), _MAX_NAME),
        module=string(frame.get("module"), _MAX_NAME),
        filename=string(frame.get("filename") or frame.get("abs_path"), _MAX_NAME),
        number=integer(frame.get("lineno")),
        is_library=frame.get("in_app") is False,
        source=list(_source(frame)),
        variables=pairs(frame.get("vars")),
    )


def _source(frame: Mapping[Any, Any]) -> Iterator[SourceLine]:
    current = frame.get("context_line")
    if current is None:
        return
    before = items(frame.get("pre_context"))[-MAX_ITEMS:]
    lines = [*before, current, *items(frame.get("post_context"))[:MAX_ITEMS]]
    number = integer(frame.get("lineno"))
    for offset, code in enumerate(lines, -len(before)):
        yield SourceLine(None if number is None else number + offset, string(code, _MAX_SOURCE_LINE), offset == 0)


# -- what was around it ---------------------------------------------------------------------------------------------------


def _breadcrumbs(event: Mapping[Any, Any]) -> list[Breadcrumb]:
    return [_breadcrumb(breadcrumb) for breadcrumb in objects(event.get("breadcrumbs"))[-MAX_ITEMS:]]


def _breadcrumb(breadcrumb: Mapping[Any, Any]) -> Breadcrumb:
    level = breadcrumb.get("level")
    return Breadcrumb(
        moment=moment(breadcrumb.get("timestamp")),
        level="info" if level is None else level_of(level),
        category=string(breadcrumb.get("category") or breadcrumb.get("type"), _MAX_NAME),
        message=string(breadcrumb.get("message")),
        data=pairs(breadcrumb.get("data")),
    )


def _request(value: Any) -> RequestPart | None:
    request = mapping(value)
    if not request:
        return None
    query = request.get("query_string")
    return RequestPart(
        method=string(request.get("method"), _MAX_NAME),
        url=string(request.get("url")),
        query=string(query) if isinstance(query, str) else "&".join(f"{name}={item}" for name, item in pairs(query)),
        headers=pairs(request.get("headers")),
        environ=pairs(request.get("env")),
        body=pretty(request.get("data")),
    )


def _sections(contexts: Mapping[Any, Any]) -> Iterator[Section]:
    for name, context in list(contexts.items())[:MAX_ITEMS]:
        shown = pairs(context)
        if name not in ("log", "quota") and shown:
            yield Section(string(name, _MAX_NAME), shown)


def _extra(event: Mapping[Any, Any]) -> Iterator[Section]:
    extra = pairs(event.get("extra"))
    if extra:
        yield Section("extra", extra)
