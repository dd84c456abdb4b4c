"""Whether the databases that the site needs answer, each asked in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring import conf
from crm_monitoring.registry import Registry

READY_SECONDS = 1.0
# What Django makes of DATABASES = {}.
_NO_DATABASE = "django.db.backends.dummy"

_unneeded = Registry[[], str]("Asking for a database that the site can do without:")


def register_unneeded_database(alias: Callable[[], str]) -> None:
    """Leave the database that `alias` returns out of what the site needs, unless it is the default one or HEALTH_DATABASES names it."""
    _unneeded.add(alias)


def unregister_unneeded_database(alias: Callable[[], str]) -> None:
    """Take back what was said by `register_unneeded_database`."""
    _unneeded.remove(alias)


def databases_ready() -> dict[str, bool]:
    """
    Ask every database that the site needs, each with a second to answer.

    Returns:
        Whether it answered, by alias; with HEALTH_CHECK_MIGRATIONS, whether it also has no migration to apply.
    """
    probes = [_Probe.start(alias) for alias in _needed()]
    deadline = monotonic() + READY_SECONDS
    return {probe.alias: probe.result(deadline) for probe in probes}


def _needed() -> list[str]:
    known = [alias for alias in connections if connections.settings[alias]["ENGINE"] != _NO_DATABASE]
    named = conf.get().HEALTH_DATABASES
    if named:
        return [alias for alias in known if alias in named]
    unneeded = {alias for _, alias in _unneeded.results()} - {"default"}
    return [alias for alias in known if alias not in unneeded]


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
