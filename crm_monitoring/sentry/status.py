"""Whether events leave, where to, and who has seen to it: asked of the client that runs."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

import sentry_sdk

from crm_monitoring import conf
from crm_monitoring.sentry.client import Started, running
from crm_monitoring.sentry.mode import mode
from crm_monitoring.sentry.options import rate_of
from crm_monitoring.sentry.sdk import BaseClient
from crm_monitoring.sentry.transport import LocalTransport, OrderedTransport, has_waiting, leaves

OURS = "crm_monitoring"
SHARED = "crm_monitoring, with the options of another sentry_sdk.init()"
SOMEBODY_ELSE = "another sentry_sdk.init()"
NOBODY = "nobody"


class SentryStatus(NamedTuple):
    """
    Whether events leave, and how.

    Attributes:
        enabled: There is somewhere to send events to, and the client is up.
        local: Nothing is sent, but receivers in this process take the events.
        refusals: One sentence for each option that the SDK refused, without values.
        owner: Who has started the client that runs: one of OWNERS.
        said: The names of the options that another `sentry_sdk.init` has given it.
    """

    enabled: bool
    local: bool
    dsn_configured: bool
    environment: str
    release: str | None
    traces_sample_rate: float
    healthy: bool
    refusals: tuple[str, ...]
    owner: str
    said: tuple[str, ...]


def get_traces_sample_rate() -> float:
    """Return the share of requests traced in the current environment, from 0 to 1."""
    started = running()
    return rate_of(conf.get(), {} if started is None else started.given)


def status() -> SentryStatus:
    """Return whether events leave, and how."""
    config = conf.get()
    client = mode().client
    started = running()
    options = client.options
    transport = client.transport
    return SentryStatus(
        enabled=leaves(transport),
        local=isinstance(transport, LocalTransport),
        dsn_configured=bool(options.get("dsn")),
        environment=str(options.get("environment") or config.ENVIRONMENT),
        release=options.get("release") or None,
        traces_sample_rate=get_traces_sample_rate(),
        healthy=transport is None or transport.is_healthy(),
        refusals=tuple(
            _refusal(name, error) for name, error in (started.refused if started is not None else {}).items()
        ),
        owner=_owner(client, started),
        said=() if started is None else tuple(sorted(started.asked.said)),
    )


def _owner(client: BaseClient, started: Started | None) -> str:
    if started is not None:
        return SHARED if started.asked.said else OURS
    return SOMEBODY_ELSE if client.is_active() else NOBODY


def _refusal(name: str, error: str) -> str:
    return f"sentry_sdk refused the option {name!r} of CRM_MONITORING['SENTRY_OPTIONS'] ({error}); the others hold."


def destination() -> str | None:
    """Return where events go, without the key: "https://o1.ingest.sentry.io/2"; None where there is no DSN."""
    parts = urlsplit(sentry_sdk.get_client().options.get("dsn") or "")
    if not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def counts_deliveries() -> bool:
    """Whether the transport is ours, which tells whether a server took what it was sent."""
    return isinstance(sentry_sdk.get_client().transport, OrderedTransport)


def flush(timeout: float) -> bool:
    """
    Wait until everything is sent, at most `timeout` seconds.

    Returns:
        Whether nothing was left waiting.
    """
    sentry_sdk.flush(timeout)
    return not has_waiting()
