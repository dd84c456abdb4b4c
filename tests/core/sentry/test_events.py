"""What reaches Sentry of a failure, a message, a log line: once, with a title, and with what was known."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from django.contrib.auth import get_user_model
from django.core.signals import got_request_exception

from crm_monitoring import (
    add_breadcrumb,
    capture_exception,
    capture_message,
    get_logger,
    set_tag,
    set_user_context,
)
from crm_monitoring.sentry import sessions
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport


def exception_of(event: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = event["exception"]["values"][-1]
    return value


# -- crashes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fails/", "/async-fails/"])
def test_a_view_that_raises_makes_exactly_one_event(server: WSGIClient, sentry: MemoryTransport, path: str) -> None:
    answer = server.get(path)

    (event,) = sentry.events
    exception = exception_of(event)
    assert (exception["type"], exception["value"]) == ("ValueError", "boom")
    assert exception["stacktrace"]["frames"][-1]["function"] in ("fails", "async_fails")
    assert exception["mechanism"]["handled"] is False
    assert event["transaction"] == f"GET {path.removeprefix('/')}"
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert event["environment"] == "test"
    assert event["release"] == "1.0"


def test_an_error_in_an_outer_middleware_is_reported_with_its_request(settings: Any, sentry: MemoryTransport) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = ["tests.middleware.fails_outside", *settings.MIDDLEWARE]
    WSGIClient(get_wsgi_application()).get("/ok/")

    (event,) = sentry.events
    assert exception_of(event)["value"] == "outside"
    assert event["request"]["url"] == "http://testserver/ok/"


@pytest.mark.parametrize(("path", "status"), [("/answers/404/", 404), ("/answers/403/", 403), ("/answers/400/", 400)])
def test_what_django_answers_itself_makes_no_event(
    server: WSGIClient, sentry: MemoryTransport, path: str, status: int
) -> None:
    assert server.get(path).status == status
    assert sentry.events == []


def test_what_django_answers_itself_is_reported_where_its_status_is_listed(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(FAILED_REQUEST_STATUS_CODES=[403], SENTRY_OPTIONS={"transport": transport})

    server.get("/answers/403/")
    server.get("/answers/404/")

    (event,) = transport.events
    assert exception_of(event)["type"] == "PermissionDenied"
    assert exception_of(event)["mechanism"]["handled"] is True


@pytest.mark.parametrize("path", ["/status/503/", "/status/404/", "/nowhere/"])
def test_a_returned_error_status_makes_no_event(server: WSGIClient, sentry: MemoryTransport, path: str) -> None:
    server.get(path)

    assert sentry.events == []


@pytest.mark.parametrize(("code", "reported"), [(0, 0), (1, 1)])
def test_leaving_the_process_is_an_error_unless_it_is_with_status_0(
    wsgi: WSGIClient, sentry: MemoryTransport, code: int, reported: int
) -> None:
    with pytest.raises(SystemExit):
        wsgi.get(f"/exits/{code}/")

    assert len(sentry.events) == reported


def test_an_interrupted_request_is_reported(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    with pytest.raises(KeyboardInterrupt):
        wsgi.get("/interrupts/")

    assert exception_of(sentry.events[0])["type"] == "KeyboardInterrupt"


def test_without_the_sdks_reader_of_bodies_an_event_is_poorer_and_not_lost(
    server: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crm_monitoring import faults

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.delattr("sentry_sdk.integrations.django.DjangoRequestExtractor")

    assert server.request("POST", "/reads-body/", b"name=x").status == 500

    (event,) = sentry.events
    assert event["request"]["url"] == "http://testserver/reads-body/"
    assert event["transaction"] == "POST reads-body/"
    assert server.get("/health/monitoring").json()["status"] == "degraded"


def test_a_crash_in_an_unmonitored_view_is_reported(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/quiet/?fail=1")

    (event,) = sentry.events
    assert event["transaction"] == "GET quiet/"
    assert sentry.transactions == []


def test_an_error_in_a_template_shows_the_templates_own_line(
    wsgi: WSGIClient, sentry: MemoryTransport, settings: Any
) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"debug": True}}]

    wsgi.get("/template/")

    frames = exception_of(sentry.events[0])["stacktrace"]["frames"]
    (frame,) = [frame for frame in frames if frame["filename"].endswith("broken.html")]
    assert "broken_filter" in frame["context_line"]


def test_a_signal_without_an_exception_reports_nothing(sentry: MemoryTransport) -> None:
    got_request_exception.send(sender=None, request=None)

    assert sentry.events == []


def test_a_report_that_fails_changes_nothing(
    server: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crm_monitoring import faults
    from crm_monitoring.sentry import django

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(django, "capture_crash", lambda error: 1 / 0)

    assert server.get("/fails/").status == 500
    assert "Reporting a crash failed 1 time, last with ZeroDivisionError." in faults.sentences()


@pytest.mark.processes
def test_a_client_of_others_gets_its_events_as_they_are() -> None:
    transport = MemoryTransport()
    with sentry_sdk.new_scope() as scope:
        scope.set_client(sentry_sdk.Client(transport=transport, default_integrations=False))
        sentry_sdk.capture_message("theirs")

    assert "request" not in transport.events[0]


# -- log lines ------------------------------------------------------------------------------------------------------------


def test_a_line_at_error_makes_an_event_titled_by_its_event(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/logs-error/")
    server.get("/logs-error/")

    first, second = sentry.events
    assert first["logentry"]["message"] == second["logentry"]["message"] == "import_failed"
    assert first["contexts"]["log"]["org_id"] == 7
    assert first["logger"] == "tests.views"
    assert first["tags"]["request_id"] != second["tags"]["request_id"]


@pytest.mark.parametrize("how", ["exception", "error", "stdlib"])
def test_a_line_with_an_exception_keeps_its_stack(server: WSGIClient, sentry: MemoryTransport, how: str) -> None:
    server.get(f"/logs-exception/?how={how}")

    (event,) = sentry.events
    exception = exception_of(event)
    assert exception["type"] == "ZeroDivisionError"
    assert exception["stacktrace"]["frames"][-1]["function"] == "logs_exception"
    assert exception["mechanism"]["handled"] is True


def test_lines_below_error_are_breadcrumbs_with_their_fields(sentry: MemoryTransport) -> None:
    with sentry_sdk.isolation_scope():
        get_logger("shop").warning("stock_low", item=3)
        logging.getLogger("library").info("connected")
        get_logger("shop").debug("unimportant")
        capture_message("now")

    (event,) = sentry.events
    crumbs = [(crumb["category"], crumb["message"], crumb["level"]) for crumb in event["breadcrumbs"]["values"]]
    assert crumbs == [("shop", "stock_low", "warning"), ("library", "connected", "info")]
    assert event["breadcrumbs"]["values"][0]["data"] == {"item": 3}


@pytest.fixture
def request_under_way(sentry: MemoryTransport, rf: Any) -> Iterator[Any]:
    from crm_monitoring.middleware import lifecycle

    running = lifecycle.begin(rf.get("/ok/"))
    yield running
    lifecycle.conclude(running, 200)


def messages_of(event: Any) -> list[str]:
    return [crumb["message"] for crumb in event["breadcrumbs"]["values"]]


def test_lines_and_breadcrumbs_of_a_request_stand_in_their_order(
    request_under_way: Any, sentry: MemoryTransport
) -> None:
    get_logger("shop").info("first", item=3)
    add_breadcrumb("second")
    get_logger("shop").warning("third")
    capture_message("now")

    (event,) = sentry.events
    assert messages_of(event) == ["HTTP Request: GET /ok/", "first", "second", "third"]
    assert event["breadcrumbs"]["values"][1]["data"] == {"item": 3}


def test_lines_after_a_failure_have_not_led_to_it(rf: Any, sentry: MemoryTransport) -> None:
    from crm_monitoring.middleware import lifecycle

    running = lifecycle.begin(rf.get("/ok/"))
    get_logger("shop").info("before")
    capture_exception(ValueError("handled"))
    get_logger("shop").info("after")
    lifecycle.conclude(running, 200)

    assert messages_of(sentry.events[0]) == ["HTTP Request: GET /ok/", "before"]


@pytest.mark.parametrize("limit", [100, 20, 0])
def test_an_event_has_the_latest_breadcrumbs(monitoring: Any, transport: MemoryTransport, rf: Any, limit: int) -> None:
    from crm_monitoring.middleware import lifecycle

    monitoring(SENTRY_OPTIONS={"transport": transport, "max_breadcrumbs": limit})
    running = lifecycle.begin(rf.get("/ok/"))
    for number in range(150):
        get_logger("shop").info(f"line {number}")
    capture_message("now")
    lifecycle.conclude(running, 200)

    assert messages_of(transport.events[0]) == [f"line {number}" for number in range(150 - limit, 150)]


def test_a_line_does_not_keep_its_exception_alive(request_under_way: Any, sentry: MemoryTransport) -> None:
    class Odd(Exception):
        """One that can be referred to weakly, unlike those of C."""

    error = Odd()
    get_logger("shop").warning("odd", exc_info=error)
    alive = weakref.ref(error)
    request_under_way.shown_error = None
    del error

    assert alive() is None


def test_a_hook_of_the_project_sees_each_line_of_a_request(
    monitoring: Any, transport: MemoryTransport, wsgi: WSGIClient
) -> None:
    seen: list[Any] = []

    def before_breadcrumb(crumb: Any, hint: Any) -> Any:
        seen.append(crumb["message"])
        return None if crumb["message"] == "about to fail" else crumb

    monitoring(SENTRY_OPTIONS={"transport": transport, "before_breadcrumb": before_breadcrumb})
    wsgi.get("/fails/")

    assert seen == ["about to fail"]
    assert messages_of(transport.events[0]) == ["HTTP Request: GET /fails/"]


def test_django_lines_about_the_request_make_no_event(
    server: WSGIClient, sentry: MemoryTransport, lines: Lines, settings: Any
) -> None:
    settings.LOGGING = {"version": 1, "loggers": {"django.request": {}}}

    server.get("/fails/")

    assert lines.one("Internal Server Error: /fails/")["level"] == "error"
    assert len(sentry.events) == 1


def test_a_critical_line_is_fatal_in_sentry(sentry: MemoryTransport) -> None:
    get_logger("shop").critical("disk_full")

    assert sentry.events[0]["level"] == "fatal"


# -- what the API sends ---------------------------------------------------------------------------------------------------


def test_captured_exceptions_and_messages_return_the_ids_of_their_events(
    server: WSGIClient, sentry: MemoryTransport
) -> None:
    answer = server.get("/reports/").json()

    message, exception = sentry.events
    assert answer == {"exception": exception["event_id"], "message": message["event_id"]}
    assert exception["extra"]["row"] == 3
    assert exception["tags"]["step"] == "import"
    assert (message["message"], message["level"], message["extra"]["row"]) == ("all is well", "info", 4)


def test_capturing_returns_none_where_nothing_is_sent(monitoring: Any) -> None:
    monitoring()

    assert capture_exception(ValueError("x")) is None
    assert capture_message("x") is None


def test_capturing_without_an_exception_sends_nothing(sentry: MemoryTransport) -> None:
    assert capture_exception() is None
    assert sentry.events == []


def test_the_level_of_a_captured_exception_is_the_callers(sentry: MemoryTransport) -> None:
    capture_exception(ValueError("x"), level="warning")

    assert sentry.events[0]["level"] == "warning"


def test_user_tags_and_breadcrumbs_are_on_the_event(sentry: MemoryTransport) -> None:
    with sentry_sdk.isolation_scope():
        set_user_context(7, username="ada", plan="pro")
        set_tag("tenant", "north")
        add_breadcrumb("Validating file", category="import", data={"filename": "a.csv"})
        capture_message("now")

    (event,) = sentry.events
    (crumb,) = event["breadcrumbs"]["values"]
    assert event["user"] == {"id": "7", "username": "ada", "plan": "pro"}
    assert event["tags"] == {"tenant": "north"}
    assert (crumb["message"], crumb["category"], crumb["data"]) == ("Validating file", "import", {"filename": "a.csv"})


@pytest.mark.parametrize(
    "call",
    [lambda: add_breadcrumb("x", data=3), lambda: capture_message("x", extra=[1])],
    ids=["breadcrumb", "message"],
)
def test_a_wrong_argument_never_raises(sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    from crm_monitoring import faults

    monkeypatch.setattr(faults, "reraise", False)

    assert call() is None
    assert faults.sentences()


# -- the request on the event ---------------------------------------------------------------------------------------------


def test_the_event_describes_its_request(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/fails/?page=2", User_Agent="curl/8", Authorization="Bearer abc", Cookie="sessionid=abc")

    request = sentry.events[0]["request"]
    assert request["url"] == "http://testserver/fails/"
    assert (request["method"], request["query_string"]) == ("GET", "page=2")
    assert request["headers"]["User-Agent"] == "curl/8"
    assert request["env"] == {"SERVER_NAME": "testserver", "SERVER_PORT": "80"}
    assert "abc" not in str(request)


@pytest.mark.parametrize("logs_it", [False, True])
def test_the_clients_address_is_on_an_event_only_where_the_setting_asks_for_it(
    monitoring: Any, server: WSGIClient, transport: MemoryTransport, logs_it: bool
) -> None:
    monitoring(LOG_CLIENT_IP=logs_it, SENTRY_OPTIONS={"transport": transport})
    headers = ("X_Forwarded_For", "X_Real_IP", "Forwarded", "CF_Connecting_IP", "True_Client_IP", "X_Client_IP")

    server.get("/fails/", **dict.fromkeys(headers, "198.51.100.9"))

    assert ("127.0.0.1" in str(transport.events)) is logs_it
    assert "198.51.100.9" not in str(transport.events)


def test_what_happened_before_the_failure_is_on_the_event(
    db: None, server: WSGIClient, sentry: MemoryTransport
) -> None:
    server.get("/queries/12/?fail=1")

    crumbs = sentry.events[0]["breadcrumbs"]["values"]
    assert crumbs[0]["message"] == "HTTP Request: GET /queries/12/"
    assert "client_ip" not in crumbs[0]["data"]
    assert [crumb["category"] for crumb in crumbs[1:]] == ["query"] * 11
    assert crumbs[1]["message"].startswith("2 earlier queries, ")
    assert crumbs[2]["message"].startswith("SELECT ")


def test_the_user_is_on_the_event_if_the_view_had_read_it(
    db: None, wsgi: WSGIClient, sentry: MemoryTransport, rf: Any
) -> None:
    from crm_monitoring.middleware import lifecycle

    request = rf.get("/")
    request.user = get_user_model().objects.create_user("ada", "ada@example.org", pk=7)
    running = lifecycle.begin(request)
    capture_message("now")
    lifecycle.conclude(running, 200)

    assert sentry.events[0]["user"] == {"id": "7"}


def test_what_is_set_in_one_request_stays_in_it(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/fails/")
    server.get("/fails/")

    for event in sentry.events:
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
            "HTTP Request: GET /fails/",
            "about to fail",
        ]


JSON = {"CONTENT_TYPE": "application/json"}
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
MULTIPART = {"CONTENT_TYPE": "multipart/form-data; boundary=x"}
FILE = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nada\r\n--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\nPNG\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("headers", "body", "data"),
    [
        (JSON, b'{"name": "ada", "tags": [1]}', {"name": "ada", "tags": [1]}),
        (JSON, b"{broken", ""),
        (FORM, b"name=ada&age=36", {"name": "ada", "age": "36"}),
        (MULTIPART, FILE, {"name": "ada", "photo": ""}),
        ({"CONTENT_TYPE": "text/plain"}, b"some text", ""),
        ({"CONTENT_TYPE": "application/xml"}, b"<a/>", ""),
        (JSON, b'"' + b"x" * 2000 + b'"', ""),
    ],
)
def test_the_body_is_on_the_event_where_it_is_small_and_structured(
    server: WSGIClient, sentry: MemoryTransport, headers: dict[str, str], body: bytes, data: Any
) -> None:
    server.post("/reads-body/", body, **headers)

    assert sentry.events[0]["request"]["data"] == data


def test_a_body_that_was_read_as_a_stream_is_left_alone(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.post("/reads-body/?how=stream", b'{"name": "ada"}', **JSON)

    assert "data" not in sentry.events[0]["request"]


def test_a_body_that_rest_framework_has_parsed_is_on_the_event(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.post("/drf/", b'{"name": "ada"}', **JSON)

    assert sentry.events[0]["request"]["data"] == {"name": "ada"}


def test_a_host_that_is_not_allowed_does_not_hide_the_event(settings: Any, sentry: MemoryTransport) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = ["crm_monitoring.middleware.MonitoringMiddleware"]
    WSGIClient(get_wsgi_application()).get("/fails/", Host="evil.example")

    assert sentry.events[0]["request"]["url"] == "http://testserver/fails/"


def test_the_forwarded_host_counts_only_where_django_trusts_it(
    server: WSGIClient, sentry: MemoryTransport, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    server.get("/fails/", Host="testserver", X_Forwarded_Host="crm.example")
    settings.USE_X_FORWARDED_HOST = True
    server.get("/fails/", Host="testserver", X_Forwarded_Host="crm.example")

    assert [event["request"]["url"] for event in sentry.events] == [
        "http://testserver/fails/",
        "http://crm.example/fails/",
    ]


def test_the_mount_point_is_part_of_the_address(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.request("GET", "/fails/", environ={"SCRIPT_NAME": "/crm"})

    (event,) = sentry.events
    assert event["request"]["url"] == "http://testserver/crm/fails/"
    assert event["transaction"] == "GET fails/"


def test_a_queryset_in_a_frame_is_not_evaluated(
    db: None, sentry: MemoryTransport, django_assert_num_queries: Any
) -> None:
    def fail() -> None:
        users = get_user_model().objects.all()
        raise ValueError(len([users]))

    with django_assert_num_queries(0), pytest.raises(ValueError, match="1") as caught:
        fail()
    with django_assert_num_queries(0):
        capture_exception(caught.value)

    assert exception_of(sentry.events[0])["stacktrace"]["frames"][-1]["vars"]["users"] == "<QuerySet of auth.User>"


# -- release health -------------------------------------------------------------------------------------------------------


def test_each_request_counts_as_a_session(
    server: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them in one minute.
    monkeypatch.setattr(sessions, "time", lambda: 0.0)
    for path in ("/ok/", "/reports/", "/fails/"):
        server.get(path)
    sentry_sdk.flush()

    (aggregates,) = [payload["aggregates"] for payload in sentry.payloads("sessions")]
    assert {name: count for name, count in aggregates[0].items() if name != "started"} == {
        "exited": 1,
        "errored": 1,
        "crashed": 1,
    }


# -- what an event does not say -------------------------------------------------------------------------------------------


def test_an_exception_without_a_text_takes_the_lines(sentry: MemoryTransport) -> None:
    try:
        raise KeyError
    except KeyError:
        get_logger("shop").exception("basket_lost")

    assert (exception_of(sentry.events[0])["type"], exception_of(sentry.events[0])["value"]) == (
        "KeyError",
        "basket_lost",
    )


def test_an_exception_with_a_text_keeps_it(sentry: MemoryTransport) -> None:
    try:
        raise KeyError("basket")
    except KeyError:
        get_logger("shop").exception("basket_lost")

    event = sentry.events[0]
    assert exception_of(event)["value"] == "'basket'"
    assert event["contexts"]["log"]["events"] == ["basket_lost"]


def test_frames_of_ours_are_not_the_projects(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/monitored-fails/")

    frames = exception_of(sentry.events[0])["stacktrace"]["frames"]
    ours = [frame for frame in frames if frame["module"].startswith("crm_monitoring")]
    assert ours
    assert not any(frame["in_app"] for frame in ours)
    assert frames[-1]["in_app"]


def test_parts_that_would_be_empty_are_left_out(sentry: MemoryTransport) -> None:
    capture_message("import_failed")

    (event,) = sentry.events
    assert "transaction_info" not in event
    assert "log" not in event["contexts"]


def test_a_trace_does_not_tell_of_threads(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/fails/")

    (event,), (transaction,) = sentry.events, sentry.transactions
    assert "thread" not in str(event["contexts"]["trace"])
    assert "thread" not in str(transaction["contexts"]["trace"])


# -- templates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("get", [logging.getLogger, get_logger], ids=["standard", "ours"])
def test_an_event_of_a_message_with_arguments_keeps_its_template(sentry: MemoryTransport, get: Any) -> None:
    get("shop").error("import of %s failed after %d rows, %.1f s", "acme", 7, 0.25)

    (event,) = sentry.events
    assert event["logentry"] == {
        "message": "import of %s failed after %d rows, %.1f s",
        "formatted": "import of acme failed after 7 rows, 0.2 s",
        "params": ["acme", "7", "0.25"],
    }


def test_named_arguments_are_params_too(sentry: MemoryTransport) -> None:
    logging.getLogger("shop").error("import of %(name)s failed", {"name": "acme"})

    assert sentry.events[0]["logentry"]["params"] == ["acme"]


@pytest.mark.parametrize("secret", ["hunter2hunter2", "a", 1234])
def test_an_argument_that_is_secret_where_it_stands_does_not_leave_as_a_param(
    sentry: MemoryTransport, secret: Any
) -> None:
    logging.getLogger("shop").error("login with password=%s by %s failed", secret, "somebody")

    entry = sentry.events[0]["logentry"]
    assert entry["formatted"] == "login with password=[Filtered] by somebody failed"
    assert entry["params"] == ["[Filtered]", "somebody"]


def test_many_names_in_one_message_leave_room_for_others(sentry: MemoryTransport) -> None:
    for number in range(200):
        logging.getLogger("shop").error("import of %s failed", f"name {number}")
        logging.getLogger("shop").error(f"untemplated {number}")
    logging.getLogger("billing").error("invoice_lost")

    messages = [event["logentry"]["message"] for event in sentry.events]
    assert messages.count("import of %s failed") == 10
    assert "invoice_lost" in messages
