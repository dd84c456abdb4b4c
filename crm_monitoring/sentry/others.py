"""Clients that somebody else starts, with a `sentry_sdk.init` of their own: what that said, and what they let out."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sentry_sdk import Transport

from crm_monitoring import conf, process
from crm_monitoring.release import detect_release
from crm_monitoring.sentry.before_send import Gate
from crm_monitoring.sentry.django import RequestIntegration
from crm_monitoring.sentry.mode import OwnIntegration
from crm_monitoring.sentry.options import drop_unwanted, make_hooks, wanted
from crm_monitoring.sentry.sdk import DEFAULT_OPTIONS, BaseClient, EventScrubber, Integration, Options, Part

# The key of the setting, and the options that it stands before.
_KEYS = {
    "SENTRY_DSN": ("dsn",),
    "ENVIRONMENT": ("environment",),
    "SENTRY_RELEASE": ("release",),
    "TRACES_SAMPLE_RATE": ("traces_sample_rate", "traces_sampler"),
}
# What the SDK says by itself where nobody says anything.
_MADE_UP: Mapping[str, Callable[[], object]] = {
    "debug": lambda: False,
    "environment": lambda: "production",
    "keep_alive": lambda: False,
    "project_root": lambda: _folder(),
    "release": detect_release,
    "server_name": socket.gethostname,
}


def _folder() -> str | None:
    # It may be gone: a deployment has replaced it.
    with suppress(OSError):
        return os.getcwd()
    return None


def said_by(client: BaseClient) -> Options:
    """Return the options that its `sentry_sdk.init` was given, as far as they differ from the SDK's defaults."""
    guest = client.get_integration(OwnIntegration.identifier)
    return guest.said if isinstance(guest, _Guest) else _read(client)


def _read(client: BaseClient) -> Part:
    said = {
        name: value
        for name, value in client.options.items()
        if name in DEFAULT_OPTIONS and value != DEFAULT_OPTIONS[name] and not _is_made_up(name, value)
    }
    said["integrations"] = _integrations(said.get("integrations") or ())
    return said


def _is_made_up(name: str, value: Any) -> bool:
    """Whether the SDK has put `value` there by itself."""
    if name in _MADE_UP:
        return bool(value == _MADE_UP[name]())
    if name == "data_collection":
        return not value.get("provided_by_user")
    return name == "event_scrubber" and type(value) is EventScrubber and vars(value) == vars(EventScrubber())


def _integrations(given: Sequence[Integration]) -> list[Integration]:
    # The SDK's own of Django is chosen in SENTRY_OPTIONS, if at all: a set-up for a site without us names it, too.
    return [integration for integration in given if wanted(integration)]


def heard(said: Options) -> Part:
    """Return what of it counts: all that the setting says nothing else of."""
    config = conf.get()
    # An empty DSN or release says nothing: os.environ.get("SENTRY_DSN", "") stands in many settings.
    unheard = {
        option
        for key, options in _KEYS.items()
        if conf.is_said(key) and getattr(config, key) != ""
        for option in options
    }
    return {name: value for name, value in said.items() if name not in unheard}


class _Guest(RequestIntegration):
    """Our integration in a client that is not ours."""

    def __init__(self, said: Options) -> None:
        super().__init__()
        self.said = said


# Held for a moment, and by nobody who imports or waits.
_lock = threading.Lock()


def _start_over_in_child() -> None:
    global _lock
    _lock = threading.Lock()


process.after_fork(_start_over_in_child)


def guard(client: BaseClient) -> None:
    """
    Let what this client sends pass a gate of ours too, behind the hooks that it has, and let it report and describe as ours do.

    Safe to call again, and by two threads at once: who returns may send by it.
    """
    with _lock:
        if client.get_integration(OwnIntegration.identifier) is None:
            guest = _Guest(_read(client))
            client.options.update(make_hooks(client.options, Gate(conf.get())))
            client.integrations[OwnIntegration.identifier] = guest
            drop_unwanted(client)


def hand_over(client: BaseClient, to: Transport | None) -> None:
    """Let what is on its way in this client, and who keeps it, go on by `to`."""
    theirs, client.transport = client.transport, to
    if client.monitor is not None:
        client.monitor.kill()
    if theirs is not None and theirs is not to:
        # Its thread ends once it has sent what is queued.
        theirs.kill()
