"""
Sends what is queued: each channel in a thread of its own, so that one that hangs holds nobody up.

A message is claimed in the database before it is sent and noted after, so it is sent at least once; no transaction is open
meanwhile. A process that dies in between leaves a message that becomes due again.
"""

from __future__ import annotations

import threading
from contextvars import Context
from dataclasses import dataclass, field
from time import monotonic, time

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring.dashboard.alerts import channels
from crm_monitoring.dashboard.alerts.channels import Channel, NotSent
from crm_monitoring.dashboard.alerts.messages import Message, from_json
from crm_monitoring.dashboard.models import Delivery
from crm_monitoring.dashboard.posting import TIMEOUT_SECONDS
from crm_monitoring.dashboard.store import database, deliveries
from crm_monitoring.extending import after_fork
from crm_monitoring.faults import guarded

ROUND_SECONDS = TIMEOUT_SECONDS + 2
"""How long a round of deliveries takes at most."""


@dataclass(slots=True)
class Outcome:
    """What one round did for one channel: how many messages were sent, and why it ended early."""

    channel: str
    sent: int = 0
    error: str = ""


def deliver() -> list[Outcome]:
    """Send what is due, for `ROUND_SECONDS` at most; a channel that fails ends its own part."""
    deadline = monotonic() + ROUND_SECONDS
    senders = [_Sender.start(channel, deadline) for channel in channels.active()]
    return [sender.outcome(deadline) for sender in senders]


def try_now(channel: Channel, message: Message) -> None:
    """
    Send a message past the queue, and wait for `ROUND_SECONDS` at most: a mail server may hang for ever.

    Raises:
        NotSent: if the channel does not take it until then.
    """
    failures = [NotSent(TimeoutError.__name__)]

    def send() -> None:
        try:
            channels.send(channel, message, "test")
        except NotSent as error:
            failures[0] = error
        else:
            failures.clear()

    thread = threading.Thread(target=Context().run, args=(send,), daemon=True)
    thread.start()
    thread.join(ROUND_SECONDS)
    if failures:
        raise failures[0]


@dataclass(slots=True)
class _Sender:
    """What goes to one channel, sent in a thread."""

    channel: Channel
    deadline: float
    _outcome: Outcome
    _current: Delivery | None = None
    _thread: threading.Thread = field(init=False)

    @classmethod
    def start(cls, channel: Channel, deadline: float) -> _Sender:
        """Begin to send, unless an earlier round's still hangs: then that one is waited for."""
        with _lock:
            latest = _latest.get(channel.name)
            if latest is None or not latest._thread.is_alive():
                latest = _latest[channel.name] = cls(channel, deadline, Outcome(channel.name))
                latest._thread = threading.Thread(
                    # In a context of its own: it is nobody's request, command or trace.
                    target=Context().run,
                    args=(latest._send_alerts,),
                    name=f"crm_monitoring-alerts-{channel.name}",
                    daemon=True,
                )
                latest._thread.start()
            return latest

    def outcome(self, deadline: float) -> Outcome:
        """Wait until `deadline`, a moment of the monotonic clock, and return what was done until then."""
        self._thread.join(max(0.0, deadline - monotonic()))
        current = self._current
        if current is not None and self._thread.is_alive():
            self._outcome.error = TimeoutError.__name__
            deliveries.note_failed(current, self._outcome.error, time())
        return self._outcome

    @guarded
    def _send_alerts(self) -> None:
        try:
            while monotonic() < self.deadline and self._send_next():
                self._outcome.sent += 1
        finally:
            # SQLite's own close() spares a database in memory, but this connection is the thread's alone.
            BaseDatabaseWrapper.close(connections[database()])

    def _send_next(self) -> bool:
        delivery = deliveries.claim(self.channel.name, time())
        if delivery is None:
            return False
        self._current = delivery
        try:
            channels.send(self.channel, from_json(delivery.body), str(delivery.pk))
        except NotSent as error:
            self._outcome.error = error.reason
            deliveries.note_failed(delivery, error.reason, time(), error.retry_after)
            return False
        else:
            deliveries.note_sent(delivery, time())
            return True
        finally:
            self._current = None


_latest: dict[str, _Sender] = {}
_lock = threading.Lock()


def reset() -> None:
    """Forget the threads, as in a forked child, which has none of them."""
    global _lock
    _lock = threading.Lock()
    _latest.clear()


after_fork(reset)
