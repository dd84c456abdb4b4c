"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.envelope import Item
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.transport import HttpTransport

from crm_monitoring import conf, faults
from crm_monitoring.sentry.integration import RequestIntegration
from crm_monitoring.sentry.sampling import traces_sampler

_RELEASE_VARIABLES = (
    "HEROKU_BUILD_COMMIT",
    "HEROKU_SLUG_COMMIT",
    "SOURCE_VERSION",
    "CODEBUILD_RESOLVED_SOURCE_VERSION",
    "CIRCLE_SHA1",
    "GAE_DEPLOYMENT_ID",
    "K_REVISION",
)
_GIT_DEPTH = 8

# What the SDK turns on by itself and a CRM should not have.
_UNWANTED: tuple[type[Integration], ...] = (
    ArgvIntegration,  # a command's arguments hold passwords
    ModulesIntegration,  # every installed package on every event: weight, and a map for an attacker
    LoggingIntegration,  # our processor reports log lines, once and with a title
)

_started_with: conf.Config | None = None
_refusal: str | None = None


class CountingTransport(HttpTransport):
    """The SDK's transport, which also counts what it had to give up."""

    def record_lost_event(
        self, reason: str, data_category: Any = None, item: Item | None = None, *, quantity: int = 1
    ) -> None:
        """Count a loss by category and reason, except of what was not meant to be sent."""
        category = item.data_category if item is not None else data_category
        if reason != "sample_rate":
            faults.lose(f"sentry_{category}_{reason}", 1 if item is not None else quantity)
        super().record_lost_event(reason, data_category, item, quantity=quantity)


@dataclass(frozen=True, slots=True)
class SentryStatus:
    """
    Whether events leave, and how.

    Attributes:
        enabled: There is somewhere to send events to, and the client is up.
        refusal: Why `sentry_sdk.init` refused the options: a sentence without values, or None.
    """

    enabled: bool
    dsn_configured: bool
    environment: str
    release: str | None
    traces_sample_rate: float
    healthy: bool
    refusal: str | None


def get_traces_sample_rate() -> float:
    """Return the share of requests traced in the current environment, from 0 to 1."""
    return conf.get().traces_sample_rate()


def init_sentry() -> bool:
    """
    Start the Sentry client from the setting. Safe to call again: the same options start nothing anew.

    Returns:
        Whether events are sent somewhere.
    """
    global _started_with, _refusal
    config = conf.get()
    if config == _started_with and sentry_sdk.get_client().is_active():
        return status().enabled
    _refusal = None
    try:
        sentry_sdk.init(**_options(config), integrations=_integrations(config.SENTRY_OPTIONS))
    except Exception as error:
        _refusal = f"sentry_sdk.init refused CRM_MONITORING['SENTRY_OPTIONS'] ({type(error).__name__})."
        sentry_sdk.init(dsn="", default_integrations=False)
    _started_with = config
    return status().enabled


def _options(config: conf.Config) -> dict[str, Any]:
    given = {name: value for name, value in config.SENTRY_OPTIONS.items() if name != "integrations"}
    destination = bool(config.SENTRY_DSN or given.get("dsn") or given.get("transport"))
    options: dict[str, Any] = {
        "dsn": config.SENTRY_DSN,
        "transport": CountingTransport,
        # The SDK would say "production", on a laptop too.
        "environment": config.ENVIRONMENT,
        "release": config.SENTRY_RELEASE or detect_release(),
        # Nothing to send spans to: none are made.
        "traces_sample_rate": config.traces_sample_rate() if destination else None,
        # A form's first kilobyte tells enough; imports and uploads stay out.
        "max_request_body_size": "small",
        "disabled_integrations": [unwanted for unwanted in _UNWANTED if not _is_given(unwanted, config.SENTRY_OPTIONS)],
    }
    options.update(given)
    if destination and (config.TRACES_SAMPLE_RATE_OVERRIDES or given.get("traces_sampler")):
        options["traces_sampler"] = _guarded_sampler(config, given.get("traces_sampler"))
    options["before_send"] = _after(given.get("before_send"), _drop_empty_release)
    options["before_send_transaction"] = _after(given.get("before_send_transaction"), _drop_empty_release)
    return options


def _is_given(integration: type[Integration], given: Mapping[str, Any]) -> bool:
    return any(isinstance(one, integration) for one in given.get("integrations", ()))


def _integrations(given: Mapping[str, Any]) -> list[Integration]:
    own: list[Integration] = [
        RequestIntegration(),
        # Its default prints three lines on stderr when a process ends with events to send.
        AtexitIntegration(callback=lambda pending, timeout: None),
    ]
    theirs = list(given.get("integrations", ()))
    # One that the project names itself stands in for ours, the SDK's own DjangoIntegration too.
    named = {integration.identifier for integration in theirs}
    return theirs + [integration for integration in own if integration.identifier not in named]


def _guarded_sampler(config: conf.Config, theirs: Callable[[Any], float | bool] | None) -> Callable[[Any], float]:
    def sampler(sampling_context: dict[str, Any]) -> float:
        if theirs is not None:
            try:
                return float(theirs(sampling_context))
            except Exception as error:
                faults.record("The traces_sampler of SENTRY_OPTIONS", error)
        return traces_sampler(config, sampling_context)

    return sampler


def _after(theirs: Callable[[Any, Any], Any] | None, ours: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def before_send(event: Any, hint: Any) -> Any:
        if theirs is not None:
            event = theirs(event, hint)
        return None if event is None else ours(event)

    return before_send


def _drop_empty_release(event: Any) -> Any:
    # An empty release is how the SDK is kept from starting git; a server would take it for a name.
    if not event.get("release"):
        event.pop("release", None)
    return event


def detect_release() -> str:
    """Return the version that runs: from the platform's variables, else the git commit, else "". Starts no process."""
    for name in _RELEASE_VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    return _git_commit(Path(getattr(settings, "BASE_DIR", None) or os.getcwd()))


def _git_commit(folder: Path) -> str:
    for place in [folder, *folder.parents][:_GIT_DEPTH]:
        git = place / ".git"
        if git.is_dir():
            return _read_head(git)
    return ""


def _read_head(git: Path) -> str:
    head = _read(git / "HEAD")
    if not head.startswith("ref: "):
        return head
    reference = head.removeprefix("ref: ")
    packed = (line.split() for line in _read(git / "packed-refs").splitlines())
    return _read(git / reference) or next((words[0] for words in packed if words[1:] == [reference]), "")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def status() -> SentryStatus:
    """Return whether events leave, and how."""
    config = conf.get()
    client = sentry_sdk.get_client()
    options = client.options
    transport = client.transport
    return SentryStatus(
        enabled=transport is not None and _refusal is None,
        dsn_configured=bool(options.get("dsn")),
        environment=str(options.get("environment") or config.ENVIRONMENT),
        release=options.get("release") or None,
        traces_sample_rate=config.traces_sample_rate(),
        healthy=transport is None or transport.is_healthy(),
        refusal=_refusal,
    )


def flush(timeout: float) -> bool:
    """
    Wait until everything is sent, at most `timeout` seconds.

    Returns:
        Whether nothing was left waiting.
    """
    pending: list[int] = []
    sentry_sdk.flush(timeout, lambda count, _timeout: pending.append(count))
    return not pending
