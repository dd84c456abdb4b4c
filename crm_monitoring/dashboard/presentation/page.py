"""
An event as its page shows it: whatever arrived, only texts, numbers and moments leave here. Pure.

What Sentry's protocol orders oldest first, exceptions and frames, comes innermost or newest first, as people read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from crm_monitoring.dashboard.inbox import MAX_ITEMS, integer, mapping, moment, objects, pairs, pretty
from crm_monitoring.dashboard.presentation.course import brief
from crm_monitoring.dashboard.presentation.parts import (
    MAX_NAME,
    Breadcrumb,
    EventPage,
    ExceptionPart,
    RequestPart,
    Section,
)
from crm_monitoring.dashboard.presentation.stacks import exceptions_of
from crm_monitoring.dashboard.texts import string
from crm_monitoring.extending import SENTRY_LEVELS


def present(body: Any) -> EventPage:
    """Return what the page shows of an event's body."""
    event = mapping(body)
    contexts = mapping(event.get("contexts"))
    exceptions = exceptions_of(event)
    message = _message(event)
    return EventPage(
        title=_title(exceptions, message),
        message=message,
        level=level_of(event.get("level")),
        logger=string(event.get("logger"), MAX_NAME),
        moment=moment(event.get("timestamp")),
        endpoint=string(event.get("transaction"), MAX_NAME),
        environment=string(event.get("environment"), MAX_NAME),
        release=string(event.get("release"), MAX_NAME),
        server=string(event.get("server_name"), MAX_NAME),
        mechanism=exceptions[0].mechanism if exceptions else "",
        handled=exceptions[0].handled if exceptions else None,
        trace_id=string(mapping(contexts.get("trace")).get("trace_id"), MAX_NAME),
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
    return string(user.get("username") or user.get("id"), MAX_NAME)


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


# -- what was around it ---------------------------------------------------------------------------------------------------


def _breadcrumbs(event: Mapping[Any, Any]) -> list[Breadcrumb]:
    crumbs = [_breadcrumb(breadcrumb) for breadcrumb in objects(event.get("breadcrumbs"))[-MAX_ITEMS:]]
    alike = (list(same) for _, same in groupby(crumbs, lambda crumb: (crumb.level, crumb.category, crumb.message)))
    return [replace(same[0], count=len(same)) for same in alike]


def _breadcrumb(breadcrumb: Mapping[Any, Any]) -> Breadcrumb:
    level = breadcrumb.get("level")
    return Breadcrumb(
        moment=moment(breadcrumb.get("timestamp")),
        level="info" if level is None else level_of(level),
        category=string(breadcrumb.get("category") or breadcrumb.get("type"), MAX_NAME),
        message=brief(string(breadcrumb.get("message"))),
        data=pairs(breadcrumb.get("data")),
    )


def _request(value: Any) -> RequestPart | None:
    request = mapping(value)
    if not request:
        return None
    query = request.get("query_string")
    return RequestPart(
        method=string(request.get("method"), MAX_NAME),
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
            yield Section(string(name, MAX_NAME), shown)


def _extra(event: Mapping[Any, Any]) -> Iterator[Section]:
    extra = pairs(event.get("extra"))
    if extra:
        yield Section("extra", extra)
