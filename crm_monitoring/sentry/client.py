"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import sentry_sdk
from sentry_sdk import Transport

from crm_monitoring import conf, faults, process
from crm_monitoring.sentry import ending, libraries, others, sessions
from crm_monitoring.sentry.before_send import HELD_BACK, Gate
from crm_monitoring.sentry.mode import mode, notice_by
from crm_monitoring.sentry.options import UNWANTED, drop_unwanted, is_local, make_options, rate_of
from crm_monitoring.sentry.sdk import BaseClient, Event
from crm_monitoring.sentry.transport import LocalTransport, OrderedTransport, has_waiting

OURS = "crm_monitoring"
SHARED = "crm_monitoring, with the options of another sentry_sdk.init()"
SOMEBODY_ELSE = "another sentry_sdk.init()"
NOBODY = "nobody"


class _Asked(NamedTuple):
    """What a client depends on: another one is started when it changes."""

    config: conf.Config
    is_local: bool
    said: Mapping[str, Any]
    captured_by: Mapping[str, Any]

    @property
    def given(self) -> dict[str, Any]:
        """The options that win over ours."""
        return {**others.heard(self.said), **self.config.SENTRY_OPTIONS, **self.captured_by}


class _Started(NamedTuple):
    """What one of our clients was started with: it is asked of the client that runs."""

    asked: _Asked
    given: Mapping[str, Any]
    refused: Mapping[str, str]
    gate: Gate
    sends: bool


_started: WeakKeyDictionary[BaseClient, _Started] = WeakKeyDictionary()
_captured_by: Mapping[str, Any] = {}
_lock = threading.Lock()
_is_ending = False


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
    started = _running()
    return rate_of(conf.get(), {} if started is None else started.given)


def _running() -> _Started | None:
    """Return what the client that runs was started with, None where it is not ours."""
    return _started.get(sentry_sdk.get_client())


def init_sentry() -> bool:
    """
    Start the Sentry client from the setting. Safe to call again: the same options start nothing anew.

    Where another `sentry_sdk.init` has started one, ours stands in for it, with what that was told: the setting counts more.

    Returns:
        Whether events are sent somewhere.
    """
    global _is_ending
    _is_ending = False
    notice_by(_notice)
    with _lock:
        _own(sentry_sdk.get_global_scope().client)
    return status().enabled


@faults.guarded
def _notice(client: BaseClient) -> bool:
    """Make a client ours that somebody else has started, and start one anew where somebody has closed it."""
    if not client.is_active() or _is_ending:
        return True
    if client not in _started:
        others.guard(client)
    # Not while one starts, here or in another thread.
    if not _lock.acquire(blocking=False):
        return False
    try:
        _own(client)
    finally:
        _lock.release()
    return True


def _own(client: BaseClient) -> None:
    started = _started.get(client)
    if started is not None:
        _ensure(client, started.asked.said)
    elif not client.is_active():
        # The SDK's stand-in for a client that nobody has started.
        _ensure(client, {})
    elif sentry_sdk.get_global_scope().client is client:
        others.guard(client)
        others.hand_over(client, to=_ensure(client, others.said_by(client)).transport)


def _ensure(client: BaseClient, said: Mapping[str, Any]) -> BaseClient:
    """Return a client of the whole process that does what it is asked: `client`, or a new one in its place."""
    asked, started = _asked(said), _started.get(client)
    if started is None or started.asked != asked or (started.sends and client.transport is None):
        sessions.flush()
        if started is not None:
            # Its threads end once they have sent what is queued.
            client.close(timeout=0)
        return _start(asked)
    return client


def _asked(said: Mapping[str, Any]) -> _Asked:
    asked = _Asked(conf.get(), False, said, _captured_by)
    return asked._replace(is_local=is_local(asked.config, asked.given))


def _start(asked: _Asked) -> BaseClient:
    # What the SDK leaves in the context while it starts would be carried by every request, and under ASGI from thread to thread.
    return copy_context().run(_start_in_context, asked)


def _start_in_context(asked: _Asked) -> BaseClient:
    gate, given, refused = Gate(asked.config), asked.given, dict[str, str]()
    try:
        client = _client(asked.config, given, gate)
    except Exception:
        # One option that cannot be used may not cost the others.
        given, refused = _sorted_out(asked)
        client = _client(asked.config, given, gate)
    _started[client] = _Started(asked, given, refused, gate, sends=client.transport is not None)
    sentry_sdk.get_global_scope().set_client(client)
    libraries.follow(leave_out=UNWANTED)
    _silence_the_sdk(client)
    ending.prepare(_tell_held_back)
    process.at_end(_stay_closed, process.Stage.WRITE)
    return client


def _client(config: conf.Config, given: Mapping[str, Any], gate: Gate) -> BaseClient:
    client = sentry_sdk.Client(**make_options(config, given, gate))
    drop_unwanted(client, given)
    return client


def _stay_closed() -> None:
    global _is_ending
    _is_ending = True


def _silence_the_sdk(client: BaseClient) -> None:
    # Without the debug option the SDK throws its own lines away, but only after it has made a record of each.
    debug = bool(client.options.get("debug"))
    logging.getLogger("sentry_sdk.errors").setLevel(logging.DEBUG if debug else logging.CRITICAL + 1)


def _sorted_out(asked: _Asked) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the given options that the SDK takes, and by name the class of the error for each other."""
    accepted: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, value in asked.given.items():
        try:
            sentry_sdk.Client(**make_options(asked.config, {**accepted, name: value}, Gate(asked.config)))
        except Exception as error:
            refused[name] = type(error).__name__
        else:
            accepted[name] = value
    return accepted, refused


@contextmanager
def captured(transport: Transport, traces_sample_rate: float) -> Iterator[None]:
    """Send everything the block reports and traces to `transport`, also when the setting changes, and put the client back after."""
    global _captured_by
    scope, captured_by = sentry_sdk.get_global_scope(), _captured_by
    before = scope.client
    said = _started[before].asked.said if before in _started else {}
    _captured_by = _capturing(transport, traces_sample_rate)
    notice_by(_notice)
    try:
        with sentry_sdk.isolation_scope() as isolation:
            isolation.clear()
            with _lock:
                _start(_asked(said))
            yield
    finally:
        # Its threads end.
        sentry_sdk.get_client().close()
        scope.set_client(before)
        _captured_by = captured_by


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


def _start_over_in_child() -> None:
    global _lock
    # Another thread may have held it.
    _lock = threading.Lock()
    started = _running()
    if started is not None:
        started.gate.start_over()


process.after_fork(_start_over_in_child)


def held_back() -> dict[str, int]:
    """Return how many events the quota holds back, by what they are about."""
    started = _running()
    return {} if started is None else started.gate.held_back()


def _tell_held_back() -> None:
    """Say at the end of the process how many events the quota has held back."""
    held = held_back()
    if held and sentry_sdk.get_client().transport is not None:
        event: Event = {
            "level": "warning",
            "logger": HELD_BACK,
            "message": HELD_BACK,
            "extra": {"total": sum(held.values()), "by_kind": held},
        }
        sentry_sdk.capture_event(event)


def status() -> SentryStatus:
    """Return whether events leave, and how."""
    config = conf.get()
    client = mode().client
    started = _started.get(client)
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
        refusals=tuple(
            _refusal(name, error) for name, error in (started.refused if started is not None else {}).items()
        ),
        owner=_owner(client, started),
        said=() if started is None else tuple(sorted(started.asked.said)),
    )


def _owner(client: BaseClient, started: _Started | None) -> str:
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
