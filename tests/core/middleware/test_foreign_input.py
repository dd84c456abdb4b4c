"""What others have made (a header, a user, a response, a setting) costs its own field where it is broken, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse, UnreadablePostError
from django.urls import path, register_converter

from crm_monitoring import RequestRecord, conf, faults, get_logger, set_user_context, work
from crm_monitoring.hooks import Record
from crm_monitoring.middleware import MonitoringMiddleware
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.foreign")
TRACE = "771a43a4192642f0b136d5159a501700-b3f1c0de9a7d4e21"


class TokenUser:
    is_authenticated = True

    @property
    def pk(self) -> int:
        raise RuntimeError("there is no row")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Stubborn(HttpResponse):
    def __setitem__(self, header: Any, value: Any) -> None:
        raise RuntimeError("no header")

    __delitem__ = __setitem__  # type: ignore[assignment]


class Unwatchable(StreamingHttpResponse):
    @property
    def streaming_content(self) -> Any:
        raise RuntimeError("no content")

    @streaming_content.setter
    def streaming_content(self, value: Any) -> None:
        return


class Converter:
    regex = "[^/]+"

    def to_python(self, value: str) -> Unprintable:
        return Unprintable()


register_converter(Converter, "unprintable")


def _says(request: HttpRequest, **captured: Any) -> HttpResponse:
    logger.error("view_failed", step=1)
    return HttpResponse("ok")


def _as_token_user(request: HttpRequest) -> HttpResponse:
    request.user = TokenUser()  # type: ignore[assignment]
    return _says(request)


def _stubborn(request: HttpRequest) -> HttpResponse:
    _says(request)
    return Stubborn("ok")


def _with_status(status: Any) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        response = _says(request)
        response.status_code = status
        return response

    return view


def _with_text(request: HttpRequest) -> Any:
    _says(request)
    return "text"


def _unwatchable(request: HttpRequest) -> StreamingHttpResponse:
    _says(request)
    return Unwatchable([b"ok"])


def _as(user_id: Any) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        set_user_context(user_id)
        return _says(request)

    return view


def _reads_a_broken_body(request: HttpRequest) -> HttpResponse:
    raise UnreadablePostError("connection reset")


def _reads_nothing(request: HttpRequest) -> HttpResponse:
    return _says(request)


def _reads_its_body(request: HttpRequest) -> HttpResponse:
    assert request.body
    return _says(request)


def _reads_its_stream(request: HttpRequest) -> HttpResponse:
    assert request.read()
    return _says(request)


urlpatterns = [
    path("ok/", _says),
    path("token-user/", _as_token_user),
    path("stubborn/", _stubborn),
    path("no-status/", _with_status("abc")),
    path("none/", _with_status(None)),
    path("text/", _with_text),
    path("unwatchable/", _unwatchable),
    path("captures/<unprintable:thing>/", _says),
    path("as-7/", _as(7)),
    path("as-nobody/", _as(None)),
    path("reads-a-broken-body/", _reads_a_broken_body),
    path("reads-nothing/", _reads_nothing),
    path("reads-its-body/", _reads_its_body),
    path("reads-its-stream/", _reads_its_stream),
]


@pytest.fixture(autouse=True)
def _here(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["crm_monitoring.middleware.MonitoringMiddleware"]
    monkeypatch.setattr(faults, "reraise", False)


def _asked(client: WSGIClient, address: str, **headers: str) -> str | None:
    """Return the id that the client was told."""
    try:
        return client.get(address, **headers).headers.get("X-Request-ID")
    except (AttributeError, TypeError, RuntimeError):
        # The server fails on such a response as it did before us.
        return None


def _fails(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("ours")


# -- a table: each part that may break, and what it costs -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("/ok/", 200, True),
        ("/token-user/", 200, True),
        ("/captures/secret-thing/", 200, True),
        ("/stubborn/", 200, False),
        ("/no-status/", 500, False),
        ("/none/", 500, False),
        ("/text/", 500, False),
        ("/unwatchable/", 200, False),
    ],
)
def test_a_view_that_answers_oddly_has_line_record_and_event(
    wsgi: WSGIClient,
    sentry: MemoryTransport,
    lines: Lines,
    records: list[Record],
    address: str,
    status: int,
    told: bool,
) -> None:
    request_id = _asked(wsgi, address)

    line, (record,), (event,) = lines.one("request_finished"), records, sentry.events
    assert isinstance(record, RequestRecord)
    assert (line["status"], record.status) == (status, status)
    assert line["request_id"] == record.request_id == event["tags"]["request_id"]
    assert request_id == (record.request_id if told else None)
    assert not lines.named("log_line_failed")
    assert event["transaction"].startswith("GET ")


PARTS = [
    "crm_monitoring.middleware.lifecycle.request_id_of",
    "crm_monitoring.middleware.lifecycle.trace_request",
    "crm_monitoring.middleware.lifecycle.rebind",
    "crm_monitoring.middleware.lifecycle._BOUND",
    "crm_monitoring.middleware.lifecycle.report_server_error",
    "crm_monitoring.middleware.lifecycle.is_unmonitored",
    "crm_monitoring.middleware.lifecycle.tell_n_plus_one",
    "crm_monitoring.middleware.lifecycle.client_ip",
    "crm_monitoring.work.route_of",
    "crm_monitoring.scrubbing.url_secrets.scrubber",
    "crm_monitoring.sentry.tracing.RequestTrace._begin",
    "crm_monitoring.sentry.tracing.RequestTrace.close",
    "crm_monitoring.sentry.request_data._request_info",
    "crm_monitoring.sentry.request_data.endpoint_of",
    "crm_monitoring.sentry.request_data.add_breadcrumbs",
    "crm_monitoring.sentry.request_data.add_request_body",
]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_ours_that_fails_costs_itself_alone(
    server: WSGIClient,
    sentry: MemoryTransport,
    lines: Lines,
    records: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    monkeypatch.setattr(part, _fails)

    request_id = server.post("/reads-its-body/", b"{}").headers["X-Request-ID"]

    line, (record,), (event,) = lines.one("request_finished"), records, sentry.events
    assert line["request_id"] == record.request_id == request_id
    assert (line["status"], line["method"]) == (200, "POST")
    assert event["logentry"]["message"] == "view_failed"
    assert work.current_work() is None


# -- what a caller says of its trace --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("sampled", ["-1", "-0", ""])
@pytest.mark.parametrize(
    "baggage",
    [
        *(f"sentry-sample_rate={rate}" for rate in ("inf", "1e308", "-1e999", "nan", "x", "", "2", "-0.1")),
        *(f"sentry-sample_rand={draw}" for draw in ("inf", "nan", "7", "x")),
        "a=1, sentry-sample_rate = inf;x=1",
        "=,;%%",
        "a" * 9000,
    ],
)
def test_a_malformed_baggage_is_none(
    wsgi: WSGIClient,
    monitoring: Any,
    transport: MemoryTransport,
    lines: Lines,
    baggage: str,
    sampled: str,
    streaming: bool,
) -> None:
    options = {"transport": transport, **({"trace_lifecycle": "stream"} if streaming else {})}
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS=options)

    assert _asked(wsgi, "/ok/", sentry_trace=TRACE + sampled, baggage=baggage)

    assert lines.one("request_finished")["trace_id"] == TRACE[:32]
    assert faults.sentences() == []


@pytest.mark.parametrize("trace", ["", "garbage", TRACE.upper(), f"{TRACE}-7", f"{TRACE}-1-1", TRACE[:40], "\xff\xfe"])
def test_a_malformed_trace_is_none(wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines, trace: str) -> None:
    assert _asked(wsgi, "/ok/", sentry_trace=trace, baggage="sentry-sample_rate=1")

    line, (transaction,) = lines.one("request_finished"), sentry.transactions
    assert line["trace_id"] != TRACE[:32]
    assert transaction["contexts"]["trace"].get("parent_span_id") is None
    assert faults.sentences() == []


# -- the setting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["X-Request\nId", "X-Réquest-Id", "", "X Request"])
def test_a_header_that_cannot_be_sent_costs_the_header(
    server: WSGIClient,
    monitoring: Any,
    lines: Lines,
    records: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    header: str,
) -> None:
    config = conf.get()
    monkeypatch.setattr(type(config), "REQUEST_ID_HEADER", header, raising=False)
    monkeypatch.setitem(vars(config), "REQUEST_ID_HEADER", header)

    server.get("/ok/")

    assert lines.one("request_finished")["request_id"] == records[0].request_id


# -- who it acts for ------------------------------------------------------------------------------------------------------


def test_who_the_project_says_it_acts_for_is_on_lines_record_and_event(
    server: WSGIClient, sentry: MemoryTransport, lines: Lines, records: list[Record]
) -> None:
    server.get("/as-7/")

    (record,), (event,) = records, sentry.events
    assert lines.one("view_failed")["user_id"] == lines.one("request_finished")["user_id"] == "7"
    assert isinstance(record, RequestRecord) and record.user_id == "7"
    assert event["user"]["id"] == "7"


def test_to_act_for_nobody_names_nobody(
    server: WSGIClient, sentry: MemoryTransport, lines: Lines, records: list[Record]
) -> None:
    server.get("/as-nobody/")

    (record,), (event,) = records, sentry.events
    assert "user_id" not in lines.one("request_finished")
    assert isinstance(record, RequestRecord) and record.user_id is None
    assert not event.get("user")


# -- the body -------------------------------------------------------------------------------------------------------------


class Hanging:
    """The input of a client that announces a body and never sends it."""

    def read(self, *args: Any) -> bytes:
        raise AssertionError("nobody but the view reads the body")

    readline = read


def test_nothing_of_ours_reads_a_body(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    headers, environ = {"Content-Type": "application/json"}, {"CONTENT_LENGTH": "500", "wsgi.input": Hanging()}

    wsgi.request("POST", "/reads-nothing/", headers=headers, environ=environ)

    assert len(sentry.events) == len(sentry.transactions) == 1
    assert "data" not in sentry.events[0]["request"]


def test_a_body_that_the_view_has_read_as_a_stream_is_gone(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    wsgi.request("POST", "/reads-its-stream/", b'{"a": 1}', headers={"Content-Type": "application/json"})

    assert "data" not in sentry.events[0]["request"]


def test_a_body_goes_with_events_and_never_with_transactions(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.request("POST", "/reads-its-body/", b'{"a": 1}', headers={"Content-Type": "application/json"})

    assert sentry.events[0]["request"]["data"] == {"a": 1}
    assert "data" not in sentry.transactions[0]["request"]


# -- ends -----------------------------------------------------------------------------------------------------------------


def test_a_broken_upload_is_a_client_that_went_away(
    wsgi: WSGIClient, sentry: MemoryTransport, lines: Lines, records: list[Record]
) -> None:
    wsgi.get("/reads-a-broken-body/")

    line = lines.one("request_finished")
    assert (line["status"], line["level"], records[0].status) == (499, "warning", 499)  # type: ignore[union-attr]
    assert sentry.events == []


@pytest.mark.parametrize("error", ["asyncio.CancelledError", "django.core.exceptions.RequestAborted"])
def test_a_request_that_a_server_gives_up_has_its_line_and_is_no_issue(
    sentry: MemoryTransport, lines: Lines, rf: Any, error: str
) -> None:
    from django.utils.module_loading import import_string

    async def aborted(request: HttpRequest) -> HttpResponse:
        try:
            raise import_string(error)
        except BaseException:
            logger.exception("view_given_up")
            raise

    with pytest.raises(import_string(error)):
        asyncio.run(MonitoringMiddleware(aborted)(rf.get("/ok/")))  # type: ignore[arg-type]

    line = lines.one("request_finished")
    assert (line["status"], line["level"], sentry.events) == (499, "warning", [])
