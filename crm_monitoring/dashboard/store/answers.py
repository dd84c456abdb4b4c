"""What reads the dashboard's database for somebody who waits: within a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime
from typing import TypeVar

from django.db import OperationalError, connections

from crm_monitoring.dashboard.store.connection import database, timeout_s
from crm_monitoring.dashboard.store.links import Link, is_callers
from crm_monitoring.extending import after_fork

T = TypeVar("T")


class Unanswered(OperationalError):
    """The database has not answered in time."""


_hanging: dict[threading.Thread, datetime] = {}


def silent_since() -> datetime | None:
    """Return since when readers wait for an answer, None where none does."""
    return min((since for thread, since in list(_hanging.items()) if thread.is_alive()), default=None)


def answered(work: Callable[[], T]) -> T:
    """
    Return what `work` returns that reads the dashboard's database; of a server within `timeout_s`.

    Raises:
        Unanswered: if it takes longer, or somebody else still waits for an answer.
        django.db.Error: if the database cannot be read.
    """
    if is_callers() or connections[database()].vendor == "sqlite":
        return work()
    if silent_since() is not None:
        raise Unanswered("The database has not answered before.")
    _hanging.clear()
    return _answered_in_thread(work)


def _answered_in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []
    link = Link()

    def read() -> None:
        try:
            with link.use():
                results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            link.close()
            connections.close_all()

    began = datetime.now(UTC)
    thread = threading.Thread(target=copy_context().run, args=(read,), name="crm_monitoring-read", daemon=True)
    thread.start()
    thread.join(timeout_s())
    if thread.is_alive():
        _hanging[thread] = began
        link.hang_up()
        raise Unanswered("The database does not answer.")
    if errors:
        raise errors[0]
    return results[0]


after_fork(_hanging.clear)
