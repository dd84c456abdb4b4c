"""The scrubber at its places: as the setting wants it, at once, cheap, and closed where it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from timeit import repeat
from typing import Any

import orjson
import pytest
import sentry_sdk
from django.utils.functional import SimpleLazyObject

from crm_monitoring import add_breadcrumb, capture_message, faults, get_logger
from crm_monitoring.logs import Formatter
from crm_monitoring.queries import shape
from crm_monitoring.scrubbing import configured
from crm_monitoring.scrubbing.configured import scrub, scrub_constant, scrub_exception, scrub_text, scrubber
from crm_monitoring.scrubbing.scrubber import FILTERED, Scrubber
from crm_monitoring.scrubbing.url_secrets import UrlSecrets
from crm_monitoring.sentry import django as integration
from crm_monitoring.sentry import scrubbed
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import Lines, MemoryTransport

# -- the setting ----------------------------------------------------------------------------------------------------------


def test_keys_of_the_setting_stand_beside_those_we_know(monitoring: Any) -> None:
    monitoring(SENSITIVE_KEYS=["customer number"])

    assert scrub({"customerNumber": "7", "password": "x", "name": "ada"}) == {
        "customerNumber": FILTERED,
        "password": FILTERED,
        "name": "ada",
    }


def test_keys_of_the_setting_may_replace_those_we_know(monitoring: Any) -> None:
    monitoring(SENSITIVE_KEYS=["customer number"], REPLACE_SENSITIVE_KEYS=True)

    assert scrub({"customer_number": "7", "password": "x", "session": "y"}) == {
        "customer_number": FILTERED,
        "password": "x",
        "session": "y",
    }


def test_what_says_the_same_again_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"name": "sdk", "packages": [{"name": "a"}]}
    searched: list[Any] = []
    assert scrub_constant("sdk", about) is about
    monkeypatch.setattr(configured, "scrub", lambda value, also: searched.append(value) or scrub(value, also))
    again = {"name": "sdk", "packages": [{"name": "a"}]}

    assert scrub_constant("sdk", again) is again and searched == []
    about["packages"][0]["password"] = "x"
    assert scrub_constant("sdk", about) == {"name": "sdk", "packages": [{"name": "a", "password": FILTERED}]}
    assert scrub_constant("sdk", again, lambda text: text.replace("sdk", FILTERED))["name"] == FILTERED
    assert len(searched) == 2


def test_what_was_clean_is_searched_again_by_other_keys(monitoring: Any) -> None:
    scrub_constant("sdk", {"customer": "7"})
    monitoring(SENSITIVE_KEYS=["customer"])

    assert scrub_constant("sdk", {"customer": "7"}) == {"customer": FILTERED}


def test_addresses_may_stay(monitoring: Any) -> None:
    assert scrub("to ada@example.org") == f"to {FILTERED}"

    monitoring(SCRUB_EMAILS=False)
    assert scrub("to ada@example.org") == "to ada@example.org"


def test_a_setting_that_changes_counts_at_once(lines: Lines, monitoring: Any) -> None:
    get_logger("shop").info("row_imported", customer=7)
    monitoring(SENSITIVE_KEYS=["customer"])
    get_logger("shop").info("row_imported", customer=7)

    assert [line["customer"] for line in lines.named("row_imported")] == [7, FILTERED]


def test_what_the_project_says_of_its_user_stays(sentry: MemoryTransport) -> None:
    with sentry_sdk.isolation_scope() as scope:
        scope.set_user(
            {"id": "7", "email": "ada@example.org", "username": "ada", "pin": 1234, "note": "ada@example.org"}
        )
        capture_message("now")

    assert sentry.events[0]["user"] == {
        "id": "7",
        "email": "ada@example.org",
        "username": "ada",
        "pin": FILTERED,
        "note": FILTERED,
    }


def test_more_names_can_be_secret_in_urls_and_some_can_be_readable(monitoring: Any) -> None:
    monitoring(SENSITIVE_URL_KEYS=["voucher"], READABLE_KEYS=["ticket", "session"])

    assert scrub({"query_string": "voucher=a&code=b&ticket=c"})["query_string"] == (
        "voucher=[Filtered]&code=[Filtered]&ticket=c"
    )
    assert UrlSecrets("/t/abc/v/abc/", {"ticket": "abc"}).path == "/t/abc/v/abc/"
    assert scrub({"session": "morning", "token": "abc"}) == {"session": "morning", "token": FILTERED}


def test_what_is_readable_by_its_name_is_still_searched_for_secrets(monitoring: Any) -> None:
    monitoring(READABLE_KEYS=["ticket"])

    assert scrub({"ticket": "ghp_" + "a1" * 18}) == {"ticket": FILTERED}


# -- what a URL holds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "captured", "text", "result"),
    [
        ("/login/abc/", {"token": "abc"}, "at /login/abc/?page=2", "at /login/{token}/?page=2"),
        ("/login/abc/", {"token": "abc"}, "abc is too short to be sure", "abc is too short to be sure"),
        ("/login/hunter2/", {"token": "hunter2"}, "no hunter2, hunter22", "no {token}, hunter22"),
        ("/login/hunter2/", {"token": "hunter2"}, "token_hunter2_old", "token_{token}_old"),
        ("/login/correcthorse/", {"token": "correcthorse"}, "a correcthorse", "a {token}"),
        ("/set/organisations/", {"key": "organisations"}, "organisations, at /set/organisations/",
         "organisations, at /set/{key}/"),
        ("/a b/", {"token": "a b"}, "/a b/ /a%20b/", "/{token}/ /{token}/"),
        ("/tickets/1234567/", {"ticket": "1234567"}, "row 1234567", "row {ticket}"),
        ("/tickets/1234567/", {"ticket": 1234567}, "row 1234567", "row 1234567"),
        ("/pay/1234567/", {"pin": 1234567}, "pin: 1234567", "pin: {pin}"),
        ("/s/Zk3v9Qx1LmT8pR2sW7yB4n/", {"slug": "Zk3v9Qx1LmT8pR2sW7yB4n"}, "Zk3v9Qx1LmT8pR2sW7yB4n!", "{slug}!"),
    ],
)  # fmt: skip
def test_a_text_loses_what_the_url_holds(path: str, captured: dict[str, Any], text: str, result: str) -> None:
    assert UrlSecrets(path, captured).replaced(text) == result


@pytest.mark.parametrize("captured", [{}, {"pk": 7}, {"slug": "north"}, {"token": ""}])
def test_an_ordinary_url_holds_nothing(captured: dict[str, Any]) -> None:
    secrets = UrlSecrets("/organisations/7/north/", captured)

    assert not secrets
    assert secrets.path == "/organisations/7/north/"
    assert secrets.replaced("7 north") == "7 north"


def test_the_scrubber_renames_in_every_kind_of_value() -> None:
    secrets = UrlSecrets("/login/hunter2/", {"token": "hunter2"})
    known = Scrubber(other=str)
    tree = {
        "hunter2": ["hunter2", b"hunter2", ("hunter2",), {"hunter2"}, ValueError("hunter2")],
        "url": "/login/hunter2/",
    }
    scrubbed_before = known.scrub({"name": "hunter2", "other": "hunter2"})

    assert "hunter2" in scrubbed_before.values()
    assert "hunter2" not in repr(known.scrub(tree, secrets.replaced))
    assert "hunter2" not in known.scrub({"name": "hunter2", "other": "hunter2"}, secrets.replaced).values()


def test_urls_that_cannot_be_resolved_cost_no_line(
    wsgi: WSGIClient, settings: Any, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    settings.ROOT_URLCONF = "tests.core.no_such_urls"

    with pytest.raises(ModuleNotFoundError):
        wsgi.get("/works/")

    assert lines.one("request_failed")["path"] == "/works/"


# -- keys that tell how to read their values -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["url", "http.url", "callback_url", "Referer", "path", "url.full", "request_uri"])
def test_the_value_of_a_urls_key_is_read_as_one(key: str) -> None:
    assert scrub({key: "/login/Zk3v9Qx1LmT8pR2sW7yB4n/"}) == {key: "/login/[Filtered]/"}


@pytest.mark.parametrize("key", ["query_string", "QUERY_STRING", "http.query", "url.query"])
def test_the_value_of_a_query_strings_key_is_read_as_one(key: str) -> None:
    assert scrub({key: "code=abc&page=2"}) == {key: "code=[Filtered]&page=2"}


@pytest.mark.parametrize("key", ["url", "path", "query_string", "pre_context"])
def test_another_value_under_such_a_key_is_searched_as_any_other(key: str) -> None:
    assert scrub({key: [{"password": "x"}, 3]}) == {key: [{"password": FILTERED}, 3]}


@pytest.mark.parametrize(
    "line",
    [
        "def login(self, password: str) -> None:",
        "    user = authenticate(username=username, password=password)",
        "    token: str | None = request.GET.get('token')",
        "    if password == other or not token:",
        '    raise ValueError(f"refused: token={token}")',
        '    token = request.POST["token"]',
    ],
)
def test_source_code_stays_readable(line: str) -> None:
    frame = {"context_line": line, "pre_context": [line, ""], "post_context": ["", line]}

    assert scrub(frame) is frame


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ('PASSWORD = "hunter2"', 'PASSWORD = "[Filtered]"'),
        ("login(password='hunter2')", "login(password='[Filtered]')"),
        ('{"api_key": "hunter2"}', '{"api_key": "[Filtered]"}'),
        ('token: str = "hunter2"', 'token: str = "[Filtered]"'),
        ('os.environ["SECRET_KEY"] = "hunter2"', 'os.environ["SECRET_KEY"] = "[Filtered]"'),
        ('send("ada@example.org")', 'send("[Filtered]")'),
        ('card = "4242 4242 4242 4242"', 'card = "[Filtered]"'),
    ],
)
def test_a_secret_written_into_source_code_does_not_leave(line: str, result: str) -> None:
    assert scrub({"context_line": line, "pre_context": ["", line]}) == {
        "context_line": result,
        "pre_context": ["", result],
    }


# -- objects --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    password: str


@dataclass(init=False)
class Unready:
    note: str = field(init=False)

    def __getattribute__(self, name: str) -> Any:
        if name == "note":
            raise ValueError("not ready")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({Row("x")}, [{"password": FILTERED}]),
        (Unready(), "<unprintable Unready>"),
        (SimpleLazyObject(lambda: Row("x")), "<SimpleLazyObject>"),
    ],
    ids=["set", "unready", "lazy"],
)
def test_an_object_is_searched_as_it_will_be_shown(value: Any, result: Any) -> None:
    assert scrub({"value": value}) == {"value": result}


# -- SQL ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "result"),
    [
        ("SELECT 1", "SELECT 1"),
        ("WHERE a = 'x' AND \"b\" = 'it''s' OR c = %s", 'WHERE a = ? AND "b" = ? OR c = %s'),
        ("WHERE a = E'x' AND b = 'cut", "WHERE a = ? AND b = ?"),
        (r"a LIKE %s ESCAPE '\' AND b LIKE %s ESCAPE '\'", "a LIKE %s ESCAPE ? AND b LIKE %s ESCAPE ?"),
        (r"a = 'x\' AND b = 'y', c", "a = ?, c"),
        ("a = 1 -- don't\n AND b = 'y'", "a = 1 -- don?"),
    ],
)
def test_sql_loses_its_texts(sql: str, result: str) -> None:
    assert shape(sql) == result


# -- where it fails -------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values named "broken" cannot be searched."""
    text = Scrubber.text

    def fail(self: Scrubber, value: str) -> str:
        if "hunter2" in value:
            raise RuntimeError("cannot be searched")
        return text(self, value)

    monkeypatch.setattr(Scrubber, "text", fail)
    monkeypatch.setattr(faults, "reraise", False)


@pytest.mark.parametrize("log", [get_logger("shop").info, logging.getLogger("shop").info], ids=["structlog", "stdlib"])
def test_a_line_that_cannot_be_searched_stays_behind(lines: Lines, broken: None, log: Callable[..., None]) -> None:
    log("hunter2")

    line = lines.one("line_not_scrubbed")
    assert (line["logger"], line["level"]) == ("shop", "info")
    assert "hunter2" not in str(lines.all())
    assert faults.losses() == {"unscrubbed_lines": 1}


def test_an_event_that_cannot_be_searched_is_not_sent(sentry: MemoryTransport, broken: None) -> None:
    capture_message("hunter2")

    assert sentry.envelopes == []
    assert faults.sentences() == ["Scrubbing in before_send failed 1 time, last with RuntimeError."]


def test_a_transaction_that_cannot_be_searched_is_not_sent(sentry: MemoryTransport, broken: None) -> None:
    with sentry_sdk.start_transaction(name="hunter2"):
        pass

    assert sentry.transactions == []
    assert faults.sentences() == ["Scrubbing in before_send_transaction failed 1 time, last with RuntimeError."]


def test_a_breadcrumb_that_cannot_be_searched_costs_only_itself(sentry: MemoryTransport, broken: None) -> None:
    with sentry_sdk.isolation_scope():
        add_breadcrumb("one")
        add_breadcrumb("hunter2")
        capture_message("now")

    (event,) = sentry.events
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["one"]
    assert faults.losses() == {scrubbed.UNSCRUBBED_BREADCRUMBS: 1}


@pytest.mark.parametrize(("part", "sent"), [("add_request_data", 1), ("hide_marked", 0)])
def test_an_event_goes_out_with_less_but_not_with_what_is_marked(
    wsgi: WSGIClient, sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, part: str, sent: int
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(integration, part, lambda *args: 1 / 0)

    wsgi.get("/fails/")

    assert len(sentry.events) == sent
    assert "ZeroDivisionError" in faults.sentences()[0]


def test_a_body_of_unknown_length_stays_behind(asgi: ASGIClient, sentry: MemoryTransport) -> None:
    asgi.request("POST", "/reads-body/")

    assert "data" not in sentry.events[0]["request"]


def test_a_text_that_cannot_be_searched_is_filtered_as_a_whole(broken: None) -> None:
    assert scrub_text("hunter2") == FILTERED


def test_a_traceback_that_cannot_be_searched_is_filtered_as_a_whole(broken: None) -> None:
    assert scrub_exception(ValueError("hunter2")) == FILTERED


def test_without_settings_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """As in gunicorn's own process, which uses our formatter."""
    monkeypatch.setattr(configured, "settings", type("Unconfigured", (), {"configured": False}))
    configured.reset()

    record = logging.makeLogRecord({"msg": "password=x to ada@example.org"})

    assert orjson.loads(Formatter().format(record))["event"] == "password=[Filtered] to [Filtered]"
    configured.reset()


# -- cost -----------------------------------------------------------------------------------------------------------------


def _cost(function: Callable[[], object], number: int) -> float:
    return min(repeat(function, number=number, repeat=5)) / number


def test_an_ordinary_line_costs_little() -> None:
    line = {
        "event": "organisation_created",
        "level": "info",
        "timestamp": "2026-11-23T07:47:00.123Z",
        "logger": "shop.views",
        "request_id": "0f8fad5bd9cb469fa16570867728950e",
        "org_id": 123,
        "name": "north",
        "count": 4,
    }

    # Measured: 12 times orjson, which takes 0.2 us for it; far more where coverage looks on.
    assert _cost(lambda: scrub(line), 2000) < 200 * _cost(lambda: orjson.dumps(line), 2000)


def test_an_event_costs_milliseconds() -> None:
    frames = [
        {
            "function": f"f{number}",
            "context_line": f"    raise ValueError({number})",
            "pre_context": [f"    step{line} = call({line}, name='n')" for line in range(5)],
            "post_context": [f"    after{line} = None" for line in range(5)],
            "vars": {f"v{name}": f"<Organisation: Organisation object ({number * name})>" for name in range(6)},
        }
        for number in range(50)
    ]

    def searched_anew() -> object:
        scrubber().clean_texts.clear()
        return scrub(frames)

    # Measured: 200 times orjson, which takes 15 us for it; far more where coverage looks on.
    assert _cost(searched_anew, 5) < 2500 * _cost(lambda: orjson.dumps(frames), 50)
