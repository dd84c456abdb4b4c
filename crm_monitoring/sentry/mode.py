"""What the SDK's client was told to do, read once for each client: every request and every query asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import sentry_sdk

from crm_monitoring.sentry.sdk import STREAMS_ONLY, BaseClient, Integration, Options

SDKS_OWN = "django"
"""What the SDK's own DjangoIntegration is known by. What a first `sentry_sdk.init` patches asks each client for it."""

Notice = Callable[[BaseClient], bool | None]
"""Told of a client that was not there before, or has been closed; returns whether that is settled."""


class OwnIntegration(Integration):
    """What a client is known by that reports crashes our way."""

    identifier = "crm_monitoring"
    adds_sources = False
    watches_libraries = False


class Mode(NamedTuple):
    """
    How a client works.

    Attributes:
        sends: It has a transport.
        is_tracing: It makes transactions and spans, of some requests at least.
        is_streaming: It sends each span by itself (`trace_lifecycle="stream"`), not transactions.
        watches_requests: The project chose the SDK's own DjangoIntegration, which makes scope, transaction, spans and events itself.
        is_ours: Our integration reports crashes and describes requests.
        adds_sources: It adds the lines of code around each frame, in place of the client.
    """

    client: BaseClient
    sends: bool
    is_tracing: bool
    is_streaming: bool
    watches_requests: bool
    is_ours: bool
    adds_sources: bool


def mode() -> Mode:
    """Return how the client that runs works."""
    global _mode
    client = sentry_sdk.get_client()
    if client is _mode.client and (client.transport is not None or not _mode.sends):
        return _mode
    is_settled = _notice(client)
    how = _mode_of(sentry_sdk.get_client())
    # One that could not be settled, None, is known from now on: it would fail again with each line.
    if is_settled is not False:
        _mode = how
    return how


def notice_by(notice: Notice) -> None:
    """Let `notice` know of each client that somebody else starts, or closes."""
    global _notice
    _notice = notice


def _mode_of(client: BaseClient) -> Mode:
    options = client.options
    watches_requests = client.get_integration(SDKS_OWN) is not None
    integration = client.get_integration(OwnIntegration.identifier)
    is_ours = isinstance(integration, OwnIntegration) and not watches_requests
    return Mode(
        client,
        sends=client.transport is not None,
        is_tracing=options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None,
        is_streaming=is_streaming(options),
        watches_requests=watches_requests,
        is_ours=is_ours,
        adds_sources=isinstance(integration, OwnIntegration) and is_ours and integration.adds_sources,
    )


def is_streaming(options: Options) -> bool:
    """Whether a client with these options sends each span by itself."""
    lifecycle = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return STREAMS_ONLY or lifecycle == "stream"


# Without `init_sentry` nobody asked us to watch.
_notice: Notice = lambda client: False  # noqa: E731 - a variable, not a function
_mode = _mode_of(BaseClient())
