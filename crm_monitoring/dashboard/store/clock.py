"""
What time it is, by the database's clock: the only one that all processes share.

The clocks of hosts differ, and are set. So the database is asked once a minute, and a clock that nobody sets runs between.
"""

from __future__ import annotations

from os import uname
from time import monotonic, time

from django.db import connections

from crm_monitoring.dashboard.store.connection import database

OFF_S = 30.0
"""A host whose clock is off by more is told."""

_ASKED_EVERY_S = 60.0
_NOW = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(SYSDATE(6))",
}


class _Asked:
    """What the database has said, and when by the clock of this process that nobody sets; 0 before it was asked."""

    seconds = at = 0.0


_asked = _Asked()


def now() -> float:
    """Return the moment in Unix seconds; by this host's clock until the database was asked."""
    return _asked.seconds + monotonic() - _asked.at if _asked.at else time()


def off_s() -> float:
    """Return how many seconds this host's clock is ahead of the database's, below zero where it is behind."""
    return time() - (_asked.seconds + monotonic() - _asked.at) if _asked.at else 0.0


def set_by_database() -> None:
    """
    Ask the database what time it is, once a minute. SQLite's is the host's.

    Raises:
        django.db.Error: if it cannot be asked.
    """
    connection = connections[database()]
    if connection.vendor in _NOW and (not _asked.at or monotonic() - _asked.at >= _ASKED_EVERY_S):
        with connection.cursor() as cursor:
            cursor.execute(_NOW[connection.vendor])
            _asked.seconds, _asked.at = float(cursor.fetchone()[0]), monotonic()


def problems() -> list[str]:
    """Return a sentence where this host's clock is far from the database's."""
    seconds = round(off_s())
    if abs(seconds) <= OFF_S:
        return []
    direction = "ahead of" if seconds > 0 else "behind"
    return [f"The clock of {uname().nodename} is {abs(seconds)} s {direction} that of the dashboard's database."]


def reset() -> None:
    """Ask anew, as where the database is another one."""
    _asked.seconds = _asked.at = 0.0
