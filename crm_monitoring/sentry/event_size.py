"""How large an event may be: Sentry refuses those over 1 MiB, and one line with a list of 20 000 rows makes 2.7."""

from __future__ import annotations

from typing import Any

from crm_monitoring.rendering import dumps
from crm_monitoring.sentry.sdk import Part

MAX_EVENT_BYTES = 1_000_000
"""A little below Sentry's limit of 1 MiB for an event, for its envelope has headers too."""

_KEPT_ITEMS = 20
_KEPT_CHARACTERS = 2_000
_MAX_CUTS = 100
# Lists in which a server expects nothing but breadcrumbs, exceptions, frames and spans.
_TYPED = frozenset(("breadcrumbs", "exception", "spans", "threads"))
_NEEDED = ("event_id", "timestamp", "level", "platform", "logger", "transaction", "environment", "release", "type")
_ALL_CUT = "[event larger than 1 MB]"


def fitted(event: Part) -> Part:
    """
    Return `event`, its fattest parts cut where it is over `MAX_EVENT_BYTES`; the context "cut" says how much is gone from where.

    Args:
        event: Plain, what JSON knows. It is changed where it does not fit.
    """
    cuts: dict[str, str] = {}
    for _ in range(_MAX_CUTS):
        if _size(event) <= MAX_EVENT_BYTES:
            break
        if not _cut_fattest(event, (), cuts):
            return {**{name: event[name] for name in _NEEDED if name in event}, "logentry": {"message": _ALL_CUT}}
    if cuts:
        event["contexts"] = {**(event.get("contexts") or {}), "cut": cuts}
    return event


def _size(value: object) -> int:
    return len(dumps(value))


def _cut_fattest(container: Any, path: tuple[str, ...], cuts: dict[str, str]) -> bool:
    """Cut what is fattest in `container`, as deep as most of it is in one part; returns whether there was something to cut."""
    key, size = _fattest(container)
    part, place = container[key], (*path, str(key))
    has_parts = isinstance(part, dict | list) and len(part) > 0
    if has_parts and (_fattest(part)[1] * 2 > size or len(part) <= _KEPT_ITEMS + 1):
        return _cut_fattest(part, place, cuts)
    cut = _cut(part, is_typed=place[0] in _TYPED)
    if cut is not None:
        container[key], cuts[".".join(place)] = cut
    return cut is not None


def _fattest(container: Any) -> tuple[Any, int]:
    items = container.items() if isinstance(container, dict) else enumerate(container)
    sizes = {key: _size(part) for key, part in items}
    key = max(sizes, key=sizes.__getitem__)
    return key, sizes[key]


def _cut(part: Any, *, is_typed: bool) -> tuple[Any, str] | None:
    """Return `part` shortened, and how much is gone; None where it is short already."""
    half = _KEPT_ITEMS // 2
    gone = len(part) - _KEPT_ITEMS if isinstance(part, dict | list) else 0
    mark = f"[{gone} items cut]"
    if isinstance(part, dict) and gone > 1:
        return dict(list(part.items())[:_KEPT_ITEMS]), mark
    if isinstance(part, list) and gone > 1:
        return [*part[:half], *([] if is_typed else [mark]), *part[-half:]], mark
    if isinstance(part, str) and len(part) > _KEPT_CHARACTERS + 100:
        return _cut_text(part)
    return None


def _cut_text(text: str) -> tuple[str, str]:
    mark = f"[{len(text) - _KEPT_CHARACTERS} characters cut]"
    return f"{text[: _KEPT_CHARACTERS // 2]} {mark} {text[-_KEPT_CHARACTERS // 2 :]}", mark
