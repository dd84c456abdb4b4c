"""What the dashboard adds to `manage.py monitoring`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.checks import CheckMessage
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error
from django.utils.connection import ConnectionDoesNotExist

from crm_monitoring import conf
from crm_monitoring.dashboard import config, models, surroundings
from crm_monitoring.dashboard.commands import sentry_releases
from crm_monitoring.dashboard.commands.alerts import Alerts
from crm_monitoring.dashboard.commands.status import Status
from crm_monitoring.dashboard.store import database, deploys, upkeep
from crm_monitoring.extending import Subcommand, also_complains, also_goes_to, detect_release, scrub_text, subcommand

subcommand(Status)
subcommand(Alerts)


@also_goes_to
def _inbox() -> str:
    return "the inbox" if config.get().INBOX else ""


@also_complains
def _not_migrated() -> list[CheckMessage]:
    return list(surroundings.check_tables())


@subcommand
class Deploy(Subcommand):
    """Notes that a release went live, here and at Sentry."""

    name = "deploy"
    help = (
        "Note that a release went live: a marker in the charts and, with SENTRY_AUTH_TOKEN, SENTRY_ORG and "
        "SENTRY_PROJECT, release and deploy at Sentry. Running it again within ten minutes moves the marker."
    )

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Declare --release, --environment and --url."""
        parser.add_argument("--release", help="The version that went live (default: the one that runs).")
        parser.add_argument("--environment", help="Where it went live (default: the setting's ENVIRONMENT).")
        parser.add_argument("--url", default="", help="A page about it: the job, the list of changes.")

    def run(self, **options: Any) -> None:
        """Do both, whichever of them fails, and fail with what did."""
        deploy = _deploy(options["release"], options["environment"], options["url"])
        complaints = [complaint for complaint in (self._store(deploy), self._tell(deploy)) if complaint]
        if complaints:
            raise CommandError(" ".join(complaints))

    def _store(self, deploy: models.Deploy) -> str | None:
        try:
            is_new = deploys.mark(deploy)
        except (Error, ConnectionDoesNotExist) as error:
            return f"The marker was not stored. {_advice(error)}"
        moved = "" if is_new else ", moved to now"
        self.stdout.write(self.style.SUCCESS(f"The marker is stored: {deploy}{moved}."))
        return None

    def _tell(self, deploy: models.Deploy) -> str | None:
        sentry = config.get()
        if not any(getattr(sentry, name) for name in sentry_releases.KEYS):
            return None
        missing = [name for name in (*sentry_releases.KEYS, "SENTRY_URL") if not getattr(sentry, name)]
        if missing:
            return f"Sentry was not told, because {' and '.join(missing)} cannot be used or is not set."
        try:
            created = sentry_releases.tell(deploy, sentry)
        except sentry_releases.NotTold as error:
            return f"Sentry was not told. {error}"
        self.stdout.write(self.style.SUCCESS(f"Created at {sentry.SENTRY_URL}: {created}."))
        return None


def _deploy(release: str | None, environment: str | None, url: str) -> models.Deploy:
    # An empty argument is a variable of the CI that is not set: no reason to take the default for it.
    deploy = models.Deploy(
        release=_running_release() if release is None else release,
        environment=conf.get().ENVIRONMENT if environment is None else environment,
        moment=datetime.now(UTC),
        url=url,
    )
    complaint = next(_complaints(deploy), None)
    if complaint:
        raise CommandError(complaint)
    return deploy


def _running_release() -> str:
    release = conf.get().SENTRY_RELEASE or detect_release()
    if not release:
        raise CommandError("Which release? Name it with --release, or set SENTRY_RELEASE.")
    return release


def _complaints(deploy: models.Deploy) -> Iterator[str]:
    for name in ("release", "environment", "url"):
        if not getattr(deploy, name).isprintable():
            yield f"--{name} contains characters that cannot be printed."
    if scrub_text(deploy.url) != deploy.url:
        yield "--url contains a secret, which everybody who sees the dashboard would see: leave it out."
    try:
        deploy.clean_fields()
    except ValidationError as error:
        yield from (f"--{name}: {' '.join(said)}" for name, said in error.message_dict.items())


@subcommand
class Prune(Subcommand):
    """Makes room in the database."""

    name = "prune"
    help = "Roll up the figures, and delete what is older than RETENTION_DAYS. The dashboard does both by itself, so this is optional."

    def run(self, **options: Any) -> None:
        """Do all there is to do, and say what was done."""
        try:
            done = upkeep.prune()
        except (Error, ConnectionDoesNotExist) as error:
            raise CommandError(f"Not everything was pruned. {_advice(error)}") from None
        self.stdout.write(f"Rolled up {done.rolled} rows and merged {done.merged} visits.")
        self.stdout.write(
            f"Deleted what was older than {config.get().RETENTION_DAYS} days: {done.rollups} roll-ups, {done.visits} visits, "
            f"{done.events} events, {done.transactions} slow transactions, {done.issues} issues, {done.sightings} of their places, "
            f"{done.users} of their users."
        )


def _advice(error: Exception) -> str:
    alias = database()
    option = "" if alias == DEFAULT_DB_ALIAS else f" --database={alias}"
    return (
        f"The database {alias!r} says: {scrub_text(str(error)).strip()}\nCan it be reached and written to, and has "
        f"`manage.py migrate{option}` been run?"
    )
