"""
What JSON knows as it is, kept from the SDK's serializer.

That one walks an event value by value in Python, for it may meet anything; it takes half of the time that an event takes, and
variables of frames pass it twice. Most of an event is plain by then, and orjson copies that in one call.
"""

from __future__ import annotations

from math import inf
from typing import Any, cast

import orjson
import sentry_sdk

from crm_monitoring.sentry.sdk import Event, EventScrubber, Part

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_UTC_Z
# What the serializer trims to ten items and five levels. Short ones are worth more whole.
_TRIMMED = frozenset(("breadcrumbs", "extra", "request"))
_MAX_TRIMMED_BYTES = 100_000


class PlainDict(Part):
    """A dict of JSON's own types, all the way down."""

    def __sentry_repr__(self) -> Part:
        """Return what the serializer puts in its place: itself. A class may say so, and one that is not asked is walked as ever."""
        return self


class PlainList(list[Any]):
    """A list of JSON's own types, all the way down."""

    def __sentry_repr__(self) -> list[Any]:
        """Return what the serializer puts in its place: itself."""
        return self


class PlainParts(EventScrubber):
    """
    The last to see an event before the SDK's serializer does: it marks the parts that need none.

    What it may have to trim stays the serializer's, and so does what JSON does not know. Secrets are left to the gate behind it.
    """

    def scrub_event(self, event: Event) -> None:
        """Replace each part of `event` that is plain by a copy that says so."""
        # A part that is no longer than one text may be holds none that is too long.
        longest = sentry_sdk.get_client().options.get("max_value_length") or inf
        parts = cast(Part, event)
        for name, part in parts.items():
            if type(part) in (dict, list):
                parts[name] = _plain(part, min(longest, _MAX_TRIMMED_BYTES) if name in _TRIMMED else longest)


def _plain(part: Any, limit: float) -> Any:
    try:
        dumped = orjson.dumps(part, option=_OPTIONS)
    except TypeError:
        return part
    if len(dumped) > limit:
        return part
    copied = orjson.loads(dumped)
    return PlainDict(copied) if isinstance(copied, dict) else PlainList(copied)
