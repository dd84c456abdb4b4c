"""
Has what is held written in time though nobody comes by: in a command that runs for hours, a worker without tasks, an idle server.

Whoever is killed loses what came in the last ten seconds, and of failures the last second.
"""

from __future__ import annotations

from crm_monitoring.dashboard import config, flushing
from crm_monitoring.extending import (
    Envelope,
    Record,
    register_hook,
    register_receiver,
    register_tick,
    unregister_hook,
    unregister_receiver,
    unregister_tick,
    wake,
    wakes_within,
)

WITHIN_S = 10.0
FAILURES_WITHIN_S = 1.0


def connect() -> None:
    """Watch what comes from now on; after those who hold it."""
    register_hook(_note_record)
    register_receiver(_note_envelope)
    register_tick(_write)


def disconnect() -> None:
    """Watch nothing any more."""
    unregister_hook(_note_record)
    unregister_receiver(_note_envelope)
    unregister_tick(_write)


def _note_record(record: Record) -> None:
    _note(FAILURES_WITHIN_S if record.failed else WITHIN_S)


def _note_envelope(envelope: Envelope) -> None:
    _note(WITHIN_S if envelope.get_event() is None else FAILURES_WITHIN_S)


def _note(seconds: float) -> None:
    if not wakes_within(seconds) and not config.is_in_tests():
        wake(seconds)


def _write() -> float | None:
    """Write if it is due; returns when to look again, None where nothing waits."""
    flushing.after_task()
    return FAILURES_WITHIN_S if flushing.has_work() and not config.is_in_tests() else None
