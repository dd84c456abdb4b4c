"""What the SDK's client was told to do, read once for each client: every request and every query asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import sentry_sdk

from crm_monitoring.sentry.sdk import BaseClient, Integration


class OwnIntegration(Integration):
    """What our Django integration is known by."""

    # The SDK's own name for it: so the SDK does not set up its own besides.
    identifier = "django"
    adds_sources = False


class Mode(NamedTuple):
    """
    How a client works.

    Attributes:
        is_tracing: It makes transactions and spans, of some requests at least.
        is_streaming: It sends each span by itself (`trace_lifecycle="stream"`), not transactions.
        watches_requests: The project chose the SDK's own DjangoIntegration, which makes scope, transaction, spans and events itself.
        is_ours: Our integration is there: it reports crashes and describes requests.
        adds_sources: It adds the lines of code around each frame, in place of the client.
    """

    client: BaseClient
    is_tracing: bool
    is_streaming: bool
    watches_requests: bool
    is_ours: bool
    adds_sources: bool


def mode() -> Mode:
    """Return how the current client works."""
    global _mode
    client = sentry_sdk.get_client()
    if _mode.client is not client:
        _mode = _mode_of(client)
    return _mode


def _mode_of(client: BaseClient) -> Mode:
    options = client.options
    integration = client.get_integration(OwnIntegration.identifier)
    return Mode(
        client,
        is_tracing=options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None,
        is_streaming=is_streaming(options),
        watches_requests=not (integration is None or isinstance(integration, OwnIntegration)),
        is_ours=isinstance(integration, OwnIntegration),
        adds_sources=isinstance(integration, OwnIntegration) and integration.adds_sources,
    )


def is_streaming(options: Mapping[str, Any]) -> bool:
    """Whether a client with these options sends each span by itself."""
    lifecycle = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return lifecycle == "stream"


_mode = _mode_of(BaseClient())
