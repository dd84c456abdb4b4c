"""Puts the dashboard's parts together when Django starts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core.signals import request_finished
from django.db import close_old_connections
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from crm_monitoring import extending

if TYPE_CHECKING:
    from crm_monitoring.dashboard.flushing import Writer

_UID = "crm_monitoring.dashboard"


class DashboardConfig(AppConfig):
    """Connects the collector of metrics and the inbox to the monitoring."""

    name = "crm_monitoring.dashboard"
    label = "crm_monitoring_dashboard"
    verbose_name = _("Monitoring dashboard")
    default_auto_field = "django.db.models.BigAutoField"
    monitoring_subcommands = "crm_monitoring.dashboard.commands.subcommands"

    def ready(self) -> None:
        """Start collecting. Opens no connection, starts no thread; may run more than once."""
        from crm_monitoring.dashboard import checks, config

        extending.register_keys(config.DashboardConfig)
        connect()
        checks.register()


def connect() -> None:
    """Collect from now on, and write what is collected."""
    from crm_monitoring.dashboard import alerts, flushing, timely
    from crm_monitoring.dashboard.inbox import receiver, tallies, works
    from crm_monitoring.dashboard.metrics import collector
    from crm_monitoring.dashboard.store import clock, database

    extending.register_hook(collector.collect)
    extending.register_keeper(works.keep)
    extending.register_receiver(receiver.receive)
    extending.register_held_back(tallies.count_held_back)
    timely.connect()
    for writer in _writers():
        flushing.register(writer)
    # Before Django's own, which closes the connection that the request has used.
    closes = request_finished.disconnect(close_old_connections)
    request_finished.connect(flushing.after_request, dispatch_uid=_UID)
    if closes:
        request_finished.connect(close_old_connections)
    extending.register_pause(flushing.after_task)
    extending.register_ending(flushing.flush_at_end)
    extending.at_end(flushing.lose_unwritten, extending.Stage.CLOSE)
    flushing.register_listener(alerts.after_flush)
    alerts.load()
    for source in (flushing.problems, clock.problems, alerts.problems):
        extending.register_problems(source)
    extending.register_section("inbox", receiver.counts)
    extending.register_unneeded_database(database)
    extending.register_request_page(_address_of)


def disconnect() -> None:
    """Collect nothing any more; what is held is forgotten."""
    from crm_monitoring.dashboard import alerts, flushing, schedule, timely
    from crm_monitoring.dashboard.alerts import scheduler
    from crm_monitoring.dashboard.inbox import receiver, tallies, works
    from crm_monitoring.dashboard.metrics import collector
    from crm_monitoring.dashboard.store import clock, database, flushes, upkeep

    extending.unregister_hook(collector.collect)
    extending.unregister_keeper(works.keep)
    extending.unregister_receiver(receiver.receive)
    extending.unregister_held_back(tallies.count_held_back)
    timely.disconnect()
    for writer in _writers():
        flushing.unregister(writer)
    request_finished.disconnect(dispatch_uid=_UID)
    extending.unregister_pause(flushing.after_task)
    extending.unregister_ending(flushing.flush_at_end)
    flushing.unregister_listener(alerts.after_flush)
    for source in (flushing.problems, clock.problems, alerts.problems):
        extending.unregister_problems(source)
    extending.unregister_section("inbox")
    extending.unregister_unneeded_database(database)
    extending.unregister_request_page(_address_of)
    for part in (collector, receiver, tallies, works, flushes, upkeep, clock, schedule, flushing, scheduler):
        part.reset()


def _address_of(request_id: str) -> str:
    """Return the address of a request's page, empty where the dashboard has none."""
    with suppress(NoReverseMatch):
        return reverse("crm_monitoring_dashboard:request", args=(request_id,))
    return ""


def _writers() -> tuple[Writer, ...]:
    from crm_monitoring.dashboard.flushing import Writer
    from crm_monitoring.dashboard.inbox import receiver, tallies, works
    from crm_monitoring.dashboard.store import flushes, upkeep

    return (
        Writer(flushes.write, flushes.has_work, flushes.lose),
        Writer(receiver.write, receiver.has_work, receiver.lose),
        Writer(tallies.write, tallies.has_work, tallies.lose),
        Writer(works.write, works.has_work, works.lose),
        Writer(upkeep.run, upkeep.is_due),
    )
