"""
Connections of our own, which no thread of the host waits for.

A server that accepts and never answers holds a thread of ours, and nobody else. SQLite waits for nothing but locks, which have a bound
of their own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import ceil
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring.dashboard.store.connection import aside, database, timeout_s


def is_callers() -> bool:
    """Whether the database is to be used on the caller's connection: within its transaction, and where it is in its memory."""
    connection = connections[database()]
    return connection.in_atomic_block or (connection.vendor == "sqlite" and _is_in_memory(connection))


def _is_in_memory(connection: BaseDatabaseWrapper) -> bool:
    name = str(connection.settings_dict["NAME"])
    return name == ":memory:" or "mode=memory" in name


def _bounded_options(vendor: str) -> dict[str, Any]:
    """Return what bounds a connection that is made: whole seconds, and of PostgreSQL's library no fewer than two."""
    seconds = max(1, ceil(timeout_s()))
    if vendor == "postgresql":
        return {"connect_timeout": seconds}
    return dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), seconds) if vendor == "mysql" else {}


class Link:
    """
    A connection of ours to the dashboard's database, for one thread after the other.

    It is kept between two uses for as long as CONN_MAX_AGE lets connections live.
    """

    def __init__(self) -> None:
        self._kept: BaseDatabaseWrapper | None = None
        self._used: BaseDatabaseWrapper | None = None

    @contextmanager
    def use(self, lent: BaseDatabaseWrapper | None = None) -> Iterator[BaseDatabaseWrapper]:
        """
        Let this thread's connection to the database be ours, as `aside` does.

        Args:
            lent: One that is open and that nobody needs any more.

        Raises:
            django.db.Error: if it cannot be connected.
        """
        alias = database()
        self._used = self._kept or lent or self._made(alias)
        if lent is not None and lent is not self._used:
            lent.close()
        callers = connections[alias]
        connections[alias] = self._used
        try:
            with aside() as connection:
                yield connection
        finally:
            self._leave(self._used)
            # A thread of the host's that comes here at its end goes on with its own.
            connections[alias] = callers

    def _made(self, alias: str) -> BaseDatabaseWrapper:
        made = connections.create_connection(alias)
        options = made.settings_dict.get("OPTIONS") or {}
        made.settings_dict = {**made.settings_dict, "OPTIONS": {**_bounded_options(made.vendor), **options}}
        made.inc_thread_sharing()
        return made

    def _leave(self, used: BaseDatabaseWrapper) -> None:
        self._used = None
        # What Django looks at to know whether it still works.
        used.close_if_unusable_or_obsolete()
        self._kept = used if used.connection is not None else None

    def close(self) -> None:
        """Close what is kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def hang_up(self) -> None:
        """End what the thread waits for that uses it: a server that does not answer."""
        driver: Any = getattr(self._used, "connection", None)
        with suppress(AttributeError, OSError), socket.socket(fileno=os.dup(driver.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Leave what is kept to the parent, as in a forked child: to close it would close the parent's."""
        _parents.append(self._kept)
        self.__init__()  # type: ignore[misc]  # others hold it


_parents: list[BaseDatabaseWrapper | None] = []


def lend() -> BaseDatabaseWrapper | None:
    """Take away this thread's connection where it is open, idle, and would be closed as the request is over."""
    alias = database()
    connection = connections[alias]
    # Whoever waits on another vendor's cannot be told to hang up.
    is_lendable = connection.vendor == "postgresql" and connection.settings_dict["CONN_MAX_AGE"] == 0
    if not is_lendable or connection.connection is None or not connection.get_autocommit():
        return None
    del connections[alias]
    connection.inc_thread_sharing()
    return connection
