"""
The W3C's trace context beside Sentry's own headers: whoever calls us, or is called, may speak only the one or the other.

See https://www.w3.org/TR/trace-context/. What is malformed is refused: the trace begins anew then, as the standard wants it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from crm_monitoring import faults
from crm_monitoring.sentry import sdk
from crm_monitoring.sentry.callers import trace_of

TRACE_HEADERS = ("sentry-trace", "baggage", "traceparent", "tracestate")
"""What says of a trace where it comes from, by HTTP's names in lower case."""

_IS_SAMPLED = 1
_TRACE_DIGITS = 32
_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SENTRY_TRACE = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})(?:-([01]))?")
_MAX_STATE = 512
_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_STATE = re.compile(rf"{_KEY}={_VALUE}(?:[ \t]*,[ \t]*(?:{_KEY}={_VALUE})?){{0,31}}")

# With the start of the header that it belongs to: what runs later in this thread has another trace.
_state: ContextVar[tuple[str, str] | None] = ContextVar("crm_monitoring_tracestate", default=None)


def continued(headers: Mapping[str, object]) -> dict[str, str]:
    """
    Return "sentry-trace" and "baggage" of the trace that `headers` go on with, empty where they name none.

    The "tracestate" beside a "traceparent" is kept for whom we call on this trace.

    Args:
        headers: Those of `TRACE_HEADERS` that came, in lower case. Sentry's own count more.
    """
    trace = headers.get("sentry-trace")
    if trace is not None:
        return trace_of(trace, headers.get("baggage"))
    trace = as_sentry_trace(headers.get("traceparent"))
    if trace is not None:
        _keep(trace, headers.get("tracestate"))
    return trace_of(trace, headers.get("baggage"))


def as_sentry_trace(traceparent: object) -> str | None:
    """Return Sentry's header for the W3C's, None where it is malformed. A later version may say more than we read."""
    found = _TRACEPARENT.fullmatch(traceparent.strip(" \t")) if isinstance(traceparent, str) else None
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return f"{found['trace']}-{found['span']}-{int(found['flags'], 16) & _IS_SAMPLED}"


def as_traceparent(sentry_trace: str) -> str | None:
    """Return the W3C's header for Sentry's, None where that names no trace. What nobody has decided yet is not sampled."""
    found = _SENTRY_TRACE.fullmatch(sentry_trace)
    return None if found is None else f"00-{found[1]}-{found[2]}-0{found[3] or 0}"


def _keep(sentry_trace: str, tracestate: object) -> None:
    # It is handed on as it came, so that nothing but what the standard allows may be in it.
    if isinstance(tracestate, str) and len(tracestate) <= _MAX_STATE and _STATE.fullmatch(tracestate):
        _state.set((sentry_trace[:_TRACE_DIGITS], tracestate))


def with_w3c(headers: Mapping[str, str]) -> dict[str, str]:
    """Return `headers` with the W3C's beside Sentry's."""
    traceparent = as_traceparent(headers.get("sentry-trace", ""))
    if traceparent is None or _is_written_by_others():
        return dict(headers)
    trace_id, state = _state.get() or ("", "")
    is_of_this = headers["sentry-trace"].startswith(trace_id) and state
    return {**headers, "traceparent": traceparent, **({"tracestate": state} if is_of_this else {})}


def _is_written_by_others() -> bool:
    # Two of a kind are as good as none.
    return "opentelemetry.instrumentation" in sys.modules


def write_on_calls() -> None:
    """Let each header of Sentry's on an outgoing call have the W3C's beside it. Called once."""
    sdk.extend_outgoing(_extended)


def _extended(headers: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    known = dict(headers)
    try:
        known = with_w3c(known)
    except Exception as error:
        faults.record("Naming the trace for a call", error)
    yield from known.items()
