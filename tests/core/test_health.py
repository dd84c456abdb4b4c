from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from django.core.asgi import get_asgi_application
from django.core.handlers.base import BaseHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpResponse
from django.test import RequestFactory

from crm_monitoring import check_monitoring_health, faults, health, middleware, readiness, views
from crm_monitoring.health import DELIVERY_FAILED, LOST_LINES
from crm_monitoring.views import for_machines
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

SECRET_HOST = "db-7.internal.example"
PATHS = ["/health/monitoring", "/health/live", "/health/ready"]
SQLITE = "django.db.backends.sqlite3"


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


def database(**keys: Any) -> dict[str, Any]:
    """What Django's connection handler wants of a database."""
    return connections.configure_settings({"default": {"ENGINE": SQLITE, **keys}})["default"]


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """The databases of the project, none to begin with; what is put here is one."""
    replaced: dict[str, Any] = {}
    monkeypatch.setattr(connections, "settings", replaced)
    with django_db_blocker.unblock():
        yield replaced


@pytest.fixture
def hanging(databases: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A database that answers when the event is set."""
    answers = threading.Event()
    databases["default"] = database(ENGINE="tests.core.hanging_database", NAME=":memory:", OPTIONS={"answers": answers})
    monkeypatch.setattr(readiness, "READY_SECONDS", 0.05)
    yield answers
    answers.set()
    for thread in probes():
        thread.join()


def probes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("crm_monitoring-ready")]


# -- health/monitoring ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health/monitoring", "/health/monitoring/"])
def test_the_answer_has_the_shape_of_the_guide(server: WSGIClient, sentry: MemoryTransport, path: str) -> None:
    answer = server.get(path)

    assert answer.status == 200
    assert answer.json() == {
        "status": "ok",
        "monitoring": {
            "sentry": {
                "enabled": True,
                "environment": "test",
                "dsn_configured": False,
                "release": "1.0",
                "traces_sample_rate": 1.0,
                "owner": "crm_monitoring",
            },
            "logging": {"level": "INFO", "structured": True},
            "lost": {},
            "problems": [],
        },
    }


def test_the_function_gives_what_the_view_shows(server: WSGIClient, sentry: MemoryTransport) -> None:
    assert server.get("/health/monitoring").json()["monitoring"] == check_monitoring_health()


@pytest.fixture
def section() -> Iterator[list[int]]:
    """What an installed app tells of itself; it fails when there is nothing to tell."""
    told = [3]
    health.register_section("inbox", lambda: {"waiting": told[0]})
    yield told
    health.unregister_section("inbox")


def test_an_installed_app_adds_a_section(server: WSGIClient, section: list[int]) -> None:
    assert server.get("/health/monitoring").json()["monitoring"]["inbox"] == {"waiting": 3}


@pytest.mark.usefixtures("production")
def test_a_section_that_fails_is_a_problem_and_the_rest_is_told(server: WSGIClient, section: list[int]) -> None:
    section.clear()

    told = server.get("/health/monitoring").json()["monitoring"]

    assert told["inbox"] is None
    assert told["logging"] == {"level": "INFO", "structured": True}
    assert [problem for problem in told["problems"] if "IndexError" in problem]


def test_a_section_that_is_taken_away_is_not_told(server: WSGIClient, section: list[int]) -> None:
    health.unregister_section("inbox")
    health.unregister_section("inbox")

    assert "inbox" not in server.get("/health/monitoring").json()["monitoring"]


def test_a_dsn_is_told_of_and_not_told(server: WSGIClient, monitoring: Any) -> None:
    monitoring(SENTRY_DSN=f"https://public@{SECRET_HOST}/7")

    answer = server.get("/health/monitoring")

    assert answer.json()["monitoring"]["sentry"]["dsn_configured"] is True
    assert SECRET_HOST not in answer.text
    assert "public" not in answer.text


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?strict=1", 503), ("?strict=0", 200)])
def test_a_problem_makes_it_degraded(server: WSGIClient, monitoring: Any, query: str, status: int) -> None:
    monitoring(LOG_LEVEL="LOUD")

    answer = server.get(f"/health/monitoring{query}")

    assert answer.status == status
    assert answer.json()["status"] == "degraded"


def test_strict_is_satisfied_where_all_is_well(server: WSGIClient) -> None:
    assert server.get("/health/monitoring?strict=1").status == 200


def test_a_setting_that_is_no_dict_is_named_as_a_whole(server: WSGIClient, settings: Any) -> None:
    settings.CRM_MONITORING = 3

    problems = server.get("/health/monitoring").json()["monitoring"]["problems"]

    assert problems == ["crm_monitoring.E002: CRM_MONITORING cannot be used as it is set."]


def test_what_is_lost_is_counted(server: WSGIClient) -> None:
    faults.lose("log_lines", 3)

    assert server.get("/health/monitoring").json()["monitoring"]["lost"] == {"log_lines": 3}


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        (f"{DELIVERY_FAILED}network", "Events could not be delivered to Sentry in the last five minutes."),
        (LOST_LINES, "Log lines could not be written in the last five minutes."),
    ],
)
def test_what_was_lost_lately_is_a_problem(server: WSGIClient, lost: str, problem: str) -> None:
    faults.lose(lost)

    assert server.get("/health/monitoring").json()["monitoring"]["problems"] == [problem]


@pytest.mark.usefixtures("production")
def test_a_failure_of_ours_is_told_without_its_message(server: WSGIClient) -> None:
    faults.record("A hook", ValueError(SECRET_HOST))

    answer = server.get("/health/monitoring")

    assert answer.json()["monitoring"]["problems"] == ["A hook failed 1 time, last with ValueError."]
    assert SECRET_HOST not in answer.text


@pytest.mark.usefixtures("production")
def test_a_hook_that_cannot_be_imported_is_told_before_the_first_record(server: WSGIClient, monitoring: Any) -> None:
    monitoring(HOOKS=["no.such.hook"])

    answer = server.get("/health/monitoring")

    assert answer.json()["monitoring"]["problems"] == [
        "Importing the hook no.such.hook failed 1 time, last with ModuleNotFoundError."
    ]


def test_a_server_that_asks_to_wait_is_a_problem(
    server: WSGIClient, transport: MemoryTransport, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "is_healthy", lambda: False)

    (problem,) = server.get("/health/monitoring").json()["monitoring"]["problems"]

    assert "events are being dropped" in problem


# -- what holds for all three ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("databases")
def test_nobody_keeps_the_answer(server: WSGIClient, path: str) -> None:
    assert "no-store" in server.get(path).headers["Cache-Control"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("databases")
def test_head_is_answered_as_get(server: WSGIClient, path: str) -> None:
    assert server.head(path).status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("databases")
def test_only_reading_is_allowed(server: WSGIClient, path: str) -> None:
    assert server.post(path).status in (403, 405)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("databases")
def test_who_must_log_in_elsewhere_need_not_here(server: WSGIClient, settings: Any, path: str) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert type(server)(fresh(server)).get(path).status == 200


def fresh(server: WSGIClient) -> Any:
    return get_wsgi_application() if type(server) is WSGIClient else get_asgi_application()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.usefixtures("databases")
def test_no_line_is_written_at_info(server: WSGIClient, lines: Lines, path: str) -> None:
    server.get(path)

    assert lines.all() == []


@pytest.mark.parametrize("path", ["/health/monitoring", "/health/live"])
def test_a_database_that_is_down_does_not_matter(server: WSGIClient, databases: dict[str, Any], path: str) -> None:
    databases["default"] = database(NAME="/no/such/folder/db.sqlite3", ATOMIC_REQUESTS=True)

    assert server.get(path).status == 200


def test_no_database_of_the_project_opens_a_transaction(databases: dict[str, Any]) -> None:
    databases.update(default=database(ATOMIC_REQUESTS=True), other=database(ATOMIC_REQUESTS=True))

    view = for_machines(lambda request: HttpResponse())

    assert BaseHandler().make_view_atomic(view) is view


# -- health/ready ---------------------------------------------------------------------------------------------------------


def test_ready_asks_every_database(server: WSGIClient, databases: dict[str, Any]) -> None:
    databases.update(default=database(NAME=":memory:"), other=database(NAME=":memory:"))

    answer = server.get("/health/ready")

    assert answer.status == 200
    assert answer.json() == {"status": "ok", "databases": {"default": True, "other": True}}


def test_a_database_that_is_down_is_not_ready_and_not_described(server: WSGIClient, databases: dict[str, Any]) -> None:
    databases["default"] = database(NAME=":memory:", ATOMIC_REQUESTS=True)
    databases["other"] = database(NAME=f"/{SECRET_HOST}/db.sqlite3")

    answer = server.get("/health/ready/")

    assert answer.status == 503
    assert answer.json() == {"status": "unavailable", "databases": {"default": True, "other": False}}
    assert SECRET_HOST not in answer.text


def test_a_database_whose_driver_is_missing_is_not_ready(server: WSGIClient, databases: dict[str, Any]) -> None:
    databases["default"] = database(ENGINE="no.such.backend")

    assert server.get("/health/ready").json()["databases"] == {"default": False}


def test_a_project_without_databases_is_ready(server: WSGIClient, databases: dict[str, Any]) -> None:
    databases["default"] = database(ENGINE="django.db.backends.dummy")

    assert server.get("/health/ready").json() == {"status": "ok", "databases": {}}


@pytest.mark.usefixtures("hanging")
def test_a_database_that_hangs_is_not_ready_in_time(server: WSGIClient) -> None:
    began = monotonic()

    answer = server.get("/health/ready")

    assert (answer.status, answer.json()["databases"]) == (503, {"default": False})
    assert monotonic() - began < 5


@pytest.mark.usefixtures("hanging")
def test_a_database_that_hangs_keeps_one_thread_however_often_it_is_asked(wsgi: WSGIClient) -> None:
    for _ in range(4):
        wsgi.get("/health/ready")

    assert len(probes()) == 1


def test_a_database_that_answers_again_is_ready_again(wsgi: WSGIClient, hanging: threading.Event) -> None:
    before = wsgi.get("/health/ready").status

    hanging.set()
    for thread in probes():
        thread.join()

    assert (before, wsgi.get("/health/ready").status) == (503, 200)


def test_a_second_is_given_by_default() -> None:
    assert readiness.READY_SECONDS == 1.0


@pytest.mark.django_db
@pytest.mark.parametrize(("is_migrated", "status"), [(True, 200), (False, 503)])
def test_migrations_are_asked_for_where_wanted(
    wsgi: WSGIClient, monitoring: Any, monkeypatch: pytest.MonkeyPatch, is_migrated: bool, status: int
) -> None:
    monitoring(HEALTH_CHECK_MIGRATIONS=True)
    if not is_migrated:
        monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda recorder: {})

    assert wsgi.get("/health/ready").status == status


def test_migrations_are_not_asked_for_by_default(wsgi: WSGIClient, databases: dict[str, Any]) -> None:
    databases["default"] = database(NAME=":memory:")

    assert wsgi.get("/health/ready").status == 200


# -- which databases -------------------------------------------------------------------------------------------------------


def broken() -> dict[str, Any]:
    return database(NAME="/nowhere/at/all.sqlite3")


@pytest.fixture
def dashboards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The alias of a database that only an installed app uses."""
    alias = ["dashboard"]
    readiness.register_unneeded_database(said := lambda: alias[0])
    yield alias
    readiness.unregister_unneeded_database(said)


def test_a_database_that_the_site_can_do_without_is_not_asked(
    databases: dict[str, Any], dashboards: list[str], server: WSGIClient
) -> None:
    databases |= {"default": database(NAME=":memory:"), "dashboard": broken()}

    answer = server.get("/health/ready")

    assert (answer.status, answer.json()["databases"]) == (200, {"default": True})


def test_the_default_database_is_always_needed(
    databases: dict[str, Any], dashboards: list[str], server: WSGIClient
) -> None:
    databases["default"] = broken()
    dashboards[0] = "default"

    assert server.get("/health/ready").status == 503


def test_the_databases_that_are_named_are_asked_and_no_others(
    databases: dict[str, Any], dashboards: list[str], server: WSGIClient, monitoring: Any
) -> None:
    databases |= {"default": broken(), "dashboard": database(NAME=":memory:")}
    monitoring(HEALTH_DATABASES=["dashboard", "unknown"])

    assert server.get("/health/ready").json()["databases"] == {"dashboard": True}


# -- probes ---------------------------------------------------------------------------------------------------------------

STRICT = [
    "crm_monitoring.middleware.MonitoringMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]


@pytest.fixture(params=["wsgi", "asgi"])
def strict(request: pytest.FixtureRequest, settings: Any, databases: dict[str, Any]) -> WSGIClient:
    """A site that redirects to HTTPS, knows its hosts and wants everybody to log in."""
    databases["default"] = database(NAME=":memory:")
    settings.MIDDLEWARE = STRICT
    settings.ALLOWED_HOSTS = ["crm.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    client: WSGIClient = request.getfixturevalue(request.param)
    return client


@pytest.mark.parametrize("path", ["/health/live", "/health/live/", "/health/ready", "/health/ready/"])
@pytest.mark.parametrize("host", ["10.0.0.7:8000", "crm.example.org", "evil example", ""])
def test_a_probe_is_answered_whatever_its_host_and_scheme(strict: WSGIClient, path: str, host: str) -> None:
    answer = strict.get(path, Host=host)

    assert (answer.status, answer.json()["status"]) == (200, "ok")
    assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/health/monitoring", "/live", "/organisations/ready", "/works/live/"])
def test_anything_else_meets_the_sites_middleware(strict: WSGIClient, path: str) -> None:
    assert strict.get(path, Host="crm.example.org").status == 301


def test_a_probe_leaves_no_line_and_no_record(strict: WSGIClient, lines: Lines, records: list[Any]) -> None:
    strict.get("/health/live")

    assert (lines.named("request_finished"), records) == ([], [])


def test_a_probe_that_cannot_be_looked_up_goes_the_usual_way(
    strict: WSGIClient, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "resolved", lambda request: 1 / 0)

    assert strict.get("/health/live", Host="crm.example.org").status == 301


# -- who sees what --------------------------------------------------------------------------------------------------------


class Unreadable:
    @property
    def is_active(self) -> bool:
        raise RuntimeError("no database")


@pytest.mark.parametrize(
    ("user", "is_told"),
    [
        (None, False),
        (SimpleNamespace(is_active=True, is_staff=False), False),
        (SimpleNamespace(is_active=True), False),
        (Unreadable(), False),
        (SimpleNamespace(is_active=True, is_staff=True), True),
    ],
    ids=["nobody", "customer", "other model", "unreadable", "staff"],
)
def test_details_can_be_for_staff_only(
    monitoring: Any, rf: RequestFactory, production: None, user: Any, is_told: bool
) -> None:
    monitoring(HEALTH_DETAILS="staff")
    request = rf.get("/health/monitoring")
    request.user = user

    body = orjson.loads(views.monitoring(request).content)

    assert ("monitoring" in body) is is_told
    assert body["status"] in ("ok", "degraded")
