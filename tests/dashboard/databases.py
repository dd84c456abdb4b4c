"""
A migrated and empty database of each vendor, as DASHBOARD_DATABASE.

    def test_rows_are_written_once(each_database: str) -> None:

runs on SQLite, PostgreSQL and MariaDB, and is given the alias, which is always "dashboard"; with `a_postgresql` it runs on that
one. On a server the test is marked `databases`, and skipped where none answers. A test that calls `monitoring(...)` repeats
DASHBOARD_DATABASE="dashboard".
Tests with these fixtures have no mark `django_db`, which allows no databases but those of the settings; threads and processes
find the database too, and whatever is committed is gone before the next test.

Addresses: CRM_MONITORING_POSTGRESQL="postgres@127.0.0.1:5432/postgres", CRM_MONITORING_MARIADB="root@127.0.0.1:3306".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from socket import create_connection
from tempfile import mkdtemp
from typing import Any
from urllib.parse import SplitResult, urlsplit

import pytest
from django.apps import apps
from django.db import ConnectionHandler, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

ALIAS = "dashboard"
SERVERS = [pytest.param(vendor, marks=pytest.mark.databases) for vendor in ("postgresql", "mariadb")]
_DEFAULTS = {"postgresql": "postgres@127.0.0.1:5432/postgres", "mariadb": "root@127.0.0.1:3306"}
# PyMySQL would read every certificate of the machine for each connection, at 25 ms.
_OPTIONS = {"postgresql": {}, "mariadb": {"ssl_disabled": True}}


def settings_of(vendor: str, name: str = "") -> dict[str, Any]:
    """Return what DATABASES says of the server of `vendor`, and of a database on it."""
    if vendor == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    address = _address(vendor)
    return {
        "ENGINE": f"django.db.backends.{'mysql' if vendor == 'mariadb' else vendor}",
        "HOST": address.hostname,
        "PORT": address.port,
        "USER": address.username,
        "PASSWORD": address.password or "",
        "NAME": name or address.path.strip("/"),
        "OPTIONS": _OPTIONS[vendor],
    }


def _address(vendor: str) -> SplitResult:
    variable = f"CRM_MONITORING_{vendor.upper()}"
    return urlsplit(f"//{os.environ.get(variable) or _DEFAULTS[vendor]}")


@cache
def reason_to_skip(vendor: str) -> str:
    """Return why there is no database of `vendor` here, empty where there is."""
    if vendor == "sqlite":
        return ""
    address = _address(vendor)
    try:
        create_connection((address.hostname, address.port), timeout=2).close()
    except OSError:
        return f"no {vendor} answers at {address.hostname}:{address.port}"
    if vendor == "mariadb":
        pymysql = pytest.importorskip("pymysql", reason="PyMySQL is not installed")
        # Django asks MySQLdb for a version that PyMySQL has not reached.
        pymysql.version_info = (2, 2, 7, "final", 0)
        pymysql.install_as_MySQLdb()
    return ""


@contextmanager
def installed(settings: dict[str, Any]) -> Iterator[BaseDatabaseWrapper]:
    """The database of these settings is that of the alias "dashboard"; gives this thread's connection to it."""
    connections.settings[ALIAS] = ConnectionHandler({"default": {}, ALIAS: settings}).settings[ALIAS]
    try:
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]


@contextmanager
def created(vendor: str, name: str) -> Iterator[dict[str, Any]]:
    """A new database of that name with the dashboard's tables; gives what DATABASES says of it."""
    if vendor == "sqlite":
        name = str(Path(mkdtemp()) / name)
    else:
        _administer(vendor, f"DROP DATABASE IF EXISTS {name}")
        _administer(vendor, f"CREATE DATABASE {name}")
    try:
        with installed(settings_of(vendor, name)) as connection:
            executor = MigrationExecutor(connection)
            executor.migrate(executor.loader.graph.leaf_nodes("crm_monitoring_dashboard"))
        yield settings_of(vendor, name)
    finally:
        if vendor == "sqlite":
            Path(name).unlink()
            Path(name).parent.rmdir()
        else:
            _administer(vendor, f"DROP DATABASE IF EXISTS {name}{' WITH (FORCE)' if vendor == 'postgresql' else ''}")


def _administer(vendor: str, statement: str) -> None:
    with installed(settings_of(vendor)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture(scope="session")
def databases_of_vendors(django_db_blocker: Any) -> Iterator[dict[str, dict[str, Any]]]:
    """What DATABASES says of the database of each vendor, made when it is first asked for."""
    running: dict[str, Any] = {}

    class Made(dict[str, dict[str, Any]]):
        def __missing__(self, vendor: str) -> dict[str, Any]:
            running[vendor] = created(vendor, f"crm_monitoring_{os.getpid()}")
            self[vendor] = running[vendor].__enter__()
            return self[vendor]

    with django_db_blocker.unblock():
        yield Made()
        for one in running.values():
            one.__exit__(None, None, None)


@pytest.fixture(params=["sqlite", *SERVERS])
def each_database(request: pytest.FixtureRequest, monitoring: Any, django_db_blocker: Any) -> Iterator[str]:
    """The same test on every vendor."""
    with _as_dashboard(request.param, request, monitoring, django_db_blocker) as alias:
        yield alias


@pytest.fixture(params=SERVERS)
def each_server(request: pytest.FixtureRequest, monitoring: Any, django_db_blocker: Any) -> Iterator[str]:
    """The same test on the vendors that are reached over a network."""
    with _as_dashboard(request.param, request, monitoring, django_db_blocker) as alias:
        yield alias


@pytest.fixture
def a_sqlite(request: pytest.FixtureRequest, monitoring: Any, django_db_blocker: Any) -> Iterator[str]:
    """SQLite, in a file."""
    with _as_dashboard("sqlite", request, monitoring, django_db_blocker) as alias:
        yield alias


@pytest.fixture(params=SERVERS[:1])
def a_postgresql(request: pytest.FixtureRequest, monitoring: Any, django_db_blocker: Any) -> Iterator[str]:
    """PostgreSQL."""
    with _as_dashboard(request.param, request, monitoring, django_db_blocker) as alias:
        yield alias


@contextmanager
def _as_dashboard(vendor: str, request: pytest.FixtureRequest, monitoring: Any, blocker: Any) -> Iterator[str]:
    if reason := reason_to_skip(vendor):
        pytest.skip(reason)
    settings = request.getfixturevalue("databases_of_vendors")[vendor]
    with blocker.unblock(), installed(settings):
        monitoring(DASHBOARD_DATABASE=ALIAS)
        yield ALIAS
        connections[ALIAS].close()
        _empty(connections[ALIAS])


def _empty(connection: BaseDatabaseWrapper) -> None:
    """Delete every row of the dashboard, in one transaction and without looking at them."""
    models = apps.get_app_config("crm_monitoring_dashboard").get_models()
    tables = [connection.ops.quote_name(model._meta.db_table) for model in models]
    with transaction.atomic(using=ALIAS), connection.cursor() as cursor:
        # Models stand after those that they refer to.
        for table in reversed(tables):
            cursor.execute(f"DELETE FROM {table}")
