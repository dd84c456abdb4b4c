"""What a process does when it ends: it sends what is held, says what was held back, sends what waits, and tells what was lost."""

from __future__ import annotations

import atexit
import logging
import signal
import threading
from collections.abc import Callable
from functools import cache
from types import FrameType

import sentry_sdk

from crm_monitoring import conf, faults
from crm_monitoring.sentry.failures import send_all_held
from crm_monitoring.sentry.transport import OrderedTransport, lose_waiting

_LONGER_SECONDS = 0.5

_log = logging.getLogger("crm_monitoring")

_callbacks: tuple[Callable[[], object], ...] = ()
_tell_held_back: Callable[[], object] | None = None


@cache
def prepare() -> None:
    """Before the SDK starts: what is registered first runs last, and its client is closed then."""
    atexit.register(_tell_lost)


@cache
def finish(tell_held_back: Callable[[], object]) -> None:
    """After the SDK has started, so that its client is still open then."""
    global _tell_held_back
    _tell_held_back = tell_held_back
    _register()


def before_closing(callback: Callable[[], object]) -> None:
    """Call `callback`, which must not raise, when the process ends, by SIGTERM too, while events can still be sent."""
    global _callbacks
    if callback not in _callbacks:
        _callbacks = (*_callbacks, callback)
        _register()
    flush_on_sigterm()


def _register() -> None:
    # What is registered last runs first: again, where the SDK has started since.
    atexit.unregister(_send_last)
    atexit.register(_send_last)


def _send_last() -> None:
    send_all_held()
    # Before the callbacks, which write the last of what this process's receivers have taken.
    if _tell_held_back is not None:
        _tell_held_back()
    for callback in _callbacks:
        callback()


@faults.guarded
def _tell_lost() -> None:
    lose_waiting()
    lost = faults.losses()
    if lost:
        _log.warning("events_lost", extra={"lost": lost})


def flush_on_sigterm() -> None:
    """Let a process that nobody taught what to do with SIGTERM do its last before it dies of it, as it would have."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    if _callbacks or isinstance(sentry_sdk.get_client().transport, OrderedTransport):
        signal.signal(signal.SIGTERM, _die)


def _die(number: int, frame: FrameType | None) -> None:
    # In a thread: the signal may have come while the main one held a lock of the SDK's.
    ending = threading.Thread(target=end, name="crm_monitoring-ending", daemon=True)
    ending.start()
    timeout = sentry_sdk.get_client().options.get("shutdown_timeout", conf.get().SHUTDOWN_SECONDS)
    ending.join(timeout + _LONGER_SECONDS)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def end() -> None:
    """Do it all now: the process ends without Python's own end."""
    _send_last()
    sentry_sdk.get_client().close()
    _tell_lost()
