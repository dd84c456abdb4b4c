from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import translation

from crm_monitoring import conf, faults, views, work
from crm_monitoring.work import Request
from tests.clients import Answer, WSGIClient
from tests.conftest import MemoryTransport

ROOT = Path(__file__).parents[2]
FORM = "application/x-www-form-urlencoded"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


def running(request: HttpRequest, request_id: str) -> HttpRequest:
    work.use(Request(request, request_id, "GET"))
    return request


# -- the page for a failed request ----------------------------------------------------------------------------------------


def test_json_clients_get_both_ids(server: WSGIClient, sentry: MemoryTransport) -> None:
    answer = server.get("/fails/", Accept="application/json")

    (event,) = sentry.events
    assert answer.status == 500
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "detail": "Internal server error",
        "request_id": answer.headers["X-Request-ID"],
        "event_id": event["event_id"],
    }


def test_people_get_a_page_with_both_ids(server: WSGIClient, sentry: MemoryTransport) -> None:
    answer = server.get("/fails/", Accept=BROWSER)

    (event,) = sentry.events
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Request-ID"] in answer.text
    assert event["event_id"] in answer.text
    assert "boom" not in answer.text


@pytest.mark.usefixtures("monitoring")
def test_without_sentry_there_is_no_event_id(server: WSGIClient) -> None:
    answer = server.get("/fails/", Accept="application/json")

    assert answer.json()["event_id"] is None


@pytest.mark.parametrize(
    ("accept", "wants_json"),
    [
        ("application/json", True),
        ("application/json, text/plain, */*", True),
        ("application/problem+json", True),
        ("application/vnd.api+json", True),
        ("text/html;q=0.5, application/json", True),
        (BROWSER, False),
        ("text/html, application/json", False),
        ("*/*", False),
        ("", False),
        ("image/png", False),
        ("garbage", False),
    ],
)
def test_the_accept_header_decides(rf: RequestFactory, accept: str, wants_json: bool) -> None:
    assert views.wants_json(rf.get("/", headers={"accept": accept})) is wants_json


@pytest.mark.parametrize(
    ("content_type", "wants_json"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/vnd.api+json", True),
        ("application/x-www-form-urlencoded", False),
        ("text/plain", False),
    ],
)
def test_who_sent_json_gets_json(rf: RequestFactory, content_type: str, wants_json: bool) -> None:
    request = rf.post("/", b"{}", content_type=content_type, headers={"accept": "*/*"})

    assert views.wants_json(request) is wants_json


@pytest.mark.parametrize(("path", "is_json"), [("/api/fails/", True), ("/fails/", False)])
def test_paths_of_the_setting_answer_json(server: WSGIClient, monitoring: Any, path: str, is_json: bool) -> None:
    monitoring(JSON_PATHS=["/api/"])

    answer = server.get(path, Accept=BROWSER)

    assert (answer.headers["Content-Type"] == "application/json") is is_json


def test_the_page_speaks_french_to_who_asks_for_it(server: WSGIClient) -> None:
    answer = server.get("/fails/", Accept=BROWSER, Accept_Language="fr")

    assert '<html lang="fr">' in answer.text
    assert "<h1>Une erreur est survenue</h1>" in answer.text


def test_the_page_speaks_english_to_others(server: WSGIClient) -> None:
    answer = server.get("/fails/", Accept=BROWSER, Accept_Language="de")

    assert '<html lang="en">' in answer.text
    assert "<h1>Something went wrong</h1>" in answer.text


def test_every_text_is_translated() -> None:
    source = Path(views.__file__).read_text()

    texts = re.findall(r'gettext\("([^"]+)"\)', source)

    with translation.override("fr"):
        assert len(texts) == 7
        assert all(translation.gettext(text) != text for text in texts)


def test_the_page_fits_a_phone_and_stays_out_of_search_engines(wsgi: WSGIClient) -> None:
    page = wsgi.get("/fails/", Accept=BROWSER).text

    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert '<meta name="robots" content="noindex">' in page


def test_the_page_escapes(rf: RequestFactory) -> None:
    request = running(rf.get("/"), "<script>alert(1)</script>")

    assert b"<script>" not in views.server_error(request).content


def test_the_ids_of_another_request_are_not_shown(rf: RequestFactory) -> None:
    running(rf.get("/other/"), "another")

    answer = views.server_error(rf.get("/"))

    assert (answer.status_code, b"another" in answer.content) == (500, False)


def test_a_request_with_nothing_in_it_gets_the_page() -> None:
    assert views.server_error(HttpRequest()).status_code == 500


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("broken", [{"path": None}, {"META": None}])
def test_whatever_is_broken_it_answers(rf: RequestFactory, broken: dict[str, Any]) -> None:
    request = rf.get("/")
    vars(request).update(broken)

    answer = views.server_error(request)

    assert answer.status_code == 500
    assert faults.sentences() == ["server_error failed 1 time, last with AttributeError."]


@pytest.mark.usefixtures("production")
def test_it_answers_where_the_setting_cannot_be_read(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "get", lambda: 1 / 0)

    assert views.server_error(rf.get("/")).content == b"Internal server error"


def test_it_answers_without_languages(rf: RequestFactory, settings: Any) -> None:
    settings.USE_I18N = False

    with translation.override(None):
        assert b'<html lang="en">' in views.server_error(rf.get("/")).content


# -- test-sentry ----------------------------------------------------------------------------------------------------------


class Person:
    def __init__(self, *, is_active: bool = True, is_staff: bool = False) -> None:
        self.is_active = is_active
        self.is_staff = is_staff


class WithUser:
    """A middleware that gives every request the same user."""

    user: Any = None

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: WSGIRequest) -> Any:
        request.user = self.user
        return self.get_response(request)


@pytest.fixture
def as_user(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Serve requests of a user."""
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], f"{__name__}.WithUser"]
    return lambda user: monkeypatch.setattr(WithUser, "user", user)


def press(server: WSGIClient) -> Answer:
    """Press the button of the page."""
    page = server.get("/test-sentry")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    cookie = re.search(r"csrftoken=(\w+)", page.headers["Set-Cookie"])
    assert token is not None
    assert cookie is not None
    server.cookies["csrftoken"] = cookie[1]
    return server.post("/test-sentry", f"csrfmiddlewaretoken={token[1]}".encode(), Content_Type=FORM)


def test_to_look_at_the_page_sends_nothing(as_user: Any, sentry: MemoryTransport, server: WSGIClient) -> None:
    as_user(Person(is_staff=True))

    answer = server.get("/test-sentry")

    assert (answer.status, sentry.events) == (200, [])
    assert "<button>" in answer.text


def test_a_button_of_another_site_sends_nothing(as_user: Any, sentry: MemoryTransport, server: WSGIClient) -> None:
    as_user(Person(is_staff=True))

    assert server.post("/test-sentry").status == 403
    assert sentry.events == []


def test_staff_sends_a_message_and_an_exception(as_user: Any, sentry: MemoryTransport, server: WSGIClient) -> None:
    as_user(Person(is_staff=True))

    answer = press(server)

    message, exception = sentry.events
    assert answer.json() == {
        "message": "Check Sentry dashboard!",
        "message_id": message["event_id"],
        "exception_id": exception["event_id"],
    }
    assert exception["extra"]["test"] == "sentry"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("user", [None, Person(), Person(is_active=False, is_staff=True)])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_for_anybody_else_there_is_no_such_page(
    as_user: Any, sentry: MemoryTransport, server: WSGIClient, user: Any, method: str
) -> None:
    as_user(user)

    assert server.request(method, "/test-sentry").status == 404
    assert sentry.events == []


def test_without_auth_there_is_no_such_page(settings: Any, sentry: MemoryTransport, rf: RequestFactory) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[:1]
    settings.INSTALLED_APPS = ["crm_monitoring"]

    assert WSGIClient(get_wsgi_application()).get("/test-sentry").status == 404


def test_with_debug_anybody_may(settings: Any, sentry: MemoryTransport, server: WSGIClient) -> None:
    settings.DEBUG = True

    assert press(server).status == 200
    assert len(sentry.events) == 2


def test_neither_is_any_other_method_allowed(as_user: Any, server: WSGIClient) -> None:
    as_user(Person(is_staff=True))

    assert server.request("PUT", "/test-sentry").status in (403, 405)


def test_the_pages_let_the_browser_do_nothing_but_show_them(rf: RequestFactory) -> None:
    answer = views.server_error(rf.get("/"))

    policy = answer.headers["Content-Security-Policy"]
    (digest,) = re.findall(r"style-src 'sha256-([^']+)'", policy)
    (style,) = re.findall("<style>(.*?)</style>", answer.content.decode(), re.DOTALL)
    assert digest == b64encode(sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")


# -- what is shipped ------------------------------------------------------------------------------------------------------


def test_the_wheel_ships_translations_and_types(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed; the CI script builds the wheel")

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )

    (wheel,) = tmp_path.glob("*.whl")
    names = ZipFile(wheel).namelist()
    assert "crm_monitoring/locale/fr/LC_MESSAGES/django.mo" in names
    assert "crm_monitoring/py.typed" in names
    assert not any(name.startswith(("tests", "demo_project")) for name in names)
