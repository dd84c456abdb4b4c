"""`manage.py monitoring alerts`: for cron, for sites whose processes never rest, and to try rules and channels."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections import Counter
from datetime import UTC, datetime
from time import sleep, time
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.utils import translation
from django.utils.connection import ConnectionDoesNotExist

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts import channels, delivery, rules, scheduler, writing
from crm_monitoring.dashboard.alerts.channels import NotSent
from crm_monitoring.dashboard.alerts.evaluation import Change
from crm_monitoring.dashboard.alerts.replay import replay
from crm_monitoring.dashboard.alerts.rules import HOUR
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.store import alerts, database
from crm_monitoring.extending import Subcommand, scrub_text

_UNITS = {"h": 3_600, "d": 86_400}
NOTHING = "nothing to report"


class Alerts(Subcommand):
    """Looks at the rules now, and sends."""

    name = "alerts"
    help = (
        "Evaluate the rules of ALERTS once and send what is due. A site does so by itself after requests; run from cron "
        "every minute, this also notices when there are none."
    )

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare --watch, --dry-run and --test."""
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--watch", action="store_true", help="Do so every 15 seconds, until interrupted.")
        either.add_argument("--dry-run", action="store_true", help="Print what would fire and why; change nothing.")
        either.add_argument("--test", metavar="CHANNEL", help="Send a sample to this channel.")
        either.add_argument("--mute", metavar="RULE", help="Notify nobody of what this rule finds, for --hours.")
        either.add_argument(
            "--replay", metavar="7d", type=_seconds, help="Print what each rule would have sent since then."
        )
        parser.add_argument("--hours", type=float, default=1.0, help="0: notify again (default: %(default)s).")

    def run(self, **options: Any) -> None:
        """Do what the options say."""
        if options["test"]:
            self._test(options["test"])
            return
        if options["mute"]:
            self._mute(options["mute"], options["hours"])
            return
        if not (config.get().ALERT_CHANNELS or options["dry_run"] or options["replay"]):
            raise CommandError("Nobody would be notified. Set CRM_MONITORING['ALERT_CHANNELS'], then try again.")
        if options["watch"]:
            self._watch()
            return
        try:
            with translation.override(settings.LANGUAGE_CODE):
                if options["replay"]:
                    self._replay(options["replay"])
                elif options["dry_run"]:
                    self._print_findings()
                else:
                    self._run_round()
        except (Error, ConnectionDoesNotExist) as error:
            raise CommandError(_complaint(error)) from None

    def _test(self, name: str) -> None:
        known = {channel.name: channel for channel in channels.active()}
        if name not in known:
            raise CommandError(f"There is no usable channel {name!r}. Usable channels: {', '.join(known) or 'none'}.")
        try:
            delivery.try_now(known[name], writing.sample(datetime.now(UTC)))
        except NotSent as error:
            raise CommandError(f"The channel {name!r} did not accept it: {error.reason}.") from None
        self.stdout.write(self.style.SUCCESS(f"The channel {name!r} accepted it."))

    def _mute(self, name: str, hours: float) -> None:
        known = [rule.name for rule in rules.parse(config.get().ALERTS, config.get().ALERT_CHANNELS)[0]]
        if name not in known:
            raise CommandError(f"There is no usable rule {name!r}. Usable rules: {', '.join(known)}.")
        until = moment_of(time() + hours * HOUR) if hours > 0 else None
        alerts.mute_rule(name, until)
        said = f"muted until {until:%Y-%m-%d %H:%M} UTC" if until else "notifies again"
        self.stdout.write(self.style.SUCCESS(f"The rule {name!r} {'is ' if until else ''}{said}."))

    def _watch(self) -> None:
        try:
            while True:
                try:
                    self._run_round()
                except (Error, ConnectionDoesNotExist) as error:
                    self.stdout.write(self.style.ERROR(_complaint(error)))
                sleep(scheduler.EVERY_SECONDS)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _run_round(self) -> None:
        done = scheduler.run_round()
        if done.changes is None:
            self.stdout.write("Another process has just evaluated the rules.")
        else:
            steps = Counter(change.step.value for change in done.changes if change.step)
            self.stdout.write(
                f"Alerts: {steps['start']} started, {steps['reminder']} still firing, {steps['end']} ended."
            )
        for outcome in done.outcomes:
            failed = self.style.ERROR(f", then it failed: {outcome.error}") if outcome.error else ""
            self.stdout.write(f"Sent to {outcome.channel}: {outcome.sent}{failed}.")

    def _replay(self, seconds: float) -> None:
        now = time()
        for rule in rules.parse(config.get().ALERTS, config.get().ALERT_CHANNELS)[0]:
            self.stdout.write(self.style.MIGRATE_HEADING(f"{rule.name}: {rule.describe()}"))
            sent = replay(rule, now - seconds, now)
            if sent is None:
                self.stdout.write("  cannot be replayed: what it looks at is not kept by the minute")
                continue
            for message in sent:
                when = f"{moment_of(message.moment):%Y-%m-%d %H:%M} UTC"
                self.stdout.write(f"  {when} {message.step.value}: {scrub_text(message.about.strip())}")
            self.stdout.write(f"  {len(sent)} messages")

    def _print_findings(self) -> None:
        given = rules.parse(config.get().ALERTS, config.get().ALERT_CHANNELS)[0]
        for rule, changes in scheduler.look(time(), given):
            self.stdout.write(self.style.MIGRATE_HEADING(f"{rule.name}: {rule.describe()}"))
            for line in [_described(change) for change in changes] or [NOTHING]:
                self.stdout.write(f"  {line}")
        if not config.get().ALERT_CHANNELS:
            self.stdout.write("Nobody would be notified: CRM_MONITORING['ALERT_CHANNELS'] is empty.")


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in _UNITS):
        raise ArgumentTypeError("write a number of hours or days, as 12h or 7d")
    return int(number) * _UNITS[unit]


def _described(change: Change) -> str:
    finding, alert = change.finding, change.alert
    title = finding.title if finding else alert.title
    where = scrub_text(" ".join(filter(None, (alert.environment, title)))) or change.rule.name
    if finding is None:
        said = "nothing is measured any more"
    else:
        said = f"{'fires' if finding.is_breach else 'does not fire'}, {change.rule.measured(finding.value)}"
    then = (
        f"; would send: {change.step.value}"
        if change.step
        else f"; nothing is sent: {change.why}"
        if change.why
        else ""
    )
    return f"{where}: {said}{then}"


def _complaint(error: Exception) -> str:
    return (
        f"The rules could not be evaluated. The database {database()!r} says: {scrub_text(str(error)).strip()}\n"
        "Can it be reached and written to, and has `manage.py migrate` been run?"
    )
