"""Sentry's client: its options and why, its start, and whether it works."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
from django.conf import settings
from sentry_sdk.envelope import Envelope, Item
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.transport import HttpTransport

from crm_monitoring import conf, faults
from crm_monitoring.sentry.integration import RequestIntegration
from crm_monitoring.sentry.sampling import sample_rate

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
_COMMIT = re.compile(r"[0-9a-f]{40,64}")

DELIVERY_FAILED = "sentry_delivery_"
"""How the kinds of loss begin that tell of a delivery, not of what was in it."""

# What the SDK turns on by itself and a CRM should not have.
_UNWANTED: tuple[type[Integration], ...] = (
    ArgvIntegration,  # a command's arguments hold passwords
    ModulesIntegration,  # every installed package on every event: weight, and a map for an attacker
    LoggingIntegration,  # our processor reports log lines, once and with a title
)

_started_with: conf.Config | None = None
_given: Mapping[str, Any] = {}
_refused: Mapping[str, str] = {}


class CountingTransport(HttpTransport):
    """The SDK's transport, which also counts what it had to give up: items by category, deliveries by what the server said."""

    def record_lost_event(
        self, reason: str, data_category: Any = None, item: Item | None = None, *, quantity: int = 1
    ) -> None:
        """Count a loss by category and reason, except of what was not meant to be sent."""
        category = item.data_category if item is not None else data_category
        if reason != "sample_rate":
            faults.lose(f"sentry_{category}_{reason}", 1 if item is not None else quantity)
        super().record_lost_event(reason, data_category, item, quantity=quantity)

    def on_dropped_event(self, _reason: str) -> None:
        """Count a delivery that failed: "network", "status_403", "self_rate_limits", "full_queue"."""
        faults.lose(DELIVERY_FAILED + _reason)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue the envelope. The thread that sends starts here: outside of the running request, whose trace it would go on with."""
        Context().run(super().capture_envelope, envelope)

    def start_over(self) -> None:
        """Forget what is queued and connected."""
        super().__init__(self.options)


@faults.guarded
def _start_over_in_child() -> None:
    # What the parent has queued is the parent's to send, over the parent's connection. The SDK's child would send it again.
    transport = sentry_sdk.get_client().transport
    if isinstance(transport, CountingTransport):
        transport.start_over()


os.register_at_fork(after_in_child=_start_over_in_child)


@dataclass(frozen=True, slots=True)
class SentryStatus:
    """
    Whether events leave, and how.

    Attributes:
        enabled: There is somewhere to send events to, and the client is up.
        refusals: One sentence for each option that the SDK refused, without values.
    """

    enabled: bool
    dsn_configured: bool
    environment: str
    release: str | None
    traces_sample_rate: float
    healthy: bool
    refusals: tuple[str, ...]


def _not_the_senders(record: logging.LogRecord) -> bool:
    # A delivery that fails is counted; urllib3 would add three lines for each. The thread's name is the SDK's own: by another
    # one the lines would come back.
    return record.threadName != "sentry-sdk.BackgroundWorker"


logging.getLogger("urllib3.connectionpool").addFilter(_not_the_senders)


def get_traces_sample_rate() -> float:
    """Return the share of requests traced in the current environment, from 0 to 1."""
    return _rate(conf.get(), _given)


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
    global _started_with, _given, _refused
    config = conf.get()
    if config != _started_with or not sentry_sdk.get_client().is_active():
        _given, _refused = config.SENTRY_OPTIONS, {}
        try:
            sentry_sdk.init(**_options(config, _given))
        except Exception:
            # One option that cannot be used may not cost the others.
            _given, _refused = _sorted_out(config)
            sentry_sdk.init(**_options(config, _given))
        _started_with = config
    return status().enabled


def _sorted_out(config: conf.Config) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of SENTRY_OPTIONS that the SDK takes, and by name the class of the error for each other."""
    accepted: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, value in config.SENTRY_OPTIONS.items():
        try:
            sentry_sdk.Client(**_options(config, {**accepted, name: value}))
        except Exception as error:
            refused[name] = type(error).__name__
        else:
            accepted[name] = value
    return accepted, refused


def _options(config: conf.Config, given: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "dsn": config.SENTRY_DSN,
        "transport": CountingTransport,
        # The SDK would say "production", on a laptop too.
        "environment": config.ENVIRONMENT,
        "release": config.SENTRY_RELEASE or detect_release(),
        "traces_sample_rate": _rate(config, given),
        # A form's first kilobyte tells enough; imports and uploads stay out.
        "max_request_body_size": "small",
        **given,
        "integrations": _integrations(given),
        "disabled_integrations": _disabled(given),
        "before_send": _after(given, "before_send"),
        "before_send_transaction": _after(given, "before_send_transaction"),
    }
    # None would make the SDK look for itself: for a release by starting git, for a DSN in the environment.
    options.update(release=options["release"] or "", dsn=options["dsn"] or "")
    options["traces_sampler"] = _sampler(config, given)
    if not (options["dsn"] or given.get("transport") or given.get("spotlight")):
        # Nothing to send to: no spans are made, no libraries looked for and none of them watched.
        options.update(traces_sample_rate=None, traces_sampler=None)
        options.update(default_integrations=False, auto_enabling_integrations=False)
    return options


def _disabled(given: Mapping[str, Any]) -> list[Any]:
    return [
        *(unwanted for unwanted in _UNWANTED if not _is_given(unwanted, given)),
        *(given.get("disabled_integrations") or ()),
    ]


def _is_given(integration: type[Integration], given: Mapping[str, Any]) -> bool:
    return any(isinstance(one, integration) for one in given.get("integrations") or ())


def _integrations(given: Mapping[str, Any]) -> list[Integration]:
    own: list[Integration] = [
        RequestIntegration(),
        # Its default prints three lines on stderr when a process ends with events to send.
        AtexitIntegration(callback=lambda pending, timeout: None),
    ]
    theirs = list(given.get("integrations") or ())
    # One that the project names itself stands in for ours, the SDK's own DjangoIntegration too.
    named = {integration.identifier for integration in theirs}
    return theirs + [integration for integration in own if integration.identifier not in named]


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


def _after(given: Mapping[str, Any], name: str) -> Callable[[Any, Any], Any]:
    """Return a hook of the SDK that runs the project's first, and drops what that could not look at."""
    theirs = _callable(given, name)

    def before_send(event: Any, hint: Any) -> Any:
        try:
            event = event if theirs is None else theirs(event, hint)
        except Exception as error:
            faults.record(f"The {name} of SENTRY_OPTIONS", error)
            return None
        return None if event is None else _drop_empty_release(event)

    return before_send


def _callable(given: Mapping[str, Any], name: str) -> Callable[..., Any] | None:
    function = given.get(name)
    if function is not None and not callable(function):
        raise TypeError(f"{name} is not callable")
    return function


def _drop_empty_release(event: Any) -> Any:
    # An empty release is how the SDK is kept from starting git; a server would take it for a name.
    if not event.get("release"):
        event.pop("release", None)
    return event


def detect_release() -> str:
    """Return the version that runs: from the platform's variables, else the git commit, else "". Starts no process."""
    for name in _RELEASE_VARIABLES:
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    try:
        return _git_commit(Path(str(getattr(settings, "BASE_DIR", None) or Path.cwd())))
    except OSError:
        return ""


def _git_commit(folder: Path) -> str:
    for place in [folder, *folder.parents][:_GIT_DEPTH]:
        git = place / ".git"
        if git.is_file():
            # A worktree or a submodule: the file says where the rest is.
            git = place / _read(git).removeprefix("gitdir:").strip()
        if git.is_dir():
            commit = _read_head(git)
            return commit if _COMMIT.fullmatch(commit) else ""
    return ""


def _read_head(git: Path) -> str:
    head = _read(git / "HEAD")
    if not head.startswith("ref: "):
        return head
    reference = head.removeprefix("ref: ")
    # A worktree shares its branches with the repository it was made from.
    shared = git / (_read(git / "commondir") or ".")
    packed = (line.split() for line in _read(shared / "packed-refs").splitlines())
    return (
        _read(git / reference)
        or _read(shared / reference)
        or next((words[0] for words in packed if words[1:] == [reference]), "")
    )


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
        enabled=transport is not None,
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
    return isinstance(sentry_sdk.get_client().transport, CountingTransport)


def flush(timeout: float) -> bool:
    """
    Wait until everything is sent, at most `timeout` seconds.

    Returns:
        Whether nothing was left waiting.
    """
    pending: list[int] = []
    sentry_sdk.flush(timeout)
    # The callback is called for what is left after a tenth of a second, not at the end: so ask again, for just that long.
    sentry_sdk.flush(0.1, lambda count, _timeout: pending.append(count))
    return not pending
