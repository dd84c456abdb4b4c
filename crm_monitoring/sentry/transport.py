"""How envelopes leave: errors first, each loss counted, nothing sent twice; and who else in this process gets them."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Any
from weakref import WeakSet

import orjson
import sentry_sdk
from sentry_sdk import HttpTransport, Transport

from crm_monitoring import faults, process
from crm_monitoring.registry import Registry
from crm_monitoring.sentry import sessions
from crm_monitoring.sentry.failures import send_all_held
from crm_monitoring.sentry.sdk import Envelope, EventDataCategory, Item, Part, SessionFlusher

DELIVERY_FAILED = "sentry_delivery_"
"""How the kinds of loss begin that tell of a delivery, not of what was in it."""

SENDER_THREAD = "sentry-sdk.BackgroundWorker"
"""The SDK's own name for the threads that send: by another one, lines of deliveries that fail would be written again."""

_URGENT = frozenset(("event", "check_in", "feedback"))


_MEANT = frozenset(("before_send", "event_processor", "sample_rate"))
_LEAST_FLUSH_SECONDS = 0.01

Receiver = Callable[[Envelope], object]

_receivers = Registry[[Envelope], object]("The receiver of envelopes")
_changed = Registry[[], object]("Starting for a receiver of envelopes:")
when_receivers_change = _changed.add
"""Let somebody know that there is a receiver more, or one less."""

# Only the queues hold on to an item: what is sent leaves the set by itself.
_waiting: WeakSet[Item] = WeakSet()


def register_receiver(receiver: Receiver) -> None:
    """
    Hand every envelope to `receiver` too, scrubbed as it leaves, in the thread and at the moment it leaves.

    Without a DSN the client starts for the receivers alone: nothing is sent then, and no thread is started. A transport in
    SENTRY_OPTIONS gets the envelopes in their place. Adding a receiver twice has no effect.
    """
    if receiver not in _receivers:
        _receivers.add(receiver)
        _changed.call()


def unregister_receiver(receiver: Receiver) -> None:
    """Take away a receiver added by `register_receiver`."""
    if receiver in _receivers:
        _receivers.remove(receiver)
        _changed.call()


def has_receivers() -> bool:
    """Whether somebody in this process wants the envelopes."""
    return bool(_receivers)


def has_waiting() -> bool:
    """Whether anything is queued, or on its way."""
    return bool(_waiting)


def lose_waiting() -> None:
    """Count what waits still as lost: the process ends."""
    for item in list(_waiting):
        faults.lose(f"sentry_{item.data_category}_shutdown", _count(item))
    _waiting.clear()


def _count(item: Item) -> int:
    """Return how many items of its kind one of the protocol's holds."""
    return int(item.headers.get("item_count", 1))


def _lose(reason: str, category: EventDataCategory | None, quantity: int) -> None:
    # The SDK's own reports of losses are "internal".
    if reason not in _MEANT and category != "internal":
        faults.lose(f"sentry_{category}_{reason}", quantity)


class CountingTransport(HttpTransport):
    """The SDK's transport, which also counts what it had to give up: items by category, deliveries by what the server said."""

    def record_lost_event(
        self,
        reason: str,
        data_category: EventDataCategory | None = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count a loss by category and reason, except of what was not meant to be sent."""
        if item is not None:
            _waiting.discard(item)
            data_category, quantity = item.data_category, _count(item)
        _lose(reason, data_category, quantity)
        super().record_lost_event(reason, data_category, item, quantity=quantity)

    def on_dropped_event(self, _reason: str) -> None:
        """Count a delivery that failed: "network", "status_403", "self_rate_limits", "full_queue"."""
        faults.lose(DELIVERY_FAILED + _reason)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue the envelope. The thread that sends starts here: outside of the running request, whose trace it would go on with."""
        _waiting.update(item for item in envelope.items if item.type != "client_report")
        Context().run(super().capture_envelope, envelope)

    def start_over(self) -> None:
        """Forget what is queued and connected."""
        super().__init__(self.options)


class OrderedTransport(Transport):
    """
    Two queues, each with its own sender: an error never waits behind a thousand transactions.

    The SDK sends one envelope after the other from one queue of a hundred; with a server 50 ms away that is twenty a second,
    and whatever comes while the queue is full is dropped.

    Attributes:
        errors: Sends what tells of failures.
        rest: Sends all else.
    """

    def __init__(self, options: Part) -> None:
        super().__init__(options)
        # What a first connection imports: a process that forks meanwhile has a child that can never import it.
        codecs.lookup("idna")
        self.errors = CountingTransport(options)
        self.rest = CountingTransport(options)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Hand `envelope` to the receivers, and queue it with its like."""
        _receivers.call(envelope)
        is_urgent = any(item.type in _URGENT for item in envelope.items)
        (self.errors if is_urgent else self.rest).capture_envelope(envelope)

    def record_lost_event(
        self,
        reason: str,
        data_category: EventDataCategory | None = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count a loss, and let the server know with the next envelope."""
        self.rest.record_lost_event(reason, data_category, item, quantity=quantity)

    def flush(self, timeout: float, callback: Callable[[int, float], None] | None = None) -> None:
        """Wait until everything is sent, the errors first, at most `timeout` seconds."""
        deadline = monotonic() + timeout
        _queue_all()
        self.errors.flush(timeout, callback)
        self.rest.flush(max(_LEAST_FLUSH_SECONDS, deadline - monotonic()), callback)

    def kill(self) -> None:
        """Stop both senders."""
        self.errors.kill()
        self.rest.kill()

    def is_healthy(self) -> bool:
        """Whether both queues have room and no server asks to wait."""
        return self.errors.is_healthy() and self.rest.is_healthy()

    def start_over(self) -> None:
        """Forget what is queued and connected."""
        self.errors.start_over()
        self.rest.start_over()


def _queue_all() -> None:
    """Make envelopes of what waits to be more: failures that are held, and numbers."""
    send_all_held()
    sessions.flush()


class LocalTransport(Transport):
    """Hands envelopes to the receivers of this process, and sends nothing. The SDK uses an instance without a DSN too."""

    def __init__(self) -> None:
        super().__init__(None)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Hand `envelope` to the receivers."""
        _receivers.call(envelope)

    def flush(self, timeout: float, callback: Callable[[int, float], None] | None = None) -> None:
        """Hand out what is held, too."""
        send_all_held()

    def record_lost_event(
        self,
        reason: str,
        data_category: EventDataCategory | None = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        """Count a loss by category and reason, except of what was not meant to be sent."""
        _lose(reason, data_category if item is None else item.data_category, quantity if item is None else _count(item))


def leaves(transport: Transport | None) -> bool:
    """Whether what `transport` takes leaves this process."""
    return transport is not None and not isinstance(transport, LocalTransport)


class MemoryTransport(Transport):
    """Keeps every envelope, as it would have been sent."""

    def __init__(self) -> None:
        super().__init__(None)
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep `envelope`."""
        envelope.serialize()
        self.envelopes.append(envelope)

    def flush(self, timeout: float, callback: Callable[[int, float], None] | None = None) -> None:
        """Keep what is held and counted so far, too."""
        _queue_all()

    def payloads(self, kind: str) -> list[Part]:
        """Return what items of a kind ("event", "transaction", "sessions", ...) would have sent, parsed."""
        items = [item for envelope in self.envelopes for item in envelope.items if item.type == kind]
        return [orjson.loads(item.get_bytes()) for item in items]

    @property
    def events(self) -> list[Part]:
        """Errors and messages."""
        return self.payloads("event")

    @property
    def transactions(self) -> list[Part]:
        """Transactions with their spans."""
        return self.payloads("transaction")

    @property
    def spans(self) -> list[Part]:
        """Spans that were sent by themselves, in the SDK's stream mode."""
        return [span for payload in self.payloads("span") for span in payload["items"]]


def _start_over_in_child() -> None:
    # What the parent has queued is the parent's to send, over the parent's connection. The SDK's child would send it again,
    # and the sessions that wait for the end of their minute.
    _waiting.clear()
    client: Any = sentry_sdk.get_client()
    if isinstance(client.transport, OrderedTransport):
        client.transport.start_over()
        client.session_flusher = SessionFlusher(client.session_flusher.capture_func)


process.after_fork(_start_over_in_child)


def _not_the_senders(record: logging.LogRecord) -> bool:
    # A delivery that fails is counted; urllib3 would add three lines for each.
    return record.threadName != SENDER_THREAD


logging.getLogger("urllib3.connectionpool").addFilter(_not_the_senders)
