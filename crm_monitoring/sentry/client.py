"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.transport import Transport

from crm_monitoring import conf, faults
from crm_monitoring.release import detect_release
from crm_monitoring.scrubbing.spans import FILTERED
from crm_monitoring.sentry import ending, sessions
from crm_monitoring.sentry.before_send import HELD_BACK, Gate
from crm_monitoring.sentry.django import RequestIntegration
from crm_monitoring.sentry.mode import is_streaming
from crm_monitoring.sentry.sampling import sample_rate
from crm_monitoring.sentry.transport import LocalTransport, OrderedTransport, has_receivers, has_waiting
from crm_monitoring.sentry.tuning.serializer import PlainParts
from crm_monitoring.sentry.tuning.threads import PlainThreadsIntegration

Hook = Callable[[Any, Any], Any]

_BLANK = {"name": FILTERED, "attributes": {}}

# What the SDK turns on by itself and a CRM should not have.
_UNWANTED: tuple[type[Integration], ...] = (
    ArgvIntegration,  # a command's arguments hold passwords
    ModulesIntegration,  # every installed package on every event: weight, and a map for an attacker
    DedupeIntegration,  # our gate knows whole chains of exceptions, not just the last one
    LoggingIntegration,  # our processor reports log lines, once and with a title
)

# What other servers drop, so that it is not sent.
_NOT_FOR: Mapping[str, Mapping[str, Any]] = {
    "sentry": {},
    "glitchtip": {"auto_session_tracking": False},
    "bugsink": {
        "auto_session_tracking": False,
        "send_client_reports": False,
        "traces_sample_rate": None,
        "traces_sampler": None,
    },
}

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
    return _rate(config, {**_given, **_NOT_FOR[config.BACKEND]})


def _rate(config: conf.Config, given: Mapping[str, Any]) -> float:
    rate = given.get("traces_sample_rate", config.traces_sample_rate()) or 0.0
    if not 0 <= rate <= 1:
        raise ValueError("a rate is between 0 and 1")
    return float(rate)


def init_sentry() -> bool:
    """
    Start the Sentry client from the setting. Safe to call again: the same options start nothing anew.

    Returns:
        Whether events are sent somewhere.
    """
    config = conf.get()
    asked = config, _is_local(config, {**config.SENTRY_OPTIONS, **_captured_by})
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
    ending.prepare()
    try:
        sentry_sdk.init(**_options(config, _given, _gate))
    except Exception:
        # One option that cannot be used may not cost the others.
        _given, _refused = _sorted_out(config)
        sentry_sdk.init(**_options(config, _given, _gate))
    _started_with = asked
    _silence_the_sdk()
    ending.before_closing(sessions.flush)
    ending.finish(_tell_held_back)
    ending.flush_on_sigterm()


def _is_local(config: conf.Config, given: Mapping[str, Any]) -> bool:
    return has_receivers() and not _has_destination(config, given)


def _has_destination(config: conf.Config, given: Mapping[str, Any]) -> bool:
    return bool(given.get("dsn", config.SENTRY_DSN) or given.get("transport") or given.get("spotlight"))


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
            sentry_sdk.Client(**_options(config, {**accepted, name: value}, Gate(config)))
        except Exception as error:
            refused[name] = type(error).__name__
        else:
            accepted[name] = value
    return accepted, refused


def _options(config: conf.Config, given: Mapping[str, Any], gate: Gate) -> dict[str, Any]:
    options: dict[str, Any] = {
        "dsn": config.SENTRY_DSN,
        "transport": OrderedTransport,
        # The SDK would say "production", on a laptop too.
        "environment": config.ENVIRONMENT,
        "release": config.SENTRY_RELEASE or detect_release(),
        "traces_sample_rate": _rate(config, given),
        # A form's first kilobyte tells enough; imports and uploads stay out.
        "max_request_body_size": "small",
        "shutdown_timeout": config.SHUTDOWN_SECONDS,
        # Our gate searches everything, with the same list for lines and events; the SDK's would search the top of a few places before.
        # The SDK refuses any beside `data_collection`, and then has none itself.
        **({} if "data_collection" in given else {"event_scrubber": PlainParts()}),
        **given,
        # Its way to read them is the dearest part of an event.
        **({"include_source_context": False} if _leaves_sources_to_us(given) else {}),
        "integrations": _integrations(config, given),
        "disabled_integrations": _disabled(given),
        **_hooks(given, gate),
    }
    # None would make the SDK look for itself: for a release by starting git, for a DSN in the environment.
    options.update(release=options["release"] or "", dsn=options["dsn"] or "")
    options["traces_sampler"] = _sampler(config, given)
    options.update(_NOT_FOR[config.BACKEND])
    if _is_local(config, given):
        # Everything is as with a DSN, but what asks for a thread: nobody counts sessions here, and no queue can be too full.
        options.update(transport=LocalTransport(), auto_session_tracking=False, enable_backpressure_handling=False)
    elif not _has_destination(config, given):
        # Nothing to send to: no spans are made, no libraries looked for and none of them watched.
        options.update(traces_sample_rate=None, traces_sampler=None)
        options.update(default_integrations=False, auto_enabling_integrations=False)
    return options


def _hooks(given: Mapping[str, Any], gate: Gate) -> dict[str, Any]:
    hooks = {
        "before_send": _after(given, "before_send", gate.event),
        "before_send_transaction": _after(given, "before_send_transaction", gate.transaction),
        "before_send_log": _after(given, "before_send_log", gate.telemetry),
        "before_send_metric": _after(given, "before_send_metric", gate.telemetry),
    }
    if is_streaming(given):
        hooks["before_send_span"] = _blanked(_after(given, "before_send_span", gate.telemetry))
    return hooks


def _disabled(given: Mapping[str, Any]) -> list[Any]:
    return [
        *(unwanted for unwanted in _UNWANTED if not _is_given(unwanted, given)),
        *(given.get("disabled_integrations") or ()),
    ]


def _is_given(integration: type[Integration], given: Mapping[str, Any]) -> bool:
    return any(isinstance(one, integration) for one in given.get("integrations") or ())


def _integrations(config: conf.Config, given: Mapping[str, Any]) -> list[Integration]:
    own: list[Integration] = [
        RequestIntegration(adds_sources=_leaves_sources_to_us(given)),
        # Its default prints three lines on stderr when a process ends with events to send.
        AtexitIntegration(callback=lambda pending, timeout: None),
    ]
    if given.get("default_integrations", True) and (_has_destination(config, given) or has_receivers()):
        own.append(PlainThreadsIntegration())
    theirs = list(given.get("integrations") or ())
    # One that the project names itself stands in for ours, the SDK's own DjangoIntegration too.
    named = {integration.identifier for integration in theirs}
    return theirs + [integration for integration in own if integration.identifier not in named]


def _leaves_sources_to_us(given: Mapping[str, Any]) -> bool:
    named = {integration.identifier for integration in given.get("integrations") or ()}
    return (
        RequestIntegration.identifier not in named and not {"include_source_context", "data_collection"} & given.keys()
    )


def _sampler(config: conf.Config, given: Mapping[str, Any]) -> Callable[[dict[str, Any]], float] | None:
    theirs = _callable(given, "traces_sampler")
    rules, rate = config.TRACES_SAMPLE_RATE_OVERRIDES, _rate(config, given)
    if theirs is None and not rules:
        return None

    def sampler(sampling_context: dict[str, Any]) -> float:
        if theirs is not None:
            try:
                return float(theirs(sampling_context))
            except Exception as error:
                faults.record("The traces_sampler of SENTRY_OPTIONS", error)
        return sample_rate(rules, rate, sampling_context)

    return sampler


def _after(given: Mapping[str, Any], name: str, ours: Hook) -> Hook:
    """Return a hook of the SDK that runs the project's first. The SDK drops what it fails on, and counts it."""
    theirs = _callable(given, name)

    def before_send(item: Any, hint: Any) -> Any:
        try:
            item = item if theirs is None else theirs(item, hint)
        except Exception as error:
            faults.record(f"The {name} of SENTRY_OPTIONS", error)
            raise
        try:
            return None if item is None else ours(item, hint)
        except Exception as error:
            faults.record(f"Scrubbing in {name}", error)
            raise

    return before_send


def _blanked(hook: Hook) -> Hook:
    """The SDK sends a span as it was where its hook fails or returns nothing."""

    def before_send_span(span: Any, hint: Any) -> Any:
        with suppress(Exception):
            return hook(span, hint) or _BLANK
        return _BLANK

    return before_send_span


def _callable(given: Mapping[str, Any], name: str) -> Callable[..., Any] | None:
    function = given.get(name)
    if function is not None and not callable(function):
        raise TypeError(f"{name} is not callable")
    return function


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


@faults.guarded
def _start_over_in_child() -> None:
    if _gate is not None:
        _gate.start_over()


os.register_at_fork(after_in_child=_start_over_in_child)


@faults.guarded
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
