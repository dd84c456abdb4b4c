"""When what is held is written, that the host never notices, and that nothing is written twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import sentry_sdk
from django.core.signals import request_finished
from django.db import ConnectionHandler, OperationalError, close_old_connections, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest

from crm_monitoring import check_monitoring_health, faults, hooks, unit_of_work, work
from crm_monitoring.dashboard import apps as dashboard
from crm_monitoring.dashboard import config, flushing, schedule
from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.models import Flush, RollUp
from crm_monitoring.dashboard.store import flushes
from crm_monitoring.queries import watch_query
from crm_monitoring.work import Request, Work
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport
from tests.core.integrations.test_commands import call
from tests.dashboard.measured import Clock, counts, operation, request
from tests.dashboard.traffic import kept, kept_in
from tests.e2e.processes import ROOT, environment, free_port

TABLE = Flush._meta.db_table


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_000.0)
    monkeypatch.setattr(schedule, "monotonic", clock)
    schedule.reset()
    return clock


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, settings: Any, clock: Clock) -> Clock:
    """A site that is no test: what is due is written."""
    monkeypatch.setattr(config, "is_test_run", lambda: False)
    settings.ROOT_URLCONF = "tests.urls"
    return clock


def end_request() -> None:
    """Say that a request is over, and wait for the flush that this may begin."""
    request_finished.send(None)
    flushing.join()


# -- when it is due -------------------------------------------------------------------------------------------------------


def test_rows_are_written_after_a_request_once_ten_seconds_have_passed(
    a_sqlite: str, live: Clock, server: WSGIClient
) -> None:
    live.now += 9.9
    server.get("/ok/")
    flushing.join()
    early = counts(a_sqlite)

    live.now += 0.2
    server.get("/ok/")
    flushing.join()

    assert early == {}
    assert counts(a_sqlite) == {"GET ok/": 2}


def a_request_fails() -> None:
    hooks.emit(request(status=500))


def an_error_is_reported() -> None:
    collector.count_error("fingerprint")


@pytest.mark.parametrize("fail", [a_request_fails, an_error_is_reported])
def test_a_failure_is_written_at_once_but_at_most_once_a_second(
    a_sqlite: str, live: Clock, fail: Callable[[], None]
) -> None:
    live.now += 1
    fail()
    end_request()
    first = written(a_sqlite)

    live.now += 0.9
    fail()
    end_request()
    second = written(a_sqlite)

    live.now += 0.1
    end_request()
    assert (first, second, written(a_sqlite)) == (1, 1, 2)


def written(alias: str) -> int:
    return sum(one.count for one in kept(alias))


def test_what_is_held_is_written_when_something_ends(a_sqlite: str, live: Clock) -> None:
    hooks.emit(request())

    hooks.ended()

    assert counts(a_sqlite) == {"GET ok/": 1}


def test_tasks_are_written_together_when_it_is_due(a_sqlite: str, live: Clock) -> None:
    hooks.emit(operation())
    hooks.paused()
    flushing.join()
    before = counts(a_sqlite, "operation")

    live.now += 11
    hooks.emit(operation())
    hooks.paused()
    flushing.join()

    assert (before, counts(a_sqlite, "operation")) == ({}, {"import": 2})


def test_the_jobs_of_a_command_that_goes_on_are_written_in_time(a_sqlite: str, live: Clock) -> None:
    def work_through_the_queue() -> None:
        for _ in range(2):
            with unit_of_work("send_invoices"):
                live.now += 6
        flushing.join()
        assert counts(a_sqlite, "operation") == {"send_invoices": 2}

    call(work_through_the_queue, "work_queue")


def test_a_task_that_fails_is_written_at_once(a_sqlite: str, live: Clock) -> None:
    """Nobody knows when the next task comes, and with it the next time to write."""
    for _ in range(2):
        hooks.emit(operation(error="ValueError"))
        hooks.paused()
        flushing.join()

    assert counts(a_sqlite, "operation") == {"import": 2}


def test_tasks_that_fail_do_not_ask_a_broken_database_again_and_again(a_sqlite: str, live: Clock) -> None:
    schedule.schedule.fail("It is down.")
    hooks.emit(operation(error="ValueError"))

    hooks.paused()
    flushing.join()
    before = counts(a_sqlite, "operation")
    live.now += 11
    hooks.paused()
    flushing.join()

    assert (before, counts(a_sqlite, "operation")) == ({}, {"import": 1})


def test_without_anything_to_write_nothing_is_connected(a_sqlite: str, live: Clock) -> None:
    hooks.ended()
    live.now += 11
    end_request()

    assert connections[a_sqlite].connection is None


def test_nothing_is_written_into_the_tests_of_a_host(a_sqlite: str, clock: Clock) -> None:
    hooks.emit(request())
    clock.now += 11

    end_request()
    hooks.ended()

    assert connections[a_sqlite].connection is None


def test_nothing_is_written_into_a_transaction_of_the_host(each_database: str, live: Clock) -> None:
    hooks.emit(request())
    live.now += 11

    with transaction.atomic(using=each_database):
        end_request()
        hooks.ended()
        within = counts(each_database)
    transaction.set_autocommit(False, using=each_database)
    hooks.ended()
    beside = counts(each_database)
    transaction.rollback(using=each_database)
    transaction.set_autocommit(True, using=each_database)

    hooks.ended()
    assert (within, beside, counts(each_database)) == ({}, {}, {"GET ok/": 1})


# -- beside the host ------------------------------------------------------------------------------------------------------


def test_its_queries_are_nobodys(
    each_database: str, sentry: MemoryTransport, monitoring: Any, transport: MemoryTransport, lines: Lines
) -> None:
    monitoring(
        DASHBOARD_DATABASE=each_database,
        SLOW_QUERY_MS=0.000001,
        TRACES_SAMPLE_RATE=1.0,
        SENTRY_OPTIONS={"transport": transport},
    )
    running = Request(HttpRequest(), "id", "GET")
    work.use(running)
    hooks.emit(request())

    with sentry_sdk.start_transaction(name="import"):
        assert flushing.flush()

    assert running.db_queries == 0
    (traced,) = transport.transactions
    assert (traced["spans"], traced.get("breadcrumbs")) == ([], None)
    assert lines.named("slow_query_detected") == []
    assert connections[each_database].execute_wrappers == [watch_query] or connections[each_database].connection is None


def test_it_runs_in_nobodys_context(a_sqlite: str) -> None:
    work.use(Request(HttpRequest(), "id", "GET"))
    seen: list[Work | None] = []
    writer = flushing.Writer(lambda: seen.append(work.current_work()), lambda: True)
    flushing.register(writer)
    try:
        flushing.flush()
    finally:
        flushing.unregister(writer)

    assert seen == [None]


def test_a_connection_of_the_host_is_not_touched(each_database: str) -> None:
    connection = connections[each_database]
    connection.ensure_connection()
    before, patience = connection.connection, _patience(connection)
    hooks.emit(request())

    assert flushing.flush()

    assert connection.connection is before
    assert connection.execute_wrappers == [watch_query]
    assert _patience(connection) == patience


def test_within_a_transaction_a_flush_that_is_asked_for_uses_its_connection(each_database: str) -> None:
    connection = connections[each_database]
    with transaction.atomic(using=each_database):
        before, patience = connection.connection, _patience(connection)
        hooks.emit(request())

        assert flushing.flush()

        assert connection.connection is before
        # On PostgreSQL that is until the end of the transaction.
        assert _patience(connection) == patience or connection.vendor == "postgresql"
        transaction.set_rollback(True, using=each_database)

    assert connection.execute_wrappers == [watch_query]
    assert counts(each_database) == {}


def _patience(connection: Any) -> Any:
    asked = {
        "sqlite": "PRAGMA busy_timeout",
        "postgresql": "SHOW lock_timeout",
        "mysql": "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout",
    }
    with connection.cursor() as cursor:
        cursor.execute(asked[connection.vendor])
        return cursor.fetchone()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The aliases that connections were made for."""
    made: list[str] = []

    def note(connection: Any, **kwargs: Any) -> None:
        made.append(connection.alias)

    connection_created.connect(note)
    yield made
    connection_created.disconnect(note)


@pytest.mark.parametrize(("max_age", "expected"), [(0, 2), (None, 1)])
def test_its_connection_lives_as_long_as_django_lets_it(
    each_database: str, made: list[str], monkeypatch: pytest.MonkeyPatch, max_age: int | None, expected: int
) -> None:
    monkeypatch.setitem(connections.settings[each_database], "CONN_MAX_AGE", max_age)
    for _ in range(2):
        hooks.emit(request())
        assert flushing.flush()

    assert len(made) == expected


@pytest.mark.parametrize(("max_age", "expected"), [(0, 1), (None, 2)])
def test_a_connection_that_is_closed_after_the_request_is_used_before(
    a_postgresql: str,
    live: Clock,
    made: list[str],
    monkeypatch: pytest.MonkeyPatch,
    max_age: int | None,
    expected: int,
) -> None:
    monkeypatch.setitem(connections.settings[a_postgresql], "CONN_MAX_AGE", max_age)
    connections[a_postgresql].close()
    connections[a_postgresql].ensure_connection()
    hooks.emit(request())
    live.now += 11

    end_request()

    assert len(made) == expected
    assert connections[a_postgresql].connection is None or max_age is None
    assert counts(a_postgresql) == {"GET ok/": 1}


def test_our_turn_comes_before_django_closes_the_connection() -> None:
    request_finished.connect(close_old_connections)
    dashboard.disconnect()
    dashboard.connect()

    receivers = [
        receiver() if isinstance(receiver, ref) else receiver for _, receiver, *_ in request_finished.receivers
    ]

    assert receivers.index(flushing.after_request) < receivers.index(close_old_connections)
    request_finished.disconnect(close_old_connections)


def test_what_asks_for_a_flush_while_one_runs_has_its_turn_right_after(a_sqlite: str, live: Clock) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        arrived.set()
        go_on.wait(10)

    writer = flushing.Writer(wait, lambda: not go_on.is_set())
    flushing.register(writer)
    try:
        schedule.note_failure()
        hooks.paused()
        arrived.wait(10)
        hooks.emit(operation(error="ValueError"))
        hooks.paused()
        early = counts(a_sqlite, "operation")
        go_on.set()
        flushing.join(10)
    finally:
        flushing.unregister(writer)

    assert (early, counts(a_sqlite, "operation")) == ({}, {"import": 1})


def test_a_writer_that_fails_stops_nobody_behind_it(a_sqlite: str) -> None:
    def refuse() -> None:
        raise OperationalError("hunter2")

    written: list[str] = []
    writers = [flushing.Writer(refuse, lambda: True), flushing.Writer(lambda: written.append("it"), lambda: True)]
    for writer in writers:
        flushing.register(writer)
    try:
        assert not flushing.flush()
    finally:
        for writer in writers:
            flushing.unregister(writer)

    assert written == ["it"]


# -- what goes wrong ------------------------------------------------------------------------------------------------------


@contextmanager
def is_down(alias: str) -> Iterator[str]:
    connections[alias].close()
    usual = connections.settings[alias]
    broken = {"NAME": "/nowhere/there/is.sqlite3"} if usual["ENGINE"].endswith("sqlite3") else {"PORT": free_port()}
    with replaced(alias, {**usual, **broken}):
        yield "The dashboard's database cannot be written: OperationalError."


@contextmanager
def replaced(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """Let all connections be made with other settings."""
    usual = connections.settings[alias]
    for each in (settings, usual):
        connections[alias].close()
        del connections[alias]
        connections.settings[alias] = each
        if each is settings:
            yield


@contextmanager
def is_locked(alias: str) -> Iterator[str]:
    lock = {
        "sqlite": "BEGIN IMMEDIATE",
        "postgresql": f"BEGIN; LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE",
        "mysql": f"LOCK TABLES {TABLE} WRITE",
    }
    with somebody_else(alias) as connection:
        _run(connection, lock[connection.vendor])
        yield "The dashboard's database cannot be written: OperationalError."


@contextmanager
def is_read_only(alias: str) -> Iterator[str]:
    settings = connections.settings[alias]
    options = {
        "sqlite": {"init_command": "PRAGMA query_only = ON"},
        "postgresql": {"options": "-c default_transaction_read_only=on"},
        "mysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
    }[connections[alias].vendor]
    name = "InternalError" if connections[alias].vendor == "postgresql" else "OperationalError"
    with replaced(alias, {**settings, "OPTIONS": {**settings["OPTIONS"], **options}}):
        yield f"The dashboard's database cannot be written: {name}."


@contextmanager
def is_not_migrated(alias: str) -> Iterator[str]:
    connection = connections[alias]
    _run(connection, f"ALTER TABLE {TABLE} RENAME TO elsewhere")
    yield "The dashboard's tables are missing: run manage.py migrate --database=dashboard."
    _run(connection, f"ALTER TABLE elsewhere RENAME TO {TABLE}")


@contextmanager
def somebody_else(alias: str) -> Iterator[Any]:
    with closing(ConnectionHandler({"default": connections.settings[alias]})["default"]) as connection:
        yield connection


def drop_all(alias: str) -> None:
    """Let the server end all connections to this database."""
    with somebody_else(alias) as other, other.cursor() as cursor:
        if other.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")


def _run(connection: Any, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("trouble", [is_down, is_locked, is_read_only, is_not_migrated])
def test_a_database_that_cannot_be_written_costs_a_request_nothing_and_is_told(
    each_database: str, live: Clock, wsgi: WSGIClient, trouble: Any
) -> None:
    live.now += 11
    with trouble(each_database) as sentence:
        started = time.monotonic()
        answer = wsgi.get("/ok/")
        took = time.monotonic() - started
        flushing.join(20)
        (problem,) = check_monitoring_health()["problems"]

    live.now += 3
    wsgi.get("/ok/")
    flushing.join()

    assert answer.status == 200
    assert took < 1
    assert problem.startswith(f"{sentence} Since ")
    assert check_monitoring_health()["problems"] == []
    assert counts(each_database) == {"GET ok/": 2}
    assert faults.losses() == {}


def test_sqlite_that_is_locked_for_readers_too_is_not_waited_for(a_sqlite: str, live: Clock, wsgi: WSGIClient) -> None:
    live.now += 11
    with somebody_else(a_sqlite) as other:
        _run(other, "BEGIN EXCLUSIVE")
        started = time.monotonic()
        wsgi.get("/ok/")
        flushing.join()

    assert time.monotonic() - started < 2
    (problem,) = flushing.problems()
    assert problem.startswith("The dashboard's database cannot be written: OperationalError.")


def test_the_second_attempt_waits_and_the_next_ones_wait_longer(a_sqlite: str, live: Clock) -> None:
    attempts: list[float] = []

    def refuse() -> None:
        attempts.append(live.now)
        raise OperationalError("hunter2")

    writer = flushing.Writer(refuse, lambda: True)
    flushing.register(writer)
    try:
        for _ in range(300):
            live.now += 1
            schedule.note_failure()
            end_request()
    finally:
        flushing.unregister(writer)

    waits = [later - earlier for earlier, later in zip(attempts, attempts[1:], strict=False)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_dropped_connection_is_made_anew_and_nothing_counts_twice(
    each_server: str, live: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings[each_server], "CONN_MAX_AGE", None)
    hooks.emit(request())
    flushing.flush()
    drop_all(each_server)
    hooks.emit(request())

    hooks.ended()

    connections[each_server].close()
    assert counts(each_server) == {"GET ok/": 2}
    assert flushing.problems() == []


@pytest.fixture
def lost_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The server commits, and its answer does not arrive."""

    def lose(alias: str) -> None:
        commit = BaseDatabaseWrapper._commit

        def committed(connection: BaseDatabaseWrapper) -> None:
            commit(connection)
            monkeypatch.undo()
            raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committed)

    return lose


def test_rows_whose_answer_was_lost_are_there_once(each_database: str, lost_answers: Callable[[str], None]) -> None:
    lost_answers(each_database)
    hooks.emit(request(user_id="7"))
    first = flushing.flush()
    hooks.emit(request())

    second = flushing.flush()

    assert (first, second) == (False, True)
    assert counts(each_database) == {"GET ok/": 2}


def test_rows_that_may_have_been_compacted_since_are_not_written_again(
    a_sqlite: str, lost_answers: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_answers(a_sqlite)
    hooks.emit(request())
    hooks.emit(request())
    flushing.flush()
    Flush.objects.using(a_sqlite).all().delete()
    RollUp.objects.using(a_sqlite).all().delete()
    monkeypatch.setattr(flushes, "monotonic", Clock(time.monotonic() + flushes.KEPT_S))

    assert flushing.flush()

    assert counts(a_sqlite) == {}
    assert counts(a_sqlite, "loss") == {"metrics": 2}


def test_rows_that_the_database_will_never_take_do_not_hold_up_the_others(a_sqlite: str, monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite, ENVIRONMENT="poison")
    _run(
        connections[a_sqlite],
        f"CREATE TRIGGER poison BEFORE INSERT ON {TABLE} WHEN NEW.environment = 'poison' BEGIN SELECT RAISE(ABORT, ''); END",
    )
    try:
        hooks.emit(request(route="poison/"))
        flushing.flush()
        monitoring(DASHBOARD_DATABASE=a_sqlite)
        hooks.emit(request())
        flushing.flush()
    finally:
        _run(connections[a_sqlite], "DROP TRIGGER poison")

    assert counts(a_sqlite) == {"GET ok/": 1}
    assert counts(a_sqlite, "loss") == {"metrics": 1}


def test_what_nobody_expected_is_counted_and_changes_no_response(a_sqlite: str, live: Clock, wsgi: WSGIClient) -> None:
    faults.reraise = False

    def fail() -> None:
        raise ValueError("hunter2")

    writer = flushing.Writer(fail, lambda: True)
    flushing.register(writer)
    try:
        live.now += 11
        answer = wsgi.get("/ok/")
        flushing.join()
    finally:
        flushing.unregister(writer)

    assert answer.status == 200
    assert faults.sentences() == ["What writes failed 1 time, last with ValueError."]
    assert flushing.flush()


@pytest.mark.processes
@pytest.mark.parametrize("when", ["between", "in"])
def test_a_forked_child_writes_what_is_its_own(tmp_path: Path, when: str) -> None:
    program = {"between": FORKING, "in": FORKING_IN_A_FLUSH}[when]
    database = str(tmp_path / "demo.sqlite3")
    variables = environment(DEMO_DATABASE=database, DJANGO_SETTINGS_MODULE="demo_project.settings")
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=ROOT, env=variables, check=True)

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)

    counted = [(one.name, one.count) for one in kept_in(database)]
    assert counted == [("after in the child", 1), ("before the fork", 1)]


FORKING = """
import os, sys, django
django.setup()
from crm_monitoring import PerformanceMonitor
with PerformanceMonitor("before the fork"):
    pass
child = os.fork()
if child == 0:
    with PerformanceMonitor("after in the child"):
        pass
    sys.exit()
os.waitpid(child, 0)
"""

FORKING_IN_A_FLUSH = """
import os, django
django.setup()
from django.db import connections
from crm_monitoring import PerformanceMonitor
from crm_monitoring.dashboard import flushing

def fork():
    flushing.unregister(writer)
    child = os.fork()
    if child == 0:
        connections.close_all()
        with PerformanceMonitor("after in the child"):
            pass
        os._exit(not flushing.flush())
    os.waitpid(child, 0)

with PerformanceMonitor("before the fork"):
    pass
writer = flushing.Writer(fork, lambda: True)
flushing.register(writer)
flushing.flush()
"""
