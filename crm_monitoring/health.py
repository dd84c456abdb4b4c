"""Whether the monitoring itself works, told without secrets; and whether the databases answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring import conf, faults, hooks
from crm_monitoring.logs import LOST_LINES, effective_level, is_structured
from crm_monitoring.registry import Registry
from crm_monitoring.sentry import DELIVERY_FAILED
from crm_monitoring.sentry import status as sentry_status

READY_SECONDS = 1.0
# What Django makes of DATABASES = {}.
_NO_DATABASE = "django.db.backends.dummy"

Source = Callable[[], list[str]]
Section = Callable[[], dict[str, Any]]

_sources = Registry[[], list[str]]("Asking for problems:")
_sections = Registry[[], dict[str, Any]]("The section of health by")


def register_problems(source: Source) -> None:
    """Add the sentences of an installed app to `problems`. Adding one twice has no effect."""
    _sources.add(source)


def unregister_problems(source: Source) -> None:
    """Take away a source added by `register_problems`."""
    _sources.remove(source)


def register_section(name: str, section: Section) -> None:
    """Add what `section` returns to the health of the monitoring, as `name`."""
    _sections.add(section, name)


def unregister_section(name: str) -> None:
    """Take away what was added by `register_section`."""
    _sections.remove(name)


def problems() -> list[str]:
    """Return one sentence for everything that does not work as it was asked to. No value of a setting is in them."""
    hooks.load()
    sentry = sentry_status()
    found = [
        f"{problem.id}: {problem.key or 'CRM_MONITORING'} cannot be used as it is set."
        for problem in conf.load().problems
    ]
    found += sentry.refusals
    if not sentry.healthy:
        found.append("Sentry's queue is full, or its server asks to wait: events are being dropped.")
    elif faults.lost_lately(DELIVERY_FAILED):
        found.append("Events could not be delivered to Sentry in the last five minutes.")
    if faults.lost_lately(LOST_LINES):
        found.append("Log lines could not be written in the last five minutes.")
    for _, sentences in _sources.results():
        found += sentences or []
    return found + faults.sentences()


def check_monitoring_health() -> dict[str, Any]:
    """
    Tell whether the monitoring works.

    Returns:
        "sentry" (enabled, environment, dsn_configured, release, traces_sample_rate), "logging" (level, structured), "lost"
        (counts of what was dropped in this process, by kind), the sections of installed apps, None for one that failed, and
        "problems", one sentence each. No secrets, hosts or texts of drivers are in it.
    """
    sentry = sentry_status()
    return {
        "sentry": {
            "enabled": sentry.enabled,
            "environment": sentry.environment,
            "dsn_configured": sentry.dsn_configured,
            "release": sentry.release,
            "traces_sample_rate": sentry.traces_sample_rate,
        },
        "logging": {"level": effective_level(), "structured": is_structured()},
        "lost": faults.losses(),
        **{str(name): section for name, section in _sections.results()},
        "problems": problems(),
    }


def is_degraded(health: dict[str, Any]) -> bool:
    """Whether what `check_monitoring_health` returned calls for somebody."""
    return bool(health["problems"])


def databases_ready() -> dict[str, bool]:
    """
    Ask every database, each with a second to answer.

    Returns:
        Whether it answered, by alias; with HEALTH_CHECK_MIGRATIONS, whether it also has no migration to apply.
    """
    probes = [_Probe.start(alias) for alias in connections if connections.settings[alias]["ENGINE"] != _NO_DATABASE]
    deadline = monotonic() + READY_SECONDS
    return {probe.alias: probe.result(deadline) for probe in probes}


class _Probe:
    """One database's answer, asked for in a thread: a driver may hang longer than a load balancer waits."""

    _latest: dict[str, _Probe] = {}
    _lock = threading.Lock()

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._is_ready = False
        self._thread = threading.Thread(target=self._ask, name=f"crm_monitoring-ready-{alias}", daemon=True)

    @classmethod
    def start(cls, alias: str) -> _Probe:
        """Ask the database, unless an earlier question is still waiting for its answer."""
        with cls._lock:
            latest = cls._latest.get(alias)
            if latest is None or not latest._thread.is_alive():
                latest = cls._latest[alias] = cls(alias)
                latest._thread.start()
            return latest

    def _ask(self) -> None:
        # Where it raises, the answer is no. What the driver says may hold a host or a user, so nobody hears it.
        with suppress(Exception):
            connection = connections[self.alias]
            try:
                self._is_ready = all(question(self.alias) for question in _questions())
            finally:
                # SQLite's own close() spares a database in memory, but this connection is the thread's alone.
                BaseDatabaseWrapper.close(connection)

    def result(self, deadline: float) -> bool:
        """Wait for the answer until `deadline`, a moment of the monotonic clock."""
        self._thread.join(max(0.0, deadline - monotonic()))
        return self._is_ready and not self._thread.is_alive()


def _questions() -> list[Callable[[str], bool]]:
    return [_answers, _is_migrated] if conf.get().HEALTH_CHECK_MIGRATIONS else [_answers]


def _answers(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone())


def _is_migrated(alias: str) -> bool:
    # Imported here, for hardly anybody asks and everybody would pay.
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[alias])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
