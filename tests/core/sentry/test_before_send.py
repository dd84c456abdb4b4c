"""What leaves, and without what."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import orjson
import pytest
import sentry_sdk
from django.contrib.auth import get_user_model
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from crm_monitoring import (
    add_breadcrumb,
    capture_exception,
    capture_message,
    check_monitoring_health,
    faults,
    get_logger,
    set_transaction_context,
    set_user_context,
)
from crm_monitoring.sentry import before_send
from tests import views
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

TOKEN = "c4f1-Zq81"
logger = get_logger("tests.gate")


class Refused(ConnectionRefusedError):
    pass


def reset(request: HttpRequest, token: str) -> HttpResponse:
    add_breadcrumb(f"looking for {token}", data={"where": request.path})
    with sentry_sdk.start_span(op="lookup", name=f"find {token}"):
        logger.info("reset_begun", path=request.path)
    raise ValueError(f"no user for {token}")


def sets_user(request: HttpRequest) -> HttpResponse:
    set_user_context(7, email="ada@example.com", username="ada@example.com", iban="FR7630006000011234567890189")
    raise ValueError("x")


def raises(request: HttpRequest, kind: str) -> HttpResponse:
    raise {"host": DisallowedHost, "pipe": BrokenPipeError, "refused": Refused}[kind]("x")


urlpatterns = [
    path("reset/<str:token>/", reset),
    path("sets-user/", sets_user),
    path("raises/<str:kind>/", raises),
    path("queries/<int:count>/", views.queries),
    path("fails/", views.fails),
    path("status/<int:code>/", views.status),
    path("logs-error/", views.logs_error),
    path("health/", include("crm_monitoring.urls")),
]


@pytest.fixture(autouse=True)
def _urls(settings: Any, _core_urls: None) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def configure(monitoring: Any, transport: MemoryTransport) -> Any:
    """Set keys, and options of the SDK; envelopes are kept in `transport`."""

    def configure(options: dict[str, Any] | None = None, **keys: Any) -> None:
        keys = {"TRACES_SAMPLE_RATE": 1.0, "SENTRY_RELEASE": "1.0", **keys}
        monitoring(**keys, SENTRY_OPTIONS={"transport": transport, **(options or {})})

    return configure


# -- what a route captures, URLs, users ----------------------------------------------------------------------------------


def test_a_secret_that_a_route_captures_leaves_nowhere(
    server: WSGIClient, configure: Any, transport: MemoryTransport
) -> None:
    configure(SENTRY_LOGS=True)

    server.get(f"/reset/{TOKEN}/", Referer=f"http://testserver/reset/{TOKEN}/")
    sentry_sdk.flush()

    sent = b"".join(item.get_bytes() for envelope in transport.envelopes for item in envelope.items).decode()
    assert TOKEN not in sent
    (event,), (transaction,) = transport.events, transport.transactions
    assert event["request"]["url"] == "http://testserver/reset/{token}/"
    assert event["exception"]["values"][0]["value"] == "no user for {token}"
    assert "looking for {token}" in [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert "find {token}" in [span["description"] for span in transaction["spans"]]


def test_the_address_of_a_request_has_no_secrets(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/fails/?code=abc&page=2", Referer="http://testserver/x/?token=abc")

    request = sentry.events[0]["request"]
    assert request["url"] == "http://testserver/fails/"
    assert request["query_string"] == "code=[Filtered]&page=2"
    assert request["headers"]["Referer"] == "http://testserver/x/?token=[Filtered]"


def test_the_user_is_who_the_project_said_and_nothing_more(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/sets-user/")

    assert sentry.events[0]["user"] == {
        "id": "7",
        "email": "ada@example.com",
        "username": "ada@example.com",
        "iban": "[Filtered]",
    }
    assert sentry.transactions[0]["user"]["email"] == "ada@example.com"


# -- transactions and spans -----------------------------------------------------------------------------------------------


def test_the_context_of_a_template_stays_here(configure: Any, transport: MemoryTransport) -> None:
    configure()

    with sentry_sdk.start_transaction(name="page", op="task") as transaction:
        span = transaction.start_child(op="template.render", name="page.html")
        span.set_data("context", {"iban": "secret words"})
        span.set_data("size", 3)
        span.finish()

    assert transport.transactions[0]["spans"][0]["data"] == {"size": 3}


def test_a_transaction_of_a_hundred_queries_weighs_little(db: None, wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    """Half of it is what the protocol asks of each span, three ids and two moments: 20 kB."""
    wsgi.get("/queries/100/")

    (transaction,) = sentry.transactions
    assert len(transaction["spans"]) == 100
    assert len(orjson.dumps(transaction)) < 40_000


def test_a_span_shows_the_table_but_not_all_the_columns(db: None, wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/queries/1/")

    (span,) = sentry.transactions[0]["spans"]
    assert span["description"] == 'SELECT ... FROM "auth_user"'
    assert set(span["data"]) == {"db.system", "db.name"}


@pytest.mark.parametrize("columns", ['"a"."id"', "COUNT(*), 1, 2, 3, 4", "a, b, c"])
def test_a_short_list_of_columns_stays(configure: Any, transport: MemoryTransport, columns: str) -> None:
    configure()

    with sentry_sdk.start_transaction(name="page", op="task") as transaction:
        transaction.start_child(op="db", name=f"SELECT {columns} FROM a").finish()

    assert transport.transactions[0]["spans"][0]["description"] == f"SELECT {columns} FROM a"


def test_a_streamed_span_leaves_without_secrets(configure: Any, transport: MemoryTransport) -> None:
    configure({"trace_lifecycle": "stream"})

    with sentry_sdk.traces.start_span(name="find token=abc", attributes={"password": "x", "row": 1}) as span:
        span.set_attribute("process.command_args", "--secret x")
    sentry_sdk.flush()

    (span,) = transport.spans
    assert span["name"] == "find token=[Filtered]"
    assert span["attributes"]["password"]["value"] == "[Filtered]"
    assert span["attributes"]["row"]["value"] == 1
    assert "process.command_args" not in span["attributes"]


# -- the project's own hooks, and failing ones ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["before_send", "before_send_transaction"])
def test_the_hook_of_the_project_comes_first(
    server: WSGIClient, configure: Any, transport: MemoryTransport, option: str
) -> None:
    configure({option: lambda event, hint: {**event, "extra": {"from": "hook", "password": "x"}}})

    server.get("/fails/")

    (event,) = transport.events if option == "before_send" else transport.transactions
    assert event["extra"] == {"from": "hook", "password": "[Filtered]"}


def test_the_hooks_of_the_project_see_lines_and_metrics_first(configure: Any, transport: MemoryTransport) -> None:
    def add(item: Any, hint: Any) -> Any:
        item["attributes"]["password"] = "x"
        return item

    configure({"before_send_log": add, "before_send_metric": add}, SENTRY_LOGS=True)

    logger.info("row_imported")
    sentry_sdk.metrics.count("rows", 1)
    sentry_sdk.flush()

    for kind in ("log", "trace_metric"):
        (item,) = transport.payloads(kind)[0]["items"]
        assert item["attributes"]["password"]["value"] == "[Filtered]"


def test_what_the_hook_of_the_project_drops_is_not_sent_nor_lost(configure: Any, transport: MemoryTransport) -> None:
    configure({"before_send": lambda event, hint: None})

    capture_message("x")

    assert transport.events == []
    assert faults.losses() == {}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(before_send, "scrub", fail)
    monkeypatch.setattr(before_send, "scrub_event", fail)


def test_what_cannot_be_scrubbed_is_not_sent_and_is_told(
    wsgi: WSGIClient, configure: Any, transport: MemoryTransport, broken: None
) -> None:
    configure(SENTRY_LOGS=True)

    answer = wsgi.get("/fails/")
    sentry_sdk.flush()

    assert answer.status == 500
    assert [transport.payloads(kind) for kind in ("event", "transaction", "log")] == [[], [], []]
    problems = check_monitoring_health()["problems"]
    assert "Scrubbing in before_send failed 1 time, last with RuntimeError." in problems
    assert "Scrubbing in before_send_transaction failed 1 time, last with RuntimeError." in problems
    assert "secret" not in str(problems)


@pytest.mark.parametrize("result", [None, "no span"])
def test_a_streamed_span_that_its_hook_takes_away_is_blank(
    configure: Any, transport: MemoryTransport, result: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would send it as it was."""
    monkeypatch.setattr(faults, "reraise", False)
    configure({"trace_lifecycle": "stream", "before_send_span": lambda span, hint: result})

    with sentry_sdk.traces.start_span(name="find token=abc", attributes={"password": "x"}):
        pass
    sentry_sdk.flush()

    (span,) = transport.spans
    assert span["name"] == "[Filtered]"
    assert "password" not in str(span)


def test_a_hook_of_the_project_that_fails_is_told(
    configure: Any, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    configure({"before_send": lambda event, hint: 1 / 0})

    capture_message("x")

    assert transport.events == []
    assert faults.sentences() == ["The before_send of SENTRY_OPTIONS failed 1 time, last with ZeroDivisionError."]


def test_a_check_in_has_no_secrets(sentry: MemoryTransport) -> None:
    sentry_sdk.crons.capture_checkin("import", status="ok", monitor_config={"password": "x"})

    (check_in,) = sentry.payloads("check_in")
    assert check_in["monitor_config"]["password"] == "[Filtered]"


# -- what makes no event --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["host", "pipe"])
def test_noise_makes_no_event(server: WSGIClient, sentry: MemoryTransport, kind: str) -> None:
    server.get(f"/raises/{kind}/")

    assert sentry.events == []


def test_a_request_for_another_host_makes_no_event(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/fails/", Host="evil.example")

    assert sentry.events == []


@pytest.mark.parametrize("name", ["ConnectionRefusedError", "OSError", f"{__name__}.Refused"])
def test_an_exception_is_ignored_by_its_name_or_that_of_a_base(
    wsgi: WSGIClient, configure: Any, transport: MemoryTransport, name: str
) -> None:
    configure(IGNORED_EXCEPTIONS=[name])

    wsgi.get("/raises/refused/")

    assert transport.events == []


def test_the_sdk_ignores_what_we_ignore(sentry: MemoryTransport) -> None:
    sentry_sdk.capture_exception(BrokenPipeError())

    assert sentry.events == []
    assert faults.losses() == {}


@pytest.mark.parametrize("path", ["/nowhere/", "/.env", "/health/live", "/health/ready", "/healthz"])
def test_paths_that_are_nobodys_or_for_machines_make_no_event(
    db: None, server: WSGIClient, sentry: MemoryTransport, path: str
) -> None:
    server.get(path)

    assert sentry.events == []


# -- log lines ------------------------------------------------------------------------------------------------------------


def test_an_error_line_is_an_event_with_its_fields(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/logs-error/")

    (event,) = sentry.events
    assert event["logentry"] == {"message": "import_failed"}
    assert event["contexts"]["log"]["org_id"] == 7
    assert event["contexts"]["log"]["code.function"] == "logs_error"
    assert event["level"] == "error"


@pytest.mark.parametrize(("level", "count"), [("INFO", 3), ("WARNING", 2), ("ERROR", 1), ("CRITICAL", 0)])
def test_the_level_of_lines_that_make_events_is_a_key(
    configure: Any, transport: MemoryTransport, level: str, count: int
) -> None:
    configure(SENTRY_EVENT_LEVEL=level)

    logger.info("one")
    logger.warning("two")
    logging.getLogger("tests.gate").error("three")

    assert len(transport.events) == count


@pytest.mark.parametrize("name", ["urllib3_helper", "crm_monitoring_site", "django.requests"])
def test_a_logger_that_only_begins_like_one_of_ours_is_the_projects(sentry: MemoryTransport, name: str) -> None:
    get_logger(name).error("import_failed")

    assert len(sentry.events) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_returned_5xx_makes_no_event(server: WSGIClient, sentry: MemoryTransport, status: int) -> None:
    server.get(f"/status/{status}/")

    assert sentry.events == []


def test_a_returned_5xx_is_one_issue_a_route_where_wanted(
    server: WSGIClient, configure: Any, transport: MemoryTransport
) -> None:
    configure(REPORT_SERVER_ERRORS=True)

    for _ in range(2):
        server.get("/status/503/")

    first, second = transport.events
    assert first["fingerprint"] == second["fingerprint"] == ["http-status", "GET status/{code}/", "503"]
    assert first["message"] == "HTTP 503 returned by GET status/{code}/"


# -- breadcrumbs ----------------------------------------------------------------------------------------------------------


def test_two_hundred_queries_leave_room_for_the_users_own_breadcrumbs(
    db: None, server: WSGIClient, sentry: MemoryTransport
) -> None:
    with sentry_sdk.isolation_scope():
        add_breadcrumb("before")
        server.get("/queries/200/?fail=1")

    (event,) = sentry.events
    messages = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    queries = [message for message in messages if message.startswith("SELECT")]
    (summary,) = [message for message in messages if "earlier" in message]
    assert len(queries) == 10
    assert summary.startswith("190 earlier queries, ")
    assert messages.index(summary) == messages.index(queries[0]) - 1


def test_one_query_too_many_is_one_earlier_query(db: None, wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/queries/11/?fail=1")

    messages = [crumb["message"] for crumb in sentry.events[0]["breadcrumbs"]["values"]]
    assert any(message.startswith("1 earlier query, ") for message in messages)


def test_few_queries_need_no_summary(db: None, wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.get("/queries/10/?fail=1")

    assert "earlier" not in str(sentry.events[0]["breadcrumbs"])


# -- Sentry's Logs --------------------------------------------------------------------------------------------------------


def _logs(transport: MemoryTransport, name: str) -> list[dict[str, Any]]:
    sentry_sdk.flush()
    items = [item for payload in transport.payloads("log") for item in payload["items"]]
    return [item for item in items if item["attributes"]["logger.name"]["value"] == name]


def test_lines_are_logs_of_sentry_where_wanted(
    server: WSGIClient, configure: Any, transport: MemoryTransport, lines: Lines
) -> None:
    configure(SENTRY_LOGS=True)

    answer = server.get("/logs-error/")

    (log,) = _logs(transport, "tests.views")
    attributes = {name: attribute["value"] for name, attribute in log["attributes"].items()}
    assert (log["body"], log["level"]) == ("import_failed", "error")
    assert attributes["org_id"] == 7
    assert attributes["request_id"] == answer.headers["X-Request-ID"]
    assert log["trace_id"] == lines.one("import_failed")["trace_id"]


def test_records_of_the_standard_library_are_logs_of_sentry_once(configure: Any, transport: MemoryTransport) -> None:
    configure(SENTRY_LOGS=True)

    logging.getLogger("tests.standard").warning("import %s", "failed", extra={"org_id": 7, "rows": [1, None]})

    (log,) = _logs(transport, "tests.standard")
    assert (log["body"], log["level"]) == ("import failed", "warn")
    assert log["attributes"]["org_id"]["value"] == 7
    assert log["attributes"]["rows"]["value"] == "[1,null]"


def test_a_log_of_sentry_names_the_exception(configure: Any, transport: MemoryTransport) -> None:
    configure(SENTRY_LOGS=True)

    logger.error("import_failed", exc_info=ValueError("row 3"))

    (log,) = _logs(transport, "tests.gate")
    assert log["attributes"]["exception"]["value"] == "ValueError: row 3"


def test_a_log_of_sentry_runs_no_query(
    db: None, configure: Any, transport: MemoryTransport, django_assert_num_queries: Any
) -> None:
    configure(SENTRY_LOGS=True)

    with django_assert_num_queries(0):
        logger.info("users_listed", users=get_user_model().objects.all())

    (log,) = _logs(transport, "tests.gate")
    assert log["attributes"]["users"]["value"] == "<QuerySet of auth.User>"


def test_a_log_of_sentry_is_as_long_as_a_line_may_be(configure: Any, transport: MemoryTransport) -> None:
    configure(SENTRY_LOGS=True, LOG_MAX_STRING=256)

    logger.info("imported", rows=["x"] * 1000)

    (log,) = _logs(transport, "tests.gate")
    assert len(log["attributes"]["rows"]["value"]) <= 256


def test_the_sdks_own_lines_are_none_of_its_logs(configure: Any, transport: MemoryTransport) -> None:
    configure(SENTRY_LOGS=True)

    get_logger("sentry_sdk.extra").warning("inside")

    assert _logs(transport, "sentry_sdk.extra") == []


@pytest.mark.parametrize("backend", ["glitchtip", "bugsink"])
def test_other_servers_get_no_logs(configure: Any, transport: MemoryTransport, backend: str) -> None:
    configure(SENTRY_LOGS=True, BACKEND=backend)

    logger.info("row_imported")

    assert _logs(transport, "tests.gate") == []


# -- other servers --------------------------------------------------------------------------------------------------------


def test_a_server_gets_nothing_that_it_drops(wsgi: WSGIClient, configure: Any, transport: MemoryTransport) -> None:
    """Bugsink: errors only. GlitchTip: no sessions."""
    kinds = {}
    for backend in ("sentry", "glitchtip", "bugsink"):
        configure(BACKEND=backend)
        transport.envelopes.clear()
        wsgi.get("/fails/")
        sentry_sdk.flush()
        kinds[backend] = {item.type for envelope in transport.envelopes for item in envelope.items}

    assert kinds == {
        "sentry": {"event", "transaction", "sessions"},
        "glitchtip": {"event", "transaction"},
        "bugsink": {"event"},
    }


def test_the_health_view_says_that_bugsink_gets_no_traces(configure: Any) -> None:
    configure(BACKEND="bugsink")

    assert check_monitoring_health()["sentry"]["traces_sample_rate"] == 0


# -- too many -------------------------------------------------------------------------------------------------------------


def test_a_flood_is_a_few_events_that_tell_how_many_they_stand_for(
    configure: Any, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(EVENTS_BURST=3)

    for _ in range(10):
        capture_message("flood")
    now = monotonic()
    monkeypatch.setattr("crm_monitoring.sentry.quota.monotonic", lambda: now + 61)
    capture_message("flood")

    assert len(transport.events) == 4
    assert transport.events[-1]["contexts"]["quota"] == {"held_back": 7}
    assert check_monitoring_health()["lost"] == {"events_held_back": 7}


def test_a_failure_that_is_held_back_is_counted_once(configure: Any) -> None:
    configure(EVENTS_BURST=1)

    for _ in range(3):
        try:
            raise ValueError("flood")
        except ValueError as error:
            capture_exception(error)
            sentry_sdk.capture_exception(error)

    assert faults.losses() == {"events_held_back": 2}


def test_an_event_without_a_release_has_none(configure: Any, transport: MemoryTransport) -> None:
    configure({"release": ""})

    capture_message("x")

    assert "release" not in transport.events[0]


def test_the_name_of_work_outside_of_requests_has_no_secrets(sentry: MemoryTransport) -> None:
    with sentry_sdk.start_transaction(name="task", op="task"):
        set_transaction_context("import token=abc")

    assert sentry.transactions[0]["transaction"] == "import token=[Filtered]"
