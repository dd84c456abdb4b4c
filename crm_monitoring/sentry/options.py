"""The options that Sentry's client starts with, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from crm_monitoring import conf, faults
from crm_monitoring.release import detect_release
from crm_monitoring.scrubbing import FILTERED
from crm_monitoring.sentry.before_send import Gate
from crm_monitoring.sentry.django import RequestIntegration
from crm_monitoring.sentry.mode import SDKS_OWN, OwnIntegration, is_streaming
from crm_monitoring.sentry.sampling import sample_rate
from crm_monitoring.sentry.sdk import DEFAULT_OPTIONS, BaseClient, Hint, Integration, Options, Part, collection
from crm_monitoring.sentry.transport import LocalTransport, OrderedTransport, has_receivers
from crm_monitoring.sentry.tuning import SOURCE_CONTEXT, takes

Hook = Callable[..., Any]
"""One of the SDK's: takes an item and a hint, and returns the item, or None to drop it."""

_BLANK = {"name": FILTERED, "attributes": {}}

# What the SDK turns on by itself and a CRM should not have, by identifier.
UNWANTED = frozenset(
    (
        SDKS_OWN,  # ours does that, without wrapping responses, middleware, signals and cursors
        "argv",  # a command's arguments hold passwords
        "modules",  # every installed package on every event: weight, and a map for an attacker
        "atexit",  # the process closes the client itself, and then says what was lost
        "dedupe",  # our gate knows whole chains of exceptions, not just the last one
        "threading",  # ours carries the running work too, and leaves calls of asgiref alone
        "logging",  # our processor reports log lines, once and with a title
        # Their tasks and jobs are units of work, which these would report once more.
        *("celery", "dramatiq", "huey", "rq"),
    )
)

# What other servers drop, so that it is not sent.
_NOT_FOR: Mapping[str, Options] = {
    "sentry": {},
    "glitchtip": {"auto_session_tracking": False},
    "bugsink": {
        "auto_session_tracking": False,
        "send_client_reports": False,
        "traces_sample_rate": None,
        "traces_sampler": None,
    },
}


def make_options(config: conf.Config, given: Options, gate: Gate) -> Part:
    """
    Return the options of a client.

    Args:
        given: Those of SENTRY_OPTIONS, which win over ours.
        gate: What runs after the project's own hooks.
    """
    options: Part = {
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
        **({"event_scrubber": False} if "event_scrubber" in DEFAULT_OPTIONS else {}),
        **given,
        # Its way to read sources is the dearest part of an event.
        **collection(given, has_sources=not _leaves_sources_to_us(given)),
        # Where we are a checkout within the project, a frame of ours is not the project's all the same.
        "in_app_exclude": [*(given.get("in_app_exclude") or ()), "crm_monitoring"],
        "integrations": _integrations(config, given),
        "disabled_integrations": _disabled(given),
        # It would import all libraries that it knows to see which there are: see `libraries`.
        "auto_enabling_integrations": False,
        **make_hooks(given, gate),
    }
    # None would make the SDK look for itself: for a release by starting git, for a DSN in the environment.
    options.update(release=options["release"] or "", dsn=options["dsn"] or "")
    options["traces_sampler"] = _sampler(config, given)
    options.update(_NOT_FOR[config.BACKEND])
    if is_local(config, given):
        # Everything is as with a DSN, but what asks for a thread: nobody counts sessions here, and no queue can be too full.
        options.update(transport=LocalTransport(), auto_session_tracking=False, enable_backpressure_handling=False)
    elif not _has_destination(config, given):
        # Nothing to send to: no spans are made, no libraries looked for and none of them watched.
        options.update(traces_sample_rate=None, traces_sampler=None)
        options.update(default_integrations=False)
    return options


def make_hooks(given: Options, gate: Gate) -> Part:
    """Return the SDK's hooks, each of which runs the one in `given` first and then the gate's."""
    hooks = {
        "before_send": _after(given, "before_send", gate.event),
        "before_send_transaction": _after(given, "before_send_transaction", gate.transaction),
        "before_send_log": _after(given, "before_send_log", gate.telemetry),
        "before_send_metric": _after(given, "before_send_metric", gate.telemetry),
    }
    if is_streaming(given):
        hooks["before_send_span"] = _blanked(_after(given, "before_send_span", gate.telemetry))
    return {name: hook for name, hook in hooks.items() if name in DEFAULT_OPTIONS}


class _LeftOut(Integration):
    """Holds the place of an integration of the SDK's, so that neither this client sets it up nor one that is started later."""

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier

    @staticmethod
    def setup_once() -> None:
        """Never called: it is disabled."""


def wanted(integration: Integration) -> bool:
    """Whether a client of somebody else's may keep `integration` when it becomes ours."""
    return integration.identifier not in UNWANTED and not isinstance(integration, OwnIntegration)


def drop_unwanted(client: BaseClient, given: Options = MappingProxyType({})) -> None:
    """Take from `client` what it may not have. What a client before it has set up stays in place, and asks for it there."""
    named = _named(given)
    for identifier in UNWANTED - named:
        client.integrations.pop(identifier, None)


def _disabled(given: Options) -> list[type[Integration] | Integration]:
    return [_LeftOut, *(given.get("disabled_integrations") or ())]


def _integrations(config: conf.Config, given: Options) -> list[Integration]:
    own: list[Integration] = [
        RequestIntegration(
            adds_sources=_leaves_sources_to_us(given), watches_libraries=_watches_libraries(config, given)
        ),
        *(_LeftOut(identifier) for identifier in sorted(UNWANTED)),
    ]
    theirs = list(given.get("integrations") or ())
    # One that the project names itself stands in for ours, the SDK's own DjangoIntegration too.
    settled = _named(given) | {disabled.identifier for disabled in given.get("disabled_integrations") or ()}
    return theirs + [integration for integration in own if integration.identifier not in settled]


def _named(given: Options) -> set[str]:
    return {integration.identifier for integration in given.get("integrations") or ()}


def _watches_libraries(config: conf.Config, given: Options) -> bool:
    is_asked_for = given.get("default_integrations", True) and given.get("auto_enabling_integrations", True)
    return bool(is_asked_for) and (_has_destination(config, given) or has_receivers())


def _leaves_sources_to_us(given: Options) -> bool:
    said = {"include_source_context", "data_collection"} & given.keys()
    return takes(SOURCE_CONTEXT) and SDKS_OWN not in _named(given) and not said


def _sampler(config: conf.Config, given: Options) -> Callable[[Part], float] | None:
    theirs = _callable(given, "traces_sampler")
    rules, rate = config.TRACES_SAMPLE_RATE_OVERRIDES, _rate(config, given)
    if theirs is None and not rules:
        return None

    def sampler(sampling_context: Part) -> float:
        if theirs is not None:
            try:
                return float(theirs(sampling_context))
            except Exception as error:
                faults.record("The traces_sampler of SENTRY_OPTIONS", error)
        return sample_rate(rules, rate, sampling_context)

    return sampler


def _after(given: Options, name: str, ours: Hook) -> Hook:
    """Return a hook of the SDK that runs the project's first. The SDK drops what it fails on, and counts it."""
    theirs = _callable(given, name)

    def before_send(item: Any, hint: Hint) -> Any:
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

    def before_send_span(span: Any, hint: Hint) -> Any:
        with suppress(Exception):
            return hook(span, hint) or _BLANK
        return _BLANK

    return before_send_span


def _callable(given: Options, name: str) -> Hook | None:
    function = given.get(name)
    if function is not None and not callable(function):
        raise TypeError(f"{name} is not callable")
    return function


def rate_of(config: conf.Config, given: Options) -> float:
    """Return the share of requests that a client with these options traces, from 0 to 1."""
    return _rate(config, {**given, **_NOT_FOR[config.BACKEND]})


def _rate(config: conf.Config, given: Options) -> float:
    rate = given.get("traces_sample_rate", config.traces_sample_rate()) or 0.0
    if not 0 <= rate <= 1:
        raise ValueError("a rate is between 0 and 1")
    return float(rate)


def is_local(config: conf.Config, given: Options) -> bool:
    """Whether nothing is sent, but receivers in this process want the events."""
    return has_receivers() and not _has_destination(config, given)


def _has_destination(config: conf.Config, given: Options) -> bool:
    return bool(given.get("dsn", config.SENTRY_DSN) or given.get("transport") or given.get("spotlight"))
