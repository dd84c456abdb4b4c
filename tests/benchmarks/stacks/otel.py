"""OpenTelemetry with its Django and SQLite instrumentations, as their pages say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from tests.benchmarks import sinks
from tests.benchmarks.delivery import Delivery, Failure, Trace
from tests.benchmarks.stacks import Tools, bare


class SinkExporter(SpanExporter):
    """Sends nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take the spans."""
        sinks.deliver(*spans)
        return SpanExportResult.SUCCESS


provider: TracerProvider | None = None


def configure(settings: dict[str, Any], rate: float) -> None:
    """Start the SDK, then the instrumentations, which put their middleware into the settings when Django has read them."""
    global provider
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(rate))
    provider.add_span_processor(BatchSpanProcessor(SinkExporter()))
    trace.set_tracer_provider(provider)
    SQLite3Instrumentor().instrument()


def instrument() -> None:
    """Put the middleware in, as `manage.py` and `wsgi.py` do."""
    DjangoInstrumentor().instrument()


def monitor(name: str) -> AbstractContextManager[Any]:
    """Measure a block by a span."""
    span: AbstractContextManager[Any] = trace.get_tracer("benchmark").start_as_current_span(name)
    return span


def tools() -> Tools:
    """Return the tracer and the standard library's logging."""
    return Tools(bare.info, bare.debug, monitor, len)


def delivered() -> Delivery:
    """Read what the exporter was given."""
    if provider is not None:
        provider.force_flush()
    spans: list[ReadableSpan] = sinks.kept
    # A span and those around it each tell of the same exception.
    raised = {str((event.attributes or {})["exception.type"]) for span in spans for event in span.events}
    return Delivery(
        failures=[Failure(name, request=True, trace=True) for name in sorted(raised)],
        traces=[Trace(span.name, len(spans) - 1) for span in spans if span.parent is None],
    )
