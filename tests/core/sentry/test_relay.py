"""What Sentry itself makes of our events: its normalisation takes them as they are, its scrubber finds nothing left to hide."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from crm_monitoring import PerformanceMonitor, capture_message, get_logger, set_user_context
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport

processing = pytest.importorskip("sentry_relay.processing", reason="sentry-relay has no wheel for this platform")

FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
DEFAULTS = {
    "scrubData": True,
    "scrubDefaults": True,
    "scrubIpAddresses": False,
    "sensitiveFields": [],
    "safeFields": [],
}

logger = get_logger("tests.relay")


@csrf_exempt
def crashes(request: HttpRequest) -> HttpResponse:
    request.POST  # noqa: B018 - parses the form
    set_user_context(7, email="ada@example.org", username="ada")
    password, form = "hunter2", {"token": "hunter2", "card": "4242 4242 4242 4242"}
    raise ValueError(f"refused: token={password} of {form}")


def messages(request: HttpRequest) -> HttpResponse:
    capture_message("sent to ada@example.org", extra={"iban": "FR76", "row": {"password": "hunter2"}})
    return HttpResponse("ok")


def logs(request: HttpRequest) -> HttpResponse:
    logger.error("import_failed", org_id=7, api_key="hunter2", author="ada", rows=[{"secret": "hunter2"}])
    return HttpResponse("ok")


def traced(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 WHERE 'a' = %s", ["hunter2"])
    with PerformanceMonitor("import_rows", slow_ms=10_000) as monitor:
        monitor.set_data(token="hunter2", count=3)
        monitor.set_tag("tenant", "north")
    return HttpResponse("ok")


urlpatterns = [
    path("crashes/", crashes),
    path("messages/", messages),
    path("logs/", logs),
    path("traced/<str:token>/", traced),
    path("traced/", traced),
]


@pytest.fixture(params=["crashes/", "messages/", "logs/", "traced/", "traced/abc123/"])
def sent(request: pytest.FixtureRequest, db: None, settings: Any, wsgi: WSGIClient, sentry: MemoryTransport) -> Any:
    """Every event and transaction of one request."""
    settings.ROOT_URLCONF = __name__
    headers = {"Authorization": "Bearer hunter2", "Cookie": "sessionid=hunter2", "Referer": "http://x/?token=hunter2"}
    body = b"login-password=hunter2&name=ada" if request.param == "crashes/" else b""
    wsgi.request(
        "POST" if body else "GET", f"/{request.param}?page=2&token=hunter2", body, headers | (FORM if body else {})
    )
    return [*sentry.events, *sentry.transactions]


def test_normalisation_finds_no_error(sent: list[dict[str, Any]]) -> None:
    normaliser = processing.StoreNormalizer()

    normalised = [normaliser.normalize_event(copy.deepcopy(event)) for event in sent]

    assert [list(_errors(event.get("_meta"))) for event in normalised] == [[]] * len(sent)
    assert [event["event_id"] for event in normalised] == [event["event_id"] for event in sent]


def test_its_scrubber_finds_nothing_left_to_hide(sent: list[dict[str, Any]]) -> None:
    """
    It goes by substrings: a text is replaced as a whole where it names a secret, though the secret itself is gone
    ("?token=[Filtered]"), and so is the value of a key that has a sensitive one inside ("author" has "auth").
    """
    config = processing.convert_datascrubbing_config(DEFAULTS)
    normaliser = processing.StoreNormalizer()

    for event in sent:
        normalised = json.loads(json.dumps(normaliser.normalize_event(copy.deepcopy(event))))
        differences = _differences(normalised, processing.pii_strip_event(config, copy.deepcopy(normalised)))
        assert [
            one for one in differences if "[Filtered]" not in str(one.ours) and not one.at.endswith(".author")
        ] == []


def test_its_scrubber_would_find_something(sent: list[dict[str, Any]]) -> None:
    """So that the test above can fail."""
    config = processing.convert_datascrubbing_config(DEFAULTS)
    event = {**sent[0], "extra": {"password": "hunter2"}}

    assert list(_differences(event, processing.pii_strip_event(config, copy.deepcopy(event)))) != []


def _errors(meta: Any) -> Iterator[Any]:
    if isinstance(meta, dict):
        yield from (meta.get("") or {}).get("err") or ()
        for name, inner in meta.items():
            yield from _errors(inner) if name else ()


class Difference(NamedTuple):
    at: str
    ours: Any
    theirs: Any


def _differences(ours: Any, theirs: Any, at: str = "") -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs} - {"_meta"}):
            yield from _differences(ours.get(name), theirs.get(name), f"{at}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{at}[{number}]")
    elif ours != theirs:
        yield Difference(at, ours, theirs)
