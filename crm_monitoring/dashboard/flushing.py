"""
When what is held in memory is written: after a request or a task when it is due, and when something ends. There is no thread.

Whoever holds something registers how to write it; this module knows when, keeps the host out of it, and tells of failures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, Error, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring import faults
from crm_monitoring.dashboard import config, store
from crm_monitoring.dashboard.models import MetricRow
from crm_monitoring.extending import Registry, after_fork

INTERVAL_S = 10.0
INTERVAL_AFTER_FAILURE_S = 1.0
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0
_ENDING_S = 2.0


class Writer(NamedTuple):
    """
    One that holds something.

    Attributes:
        write: Writes it, and keeps what it could not write when it raises `django.db.Error`.
        has_work: Whether it holds anything. Where nobody does, the database is not asked for.
    """

    write: Callable[[], object]
    has_work: Callable[[], bool]


class _Schedule:
    """When the next flush is due, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.last = monotonic()
        self.pause = 0.0
        self.urgent = False
        self.problem = ""

    def is_due(self) -> bool:
        return monotonic() - self.last >= self._pause()

    def is_urgent(self) -> bool:
        return self.urgent and not self.problem

    def _pause(self) -> float:
        if self.problem:
            return self.pause
        return INTERVAL_AFTER_FAILURE_S if self.urgent else INTERVAL_S

    def begin(self) -> None:
        self.last = monotonic()
        self.urgent = False

    def succeed(self) -> None:
        self.pause = 0.0
        self.problem = ""

    def fail(self, problem: str) -> None:
        self.pause = min(max(_FIRST_PAUSE_S, 2 * self.pause), _LONGEST_PAUSE_S)
        self.problem = problem


_writers: tuple[Writer, ...] = ()
_listeners = Registry[[], object]("After a flush:")
_schedule = _Schedule()
_running = threading.Lock()


def register(writer: Writer) -> None:
    """Add a writer, called after those there are. Adding one twice has no effect."""
    global _writers
    if writer not in _writers:
        _writers = (*_writers, writer)


def unregister(writer: Writer) -> None:
    """Take away a writer added by `register`."""
    global _writers
    _writers = tuple(known for known in _writers if known != writer)


def register_listener(listener: Callable[[], object]) -> None:
    """Call `listener` after each flush that has written something. Adding one twice has no effect."""
    _listeners.add(listener)


def unregister_listener(listener: Callable[[], object]) -> None:
    """Take away a listener added by `register_listener`."""
    _listeners.remove(listener)


def note_failure() -> None:
    """Make the next flush due at once: somebody looks for what has just failed."""
    _schedule.urgent = True


def has_work() -> bool:
    """Whether anything waits to be written, or to be done."""
    return any(writer.has_work() for writer in _writers)


def problems() -> list[str]:
    """Return a sentence while the database cannot be written, without the driver's words."""
    return [_schedule.problem] if _schedule.problem else []


@faults.guarded
def after_request(sender: Any = None, **kwargs: Any) -> None:
    """Flush if it is due, and leave the connection as Django does after a request; a receiver of `request_finished`."""
    if _schedule.is_due() and _is_outside_of_host():
        _flush(BaseDatabaseWrapper.close_if_unusable_or_obsolete)


def after_task() -> None:
    """Flush if it is due or a task has failed, for nobody knows when the next one comes; leave the connection as `after_request`."""
    if (_schedule.is_due() or _schedule.is_urgent()) and _is_outside_of_host():
        _flush(BaseDatabaseWrapper.close_if_unusable_or_obsolete)


def flush_at_end() -> None:
    """Flush, for something has ended. What a connection that was dropped has refused is written over a new one."""
    if _is_outside_of_host():
        flush(_ENDING_S) or flush(_ENDING_S)


def flush(wait_s: float = 0.0) -> bool:
    """
    Write now whatever is held, due or not.

    Args:
        wait_s: Seconds to wait for another thread that writes.

    Returns:
        Whether everything is written.
    """
    return _flush(BaseDatabaseWrapper.close, wait_s)


def _is_outside_of_host() -> bool:
    """Whether nobody would notice: no transaction of the host's is open, and no tests of the host's run."""
    if config.is_in_tests():
        return False
    connection = connections[store.database()]
    return connection.connection is None or connection.get_autocommit()


def _flush(leave: Callable[[BaseDatabaseWrapper], None], wait_s: float = 0.0) -> bool:
    if not _running.acquire(timeout=wait_s):
        return False
    try:
        _schedule.begin()
        # In a context of its own: the queries are nobody's request, command or trace.
        return Context().run(_write, leave)
    finally:
        _running.release()


def _write(leave: Callable[[BaseDatabaseWrapper], None]) -> bool:
    busy = [writer for writer in _writers if writer.has_work()]
    if not busy:
        return True
    connection = connections[store.database()]
    was_open = connection.connection is not None
    try:
        with store.aside():
            for writer in busy:
                writer.write()
    except Error as error:
        _schedule.fail(_sentence(error, connection))
        _close_if_broken(connection)
        return False
    else:
        _schedule.succeed()
        _listeners.call()
        return True
    finally:
        if not was_open:
            leave(connection)


def _close_if_broken(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is not None and not connection.is_usable():
        connection.close()


def _sentence(error: Error, connection: BaseDatabaseWrapper) -> str:
    if _lacks_tables(error, connection):
        option = "" if connection.alias == DEFAULT_DB_ALIAS else f" --database={connection.alias}"
        return f"The dashboard's tables are missing: run manage.py migrate{option}."
    return f"The dashboard's database cannot be written: {type(error).__name__}."


def _lacks_tables(error: Error, connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor == "sqlite":
        # It has one class for everything, and may be locked for readers too.
        return "no such table" in str(error)
    # That class stands for missing rights too.
    return isinstance(error, ProgrammingError) and (
        MetricRow._meta.db_table not in connection.introspection.table_names()
    )


def reset() -> None:
    """Start over, as in a forked child: what its parent's thread was about to write is the parent's."""
    global _schedule, _running
    _schedule = _Schedule()
    _running = threading.Lock()


after_fork(reset)
