"""What a process does when it ends: it says what was held back, sends what waits, and tells what was lost."""

from __future__ import annotations

import atexit
import logging
import signal
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType

import sentry_sdk

from crm_monitoring import faults
from crm_monitoring.sentry.transport import OrderedTransport, lose_waiting

_LONGER_SECONDS = 0.5

_log = logging.getLogger("crm_monitoring")


@cache
def prepare() -> None:
    """Before the SDK starts: what is registered first runs last, and its client is closed then."""
    atexit.register(_tell_lost)


@cache
def finish(tell_held_back: Callable[[], None]) -> None:
    """After the SDK has started, so that its client is still open then."""
    atexit.register(tell_held_back)


@faults.guarded
def _tell_lost() -> None:
    lose_waiting()
    lost = faults.losses()
    if lost:
        _log.warning("events_lost", extra={"lost": lost})


def flush_on_sigterm(tell_held_back: Callable[[], None]) -> None:
    """Let a process that nobody taught what to do with SIGTERM send what waits before it dies of it, as it would have."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    if not isinstance(sentry_sdk.get_client().transport, OrderedTransport):
        return

    def end() -> None:
        tell_held_back()
        sentry_sdk.get_client().close()
        _tell_lost()

    def die(number: int, frame: FrameType | None) -> None:
        # In a thread: the signal may have come while the main one held a lock of the SDK's.
        ending = threading.Thread(target=end, name="crm_monitoring-ending", daemon=True)
        ending.start()
        ending.join(sentry_sdk.get_client().options["shutdown_timeout"] + _LONGER_SECONDS)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, die)
