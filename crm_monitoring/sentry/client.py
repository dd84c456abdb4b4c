"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk import Transport

from crm_monitoring import conf, process
from crm_monitoring.sentry import ending, sessions
from crm_monitoring.sentry.before_send import HELD_BACK, Gate
from crm_monitoring.sentry.options import is_local, make_options, rate_of
from crm_monitoring.sentry.transport import LocalTransport, OrderedTransport, has_waiting

_gate: Gate | None = None
_started_with: tuple[conf.Config, bool] | None = None
_given: Mapping[str, Any] = {}
_refused: Mapping[str, str] = {}
_captured_by: Mapping[str, Any] = {}


class SentryStatus(NamedTuple):
    """
    Whether events leave, and how.

    Attributes:
        enabled: There is somewhere to send events to, and the client is up.
        local: Nothing is sent, but receivers in this process take the events.
        refusals: One sentence for each option that the SDK refused, without values.
    """

    enabled: bool
    local: bool
    dsn_configured: bool
    environment: str
    release: str | None
    traces_sample_rate: float
    healthy: bool
    refusals: tuple[str, ...]


def get_traces_sample_rate() -> float:
    """Return the share of requests traced in the current environment, from 0 to 1."""
    config = conf.get()
    return rate_of(config, _given)


def init_sentry() -> bool:
    """
    Start the Sentry client from the setting. Safe to call again: the same options start nothing anew.

    Returns:
        Whether events are sent somewhere.
    """
    config = conf.get()
    asked = config, is_local(config, {**config.SENTRY_OPTIONS, **_captured_by})
    if asked != _started_with or not sentry_sdk.get_client().is_active():
        # What the SDK leaves in the context while it starts would be carried by every request, and under ASGI from thread to thread.
        copy_context().run(_start, asked)
    return status().enabled


def _start(asked: tuple[conf.Config, bool]) -> None:
    global _started_with, _given, _refused, _gate
    config, _ = asked
    sessions.flush()
    # Its threads end once they have sent what is queued.
    sentry_sdk.get_client().close(timeout=0)
    _given, _refused, _gate = {**config.SENTRY_OPTIONS, **_captured_by}, {}, Gate(config)
    try:
        sentry_sdk.init(**make_options(config, _given, _gate))
    except Exception:
        # One option that cannot be used may not cost the others.
        _given, _refused = _sorted_out(config)
        sentry_sdk.init(**make_options(config, _given, _gate))
    _started_with = asked
    _silence_the_sdk()
    ending.prepare(_tell_held_back)


def _silence_the_sdk() -> None:
    # Without the debug option the SDK throws its own lines away, but only after it has made a record of each.
    debug = bool(sentry_sdk.get_client().options.get("debug"))
    logging.getLogger("sentry_sdk.errors").setLevel(logging.DEBUG if debug else logging.CRITICAL + 1)


def _sorted_out(config: conf.Config) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of SENTRY_OPTIONS that the SDK takes, and by name the class of the error for each other."""
    accepted: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, value in {**config.SENTRY_OPTIONS, **_captured_by}.items():
        try:
            sentry_sdk.Client(**make_options(config, {**accepted, name: value}, Gate(config)))
        except Exception as error:
            refused[name] = type(error).__name__
        else:
            accepted[name] = value
    return accepted, refused


@contextmanager
def captured(transport: Transport, traces_sample_rate: float) -> Iterator[None]:
    """Send everything the block reports and traces to `transport`, also when the setting changes, and put the client back after."""
    before = sentry_sdk.get_global_scope().client, _gate, _given, _refused, _started_with, _captured_by
    _install(None, None, {}, {}, None, _capturing(transport, traces_sample_rate))
    try:
        with sentry_sdk.isolation_scope() as scope:
            scope.clear()
            init_sentry()
            yield
    finally:
        # Its threads end.
        sentry_sdk.get_client().close()
        _install(*before)


def _capturing(transport: Transport, traces_sample_rate: float) -> dict[str, Any]:
    return {
        "transport": transport,
        "traces_sample_rate": traces_sample_rate,
        # They would patch the libraries of the process, for good.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        # Nor is there a queue for its thread to watch.
        "enable_backpressure_handling": False,
    }


def _install(client: Any, gate: Gate | None, given: Any, refused: Any, started_with: Any, captured_by: Any) -> None:
    global _gate, _given, _refused, _started_with, _captured_by
    sentry_sdk.get_global_scope().set_client(client)
    _gate, _given, _refused, _started_with, _captured_by = gate, given, refused, started_with, captured_by


def _start_over_in_child() -> None:
    if _gate is not None:
        _gate.start_over()


process.after_fork(_start_over_in_child)


def _tell_held_back() -> None:
    """Say at the end of the process how many events the quota has held back."""
    held_back = _gate.held_back() if _gate is not None else {}
    if held_back and sentry_sdk.get_client().transport is not None:
        event: Any = {
            "level": "warning",
            "logger": HELD_BACK,
            "message": HELD_BACK,
            "extra": {"total": sum(held_back.values()), "by_kind": held_back},
        }
        sentry_sdk.capture_event(event)


def status() -> SentryStatus:
    """Return whether events leave, and how."""
    config = conf.get()
    client = sentry_sdk.get_client()
    options = client.options
    transport = client.transport
    is_local = isinstance(transport, LocalTransport)
    return SentryStatus(
        enabled=transport is not None and not is_local,
        local=is_local,
        dsn_configured=bool(options.get("dsn")),
        environment=str(options.get("environment") or config.ENVIRONMENT),
        release=options.get("release") or None,
        traces_sample_rate=get_traces_sample_rate(),
        healthy=transport is None or transport.is_healthy(),
        refusals=tuple(_refusal(name, error) for name, error in _refused.items()),
    )


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
