"""sentry-sdk as its Django page says: one `init` in the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.benchmarks import sinks
from tests.benchmarks.delivery import Delivery, Failure, Trace
from tests.benchmarks.samples import EVENT
from tests.benchmarks.stacks import Tools, bare


class SinkTransport(Transport):
    """Sends nothing."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Take the envelope."""
        sinks.deliver(envelope)


def configure(settings: dict[str, Any], rate: float) -> None:
    """Start the SDK; its breadcrumbs come from lines at INFO, which Django's own LOGGING leaves out."""
    settings["LOGGING"] = {"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO"}}
    init(rate)


def init(rate: float) -> None:
    """Start the SDK with a transport that sends nothing."""
    sentry_sdk.init(
        dsn=sinks.DSN,
        environment="production",
        release=sinks.RELEASE,
        traces_sample_rate=rate,
        transport=SinkTransport,
    )


def monitor(name: str) -> AbstractContextManager[Any]:
    """Measure a block by a span."""
    return sentry_sdk.start_span(op="function", name=name)


def breadcrumb(message: str) -> None:
    """Leave a breadcrumb."""
    sentry_sdk.add_breadcrumb(message=message, category="benchmark", level="info")


def tools() -> Tools:
    """Return what the SDK has, and the standard library's logging."""
    return Tools(bare.info, bare.debug, monitor, breadcrumb)


def operations() -> dict[str, Callable[[], Any]]:
    """Return the SDK's scrubbing of an event, which looks at names alone and one level deep."""
    from sentry_sdk.scrubber import EventScrubber

    scrubber: Any = EventScrubber()
    return {"scrub an event of 40 kB": lambda: scrubber.scrub_event(EVENT)}


def delivered() -> Delivery:
    """Read what the transport was given."""
    payloads = list(_payloads())
    return Delivery(
        failures=[_failure(payload) for kind, payload in payloads if kind == "event"],
        traces=[
            Trace(payload["transaction"], len(payload["spans"])) for kind, payload in payloads if kind == "transaction"
        ],
    )


def _payloads() -> Iterator[tuple[str, dict[str, Any]]]:
    for envelope in sinks.kept:
        if isinstance(envelope, Envelope):
            for item in envelope.items:
                yield str(item.type), item.payload.json or {}


def _failure(event: dict[str, Any]) -> Failure:
    errors = event.get("exception", {}).get("values", [])
    frames = [frame for error in errors for frame in error.get("stacktrace", {}).get("frames", [])]
    return Failure(
        errors[-1]["type"] if errors else str(event.get("logentry", {}).get("message")),
        breadcrumbs=len(event.get("breadcrumbs", {}).get("values", [])),
        request="url" in event.get("request", {}),
        user=bool(event.get("user")),
        trace="trace_id" in event.get("contexts", {}).get("trace", {}),
        frames=len(frames),
        with_locals=sum("vars" in frame for frame in frames),
    )
