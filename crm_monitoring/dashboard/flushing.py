"""
How what is held in memory is written: in a thread that lives for one flush, so that nobody of the host waits for the database.

Whoever holds something registers how to write it; this module knows when, keeps the host out of it, and tells of failures. What asks
for a flush while one runs is noted, and has its turn right after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, Error, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from crm_monitoring import faults
from crm_monitoring.dashboard import config, store
from crm_monitoring.dashboard.schedule import schedule
from crm_monitoring.dashboard.store import clock
from crm_monitoring.extending import Registry, after_fork

_ENDING_S = 2.0
_ENDING_KNOWN_S = 0.5
_NO_SUCH_TABLE = ("42P01", "42S02", 1146)
"""How PostgreSQL and MySQL number it."""

_STUCK_S = 5.0
"""A flush that takes longer waits for a server that does not answer."""


class Writer(NamedTuple):
    """
    One that holds something.

    Attributes:
        write: Writes it, and keeps what it could not write when it raises `django.db.Error`.
        has_work: Whether it holds anything. Where nobody does, the database is not asked for.
        lose: Counts what it holds as lost, by kind.
    """

    write: Callable[[], object]
    has_work: Callable[[], bool]
    lose: Callable[[], object] = bool


_writers: tuple[Writer, ...] = ()
_listeners = Registry[[], object]("After a flush:")


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


def has_work() -> bool:
    """Whether anything waits to be written, or to be done."""
    return any(writer.has_work() for writer in _writers)


def problems() -> list[str]:
    """Return a sentence while the database cannot be written, without the driver's words."""
    waited = [moment for moment in (_running.stuck_since(), store.silent_since()) if moment is not None]
    if waited:
        return [f"The dashboard's database has not answered since {_moment(min(waited))}."]
    if schedule.problem and schedule.since is not None:
        return [f"{schedule.problem} Since {_moment(schedule.since)}."]
    return []


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# -- when -----------------------------------------------------------------------------------------------------------------


@faults.guarded
def after_request(sender: Any = None, **kwargs: Any) -> None:
    """Begin a flush if it is due; a receiver of `request_finished`, before Django's own, which would close the connection."""
    if schedule.is_due() and _is_outside_of_host() and has_work():
        _running.start(store.lend())


def after_task() -> None:
    """Begin a flush if it is due or a task has failed, for nobody knows when the next one comes."""
    if (schedule.is_due() or schedule.is_urgent()) and _is_outside_of_host() and has_work():
        _running.start()


def flush_at_end() -> None:
    """Flush, for something has ended. What a connection that was dropped has refused is written over a new one."""
    if _is_outside_of_host():
        # Of one that is known not to answer nobody expects it now.
        deadline = monotonic() + (_ENDING_KNOWN_S if problems() else _ENDING_S)
        flush(deadline - monotonic()) or flush(deadline - monotonic())


def lose_unwritten() -> None:
    """Count what could not be written as lost, for the process ends: who tells of losses tells of it."""
    for writer in _writers:
        writer.lose()


def flush(wait_s: float | None = None) -> bool:
    """
    Write now whatever is held, due or not.

    Args:
        wait_s: Seconds to wait until it is written; those that the database has to answer unless given.

    Returns:
        Whether everything is written.
    """
    if not has_work():
        return True
    if store.is_callers():
        return _running.here()
    _running.start()
    _running.join(2 * store.timeout_s() if wait_s is None else wait_s)
    return not _running.is_alive() and not schedule.problem


def _is_outside_of_host() -> bool:
    """Whether nobody would notice: no transaction of the host's is open, and no tests of the host's run."""
    if config.is_in_tests():
        return False
    connection = connections[store.database()]
    return connection.connection is None or connection.get_autocommit()


class _Running:
    """The flush that runs, if one does; `again` if another was asked for meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link = store.Link()
        self._thread: threading.Thread | None = None
        self._again = False
        self._began = 0.0
        self._began_at: datetime | None = None

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stuck_since(self) -> datetime | None:
        is_stuck = self.is_alive() and monotonic() - self._began > max(store.timeout_s(), 1.0)
        return self._began_at if is_stuck else None

    def join(self, wait_s: float = _ENDING_S) -> None:
        """Wait until the flush that runs, if one does, has ended."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, wait_s))

    def start(self, lent: BaseDatabaseWrapper | None = None) -> None:
        """Begin a flush, or note that one is wanted after the one that runs."""
        with self._lock:
            if not self.is_alive():
                self._begin(lent)
                return
            self._again = True
            if lent is not None:
                lent.close()
            if monotonic() - self._began > max(_STUCK_S, 3 * store.timeout_s()):
                self._link.hang_up()

    def _begin(self, lent: BaseDatabaseWrapper | None) -> None:
        self._note_beginning()
        # In a context of its own: the queries are nobody's request, command or trace.
        self._thread = threading.Thread(
            target=Context().run, args=(self._run, lent), name="crm_monitoring-flush", daemon=True
        )
        self._thread.start()

    def _note_beginning(self) -> None:
        self._again = False
        self._began, self._began_at = monotonic(), datetime.now(UTC)
        schedule.begin()

    @faults.guarded
    def _run(self, lent: BaseDatabaseWrapper | None) -> None:
        while self._write(lent) and self._goes_on():
            lent = None

    def _goes_on(self) -> bool:
        with self._lock:
            goes_on = self._again and has_work()
            if goes_on:
                self._note_beginning()
            else:
                # Whoever asks from now on starts another.
                self._thread = None
            return goes_on

    def _write(self, lent: BaseDatabaseWrapper | None) -> bool:
        try:
            with self._link.use(lent):
                return _write_all()
        except Error as error:
            schedule.fail(_sentence(error))
            return False

    def here(self) -> bool:
        """Flush on the caller's connection, within its transaction."""
        schedule.begin()
        return bool(Context().run(_write_all_aside))

    def start_over(self) -> None:
        """Forget the flush, and close the connection once nobody uses it."""
        self.join()
        self._link.close()
        self.__init__()  # type: ignore[misc]  # others hold it

    def forget(self) -> None:
        """Be a forked child: the thread is the parent's, and so is the connection."""
        self._link.forget()
        self.__init__()  # type: ignore[misc]  # others hold it


def _write_all_aside() -> bool:
    try:
        with store.aside():
            return _write_all()
    except Error as error:
        schedule.fail(_sentence(error))
        return False


def _write_all() -> bool:
    """Let all write; one that fails stops nobody behind it."""
    failed: list[Error] = []
    clock.set_by_database()
    for writer in _writers:
        try:
            writer.write()
        except Error as error:
            failed.append(error)
            connection = connections[store.database()]
            if connection.connection is None or not connection.is_usable():
                break
        except Exception as error:
            faults.record("What writes", error)
    if failed:
        raise failed[0]
    schedule.succeed()
    _listeners.call()
    return True


def _sentence(error: Error) -> str:
    if _lacks_tables(error):
        alias = store.database()
        option = "" if alias == DEFAULT_DB_ALIAS else f" --database={alias}"
        return f"The dashboard's tables are missing: run manage.py migrate{option}."
    return f"The dashboard's database cannot be written: {type(error).__name__}."


def _lacks_tables(error: Error) -> bool:
    vendor = connections[store.database()].vendor
    if vendor == "sqlite":
        # It has one class for everything, and may be locked for readers too.
        return "no such table" in str(error)
    # That class stands for missing rights too.
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or next(iter(error.args), None)
    return isinstance(error, ProgrammingError) and code in _NO_SUCH_TABLE


_running = _Running()
join = _running.join


def reset() -> None:
    """Start over."""
    _running.start_over()


after_fork(_running.forget)
