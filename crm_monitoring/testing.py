"""
What your own tests can ask of the code under test: the lines it logs, the events and transactions it sends, the records it makes.

    with capture_monitoring() as captured:
        import_organisations(rows)

    assert captured.line("import_completed")["success_count"] == 3
    assert captured.events == []

With pytest, the fixture `captured_monitoring` gives the same for a whole test. Nothing leaves the process, whether loggers are
cached or not, and Sentry is put back as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import orjson
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from crm_monitoring import hooks, logs
from crm_monitoring.hooks import Record
from crm_monitoring.sentry.client import client_with


class MemoryTransport(Transport):
    """A transport for Sentry that keeps every envelope."""

    def __init__(self) -> None:
        super().__init__(None)
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep `envelope`."""
        self.envelopes.append(envelope)

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        """Return what items of a kind ("event", "transaction", "sessions", ...) would have sent, parsed."""
        items = [item for envelope in self.envelopes for item in envelope.items if item.type == kind]
        return [orjson.loads(item.get_bytes()) for item in items]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Errors and messages."""
        return self.payloads("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Transactions with their spans."""
        return self.payloads("transaction")

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Spans that were sent by themselves, in the SDK's stream mode."""
        return [span for payload in self.payloads("span") for span in payload["items"]]


class Captured:
    """
    What the code under test has left behind.

    Attributes:
        lines: Every log line as a dict, before it is rendered: {"event": ..., "level": ..., "logger": ..., fields}.
        records: Every RequestRecord and OperationRecord.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self.lines: list[dict[str, Any]] = []
        self.records: list[Record] = []
        self._transport = transport

    @property
    def events(self) -> list[dict[str, Any]]:
        """Sentry's events, as they would have been sent."""
        return self._transport.events

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Sentry's transactions, as they would have been sent."""
        return self._transport.transactions

    def line(self, event: str) -> dict[str, Any]:
        """
        Return the one line with this event name.

        Raises:
            AssertionError: if there is none, or more than one. It lists what was logged.
        """
        found = [line for line in self.lines if line["event"] == event]
        if len(found) != 1:
            names = ", ".join(str(line["event"]) for line in self.lines) or "nothing"
            raise AssertionError(f"{len(found)} lines are named {event!r}; logged was {names}")
        return found[0]

    def _keep_line(self, logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self.lines.append(dict(line))
        return line


@contextmanager
def capture_monitoring(traces_sample_rate: float = 1.0) -> Iterator[Captured]:
    """
    Keep what the block logs, sends and records.

    Args:
        traces_sample_rate: Share of transactions kept, from 0 to 1.
    """
    transport = MemoryTransport()
    captured = Captured(transport)
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    scope.set_client(client_with(transport=transport, traces_sample_rate=traces_sample_rate))
    hooks.register(captured.records.append)
    try:
        with sentry_sdk.isolation_scope(), logs.observed_by(captured._keep_line):
            yield captured
    finally:
        hooks.unregister(captured.records.append)
        scope.set_client(before)
