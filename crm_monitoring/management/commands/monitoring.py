"""`manage.py monitoring check` and `manage.py monitoring test`, and what other apps add: see `management.subcommands`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm_monitoring import conf, faults, hooks, sentry
from crm_monitoring.health import check_monitoring_health, problems
from crm_monitoring.management.subcommands import Subcommand, complaints, destinations, subcommand, subcommands

DEFAULT_TIMEOUT = 10.0

_ADVICE = {
    "status_401": "Is the key in the DSN right?",
    "status_403": "Is the key in the DSN right, and the project active?",
    "status_404": "Are the host and the project number in the DSN right?",
    "status_413": "It does not accept events of this size.",
    "status_429": "It accepts no more for now: is the project's quota used up?",
    "self_rate_limits": "The server asked to wait: is the project's quota used up?",
    "network": "Is the address right, and is there a firewall or a proxy in between?",
    "full_queue": "The queue is full.",
}


def _complaints_of_imports() -> Iterable[str]:
    for config in apps.get_app_configs():
        module = getattr(config, "monitoring_subcommands", None)
        if module is None:
            continue
        try:
            import_module(module)
        except Exception as error:  # Whatever another app's module does must not cost the other subcommands.
            yield f"The subcommands of {config.label} are missing: {module} raises {type(error).__name__}: {error}"


class Command(BaseCommand):
    """Dispatches to the subcommands."""

    help = "Checks the monitoring, or sends a test message and a test exception."
    # What is wrong is what `check` tells of, so it may not keep the command from running.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add a parser for each subcommand, of other apps too."""
        for complaint in _complaints_of_imports():
            self.stderr.write(self.style.WARNING(complaint))
        actions = parser.add_subparsers(dest="action")
        for name, declared in subcommands.items():
            subparser = actions.add_parser(name, help=declared.help, description=declared.help)
            _accept_common_options(subparser)
            declared.add_arguments(subparser)

    def handle(self, *args: Any, action: str | None, **options: Any) -> None:
        """Run the subcommand; without one, say which there are. A reader that has read enough, as `head` does, ends it quietly."""
        try:
            self._say_which() if action is None else subcommands[action](self).run(**options)
            self.stdout.flush()
        except BrokenPipeError:  # pragma: no cover - a test has a process of its own for it
            # Python would try to write what is left once more as it ends, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _say_which(self) -> None:
        for name, declared in subcommands.items():
            self.stdout.write(f"{name:<10} {declared.help}")


# Django's own, which it knows before a subcommand only.
_COMMON: dict[tuple[str, ...], dict[str, Any]] = {
    ("--settings",): {},
    ("--pythonpath",): {},
    ("-v", "--verbosity"): {"type": int, "choices": (0, 1, 2, 3)},
    ("--traceback",): {"action": "store_true"},
    ("--no-color",): {"action": "store_true"},
    ("--force-color",): {"action": "store_true"},
}


def _accept_common_options(parser: CommandParser) -> None:
    for flags, given in _COMMON.items():
        # What stands before the subcommand stays, where nothing stands behind it.
        parser.add_argument(*flags, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **given)


@subcommand
class Check(Subcommand):
    """Tells what is on, where events go and what is wrong."""

    name = "check"
    help = "Print what is on, where events go, the effective setting, and every problem. Fails if there is an error."

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare --json and --all."""
        parser.add_argument("--json", action="store_true", help="Print JSON, with every key of the setting.")
        parser.add_argument("--all", action="store_true", help="Print the keys that are not set, too.")

    def run(self, **options: Any) -> None:
        """Print the report; a CommandError follows it where the setting has errors."""
        messages = _messages()
        report = {
            "destination": _destination(),
            "setting": effective_setting(),
            **check_monitoring_health(),
            "messages": [{"id": message.id, "message": str(message.msg), "hint": message.hint} for message in messages],
        }
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))
        else:
            self._print(report, messages, effective_setting() if options["all"] else _what_is_set())
        errors = sum(message.is_serious() for message in messages)
        if errors:
            raise CommandError(f"{errors} error{'s' if errors > 1 else ''} in the setting; see above.")

    def _print(self, report: Mapping[str, Any], messages: Iterable[CheckMessage], setting: Mapping[str, Any]) -> None:
        self._section("Where events go", [report["destination"]])
        self._section("What is on", [*_pairs(report["sentry"], "sentry."), *_pairs(report["logging"], "logging.")])
        if sentry.LIMITS:
            self._section(f"What sentry_sdk {version('sentry-sdk')} cannot do", sentry.LIMITS)
        self._section("Setting", _pairs(setting))
        self._section("Lost in this process", _pairs(report["lost"]))
        self._section("Problems", [*self._described(messages), *faults.sentences()])

    def _section(self, title: str, lines: Iterable[str]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(title))
        for line in list(lines) or ["none"]:
            self.stdout.write(f"  {line}")

    def _described(self, messages: Iterable[CheckMessage]) -> Iterable[str]:
        for message in messages:
            style = self.style.ERROR if message.is_serious() else self.style.WARNING
            yield style(f"{message.id}: {message.msg}")
            yield f"  {message.hint}"


def _messages() -> list[CheckMessage]:
    found = checks.run_checks(tags=["crm_monitoring"], include_deployment_checks=not settings.DEBUG)
    more = [message for _, complained in complaints.results() for message in complained or ()]
    return [message for message in (*found, *more) if not message.is_silenced()]


def _pairs(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [f"{prefix}{name}: {value}" for name, value in values.items()]


def _destination() -> str:
    known = sentry.destination()
    if known is not None:
        return " and ".join([known, *(also for _, also in destinations.results() if also)])
    status = sentry.status()
    if status.local:
        return "the inbox: SENTRY_DSN is not set"
    return "a transport of SENTRY_OPTIONS" if status.enabled else "nowhere: SENTRY_DSN is not set"


def effective_setting() -> dict[str, Any]:
    """Return every key with its effective value as JSON has it, secrets masked."""
    return {name: _as_json(spec.masked(value)) for name, spec, value in conf.values()}


def _what_is_set() -> dict[str, Any]:
    return {name: value for name, value in effective_setting().items() if conf.is_said(name)}


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


@subcommand
class Test(Subcommand):
    """Sends a message and an exception, and sees them arrive."""

    name = "test"
    help = "Send a message and an exception, wait for their delivery, and print their ids. Fails if they do not arrive."

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare --timeout."""
        parser.add_argument(
            "--timeout", type=float, default=DEFAULT_TIMEOUT, help="Seconds to wait (default: %(default)s)."
        )

    def run(self, **options: Any) -> None:
        """Send both, and say what became of them."""
        status = sentry.status()
        if not (status.enabled or status.local):
            raise CommandError("Nothing was sent, because there is nowhere to send it. Set SENTRY_DSN, then try again.")
        before, known = _failed_deliveries(), problems()
        message_id, exception_id = _send()
        if message_id is None or exception_id is None:
            raise CommandError(
                "Nothing was sent, because SENTRY_OPTIONS dropped it: look at before_send, sample_rate and ignore_errors."
            )
        self.stdout.write(f"Message:   {message_id}\nException: {exception_id}")
        if status.local:
            self._conclude_locally(known)
            return
        self.stdout.write(f"Waiting for {_destination()}, at most {options['timeout']:g} s ...")
        self._conclude(sentry.flush(options["timeout"]), _failed_deliveries() - before, options["timeout"])

    def _conclude_locally(self, known: list[str]) -> None:
        # What the inbox writes when a command ends, and tells of where it cannot.
        hooks.ended()
        complaints = [problem for problem in problems() if problem not in known]
        if complaints:
            raise CommandError(f"They did not arrive in the inbox. {' '.join(complaints)}")
        self.stdout.write(self.style.SUCCESS("Both arrived in the inbox."))

    def _conclude(self, is_answered: bool, failed: Counter[str], timeout: float) -> None:
        if failed:
            # The SDK's own report of a loss is a delivery too, so there may be three.
            subject = "They" if failed.total() > 1 else "One of them"
            raise CommandError(f"{subject} did not arrive: {' '.join(map(_told, failed))}")
        if not is_answered:
            raise CommandError(f"No answer within {timeout:g} s: they did not arrive in time. {_ADVICE['network']}")
        if sentry.counts_deliveries():
            self.stdout.write(self.style.SUCCESS("Both arrived."))
        else:
            self.stdout.write(self.style.SUCCESS("Both were handed to the transport of SENTRY_OPTIONS."))


def _send() -> tuple[str | None, str | None]:
    message_id = sentry.capture_message("Test message from manage.py monitoring test")
    try:
        raise RuntimeError("Test exception from manage.py monitoring test")
    except RuntimeError as error:
        return message_id, sentry.capture_exception(error)


def _failed_deliveries() -> Counter[str]:
    return Counter(
        {
            name.removeprefix(sentry.DELIVERY_FAILED): count
            for name, count in faults.losses().items()
            if name.startswith(sentry.DELIVERY_FAILED)
        }
    )


def _told(reason: str) -> str:
    kind, _, code = reason.partition("status_")
    said = f"the server answered {code}." if code else {"network": "no connection."}.get(kind, "it was not sent.")
    default = (
        "The problem is on the server's side: try again later." if code.startswith("5") else "Is it a Sentry server?"
    )
    return f"{said} {_ADVICE.get(reason, default)}"
