"""No secret leaves: one is planted in every place there is, and searched for in every byte that leaves the process."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest
import sentry_sdk
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView

from crm_monitoring import (
    PerformanceMonitor,
    add_breadcrumb,
    capture_exception,
    capture_message,
    check_monitoring_health,
    get_logger,
    set_tag,
    set_transaction_context,
    set_user_context,
)
from crm_monitoring.hooks import Record
from crm_monitoring.records import RequestRecord
from tests.clients import Answer, WSGIClient
from tests.conftest import MemoryTransport

PLAIN = "hunter2.Tr0ub4dor"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1g"
RANDOM = "Zk3v9Qx1LmT8pR2sW7yB4n"
FREE = {
    "jwt": JWT,
    "iban": "FR76 3000 6000 0112 3456 7890 189",
    "card": "4242 4242 4242 4242",
    "email": "ada.lovelace@example.org",
    "bearer": "Bearer 9944b09199c62bcf",
    "phone": "+33 6 12 34 56 78",
    "database": "postgres://crm:s3cret@db/crm",
    "webhook": f"https://hooks.example.org/services/{RANDOM}",
}

Place = Callable[[str], object]
Left = Callable[[], str]

logger = get_logger("tests.leaks")
standard = logging.getLogger("tests.leaks.standard")
keyed: dict[str, Place] = {}
free: dict[str, Place] = {}
planted: list[Callable[[], object]] = []


def under_a_key(function: Place) -> Place:
    """A place where a sensitive name stands beside the secret."""
    keyed[function.__name__] = function
    return function


def in_a_text(function: Place) -> Place:
    """A place where only the form of the secret tells."""
    free[function.__name__] = function
    return function


# -- places in code -------------------------------------------------------------------------------------------------------


@dataclass
class Login:
    name: str
    password: str


class Account:
    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return f"<Account: name='ada' token='{self.token}'>"


@under_a_key
def field(secret: str) -> None:
    logger.info("row_imported", password=secret)


@under_a_key
def nested_dict(secret: str) -> None:
    logger.info("row_imported", form={"user": {"password": secret}})


@under_a_key
def nested_list(secret: str) -> None:
    logger.info("row_imported", rows=[[{"token": secret}]])


@under_a_key
def standard_field(secret: str) -> None:
    standard.info("row imported", extra={"api_key": secret, "rows": ({"token": secret},)})


@under_a_key
def standard_argument(secret: str) -> None:
    standard.info("logged in with password=%s", secret)


@under_a_key
def event_text(secret: str) -> None:
    logger.info(f"login password={secret}")


@under_a_key
def object_in_a_field(secret: str) -> None:
    logger.info("row_imported", login=Login("ada", secret), account=Account(secret))


@under_a_key
def tag(secret: str) -> None:
    set_tag("api_key", secret)


@under_a_key
def tag_text(secret: str) -> None:
    set_tag("query", f"page=2&token={secret}")


@under_a_key
def sentry_context(secret: str) -> None:
    sentry_sdk.set_context("billing", {"account": {"iban": secret}})


@under_a_key
def message_extra(secret: str) -> None:
    capture_message("imported", extra={"client_secret": secret, "row": {"cvv": secret}})


@under_a_key
def message_text(secret: str) -> None:
    capture_message(f"imported with token={secret}")


@under_a_key
def exception_extra(secret: str) -> None:
    capture_exception(KeyError("x"), extra={"refresh_token": secret}, tags={"otp": secret})


@under_a_key
def breadcrumb_message(secret: str) -> None:
    add_breadcrumb(f"POST /login password={secret}")


@under_a_key
def breadcrumb_data(secret: str) -> None:
    add_breadcrumb("validating", data={"form": {"new_password2": secret}})


@under_a_key
def exception_text(secret: str) -> None:
    raise ValueError(f"refused: token={secret}")


@under_a_key
def exception_argument(secret: str) -> None:
    raise ValueError({"password": secret})


@under_a_key
def chained_exception(secret: str) -> None:
    try:
        exception_text(secret)
    except ValueError:
        raise LookupError("outer")  # noqa: B904 - the implicit context is the case


@under_a_key
def cause(secret: str) -> None:
    raise LookupError("outer") from ValueError(f"secret={secret}")


@under_a_key
def exception_note(secret: str) -> None:
    error = ValueError("refused")
    error.add_note(f"with api_key={secret}")
    raise error


@under_a_key
def exception_group(secret: str) -> None:
    raise ExceptionGroup("several", [ValueError(f"token={secret}"), KeyError("x")])


@under_a_key
def logged_exception(secret: str) -> None:
    try:
        exception_text(secret)
    except ValueError:
        logger.exception("login_failed")
        standard.exception("login failed")


@under_a_key
def logged_traceback(secret: str) -> None:
    try:
        exception_text(secret)
    except ValueError:
        logger.warning("login_failed", details=traceback.format_exc())


@under_a_key
def local_variables(secret: str) -> None:
    password = secret
    form = {"user": {"password": password}, "rows": [{"token": secret}]}
    login, account = Login("ada", secret), [Account(secret)]
    raise RuntimeError(len([form, login, account]))


@under_a_key
def sql_text(secret: str) -> None:
    with connection.cursor() as cursor:
        for _ in range(12):
            cursor.execute(f"SELECT 1 WHERE 'it''s' = '{secret}' OR 1 LIKE '%%a' ESCAPE '\\'")


@under_a_key
def sql_error(secret: str) -> None:
    raise IntegrityError(f"duplicate key\nDETAIL:  Key (email)=({secret}) already exists.")


@under_a_key
def monitor_data(secret: str) -> None:
    with PerformanceMonitor("import", slow_ms=0.001) as monitor:
        monitor.set_data(row={"password": secret})
        monitor.set_tag("token", secret)


@under_a_key
def monitor_name(secret: str) -> None:
    with PerformanceMonitor(f"import token={secret}", slow_ms=0.001):
        pass


@under_a_key
def user_extra(secret: str) -> None:
    set_user_context(7, email="ada@example.org", password=secret)


@under_a_key
def transaction_name(secret: str) -> None:
    set_transaction_context(f"import token={secret}")


@under_a_key
def metric(secret: str) -> None:
    sentry_sdk.metrics.count("rows", 1, attributes={"token": secret, "query": f"password={secret}"})


@under_a_key
def check_in(secret: str) -> None:
    sentry_sdk.crons.capture_checkin(monitor_slug=f"import?token={secret}", status="ok")


@under_a_key
def sentry_log(secret: str) -> None:
    sentry_sdk.logger.warning(f"token={secret}", attributes={"password": secret})


@in_a_text
def line_event(secret: str) -> None:
    logger.info(f"sent {secret} to them")


@in_a_text
def line_field(secret: str) -> None:
    logger.info("row_imported", value=secret, rows=[(1, {"note": f"was {secret}"})], **{secret: 1})


@in_a_text
def line_object(secret: str) -> None:
    logger.info("row_imported", user=get_user_model()(username=secret), error=ValueError(secret), raw=secret.encode())


@in_a_text
def standard_line(secret: str) -> None:
    standard.warning("sent %s", secret, extra={"value": {secret}})


@in_a_text
def crumb(secret: str) -> None:
    add_breadcrumb(f"sent {secret}", data={"values": [secret]})


@in_a_text
def exception(secret: str) -> None:
    value = [secret]
    raise ValueError(f"refused {value}")


@in_a_text
def message(secret: str) -> None:
    capture_message(f"sent {secret}", extra={"value": [secret]}, tags={"value": secret})


@in_a_text
def model_in_a_frame(secret: str) -> None:
    user = get_user_model()(username=secret)
    raise RuntimeError(len([user]))


@in_a_text
def monitor(secret: str) -> None:
    with PerformanceMonitor("import", slow_ms=0.001) as running:
        running.set_data(value=[secret])


@in_a_text
def measured(secret: str) -> None:
    sentry_sdk.metrics.gauge("rows", 1, attributes={"value": secret})
    sentry_sdk.logger.error("sent {value}", value=secret)


# -- the site -------------------------------------------------------------------------------------------------------------


@csrf_exempt
def crashes(request: HttpRequest, **captured: Any) -> HttpResponse:
    request.POST or request.body  # noqa: B018 - reads the form, or what is none
    for place in planted:
        place()
    raise RuntimeError("after all")


async def crashes_async(request: HttpRequest, **captured: Any) -> HttpResponse:
    return crashes(request, **captured)


def works(request: HttpRequest, **captured: Any) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    logger.info("link_followed", path=request.path)
    add_breadcrumb(f"at {request.build_absolute_uri()}")
    capture_message(f"followed {request.path}")
    sentry_sdk.metrics.count("rows", 1, attributes={"at": request.path})
    return HttpResponse("ok")


class Page(TemplateView):
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        template = engines["django"].from_string("{{ form.fails }}")
        return TemplateResponse(request, template, {"totp_secret": PLAIN, "form": Failing(PLAIN)})


class Failing(Account):
    @property
    def fails(self) -> str:
        raise ValueError("in the template")


def answers_early(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        standard.warning("at %s", request.path)
        return HttpResponse("closed", status=503)

    return middleware


def fails_early(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("before all")

    return middleware


handler500 = "crm_monitoring.views.server_error"
urlpatterns = [
    path("crashes/", crashes),
    path("crashes-async/", crashes_async),
    path("page/", Page.as_view()),
    path("works/<str:token>/", works),
    path("crashes/<str:token>/", crashes),
    path("invoice/<str:reference>/", works),
    path("reset/<str:uidb64>/<str:token>/", works),
    path("status/<str:code>/", works),
]


@pytest.fixture(autouse=True)
def _site(db: None, settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    planted.clear()


@pytest.fixture(params=["static", "stream"])
def everything(request: pytest.FixtureRequest, monitoring: Any, transport: MemoryTransport) -> Callable[..., None]:
    """Everything on that sends anything."""

    def configure(**keys: Any) -> None:
        options = {"transport": transport, "trace_lifecycle": request.param}
        on = {"SENTRY_RELEASE": "1.0", "SENTRY_LOGS": True, "SENTRY_OPTIONS": options, "N_PLUS_ONE_THRESHOLD": 5}
        monitoring(**{"TRACES_SAMPLE_RATE": 1.0, "SLOW_QUERY_MS": 0.0001, "LOG_LEVEL": "DEBUG", **on, **keys})

    configure()
    return configure


@pytest.fixture
def left(everything: Any, transport: MemoryTransport, capfd: pytest.CaptureFixture[str]) -> Left:
    """Returns every byte that has left since the last call: envelopes, standard output and standard error."""

    def collect() -> str:
        sentry_sdk.flush()
        sent = b"\n".join(envelope.serialize() for envelope in transport.envelopes)
        transport.envelopes.clear()
        captured = capfd.readouterr()
        assert b'"type":"event"' in sent or b'"type":"transaction"' in sent or b'"type":"span"' in sent
        assert "line_not_scrubbed" not in captured.out
        return sent.decode() + captured.out + captured.err

    return collect


# -- the matrix -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", keyed)
def test_a_secret_under_a_key_does_not_leave(server: WSGIClient, left: Left, name: str) -> None:
    planted.append(lambda: keyed[name](PLAIN))

    assert server.get("/crashes/").status == 500

    assert PLAIN not in left()


# What no setting lets through: texts in SQL, and rows that a database quotes.
ALWAYS_HIDDEN = ("sql_text", "sql_error")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in keyed if name not in ALWAYS_HIDDEN])
def test_the_same_place_is_seen_where_no_key_is_sensitive(
    wsgi: WSGIClient, left: Left, everything: Any, name: str
) -> None:
    """So that the test above can fail."""
    everything(SENSITIVE_KEYS=[], REPLACE_SENSITIVE_KEYS=True)
    planted.append(lambda: keyed[name](PLAIN))

    wsgi.get("/crashes/")

    assert PLAIN in left()


@pytest.mark.parametrize("name", free)
def test_a_secret_that_its_form_tells_does_not_leave(wsgi: WSGIClient, left: Left, name: str) -> None:
    for secret in FREE.values():
        planted[:] = [lambda secret=secret: free[name](secret)]
        wsgi.get("/crashes/")

    sent = left()
    assert [form for form, secret in FREE.items() if secret in sent] == []


@pytest.mark.parametrize("name", free)
def test_what_has_no_such_form_is_seen(wsgi: WSGIClient, left: Left, name: str) -> None:
    planted.append(lambda: free[name]("harmless-mark"))

    wsgi.get("/crashes/")

    assert "harmless-mark" in left()


@pytest.mark.parametrize("name", ["exception_text", "local_variables", "exception"])
def test_an_async_view_leaks_no_more_than_another(server: WSGIClient, left: Left, name: str) -> None:
    planted.append(lambda: {**keyed, **free}[name](JWT))

    server.get("/crashes-async/")

    assert JWT not in left()


def test_a_streamed_or_static_span_of_ones_own_is_searched(wsgi: WSGIClient, left: Left, everything: Any) -> None:
    def plant() -> None:
        if sentry_sdk.get_client().options["trace_lifecycle"] == "stream":
            with sentry_sdk.traces.start_span(name=f"get token={PLAIN}", attributes={"password": PLAIN, "url": PLAIN}):
                return
        with sentry_sdk.start_span(op="http", name=f"get token={PLAIN}") as span:
            span.set_data("form", {"password": PLAIN})
            span.set_tag("token", PLAIN)

    planted.append(plant)
    wsgi.get("/crashes/")

    assert f"password={PLAIN}" not in (sent := left())
    assert "get token=[Filtered]" in sent


# -- requests -------------------------------------------------------------------------------------------------------------

JSON = {"CONTENT_TYPE": "application/json"}
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
MULTIPART = {"CONTENT_TYPE": "multipart/form-data; boundary=x"}
FIELDS = (
    "password", "login-password", "password1", "new_password2", "old_password", "csrfmiddlewaretoken", "refresh", "idToken",
    "webhook_secret", "token_hash", "totp_secret", "mot_de_passe", "card_number", "api_key",
)  # fmt: skip
HEADERS = ("Authorization", "X-Api-Key", "X-CSRFToken", "X-Auth-Token", "Proxy-Authorization", "Cookie", "X-Session")


@pytest.mark.parametrize("name", HEADERS)
def test_a_secret_in_a_header_does_not_leave(server: WSGIClient, left: Left, name: str) -> None:
    server.request("GET", "/crashes/", headers={name: f"Bearer {PLAIN}" if "Auth" in name else f"sessionid={PLAIN}"})

    assert PLAIN not in left()


# The SDK keeps ten fields of a body.
@pytest.mark.parametrize("names", [FIELDS[:7], FIELDS[7:]])
@pytest.mark.parametrize("how", ["form", "json", "nested", "multipart", "query"])
def test_a_secret_in_a_field_does_not_leave(wsgi: WSGIClient, left: Left, how: str, names: tuple[str, ...]) -> None:
    secrets = {name: f"{PLAIN}{number}" for number, name in enumerate(names)}
    pairs = "&".join(f"{name}={secret}" for name, secret in secrets.items())
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    parts = "".join(part.format(*pair) for pair in secrets.items()) + "--x--\r\n"
    ways: dict[str, Callable[[], Answer]] = {
        "form": lambda: wsgi.post("/crashes/", pairs.encode(), **FORM),
        "json": lambda: wsgi.post("/crashes/", orjson.dumps(secrets), **JSON),
        "nested": lambda: wsgi.post("/crashes/", orjson.dumps([{"a": [secrets]}]), **JSON),
        "multipart": lambda: wsgi.post("/crashes/", parts.encode(), **MULTIPART),
        "query": lambda: wsgi.get(f"/crashes/?{pairs}"),
    }

    ways[how]()

    sent = left()
    assert PLAIN not in sent
    assert [name for name in names if name not in sent] == []


@pytest.mark.parametrize("query", [f"code={PLAIN}", f"sig={PLAIN}&a=1", f"to=%2Freset%3Ftoken%3D{PLAIN}"])
def test_a_query_string_loses_what_is_secret_in_urls_only(server: WSGIClient, left: Left, query: str) -> None:
    server.get(f"/crashes/?{query}", Referer=f"http://testserver/login/?{query}")

    assert PLAIN not in left()


def test_the_page_before_loses_what_looks_like_a_credential(server: WSGIClient, left: Left) -> None:
    server.get("/crashes/", Referer=f"/login/{RANDOM}/")

    assert RANDOM not in left()


@pytest.mark.parametrize(
    ("url", "secrets", "shown"),
    [
        (f"/works/{PLAIN}/", [PLAIN], "/works/{token}/"),
        (f"/crashes/{PLAIN}/", [PLAIN], "/crashes/{token}/"),
        ("/works/abc/", ["/abc"], "/works/{token}/"),
        ("/works/caf%C3%A9/", ["caf%C3%A9", "café"], "/works/{token}/"),
        ("/reset/MQ/c1a2b3-0a1b2c/", ["/MQ", "c1a2b3-0a1b2c"], "/reset/{uidb64}/{token}/"),
        (f"/invoice/{RANDOM}/", [RANDOM], "/invoice/{reference}/"),
        (f"/invoice/{FREE['email']}/", [FREE["email"]], "/invoice/{reference}/"),
        (f"/nowhere/{RANDOM}/", [RANDOM], "/nowhere/[Filtered]/"),
    ],
)
def test_a_secret_in_a_path_does_not_leave(
    server: WSGIClient, left: Left, records: list[Record], url: str, secrets: list[str], shown: str
) -> None:
    server.get(url, Referer=f"http://testserver{url}")

    sent = left()
    assert [secret for secret in secrets if secret in sent] == []
    assert shown in sent
    assert shown in [record.path for record in records if isinstance(record, RequestRecord)]


def test_a_path_is_known_before_its_view_is(settings: Any, left: Left) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], f"{__name__}.answers_early"]
    WSGIClient(get_wsgi_application()).get("/works/abc123/")

    sent = left()
    assert "abc123" not in sent
    assert "at /works/{token}/" in sent


def test_a_failure_outside_of_our_middleware_leaks_no_path(settings: Any, left: Left) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = ["tests.middleware.fails_outside", *settings.MIDDLEWARE]
    WSGIClient(get_wsgi_application()).get("/works/abc123/")

    assert "abc123" not in left()


def test_a_failure_before_our_middleware_leaks_no_path(settings: Any, left: Left) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = [f"{__name__}.fails_early", *settings.MIDDLEWARE]
    WSGIClient(get_wsgi_application()).get("/works/abc123/")

    assert '"url":"http://testserver/works/{token}/"' in left()


def test_a_secret_that_is_a_common_word_costs_nothing_but_the_path(
    wsgi: WSGIClient, everything: Any, transport: MemoryTransport
) -> None:
    wsgi.get("/status/503/")
    sentry_sdk.flush()

    (event,) = transport.events
    assert event["request"]["url"] == "http://testserver/status/{code}/"
    assert "code" not in event["event_id"] + event["timestamp"] + event["contexts"]["trace"]["trace_id"]


@pytest.mark.parametrize("debug", [False, True])
def test_a_template_leaks_nothing_of_its_context(wsgi: WSGIClient, left: Left, settings: Any, debug: bool) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"debug": debug}}]

    wsgi.get("/page/")

    sent = left()
    assert PLAIN not in sent
    assert "in the template" in sent


def test_an_outgoing_request_leaks_nothing_of_its_url(wsgi: WSGIClient, left: Left, receiver: str) -> None:
    def plant() -> None:
        urllib.request.urlopen(f"{receiver}/hook/{RANDOM}?code={PLAIN}&token={PLAIN}").close()

    planted.append(plant)
    wsgi.get("/crashes/")

    sent = left()
    assert (PLAIN in sent, RANDOM in sent) == (False, False)
    assert f"{receiver}/hook/[Filtered]" in sent


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of a server that takes anything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# -- the process, and what we show of ourselves ---------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--password", PLAIN], [f"--password={PLAIN}"], [f"TOKEN={PLAIN}"], ["-p", PLAIN]])
def test_a_command_line_does_not_leave(
    wsgi: WSGIClient, left: Left, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "import", *argv])

    wsgi.get("/crashes/")

    assert PLAIN not in left()


def test_what_we_show_of_ourselves_holds_no_secret(
    wsgi: WSGIClient,
    monitoring: Any,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crm_monitoring import faults

    monkeypatch.setattr(faults, "reraise", False)
    settings.ROOT_URLCONF = "tests.urls"
    monitoring(SENTRY_DSN=f"https://key:{PLAIN}@sentry.example.org/x", SENTRY_OPTIONS={"token": PLAIN})
    faults.record("Somewhere", ValueError(f"token={PLAIN}"))

    shown = [wsgi.get("/health/monitoring").text, wsgi.get("/fails/").text, str(check_monitoring_health())]
    with pytest.raises(BaseException):  # noqa: B017, PT011 - the command says that something is wrong, one way or another
        call_command("monitoring", "check")
    captured = capsys.readouterr()

    assert [PLAIN in text for text in [*shown, captured.out, captured.err]] == [False] * 5


# -- what must stay -------------------------------------------------------------------------------------------------------


def test_what_only_looks_secret_stays(wsgi: WSGIClient, left: Left, everything: Any) -> None:
    kept = {
        "author": "ada",
        "keyboard": "azerty",
        "org_id": 1234567890123,
        "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "at": "2026-11-23T07:47:00.123456Z",
        "duration_ms": 12.345,
        "authorize_url": "https://example.org/authorize",
        "email_password_status": "changed",
        "sql": 'SELECT "password" FROM "users" WHERE "token" = %s',
    }
    planted.append(lambda: logger.error("row_imported", **kept))

    wsgi.get("/crashes/")

    sent = left()
    assert [value for value in kept.values() if str(value).replace('"', '\\"') not in sent] == []


def test_ids_and_moments_of_an_event_stay(
    wsgi: WSGIClient, everything: Any, transport: MemoryTransport, request: pytest.FixtureRequest
) -> None:
    answer = wsgi.get("/crashes/")

    (event,) = transport.events
    frame = event["exception"]["values"][-1]["stacktrace"]["frames"][-1]
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert frame["context_line"].strip() == 'raise RuntimeError("after all")'
    assert frame["filename"].endswith("test_leaks.py")
    assert "[Filtered]" not in str([frame["pre_context"], frame["post_context"], event["contexts"]["trace"]])
