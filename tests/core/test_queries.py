from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import ConnectionHandler, DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from crm_monitoring import faults, queries, work
from crm_monitoring.hooks import Record
from crm_monitoring.queries import shape, watch_query
from crm_monitoring.work import Request
from tests import views
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

pytestmark = pytest.mark.django_db

steps: list[Callable[[], Any]] = []


def does(request: HttpRequest) -> HttpResponse:
    steps[-1]()
    return HttpResponse("done")


async def async_does(request: HttpRequest) -> HttpResponse:
    await sync_to_async(steps[-1])()
    return HttpResponse("done")


urlpatterns = [
    path("does/", does),
    path("async-does/", async_does),
    path("queries/<int:count>/", views.queries),
    path("async-queries/<int:count>/", views.async_queries),
]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def running() -> Request:
    """A request that runs here, without a server."""
    request = Request(HttpRequest(), "id", "GET")
    work.use(request)
    return request


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Any]:
    """A second database, not yet connected. In a file, for Django never closes one in memory."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other.sqlite3")}
    handler = ConnectionHandler({"default": {}, "other": database})
    yield handler["other"]
    handler["other"].close()


def run(sql: str, params: Any = None, on: Any = connection) -> Any:
    with on.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def sleepy(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Every query takes so long by the clock."""
    ticks = iter(seconds * count for count in range(10_000))
    monkeypatch.setattr(queries, "perf_counter", lambda: next(ticks))


# -- counted --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/queries/3/", "/async-queries/3/"])
def test_a_requests_queries_and_their_time_are_counted(
    server: WSGIClient, records: list[Record], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    sleepy(monkeypatch, 0.05)

    server.get(url)

    (record,) = records
    assert record.db_queries == 3  # type: ignore[union-attr]
    assert record.db_ms == pytest.approx(150)  # type: ignore[union-attr]


def test_no_request_no_count_and_no_error() -> None:
    assert run("SELECT 1") == [(1,)]


def test_a_failing_query_is_counted_and_its_exception_untouched(running: Request) -> None:
    with pytest.raises(DatabaseError, match="no such table") as caught, transaction.atomic():
        run("SELECT * FROM nowhere")

    assert caught.value.__context__ is caught.value.__cause__
    assert any("nowhere" in query.sql for query in running.recent_queries)


def test_executemany_is_one_query(running: Request) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers (n integer)")
        cursor.executemany("INSERT INTO numbers VALUES (%s)", [(1,), (2,), (3,)])

    assert running.db_queries == 2


def test_queries_of_every_database_are_counted(running: Request, other: Any) -> None:
    run("SELECT 1")
    run("SELECT 1", on=other)

    assert [query.alias for query in running.recent_queries][-2:] == ["default", "other"]


def test_a_connection_made_before_the_start_is_watched_once(running: Request) -> None:
    connection.ensure_connection()
    connection.execute_wrappers.remove(watch_query)

    queries.install()
    queries.install()
    run("SELECT 1")

    assert running.db_queries == 1


def test_a_reconnected_connection_is_watched_once(running: Request, other: Any) -> None:
    run("SELECT 1", on=other)
    other.close()
    counted = running.db_queries

    run("SELECT 1", on=other)

    assert running.db_queries == counted + 1
    assert other.execute_wrappers.count(watch_query) == 1


def test_a_connection_made_under_a_wrapper_of_the_host_loses_neither(running: Request, other: Any) -> None:
    """`execute_wrapper` takes away the last wrapper when its block ends."""
    seen: list[str] = []

    def spy(execute: Any, sql: str, params: Any, many: bool, about: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, about)

    with other.execute_wrapper(spy):
        run("SELECT 1", on=other)
    run("SELECT 2", on=other)

    assert seen == ["SELECT 1"]
    assert [query.sql for query in running.recent_queries] == ["SELECT 1", "SELECT 2"]


@pytest.mark.parametrize("part", ["shape", "start_query_span", "place", "_keep"])
def test_a_failure_of_ours_is_none_of_the_query(
    running: Request, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(queries, part, broken)
    sleepy(monkeypatch, 5)

    assert run("SELECT 1") == [(1,)]
    assert faults.sentences()


# -- slow -----------------------------------------------------------------------------------------------------------------


def test_a_slow_query_is_told_without_its_parameters(
    lines: Lines, monitoring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring(SLOW_QUERY_MS=100)
    sleepy(monkeypatch, 0.25)

    run("SELECT %s", ["secret"])

    line = lines.one("slow_query_detected")
    assert (line["level"], line["query"], line["database"]) == ("warning", "SELECT %s", "default")
    assert (line["duration_ms"], line["threshold_ms"]) == (250.0, 100)
    assert line["code.filepath"] == __file__
    assert line["code.function"] == "run"
    assert line["code.lineno"] == run.__code__.co_firstlineno + 2
    assert "secret" not in str(line)


@pytest.mark.parametrize(("threshold", "seconds"), [(0, 60), (100, 0.1)])
def test_up_to_the_threshold_nothing_is_told_and_zero_is_never(
    lines: Lines, monitoring: Any, monkeypatch: pytest.MonkeyPatch, threshold: float, seconds: float
) -> None:
    monitoring(SLOW_QUERY_MS=threshold)
    sleepy(monkeypatch, seconds)

    run("SELECT 1")

    assert lines.named("slow_query_detected") == []


# -- spans ----------------------------------------------------------------------------------------------------------------


def test_a_query_is_a_span_under_what_made_it(
    sentry: MemoryTransport, wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.append(lambda: run("SELECT %s", ["secret"]))

    wsgi.get("/does/")

    (sent,) = sentry.transactions
    span = next(span for span in sent["spans"] if span["description"] == "SELECT %s")
    assert (span["op"], span["parent_span_id"]) == ("db", sent["contexts"]["trace"]["span_id"])
    assert span["data"]["db.system"] == "sqlite"
    assert "code.filepath" not in span["data"]
    assert "secret" not in str(sent)


def test_the_span_of_a_slow_query_says_where_it_was_made(
    sentry: MemoryTransport, wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleepy(monkeypatch, 5)
    steps.append(lambda: run("SELECT 1"))

    wsgi.get("/does/")

    span = next(span for span in sentry.transactions[0]["spans"] if span["description"] == "SELECT 1")
    assert (span["data"]["code.filepath"], span["data"]["code.function"]) == (__file__, "run")
    assert isinstance(span["data"]["code.lineno"], int)


# -- N+1 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/queries/200/", "/async-queries/200/"])
def test_two_hundred_equal_queries_are_told_once(server: WSGIClient, lines: Lines, url: str) -> None:
    server.get(url)

    line = lines.one("n_plus_one_detected")
    assert (line["level"], line["count"], line["threshold"]) == ("warning", 200, 10)
    assert line["query"].startswith("SELECT")


def test_an_n_plus_one_is_told_with_the_place_of_the_loop(server: WSGIClient, lines: Lines) -> None:
    server.get("/queries/11/")

    line = lines.one("n_plus_one_detected")
    assert (line["code.filepath"], line["code.function"]) == (views.__file__, "queries")


def test_as_many_as_the_threshold_are_not_told(wsgi: WSGIClient, lines: Lines) -> None:
    wsgi.get("/queries/10/")

    assert lines.named("n_plus_one_detected") == []


def test_a_threshold_of_zero_is_never(wsgi: WSGIClient, lines: Lines, monitoring: Any) -> None:
    monitoring(N_PLUS_ONE_THRESHOLD=0)

    wsgi.get("/queries/50/")

    assert lines.named("n_plus_one_detected") == []


def test_a_request_that_fails_is_told_too(wsgi: WSGIClient, lines: Lines) -> None:
    wsgi.get("/queries/11/?fail=1")

    assert lines.one("n_plus_one_detected")["count"] == 11


def test_lists_of_any_length_are_one_shape(server: WSGIClient, lines: Lines) -> None:
    def loop() -> None:
        for count in range(2, 14):
            list(get_user_model().objects.filter(pk__in=range(count)))

    steps.append(loop)

    server.get("/does/")

    line = lines.one("n_plus_one_detected")
    assert line["count"] == 12
    assert "IN (%s, ...)" in line["query"]


def test_savepoints_are_counted_but_no_statement_of_a_loop(
    wsgi: WSGIClient, lines: Lines, records: list[Record]
) -> None:
    def loop() -> None:
        for _ in range(20):
            with transaction.atomic():
                pass

    steps.append(loop)

    wsgi.get("/does/")

    assert records[0].db_queries == 40  # type: ignore[union-attr]
    assert lines.named("n_plus_one_detected") == []


def test_no_more_than_a_thousand_statements_are_kept(running: Request) -> None:
    for number in range(1100):
        run(f"SELECT {number}")

    assert len(running.statements) == 1000
    assert running.db_queries == 1100


def test_of_a_very_long_statement_the_two_ends_are_kept(running: Request) -> None:
    run(f"SELECT {', '.join('1' for _ in range(1900))} AS last")

    (kept,) = running.statements
    assert len(kept) < 4200
    assert kept.startswith("SELECT 1, 1")
    assert kept.endswith("1 AS last")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a IN (%s)", "a IN (%s)"),
        ("a IN (%s, %s, %s) AND b = %s", "a IN (%s, ...) AND b = %s"),
        ("VALUES (%s, %s), (%s, %s)", "VALUES (%s, ...), (%s, ...)"),
    ],
)
def test_the_shape_of_a_statement(sql: str, expected: str) -> None:
    assert shape(sql) == expected


# -- psycopg's SQL objects, which Django hands on as they are -------------------------------------------------------------


class SQL:
    def __init__(self, text: str) -> None:
        self.text = text

    def as_string(self, cursor: Any) -> str:
        return self.text


class Identifier(SQL):
    def as_string(self, cursor: Any) -> str:
        return f'"{self.text}"'


class Literal(SQL):
    """Its text is the value itself."""


class Cursor:
    cursor = None


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ([SQL("SELECT * FROM "), Identifier("users"), SQL(" WHERE email = "), Literal("'ada@example.org'")],
         'SELECT * FROM "users" WHERE email = %s'),
        ([SQL("SELECT "), [Literal("1"), ", ", Literal("2")]], "SELECT %s, ..."),
        (b"SELECT 1", "SELECT 1"),
    ],
)  # fmt: skip
def test_a_composed_statement_is_read_without_its_values(running: Request, sql: Any, text: str) -> None:
    def execute(sql: Any, params: Any, many: bool, about: Any) -> Any:
        return sql

    given = watch_query(execute, sql, None, False, {"connection": connection, "cursor": Cursor()})

    assert given is sql
    assert running.recent_queries[-1].sql == text


def answers(port: int) -> bool:
    with closing(socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.databases
@pytest.mark.skipif(not answers(5432), reason="no PostgreSQL answers at 127.0.0.1:5432")
def test_postgresql(running: Request) -> None:
    from psycopg import sql

    pg = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "USER": "postgres", "NAME": "postgres"}
    handler = ConnectionHandler({"default": {}, "pg": pg})
    run(sql.SQL("SELECT {}").format(sql.Literal("secret")), on=handler["pg"])  # type: ignore[arg-type]
    handler["pg"].close()

    assert running.recent_queries[-1].sql == "SELECT %s"


@pytest.mark.databases
@pytest.mark.skipif(not answers(3306), reason="no MariaDB answers at 127.0.0.1:3306")
def test_mariadb(running: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    pymysql = pytest.importorskip("pymysql", reason="PyMySQL is not installed")
    # It stands in for mysqlclient, which has to be compiled; Django asks for that one's version.
    monkeypatch.setattr(pymysql, "version_info", (2, 2, 7, "final", 0))
    pymysql.install_as_MySQLdb()

    my = {"ENGINE": "django.db.backends.mysql", "HOST": "127.0.0.1", "USER": "root"}
    handler = ConnectionHandler({"default": {}, "my": my})
    run("SELECT %s", [1], on=handler["my"])
    handler["my"].close()

    assert running.recent_queries[-1].sql == "SELECT %s"
