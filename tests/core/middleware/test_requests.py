"""What one request leaves behind: its id, its name, its one line, its record."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import structlog
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.dispatch import receiver
from django.test import Client
from django_structlog import signals

from crm_monitoring import RequestRecord, work
from crm_monitoring.hooks import Record
from tests import views
from tests.clients import Answer, ASGIClient, WSGIClient
from tests.conftest import Lines

MIDDLEWARE = "crm_monitoring.middleware.MonitoringMiddleware"


@pytest.fixture
def logged_in(db: None, server: WSGIClient) -> WSGIClient:
    """A client with the session of a user whose primary key is 7."""
    client = Client()
    client.force_login(get_user_model().objects.create_user("ada", pk=7))
    server.cookies = {"sessionid": client.cookies["sessionid"].value}
    return server


# -- request id -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ok/", "/nowhere/", "/fails/", "/moves/", "/quiet/", "/health/live"])
def test_every_response_has_the_request_id(server: WSGIClient, path: str) -> None:
    answer = server.get(path)

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize("given", ["a", "7f3e-4.b_C", "x" * 128])
def test_a_harmless_request_id_is_kept(server: WSGIClient, given: str) -> None:
    assert server.get("/ok/", X_Request_ID=given).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", 'a"b', "é", "a\n", "a/b"])
def test_any_other_request_id_is_replaced(server: WSGIClient, given: str) -> None:
    answer = server.get("/ok/", X_Request_ID=given)

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_an_untrusted_request_id_is_replaced(server: WSGIClient, monitoring: Any) -> None:
    monitoring(TRUST_REQUEST_ID=False)

    assert server.get("/ok/", X_Request_ID="abc").headers["X-Request-ID"] != "abc"


def test_the_header_has_the_name_the_setting_gives(server: WSGIClient, monitoring: Any) -> None:
    monitoring(REQUEST_ID_HEADER="X-Trace-Token")

    answer = server.get("/ok/", X_Trace_Token="abc")

    assert answer.headers["X-Trace-Token"] == "abc"
    assert "X-Request-ID" not in answer.headers


@pytest.mark.parametrize("path", ["/ok/", "/nowhere/", "/fails/", "/async-fails/", "/status/503/"])
def test_every_line_of_a_request_has_its_id(server: WSGIClient, lines: Lines, path: str) -> None:
    answer = server.get(path)

    assert {line.get("request_id") for line in lines.all()} == {answer.headers["X-Request-ID"]}


def test_djangos_late_line_has_the_request_id_too(server: WSGIClient, lines: Lines, settings: Any) -> None:
    settings.LOGGING = {"version": 1, "loggers": {"django.request": {}}}

    answer = server.get("/nowhere/")

    line = lines.one("Not Found: /nowhere/")
    assert line["logger"] == "django.request"
    assert line["request_id"] == answer.headers["X-Request-ID"]


def test_two_requests_have_two_ids_and_two_traces(server: WSGIClient, lines: Lines) -> None:
    server.get("/ok/")
    server.get("/ok/")

    first, second = lines.named("request_finished")
    assert first["request_id"] != second["request_id"]
    assert first["trace_id"] != second["trace_id"]


def test_a_correlation_id_is_bound_where_django_structlog_is_told_to_trust_it(
    server: WSGIClient, lines: Lines, settings: Any
) -> None:
    settings.DJANGO_STRUCTLOG_TRUST_UPSTREAM_CORRELATION_ID = True

    server.get("/ok/", X_Correlation_ID="order-9")

    assert lines.one("ok_served")["correlation_id"] == "order-9"


def test_without_a_correlation_id_none_is_bound(server: WSGIClient, lines: Lines, settings: Any) -> None:
    settings.DJANGO_STRUCTLOG_TRUST_UPSTREAM_CORRELATION_ID = True

    server.get("/ok/")

    assert "correlation_id" not in lines.one("ok_served")


def test_what_a_view_binds_does_not_reach_the_next_request(wsgi: WSGIClient, lines: Lines) -> None:
    @receiver(signals.bind_extra_request_metadata, weak=False)
    def bind(**kwargs: Any) -> None:
        structlog.contextvars.bind_contextvars(domain="example.org")

    wsgi.get("/ok/")
    signals.bind_extra_request_metadata.disconnect(bind)
    wsgi.get("/ok/")

    first, second = lines.named("ok_served")
    assert first["domain"] == "example.org"
    assert "domain" not in second


def test_after_the_response_is_closed_the_request_is_forgotten(wsgi: WSGIClient) -> None:
    wsgi.get("/ok/")

    assert work.current_work() is None
    assert structlog.contextvars.get_contextvars() == {}


def test_a_request_within_a_request_leaves_the_outer_one_in_place(wsgi: WSGIClient, lines: Lines) -> None:
    @receiver(signals.bind_extra_request_metadata, weak=False)
    def visit(request: Any, **kwargs: Any) -> None:
        if request.path == "/ok/":
            structlog.contextvars.bind_contextvars(batch=1)
            wsgi.get("/quiet/", X_Request_ID="inner")

    wsgi.get("/ok/", X_Request_ID="outer")
    signals.bind_extra_request_metadata.disconnect(visit)

    line = lines.one("ok_served")
    assert (line["request_id"], line["batch"]) == ("outer", 1)
    assert work.current_work() is None


# -- the line and the record ----------------------------------------------------------------------------------------------


def test_a_request_makes_one_line_of_ours(server: WSGIClient, lines: Lines) -> None:
    server.get("/organisations/7/?q=x")

    (line,) = [line for line in lines.all() if line["logger"] == "crm_monitoring.requests"]
    assert line["event"] == "request_finished"
    assert line["level"] == "info"
    assert (line["method"], line["route"], line["path"]) == ("GET", "organisations/{pk}/", "/organisations/7/")
    assert (line["status"], line["response_bytes"], line["db_queries"]) == (200, 12, 0)
    assert 0 < line["duration_ms"] < 10_000
    assert "ip" not in line


@pytest.mark.parametrize(
    ("path", "level", "event"),
    [
        ("/ok/", "info", "request_finished"),
        ("/moves/", "info", "request_finished"),
        ("/nowhere/", "warning", "request_finished"),
        ("/answers/403/", "warning", "request_finished"),
        ("/status/503/", "error", "request_finished"),
        ("/fails/", "error", "request_failed"),
    ],
)
def test_the_level_follows_the_status(server: WSGIClient, lines: Lines, path: str, level: str, event: str) -> None:
    server.get(path)

    assert lines.one(event)["level"] == level


def test_a_failed_request_shows_its_traceback(server: WSGIClient, lines: Lines) -> None:
    server.get("/fails/")

    exception = lines.one("request_failed")["exception"]
    assert exception.startswith("Traceback (most recent call last):")
    assert exception.endswith("ValueError: boom")


def test_an_unmonitored_view_makes_no_line_above_debug_and_no_record(
    server: WSGIClient, lines: Lines, records: list[Record], monitoring: Any
) -> None:
    server.get("/quiet/")
    assert lines.all() == []
    assert records == []

    monitoring(LOG_LEVEL="DEBUG")
    server.get("/quiet/")
    assert lines.one("request_finished")["level"] == "debug"


@pytest.mark.parametrize(("path", "measured"), [("/healthz", False), ("/healthz/db", False), ("/healthzone", True)])
def test_paths_on_the_list_are_not_measured(
    server: WSGIClient, records: list[Record], path: str, measured: bool
) -> None:
    server.get(path)

    assert bool(records) is measured


def test_the_hooks_get_one_record(server: WSGIClient, records: list[Record]) -> None:
    answer = server.get("/organisations/7/")

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert (record.endpoint, record.status, record.failed) == ("GET organisations/{pk}/", 200, False)
    assert record.request_id == answer.headers["X-Request-ID"]
    assert record.response_bytes == len(answer.body)


def test_the_record_of_a_failed_request_names_the_exception(server: WSGIClient, records: list[Record]) -> None:
    server.get("/fails/")

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert (record.status, record.failed, record.error) == (500, True, "ValueError")


def test_the_clients_address_is_on_the_line_where_it_is_wanted(
    server: WSGIClient, lines: Lines, monitoring: Any
) -> None:
    monitoring(LOG_CLIENT_IP=True)

    server.get("/ok/", X_Forwarded_For="8.8.8.8")

    assert lines.one("request_finished")["ip"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/queries/3/", "/async-queries/3/"])
def test_queries_are_counted(db: None, server: WSGIClient, lines: Lines, path: str) -> None:
    server.get(path)

    line = lines.one("request_finished")
    assert line["db_queries"] == 3
    assert 0 < line["db_ms"] < line["duration_ms"]


# -- the user -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ok/", "/async-ok/"])
def test_a_logged_in_user_costs_no_query(
    logged_in: WSGIClient, lines: Lines, django_assert_num_queries: Any, path: str
) -> None:
    with django_assert_num_queries(0):
        answer = logged_in.get(path)

    assert "Vary" not in answer.headers or "Cookie" not in answer.headers["Vary"]
    assert "user_id" not in lines.one("request_finished")


@pytest.mark.parametrize("path", ["/reads-user/", "/async-reads-user/"])
def test_the_user_is_on_the_lines_once_the_view_has_read_it(logged_in: WSGIClient, lines: Lines, path: str) -> None:
    logged_in.get(path)

    line = lines.one("user_read")
    assert (line["user_id"], line["name"]) == ("7", "ada")
    assert lines.one("request_finished")["user_id"] == "7"


def test_a_session_that_no_view_reads_is_not_read(server: WSGIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionStore, "load", lambda self: pytest.fail("the session was read"))
    server.cookies = {"sessionid": "x" * 32}

    assert server.get("/ok/").status == 200


def test_it_works_without_auth_and_sessions(settings: Any, lines: Lines) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.INSTALLED_APPS = ["crm_monitoring"]
    settings.MIDDLEWARE = [MIDDLEWARE]

    assert WSGIClient(get_wsgi_application()).get("/ok/").status == 200
    assert lines.one("request_finished")["status"] == 200


# -- django-structlog's signals -------------------------------------------------------------------------------------------


def test_receivers_of_django_structlogs_signals_add_to_the_line(server: WSGIClient, lines: Lines) -> None:
    @receiver([signals.bind_extra_request_metadata, signals.bind_extra_request_finished_metadata], weak=False)
    def add(signal: Any, log_kwargs: dict[str, Any], **kwargs: Any) -> None:
        log_kwargs["at_end" if "response" in kwargs else "at_start"] = True

    server.get("/ok/")
    signals.bind_extra_request_metadata.disconnect(add)
    signals.bind_extra_request_finished_metadata.disconnect(add)

    line = lines.one("request_finished")
    assert (line["at_start"], line["at_end"]) == (True, True)


def test_receivers_see_a_failure_and_may_update_its_response(server: WSGIClient, lines: Lines) -> None:
    @receiver(signals.bind_extra_request_failed_metadata, weak=False)
    def add(exception: Exception, log_kwargs: dict[str, Any], **kwargs: Any) -> None:
        log_kwargs["failed_with"] = str(exception)

    @receiver(signals.update_failure_response, weak=False)
    def update(response: Any, **kwargs: Any) -> None:
        response["X-Support"] = "call us"

    answer = server.get("/fails/")
    signals.bind_extra_request_failed_metadata.disconnect(add)
    signals.update_failure_response.disconnect(update)

    assert answer.headers["X-Support"] == "call us"
    assert lines.one("request_failed")["failed_with"] == "boom"


def test_a_receiver_that_raises_changes_nothing(server: WSGIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from crm_monitoring import faults

    @receiver(signals.bind_extra_request_finished_metadata, weak=False)
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("mine")

    monkeypatch.setattr(faults, "reraise", False)
    answer = server.get("/ok/")
    signals.bind_extra_request_finished_metadata.disconnect(fail)

    assert answer.status == 200
    assert "RuntimeError" in faults.sentences()[0]


def test_requests_that_are_served_at_the_same_time_keep_apart(asgi: ASGIClient, lines: Lines) -> None:
    async def both() -> list[Answer]:
        views.barrier = asyncio.Barrier(2)
        return await asyncio.gather(asgi.arequest("GET", "/meets/"), asgi.arequest("GET", "/meets/"))

    answers = asyncio.run(both())

    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert {line["request_id"] for line in lines.named("met")} == ids
    assert len({line["trace_id"] for line in lines.named("met")}) == 2


# -- never in the way -----------------------------------------------------------------------------------------------------


def test_a_monitoring_that_cannot_begin_still_serves(server: WSGIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from crm_monitoring import faults
    from crm_monitoring.middleware import lifecycle

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(lifecycle, "begin", lambda request: 1 / 0)

    assert server.get("/ok/").status == 200
    assert server.get("/fails/").status == 500
    assert "_begin failed 2 times, last with ZeroDivisionError." in faults.sentences()


def test_a_monitoring_that_cannot_begin_lets_receivers_and_interruptions_be(
    wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crm_monitoring import faults
    from crm_monitoring.middleware import lifecycle

    @receiver(signals.bind_extra_request_metadata, weak=False)
    def start(**kwargs: Any) -> None:
        pytest.fail("there is no request to tell of")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(lifecycle, "begin", lambda request: 1 / 0)

    with pytest.raises(SystemExit):
        wsgi.get("/exits/1/")
    signals.bind_extra_request_metadata.disconnect(start)


def test_a_request_without_a_trace_is_concluded_too(rf: Any, lines: Lines) -> None:
    from crm_monitoring.middleware import lifecycle
    from crm_monitoring.work import Request

    running = Request(rf.get("/ok/"), "abc", "GET")

    lifecycle.conclude(running, 200)

    assert lines.one("request_finished")["status"] == 200


def test_the_middleware_leaves_logging_alone_where_it_is_the_projects(monitoring: Any) -> None:
    import logging

    from crm_monitoring.logs import Handler
    from crm_monitoring.middleware import MonitoringMiddleware

    monitoring(CONFIGURE_LOGGING=False)

    MonitoringMiddleware(lambda request: None)

    assert not any(type(handler) is Handler for handler in logging.getLogger().handlers)


def test_djangos_own_complaint_about_a_middleware_is_heard(settings: Any) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = [MIDDLEWARE, "tests.middleware.nothing"]

    with pytest.raises(ImproperlyConfigured, match="Middleware factory .*nothing returned None"):
        get_wsgi_application()


def test_what_the_host_gets_is_its_own(wsgi: WSGIClient) -> None:
    started: list[Any] = []
    environ = wsgi.environ("GET", "/ok/", b"", {}, {})

    response = wsgi.application(environ, lambda *args: started.append(args))

    assert type(response).__name__ == "JsonResponse"
    assert response.status_code == 200  # type: ignore[attr-defined]
    response.close()  # type: ignore[attr-defined]
