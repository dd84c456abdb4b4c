"""elastic-apm as its Django page says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import elasticapm
from elasticapm.transport.base import Transport

from tests.benchmarks import sinks
from tests.benchmarks.delivery import Delivery, Failure, Trace
from tests.benchmarks.stacks import Tools, bare


class SinkTransport(Transport):
    """Sends nothing, and so makes no JSON either."""

    def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
        """Take the event."""
        sinks.deliver((event_type, data))


def configure(settings: dict[str, Any], rate: float) -> None:
    """Add the app, the middleware and the setting; what would open a connection is off."""
    settings["INSTALLED_APPS"] += ["elasticapm.contrib.django"]
    settings["MIDDLEWARE"].insert(0, "elasticapm.contrib.django.middleware.TracingMiddleware")
    settings["ELASTIC_APM"] = {
        "SERVICE_NAME": "benchmark",
        "ENVIRONMENT": "production",
        "TRANSACTION_SAMPLE_RATE": rate,
        "TRANSPORT_CLASS": f"{__name__}.SinkTransport",
        "CENTRAL_CONFIG": False,
        "CLOUD_PROVIDER": "none",
    }


def monitor(name: str) -> AbstractContextManager[Any]:
    """Measure a block by a span."""
    span: AbstractContextManager[Any] = elasticapm.capture_span(name)
    return span


def tools() -> Tools:
    """Return the agent's spans and the standard library's logging."""
    return Tools(bare.info, bare.debug, monitor, len)


def delivered() -> Delivery:
    """Read what the transport was given. An unsampled transaction is sent as well, with its duration alone."""
    spans = sum(kind == "span" for kind, _ in sinks.kept)
    return Delivery(
        failures=[_failure(data) for kind, data in sinks.kept if kind == "error"],
        traces=[Trace(data["name"], spans) for kind, data in sinks.kept if kind == "transaction"],
    )


def _failure(data: dict[str, Any]) -> Failure:
    error, context = data["exception"], data.get("context", {})
    frames = error.get("stacktrace") or []
    return Failure(
        error["type"],
        request="request" in context,
        user=bool(context.get("user")),
        trace="trace_id" in data,
        frames=len(frames),
        with_locals=sum("vars" in frame for frame in frames),
    )
