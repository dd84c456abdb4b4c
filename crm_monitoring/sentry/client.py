"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import NamedTuple
from weakref import WeakKeyDictionary

import sentry_sdk
from sentry_sdk import Transport

from crm_monitoring import conf, faults, process
from crm_monitoring.sentry import ending, libraries, others, sessions
from crm_monitoring.sentry.before_send import HELD_BACK, Gate
from crm_monitoring.sentry.mode import notice_by
from crm_monitoring.sentry.options import UNWANTED, drop_unwanted, is_local, make_options
from crm_monitoring.sentry.sdk import BaseClient, Event, Options, Part
from crm_monitoring.sentry.transport import leaves, when_receivers_change


class _Asked(NamedTuple):
    """What a client depends on: another one is started when it changes."""

    config: conf.Config
    is_local: bool
    said: Options
    captured_by: Options

    @property
    def given(self) -> Part:
        """The options that win over ours."""
        return {**others.heard(self.said), **self.config.SENTRY_OPTIONS, **self.captured_by}


class Started(NamedTuple):
    """What one of our clients was started with: it is asked of the client that runs."""

    asked: _Asked
    given: Options
    refused: Mapping[str, str]
    gate: Gate
    sends: bool


_started: WeakKeyDictionary[BaseClient, Started] = WeakKeyDictionary()
_captured_by: Options = {}
_lock = threading.Lock()
_is_ending = False


def running() -> Started | None:
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
    return leaves(sentry_sdk.get_client().transport)


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


def _ensure(client: BaseClient, said: Options) -> BaseClient:
    """Return a client of the whole process that does what it is asked: `client`, or a new one in its place."""
    asked, started = _asked(said), _started.get(client)
    if started is None or started.asked != asked or (started.sends and client.transport is None):
        sessions.flush()
        if started is not None:
            # Its threads end once they have sent what is queued.
            client.close(timeout=0)
        return _start(asked)
    return client


def _asked(said: Options) -> _Asked:
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
    _started[client] = Started(asked, given, refused, gate, sends=client.transport is not None)
    sentry_sdk.get_global_scope().set_client(client)
    libraries.follow(leave_out=UNWANTED)
    _silence_the_sdk(client)
    ending.prepare(tell_held_back)
    process.at_end(_stay_closed, process.Stage.WRITE)
    return client


def _client(config: conf.Config, given: Options, gate: Gate) -> BaseClient:
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


def _sorted_out(asked: _Asked) -> tuple[Part, dict[str, str]]:
    """Return the given options that the SDK takes, and by name the class of the error for each other."""
    accepted: Part = {}
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


def _capturing(transport: Transport, traces_sample_rate: float) -> Part:
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
    started = running()
    if started is not None:
        started.gate.start_over()


process.after_fork(_start_over_in_child)


def held_back() -> dict[str, int]:
    """Return how many events the quota holds back, by what they are about."""
    started = running()
    return {} if started is None else started.gate.held_back()


def tell_held_back() -> None:
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


when_receivers_change(init_sentry)
