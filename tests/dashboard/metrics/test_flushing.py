"""When what is held is written, that the host never notices, and that nothing is written twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from django.core.signals import request_finished
from django.db import ConnectionHandler, OperationalError, connections, transaction
from django.http import HttpRequest

from crm_monitoring import check_monitoring_health, faults, hooks, unit_of_work, work
from crm_monitoring.dashboard import config, flushing
from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.models import MetricRow
from crm_monitoring.dashboard.store import rows as store_rows
from crm_monitoring.queries import watch_query
from crm_monitoring.work import Request, Work
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport
from tests.core.integrations.test_commands import call
from tests.dashboard.measured import Clock, counts, operation, request
from tests.e2e.processes import ROOT, environment, free_port

TABLE = MetricRow._meta.db_table


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_000.0)
    monkeypatch.setattr(flushing, "monotonic", clock)
    flushing.reset()
    return clock


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, settings: Any, clock: Clock) -> Clock:
    """A site that is no test: what is due is written."""
    monkeypatch.setattr(config, "is_test_run", lambda: False)
    settings.ROOT_URLCONF = "tests.urls"
    return clock


# -- when it is due -------------------------------------------------------------------------------------------------------


def test_rows_are_written_after_a_request_once_ten_seconds_have_passed(
    a_sqlite: str, live: Clock, server: WSGIClient
) -> None:
    live.now += 9.9
    server.get("/ok/")
    early = counts(a_sqlite)

    live.now += 0.2
    server.get("/ok/")

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
    request_finished.send(None)
    first = MetricRow.objects.using(a_sqlite).count()

    live.now += 0.9
    fail()
    request_finished.send(None)
    second = MetricRow.objects.using(a_sqlite).count()

    live.now += 0.1
    request_finished.send(None)
    assert (first, second, MetricRow.objects.using(a_sqlite).count()) == (1, 1, 2)


def test_what_is_held_is_written_when_something_ends(a_sqlite: str, live: Clock) -> None:
    hooks.emit(request())

    hooks.ended()

    assert counts(a_sqlite) == {"GET ok/": 1}


def test_tasks_are_written_together_when_it_is_due(a_sqlite: str, live: Clock) -> None:
    hooks.emit(operation())
    hooks.paused()
    before = counts(a_sqlite, "operation")

    live.now += 11
    hooks.emit(operation())
    hooks.paused()

    assert (before, counts(a_sqlite, "operation")) == ({}, {"import": 2})


def test_the_jobs_of_a_command_that_goes_on_are_written_in_time(a_sqlite: str, live: Clock) -> None:
    def work_through_the_queue() -> None:
        for _ in range(2):
            with unit_of_work("send_invoices"):
                live.now += 6
        assert counts(a_sqlite, "operation") == {"send_invoices": 2}

    call(work_through_the_queue, "rqworker")


def test_a_task_that_fails_is_written_at_once(a_sqlite: str, live: Clock) -> None:
    """Nobody knows when the next task comes, and with it the next time to write."""
    for _ in range(2):
        hooks.emit(operation(error="ValueError"))
        hooks.paused()

    assert counts(a_sqlite, "operation") == {"import": 2}


def test_tasks_that_fail_do_not_ask_a_broken_database_again_and_again(a_sqlite: str, live: Clock) -> None:
    flushing._schedule.fail("It is down.")
    hooks.emit(operation(error="ValueError"))

    hooks.paused()
    before = counts(a_sqlite, "operation")
    live.now += 11
    hooks.paused()

    assert (before, counts(a_sqlite, "operation")) == ({}, {"import": 1})


def test_without_anything_to_write_nothing_is_connected(a_sqlite: str, live: Clock) -> None:
    hooks.ended()
    live.now += 11
    request_finished.send(None)

    assert connections[a_sqlite].connection is None


def test_nothing_is_written_into_the_tests_of_a_host(a_sqlite: str, clock: Clock) -> None:
    hooks.emit(request())
    clock.now += 11

    request_finished.send(None)
    hooks.ended()

    assert connections[a_sqlite].connection is None


def test_nothing_is_written_into_a_transaction_of_the_host(each_database: str, live: Clock) -> None:
    hooks.emit(request())
    live.now += 11

    with transaction.atomic(using=each_database):
        request_finished.send(None)
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


def test_a_connection_of_the_host_stays_open_and_watched(each_database: str) -> None:
    connection = connections[each_database]
    connection.ensure_connection()
    before, patience = connection.connection, _patience(connection)
    hooks.emit(request())

    assert flushing.flush()

    assert connection.connection is before
    assert connection.execute_wrappers == [watch_query]
    assert _patience(connection) == patience


def _patience(connection: Any) -> Any:
    asked = {
        "sqlite": "PRAGMA busy_timeout",
        "postgresql": "SHOW lock_timeout",
        "mysql": "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout",
    }
    with connection.cursor() as cursor:
        cursor.execute(asked[connection.vendor])
        return cursor.fetchone()


def test_a_connection_made_for_it_is_closed_after_an_ending(each_database: str) -> None:
    hooks.emit(request())

    assert flushing.flush()

    assert connections[each_database].connection is None


@pytest.mark.parametrize(("max_age", "is_open"), [(0, False), (None, True)])
def test_a_connection_made_for_it_lives_after_a_request_as_long_as_django_lets_it(
    a_sqlite: str, live: Clock, max_age: int | None, is_open: bool
) -> None:
    connections[a_sqlite].settings_dict["CONN_MAX_AGE"] = max_age
    hooks.emit(request())
    live.now += 11

    request_finished.send(None)

    assert (connections[a_sqlite].connection is not None) is is_open


def test_one_thread_writes_at_a_time(a_sqlite: str) -> None:
    hooks.emit(request())
    answers: list[bool] = []

    def write() -> None:
        thread = threading.Thread(target=lambda: answers.append(flushing.flush()))
        thread.start()
        thread.join()

    writer = flushing.Writer(write, lambda: True)
    flushing.register(writer)
    try:
        assert flushing.flush()
    finally:
        flushing.unregister(writer)

    assert answers == [False]
    assert counts(a_sqlite) == {"GET ok/": 1}


# -- what goes wrong ------------------------------------------------------------------------------------------------------


@contextmanager
def is_down(alias: str) -> Iterator[str]:
    connection = connections[alias]
    connection.close()
    usual = dict(connection.settings_dict)
    connection.settings_dict.update(PORT=free_port())
    if connection.vendor == "sqlite":
        connection.settings_dict.update(NAME="/nowhere/there/is.sqlite3")
    yield "The dashboard's database cannot be written: OperationalError."
    connection.settings_dict.update(usual)


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
    statements = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "OperationalError"),
        "postgresql": (
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off",
            "InternalError",
        ),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE", "OperationalError"),
    }
    connection = connections[alias]
    on, off, name = statements[connection.vendor]
    _run(connection, on)
    yield f"The dashboard's database cannot be written: {name}."
    _run(connection, off)


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


def drop(connection: Any) -> None:
    """Let the server end this connection."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor, somebody_else(connection.alias) as other:
        cursor.execute("SELECT pg_backend_pid()" if is_postgresql else "SELECT CONNECTION_ID()")
        number = cursor.fetchone()[0]
        _run(other, f"SELECT pg_terminate_backend({number}, 5000)" if is_postgresql else f"KILL {number}")


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
        problems = check_monitoring_health()["problems"]

    live.now += 3
    wsgi.get("/ok/")

    assert answer.status == 200
    assert took < 3
    assert problems == [sentence]
    assert check_monitoring_health()["problems"] == []
    assert counts(each_database) == {"GET ok/": 2}
    assert faults.losses() == {}


def test_sqlite_that_is_locked_for_readers_too_is_not_waited_for(a_sqlite: str, live: Clock, wsgi: WSGIClient) -> None:
    live.now += 11
    with somebody_else(a_sqlite) as other:
        _run(other, "BEGIN EXCLUSIVE")
        started = time.monotonic()
        wsgi.get("/ok/")

    assert time.monotonic() - started < 2
    assert flushing.problems() == ["The dashboard's database cannot be written: OperationalError."]


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
            flushing.note_failure()
            request_finished.send(None)
    finally:
        flushing.unregister(writer)

    waits = [later - earlier for earlier, later in zip(attempts, attempts[1:], strict=False)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_a_dropped_connection_is_made_anew_and_nothing_counts_twice(each_server: str, live: Clock) -> None:
    connection = connections[each_server]
    drop(connection)
    hooks.emit(request())

    hooks.ended()

    assert counts(each_server) == {"GET ok/": 1}
    assert flushing.problems() == []


@pytest.fixture
def lost_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The server commits, and its answer does not arrive."""

    def lose(alias: str) -> None:
        commit = connections[alias]._commit

        def committed() -> None:
            commit()
            monkeypatch.undo()
            raise OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(connections[alias], "_commit", committed)

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
    MetricRow.objects.using(a_sqlite).all().delete()
    monkeypatch.setattr(collector, "time", Clock(time.time() + store_rows.COMPACTED_AFTER_S))

    assert flushing.flush()

    assert counts(a_sqlite) == {}
    assert counts(a_sqlite, "loss") == {"metrics": 2}


def test_rows_that_the_database_will_never_take_do_not_hold_up_the_others(a_sqlite: str) -> None:
    _run(
        connections[a_sqlite],
        f"CREATE TRIGGER poison BEFORE INSERT ON {TABLE} WHEN NEW.name = 'GET poison/' BEGIN SELECT RAISE(ABORT, ''); END",
    )
    try:
        hooks.emit(request(route="poison/"))
        flushing.flush()
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
    finally:
        flushing.unregister(writer)

    assert answer.status == 200
    assert faults.sentences() == ["after_request failed 1 time, last with ValueError."]
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

    with closing(sqlite3.connect(database)) as connection:
        counted = connection.execute(f"SELECT name, SUM(count) FROM {TABLE} GROUP BY name ORDER BY name").fetchall()
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
