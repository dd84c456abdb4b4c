"""
What JSON knows as it is, kept from the SDK's serializer.

That one walks an event value by value in Python, for it may meet anything; it takes half of the time that an event takes, and
variables of frames pass it twice. Most of an event is plain by then, and orjson copies that in one call.
"""

from __future__ import annotations

from math import inf
from typing import Any

import orjson
import sentry_sdk

from crm_monitoring.sentry.sdk import Part, serialize

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_UTC_Z
# What the serializer trims to ten items and five levels. Short ones are worth more whole.
_TRIMMED = frozenset(("breadcrumbs", "extra", "request"))
_MAX_TRIMMED_BYTES = 100_000
_SERIALIZERS = ("max_request_body_size", "max_value_length", "custom_repr")


class PlainEvent(Part):
    """
    An event that knows what of it needs no serializer.

    What may have to be trimmed stays the serializer's, and so does what JSON does not know.
    """

    def __sentry_repr__(self) -> Part:
        """Return what the serializer puts in its place: a copy of JSON's own types. One that has no such method is walked."""
        options = sentry_sdk.get_client().options
        # A part that is no longer than one text may be holds none that is too long.
        longest = options.get("max_value_length") or inf
        whole: Part | None = _plain(dict(self), min(longest, _MAX_TRIMMED_BYTES))
        if whole is not None:
            return whole
        parts = {name: _marked(name, part, longest) for name, part in self.items()}
        serialised: Part = serialize(parts, **{name: options.get(name) for name in _SERIALIZERS})
        return serialised


class _PlainPart(Part):
    """A part of an event that is of JSON's own types, all the way down."""

    def __sentry_repr__(self) -> Any:
        return self["part"]


def _marked(name: str, part: Any, longest: float) -> Any:
    if type(part) not in (dict, list):
        return part
    plain = _plain(part, min(longest, _MAX_TRIMMED_BYTES) if name in _TRIMMED else longest)
    return part if plain is None else _PlainPart(part=plain)


def _plain(part: Any, limit: float) -> Any:
    """Return a copy of `part`, None if that is longer than `limit` bytes or not of what JSON knows."""
    try:
        dumped = orjson.dumps(part, option=_OPTIONS)
    except TypeError:
        return None
    return None if len(dumped) > limit else orjson.loads(dumped)
