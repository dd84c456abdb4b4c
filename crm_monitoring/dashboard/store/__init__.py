"""The only readers and writers of the dashboard's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from django.db import Error, connections
from django.db import transaction as transactions
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.models import Lease
from crm_monitoring.extending import watch_query

LOCK_MS = 250
"""How long a flush waits for somebody's lock before it leaves its turn to a later one."""


class _Patience(NamedTuple):
    """How long a connection waits for locks: how to read and write it, and what is brief."""

    read: str
    write: str
    brief: tuple[int, ...]


_FIRST = {
    # Until the end of the transaction: with a pooler between, what is set for longer stays with somebody else.
    "postgresql": f"SET LOCAL lock_timeout = {LOCK_MS}",
    # Changes nothing, but whoever reads before the first write does not wait for a writer: it fails.
    "sqlite": f"UPDATE {Lease._meta.db_table} SET until = until WHERE 0",  # noqa: S608 - a name of ours
}
_PATIENCE = {
    "sqlite": _Patience("PRAGMA busy_timeout", "PRAGMA busy_timeout = %s", (LOCK_MS,)),
    "mysql": _Patience(
        "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout",
        "SET SESSION innodb_lock_wait_timeout = %s, lock_wait_timeout = %s",
        (1, 1),  # whole seconds
    ),
}


def database() -> str:
    """Return the alias of the database that the dashboard keeps."""
    return config.get().DASHBOARD_DATABASE


@contextmanager
def transaction() -> Iterator[str]:
    """
    Run the block in one transaction; gives the alias of the database.

    It may read before it writes, and on PostgreSQL it waits for no lock for long; on the others that is up to `aside`.
    """
    alias = database()
    with transactions.atomic(using=alias):
        first = _FIRST.get(connections[alias].vendor)
        if first:
            _execute(connections[alias], first)
        yield alias


@contextmanager
def aside() -> Iterator[BaseDatabaseWrapper]:
    """
    Work on the database beside the host: nothing counts these queries, and they wait for nobody for long.

    Raises:
        django.db.Error: if it cannot be connected.
    """
    connection = connections[database()]
    _unwatch(connection)
    try:
        connection.ensure_connection()
        # A new one is watched as soon as it is made.
        _unwatch(connection)
        with _impatient(connection):
            yield connection
    finally:
        _watch(connection)


def _unwatch(connection: BaseDatabaseWrapper) -> None:
    if watch_query in connection.execute_wrappers:
        connection.execute_wrappers.remove(watch_query)


def _watch(connection: BaseDatabaseWrapper) -> None:
    if watch_query not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, watch_query)


@contextmanager
def _impatient(connection: BaseDatabaseWrapper) -> Iterator[None]:
    patience = _PATIENCE.get(connection.vendor)
    if patience is None:
        yield
        return
    usual = _execute(connection, patience.read)
    _execute(connection, patience.write % patience.brief)
    try:
        yield
    finally:
        # With a connection that broke its patience is gone too.
        with suppress(Error):
            _execute(connection, patience.write % usual)


def _execute(connection: BaseDatabaseWrapper, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None
