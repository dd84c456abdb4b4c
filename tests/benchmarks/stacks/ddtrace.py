"""ddtrace as its page says: `ddtrace.auto` before everything else, here instead of `ddtrace-run`."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from typing import Any

from tests.benchmarks import sinks
from tests.benchmarks.delivery import Delivery, Failure, Trace
from tests.benchmarks.stacks import Tools, bare

# What would open a connection is off.
os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
    "DD_SERVICE": "benchmark",
    "DD_TRACE_SAMPLING_RULES": json.dumps([{"sample_rate": float(os.environ.get("BENCHMARK_RATE", "0"))}]),
}

import ddtrace.auto  # noqa: E402, F401
from ddtrace.trace import Span, TraceFilter, tracer  # noqa: E402


class SinkFilter(TraceFilter):
    """Lets no trace reach the writer, so that none is sent."""

    def process_trace(self, trace: list[Span]) -> list[Span] | None:
        """Take the trace."""
        sinks.deliver(*trace)
        return None


def configure(settings: dict[str, Any], rate: float) -> None:
    """Have every trace end here."""
    tracer.configure(trace_processors=[SinkFilter()])


def monitor(name: str) -> AbstractContextManager[Any]:
    """Measure a block by a span."""
    span: AbstractContextManager[Any] = tracer.trace(name)
    return span


def tools() -> Tools:
    """Return the tracer and the standard library's logging."""
    return Tools(bare.info, bare.debug, monitor, len)


def delivered() -> Delivery:
    """Read what the filter was given. The agent drops what is not sampled, after it was made."""
    spans: list[Span] = sinks.kept
    # A span and those around it each tell of the same exception.
    raised = {name for span in spans if (name := span.get_tag("error.type"))}
    return Delivery(
        failures=[Failure(name, request=True, trace=True) for name in sorted(raised)],
        traces=[Trace(span.resource, len(spans) - 1) for span in spans if span.parent_id is None],
    )
