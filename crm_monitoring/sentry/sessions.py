"""
What is counted rather than told one by one: how requests ended, for release health, and how many were not sampled.

The SDK's own sessions make an object for each request, and start a thread. Here a request adds one to a number, and the first request
of a minute sends the numbers of the one before, as Sentry's protocol wants them: aggregates by minute.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from time import time

from crm_monitoring import faults, process
from crm_monitoring.sentry.sdk import BaseClient, Envelope, Event, Options

EXITED, ERRORED, CRASHED = "exited", "errored", "crashed"
"""How a request ended: without an exception reported, with one that was handled, with one that escaped."""

_MINUTE = 60


class _Tally:
    def __init__(self, client: BaseClient, minute: int) -> None:
        self.client = client
        self.has_sessions = _has_sessions(client.options)
        self.sessions = dict.fromkeys((EXITED, ERRORED, CRASHED), 0)
        self.unsampled = 0
        self.minute = minute

    def send(self) -> None:
        transport = self.client.transport
        if transport is None:
            return
        if self.unsampled:
            # Without spans a transaction counts as one.
            for category in ("transaction", "span"):
                transport.record_lost_event("sample_rate", data_category=category, quantity=self.unsampled)
        counted = {outcome: count for outcome, count in self.sessions.items() if count}
        if counted:
            started = datetime.fromtimestamp(self.minute * _MINUTE, UTC).isoformat().replace("+00:00", "Z")
            envelope = Envelope()
            envelope.add_sessions({"aggregates": [{"started": started, **counted}], "attrs": self._attributes()})
            transport.capture_envelope(envelope)

    def _attributes(self) -> dict[str, str]:
        return {name: self.client.options[name] for name in ("release", "environment")}


_lock = threading.Lock()
_tally: _Tally | None = None


def _start_over() -> None:
    # What the parent counted is the parent's to send.
    global _lock, _tally
    _lock, _tally = threading.Lock(), None


process.after_fork(_start_over)


def count(client: BaseClient, outcome: str, *, is_unsampled: bool) -> None:
    """
    Count one request.

    Args:
        client: Sentry's, which sends the numbers.
        outcome: EXITED, ERRORED or CRASHED.
        is_unsampled: Its transaction was left out by the sample rate.
    """
    global _tally
    minute = int(time() // _MINUTE)
    done = None
    with _lock:
        if _tally is None or _tally.minute != minute or _tally.client is not client:
            done, _tally = _tally, _Tally(client, minute)
        if _tally.has_sessions:
            _tally.sessions[outcome] += 1
        _tally.unsampled += is_unsampled
    if done is not None:
        done.send()


def _has_sessions(options: Options) -> bool:
    return bool(options.get("auto_session_tracking") and options.get("release"))


@faults.guarded
def flush() -> None:
    """Send what is counted now."""
    global _tally
    with _lock:
        done, _tally = _tally, None
    if done is not None:
        done.send()


def outcome_of(event: Event) -> str:
    """Return how a request ends for which `event` was reported."""
    values = (event.get("exception") or {}).get("values") or ()
    if any((value.get("mechanism") or {}).get("handled") is False for value in values):
        return CRASHED
    return ERRORED if values else EXITED


def worse(one: str, other: str) -> str:
    """Return the worse of two outcomes."""
    return max(one, other, key=(EXITED, ERRORED, CRASHED).index)
