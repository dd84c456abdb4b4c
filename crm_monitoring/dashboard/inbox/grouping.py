"""What kind of failure an event is about, and how an issue of such failures is called: pure, whatever the event holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from crm_monitoring.dashboard.inbox.untrusted import items, mapping
from crm_monitoring.dashboard.store import Group
from crm_monitoring.dashboard.texts import one_line, string
from crm_monitoring.extending import SENTRY_LEVELS, pattern

TITLE_LENGTH = 300
LOGGER_LENGTH = 200

_DEFAULT = pattern(r"\{\{\s*default\s*\}\}")
# In this order: a UUID holds hexadecimal digits, and those hold numbers.
_VARIABLE = (
    (pattern(r"\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)|`[^`\n]*`"), "<text>"),
    (pattern(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (pattern(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (pattern(r"\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (pattern(r"[0-9]+(?:[.,:][0-9]+)*"), "<number>"),
)


def group_of(event: Mapping[str, Any]) -> Group:
    """
    Return the group of a Sentry event, whatever is in it.

    The event's own fingerprint counts first, with "{{ default }}" in it standing for what would count without one: the type
    of its outermost exception and the innermost frame of the project's own code, else its logger and the template of its
    message.
    """
    error = _outermost(event)
    return Group(
        fingerprint=_digest(_fingerprint(event, error)),
        title=one_line(_title(event, error), TITLE_LENGTH) or "(no message)",
        place=one_line(_place(error), TITLE_LENGTH),
        logger=one_line(event.get("logger"), LOGGER_LENGTH),
        level=_level(event),
    )


def _level(event: Mapping[str, Any]) -> str:
    level = event.get("level")
    return level if level in SENTRY_LEVELS else "error"


def _digest(parts: list[str]) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()


def _fingerprint(event: Mapping[str, Any], error: Mapping[str, Any]) -> list[str]:
    explicit = items(event.get("fingerprint"))
    if not explicit:
        return list(_default(event, error))
    return [part for given in explicit for part in _expanded(string(given), event, error)]


def _expanded(given: str, event: Mapping[str, Any], error: Mapping[str, Any]) -> Iterator[str]:
    if _DEFAULT.fullmatch(given.strip()):
        yield from _default(event, error)
    else:
        yield given


def _default(event: Mapping[str, Any], error: Mapping[str, Any]) -> Iterator[str]:
    if not error:
        yield from ("message", string(event.get("logger")), _normalised(_template(event)))
        return
    place = _place(error)
    yield from ("exception", string(error.get("type")), place or _normalised(string(error.get("value"))))


def _normalised(text: str) -> str:
    for variable, name in _VARIABLE:
        text = variable.sub(name, text)
    return text


def _title(event: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    if not error:
        return _message(event)
    kind, value = string(error.get("type")) or "Exception", string(error.get("value"))
    return f"{kind}: {value}" if value else kind


def _template(event: Mapping[str, Any]) -> str:
    return string(mapping(event.get("logentry")).get("message") or event.get("message"))


def _message(event: Mapping[str, Any]) -> str:
    entry = mapping(event.get("logentry"))
    return string(entry.get("formatted") or entry.get("message") or event.get("message"))


def _outermost(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return _last(mapping(event.get("exception")).get("values"))


def _place(error: Mapping[str, Any]) -> str:
    frames = items(mapping(error.get("stacktrace")).get("frames"))
    frame = _last([one for one in frames if mapping(one).get("in_app")]) or _last(frames)
    module = string(frame.get("module") or frame.get("filename"))
    function = string(frame.get("function"))
    return f"{module} in {function}" if module and function else module or function


def _last(values: Any) -> Mapping[str, Any]:
    found = items(values)
    return mapping(found[-1]) if found else {}
