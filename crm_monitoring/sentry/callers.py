"""What whoever calls us says of the trace that its call is part of: anybody may say anything, so what is malformed is nothing."""

from __future__ import annotations

import re

_TRACE = re.compile(r"[ \t]*[0-9a-f]{32}-[0-9a-f]{16}(?:-[01])?[ \t]*\Z")
_RATES = re.compile(r"(?:\A|,)\s*sentry-sample_(?:rate|rand)\s*=([^,;]*)")
_MAX_BAGGAGE = 8192


def trace_of(trace: object, baggage: object) -> dict[str, str]:
    """Return the two as headers that the SDK can read, without what is malformed."""
    if not isinstance(trace, str) or not _TRACE.match(trace):
        return {}
    return {"sentry-trace": trace, "baggage": baggage if isinstance(baggage, str) and _is_harmless(baggage) else ""}


def _is_harmless(baggage: str) -> bool:
    return len(baggage) <= _MAX_BAGGAGE and all(map(_is_rate, _RATES.findall(baggage)))


def _is_rate(text: str) -> bool:
    # The SDK draws between the limits that the caller gives; "inf" and "nan" are numbers to it.
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
