"""`manage.py monitoring check` and `manage.py monitoring test`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser

from crm_monitoring import conf, faults, sentry
from crm_monitoring.health import check_monitoring_health

MASK = "********"
DEFAULT_TIMEOUT = 10.0


class Command(BaseCommand):
    """Tell what is on, where events go and what is wrong; or send a test and see it arrive."""

    help = "Checks the monitoring, or sends a test message and a test exception."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the two subcommands."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="{check,test}")
        check = actions.add_parser("check", help="Print what is on, where events go, the setting, and every problem.")
        check.add_argument("--json", action="store_true", help="Print JSON.")
        test = actions.add_parser("test", help="Send a message and an exception, and wait for their delivery.")
        test.add_argument(
            "--timeout", type=float, default=DEFAULT_TIMEOUT, help="Seconds to wait (default: %(default)s)."
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Run the subcommand."""
        if action == "check":
            self._check(as_json=options["json"])
        else:
            self._test(options["timeout"])

    # -- check ------------------------------------------------------------------------------------------------------------

    def _check(self, *, as_json: bool) -> None:
        messages = checks.run_checks(tags=["crm_monitoring"])
        report = {
            "destination": destination(),
            "setting": effective_setting(),
            **check_monitoring_health(),
            "messages": [{"id": message.id, "message": str(message.msg), "hint": message.hint} for message in messages],
        }
        if as_json:
            self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False, default=str))
        else:
            self._print(report, messages)
        errors = [message for message in messages if message.is_serious()]
        if errors:
            raise CommandError(f"{len(errors)} error{'s' if len(errors) > 1 else ''} in the setting; see above.")

    def _print(self, report: Mapping[str, Any], messages: Iterable[checks.CheckMessage]) -> None:
        self._section("Where events go")
        self.stdout.write(f"  {report['destination']}")
        self._section("What is on")
        for part in ("sentry", "logging"):
            for name, value in report[part].items():
                self.stdout.write(f"  {part}.{name}: {value}")
        self._section("Setting")
        for name, value in report["setting"].items():
            self.stdout.write(f"  {name}: {value}")
        self._section("Lost in this process")
        for name, count in report["lost"].items() or [("nothing", 0)]:
            self.stdout.write(f"  {name}: {count}")
        self._section("Problems")
        for message in messages:
            style = self.style.ERROR if message.is_serious() else self.style.WARNING
            self.stdout.write(style(f"  {message.id}: {message.msg}"))
            self.stdout.write(f"    {message.hint}")
        if not messages:
            self.stdout.write(self.style.SUCCESS("  none"))

    def _section(self, title: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(title))

    # -- test -------------------------------------------------------------------------------------------------------------

    def _test(self, timeout: float) -> None:
        if not sentry.status().enabled:
            raise CommandError("Nothing was sent, for there is nowhere to send it to. Set SENTRY_DSN, then try again.")
        before = _lost_events()
        ids = self._send()
        self.stdout.write(
            f"Message:   {ids[0]}\nException: {ids[1]}\nWaiting at most {timeout:g} s for {destination()} ..."
        )
        delivered = sentry.flush(timeout)
        lost = {
            name: count - before.get(name, 0) for name, count in _lost_events().items() if count > before.get(name, 0)
        }
        if not all(ids):
            raise CommandError(
                "The events were dropped before they were sent: look at before_send, sample_rate and ignore_errors in SENTRY_OPTIONS."
            )
        if not delivered:
            raise CommandError(
                f"The events did not arrive: no answer within {timeout:g} s. Is the address right, and is it reachable from here?"
            )
        if lost:
            reasons = ", ".join(f"{name.removeprefix('sentry_error_')} ({count})" for name, count in lost.items())
            raise CommandError(
                f"The events did not arrive: {reasons}. Is the DSN right, and has the project quota left?"
            )
        self.stdout.write(self.style.SUCCESS("Both arrived."))

    @staticmethod
    def _send() -> tuple[str | None, str | None]:
        message_id = sentry.capture_message("Test message from manage.py monitoring test")
        try:
            raise RuntimeError("Test exception from manage.py monitoring test")
        except RuntimeError as error:
            return message_id, sentry.capture_exception(error)


def _lost_events() -> dict[str, int]:
    return {name: count for name, count in faults.losses().items() if name.startswith("sentry_error_")}


def destination() -> str:
    """Return where events go, without the key: "https://o1.ingest.sentry.io/2"."""
    parts = urlsplit(conf.get().SENTRY_DSN)
    if parts.hostname:
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
    return "a transport of SENTRY_OPTIONS" if sentry.status().enabled else "nowhere: SENTRY_DSN is not set"


def effective_setting() -> dict[str, Any]:
    """Return every key with its effective value, secrets masked."""
    config = conf.get()
    return {spec.name: _masked(spec.name, getattr(config, spec.name)) for spec in fields(config)}


def _masked(name: str, value: Any) -> Any:
    if name == "SENTRY_DSN":
        return MASK if value else ""
    if name == "SENTRY_OPTIONS":
        # A proxy's password, a certificate's path, a hook: the names say enough.
        return dict.fromkeys(value, MASK)
    return sorted(value) if isinstance(value, frozenset) else value
