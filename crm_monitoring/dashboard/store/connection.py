"""
Which database is the dashboard's, and how to work on it: in short transactions that wait for nobody for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from math import ceil
from typing import Any, NamedTuple, TypeVar

from django.db import DataError, Error, IntegrityError, OperationalError, connections
from django.db import transaction as transactions
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Value

from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.fields import MomentField
from crm_monitoring.dashboard.models import Lease
from crm_monitoring.extending import watch_query

T = TypeVar("T")

_REFUSED_VALUES = ((1366,), (3988,))
"""Of MySQL: a text that the character set of its column does not have."""

LOCK_MS = 250
"""How long a flush waits for somebody's lock before it leaves its turn to a later one."""


class _Patience(NamedTuple):
    """How long a connection waits for locks: how to read and write it, and what is brief."""

    read: str
    write: str
    brief: tuple[int, ...]


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


def timeout_s() -> float:
    """Return how long the dashboard waits for its database to connect, and for the answer to a statement."""
    return config.get().DASHBOARD_TIMEOUT


def is_values_fault(error: Exception) -> bool:
    """Whether a statement was refused for what it holds, so that it will be for ever: no outage. MySQL has numbers for some."""
    return isinstance(error, DataError | IntegrityError) or error.args[:1] in _REFUSED_VALUES


def value_of(moment: datetime) -> Value:
    """Return a moment for an expression: Django would take it for a DateTimeField, which without USE_TZ takes no aware one."""
    return Value(moment, MomentField())


# -- transactions ---------------------------------------------------------------------------------------------------------


@contextmanager
def transaction() -> Iterator[str]:
    """
    Run the block in one transaction; gives the alias of the database.

    It may read before it writes, and on PostgreSQL it waits for no lock and no statement for long; on the others that is up to the
    connection.
    """
    alias = database()
    with transactions.atomic(using=alias):
        connection = connections[alias]
        first = _FIRST.get(connection.vendor)
        if first:
            _execute(connection, first())
        yield alias


def _bounded_on_postgresql() -> str:
    # Until the end of the transaction: with a pooler between, what is set for longer stays with somebody else.
    statement = f"set_config('statement_timeout', '{ceil(1000 * timeout_s())}', true)"
    return f"SELECT set_config('lock_timeout', '{LOCK_MS}', true), {statement}"


def _locked_on_sqlite() -> str:
    # Changes nothing, but whoever reads before the first write does not wait for a writer: it fails.
    return f"UPDATE {Lease._meta.db_table} SET until = until WHERE 0"  # noqa: S608 - a name of ours


_FIRST: dict[str, Callable[[], str]] = {"postgresql": _bounded_on_postgresql, "sqlite": _locked_on_sqlite}


@contextmanager
def snapshot() -> Iterator[str]:
    """Let all that the block reads be of one moment; gives the alias of the database."""
    alias = database()
    connection = connections[alias]
    is_first = not connection.in_atomic_block
    with transactions.atomic(using=alias, savepoint=False):
        if is_first and connection.vendor in ("postgresql", "mysql"):
            # SQLite reads so by itself.
            _execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield alias


@contextmanager
def leaving_what_is_held() -> Iterator[None]:
    """Leave the block where somebody else holds what it is about, or is making it: it is done now, or the next time."""
    try:
        yield
    except (OperationalError, IntegrityError):
        connection = connections[database()]
        if connection.connection is None or not connection.is_usable():
            raise


@contextmanager
def aside() -> Iterator[BaseDatabaseWrapper]:
    """
    Work on the database beside the host: nothing counts these queries, and they wait for nobody's locks for long.

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
