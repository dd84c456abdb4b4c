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

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from crm_monitoring import hooks, logs
from crm_monitoring.hooks import Record
from crm_monitoring.sentry import MemoryTransport
from crm_monitoring.sentry import captured as sentry_captured


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
def capture_monitoring(traces_sample_rate: float = 1.0, level: str | None = None) -> Iterator[Captured]:
    """
    Keep what the block logs, sends and records. Of blocks within each other the inner one has its own events.

    Args:
        traces_sample_rate: Share of transactions kept, from 0 to 1.
        level: Level of the root logger in the block: "DEBUG" for lines that are not written otherwise.
    """
    transport = MemoryTransport()
    captured = Captured(transport)
    root = logging.getLogger()
    before = root.level
    hooks.register(captured.records.append)
    try:
        with sentry_captured(transport, traces_sample_rate), logs.observed(captured._keep_line):
            root.setLevel(level or before)
            yield captured
    finally:
        root.setLevel(before)
        hooks.unregister(captured.records.append)
