"""The pages of requests that are kept whole: from an id to what happened."""

from __future__ import annotations

import time
import zlib
from typing import Any

import orjson
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Event, SlowTransaction
from crm_monitoring.dashboard.store import works
from crm_monitoring.ids import new_id
from tests.dashboard.bodies import Page, event, keep, keep_failure
from tests.dashboard.inbox.test_works import whole
from tests.dashboard.pages.test_issues import client_of

pytestmark = pytest.mark.django_db

REQUESTS = "/monitoring/requests/"


@pytest.fixture
def reader() -> Client:
    return client_of("view_dashboard")


def body(**more: Any) -> bytes:
    steps = [{"at_ms": 10 + number, "duration_ms": 1, "operation": "db", "text": "SELECT %s"} for number in range(12)]
    return orjson.dumps(
        {
            "host": "web-1",
            "process": 7,
            "method": "POST",
            "path": "/acts/6/",
            "db_queries": 12,
            "db_ms": 12.0,
            "error": "ValueError",
            "lines": [
                {"at_ms": 3.2, "level": "warning", "logger": "shop", "event": "charge_retry", "fields": {"order": 6}}
            ],
            "statements": [
                {
                    "sql": "SELECT %s",
                    "count": 12,
                    "total_ms": 12.0,
                    "max_ms": 2.0,
                    "place": {"code.filepath": "shop/orders.py", "code.lineno": 17, "code.function": "pay"},
                }
            ],
            "steps": steps,
            "asked": [{"name": "send_receipt", "id": "1"}, {"name": "ship", "id": "2"}],
            **more,
        }
    )


def keep_story(**given: Any) -> None:
    works.record(whole(1, **{"request_id": "the-request", "duration_ms": 400.0, "body": body(), **given}))


def links(page: Page) -> list[str]:
    return [attributes["href"] for tag, attributes in page.elements if tag == "a" and "href" in attributes]


def text_of(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return Page(response.content.decode()).text


def test_who_may_not_see_the_dashboard_sees_no_request() -> None:
    keep_story()

    assert client_of(staff=False).get(f"{REQUESTS}the-request/").status_code == 403
    assert Client().get(REQUESTS).status_code == 302


def test_a_request_is_told_as_a_story(reader: Client) -> None:
    keep_story()

    shown = text_of(reader, f"{REQUESTS}the-request/")

    for part in ("GET acts/{pk}/", "500", "400 ms", "your Python", "database", "web-1, 7", "POST /acts/6/"):
        assert part in shown
    for part in ("charge_retry", "order", "×12", "SELECT %s", "shop/orders.py:17 pay", "send_receipt"):
        assert part in shown
    assert "neither failed nor kept" in shown


def test_the_tasks_it_asked_for_are_told_with_it(reader: Client) -> None:
    keep_story()
    works.record(
        whole(
            2,
            request_id="the-request",
            endpoint="send_receipt",
            kind="task",
            status=None,
            failed=False,
            duration_ms=2100,
        )
    )
    works.record(whole(3, request_id="the-request", endpoint="ship", kind="task", status=None))

    shown = text_of(reader, f"{REQUESTS}the-request/")

    assert "send_receipt ran in 2.1 s" in shown and "ship failed" in shown


def test_its_failures_and_its_trace_are_links(reader: Client) -> None:
    keep_failure("declined")
    Event.objects.update(request_id="the-request")
    keep_story()
    works.record(whole(2, request_id="another"))

    page = Page(reader.get(f"{REQUESTS}the-request/").content.decode())

    kept = Event.objects.get()
    assert f"/monitoring/issues/{kept.issue_id}/events/{kept.event_id}/" in links(page)
    assert f"{REQUESTS}another/" in links(page)


def test_where_it_was_traced_its_course_comes_from_the_spans(reader: Client) -> None:
    keep_story()
    spans = {
        "start_timestamp": "2026-11-26T10:00:00Z",
        "spans": [
            {
                "op": "http.client",
                "description": "POST stripe",
                "start_timestamp": "2026-11-26T10:00:00.1Z",
                "timestamp": "2026-11-26T10:00:00.3Z",
            }
        ],
    }
    SlowTransaction.objects.create(
        event_id="1" * 32,
        request_id="the-request",
        moment=moment_of(time.time()),
        environment="test",
        endpoint="GET acts/{pk}/",
        body=zlib.compress(orjson.dumps(spans)),
        duration_ms=400,
    )

    shown = text_of(reader, f"{REQUESTS}the-request/")

    assert "POST stripe" in shown and "outgoing calls 200 ms" in shown and "from its trace" in shown


def test_it_is_given_as_json_too(reader: Client) -> None:
    keep_story()

    ((work),) = reader.get(f"{REQUESTS}the-request/?format=json").json()
    assert (work["request_id"], work["status"], work["asked"][0]["name"]) == ("the-request", 500, "send_receipt")


def test_whatever_a_body_has_become_it_is_shown(reader: Client) -> None:
    keep_story(
        body=b'{"lines": [1, {"at_ms": null}], "statements": "x", "steps": [[]], "asked": {"a": 1}, "path": ["/"]}'
    )

    assert "GET acts/{pk}/" in text_of(reader, f"{REQUESTS}the-request/")


@pytest.mark.parametrize(
    ("ago_s", "told"),
    [(120, "was fast and did not fail"), (5, "it may still run"), (40 * 86_400, "older than 30 days is not kept")],
)
def test_an_id_of_which_nothing_is_kept_says_when_it_was_and_why(
    reader: Client, monkeypatch: pytest.MonkeyPatch, ago_s: float, told: str
) -> None:
    moment = time.time() - ago_s
    monkeypatch.setattr("crm_monitoring.ids.time", lambda: moment)
    made = new_id()
    monkeypatch.undo()

    assert told in text_of(reader, f"{REQUESTS}{made}/", 404)


@pytest.mark.parametrize("given", ["from-nginx", "f" * 32, "a/b", "%F0%9F%92%A9", "x" * 500])
def test_an_id_of_somebody_elses_says_what_may_be(reader: Client, given: str) -> None:
    assert "its id is another one" in text_of(reader, f"{REQUESTS}{given}/", 404)


def test_the_list_is_filtered_and_ordered(reader: Client) -> None:
    works.record(whole(1, request_id="fast", duration_ms=5.0, reason="sample", failed=False, status=200))
    works.record(whole(2, request_id="slow", duration_ms=5000.0, reason="slow", failed=False, status=200))
    works.record(whole(3, request_id="task", endpoint="send_receipt", kind="task", status=None))

    def found(query: str = "") -> list[str]:
        page = Page(reader.get(f"{REQUESTS}?{query}").content.decode())
        found = [link.removeprefix(REQUESTS).strip("/") for link in links(page) if link.startswith(REQUESTS)]
        return [name for name in found if name]

    assert found() == ["task", "slow", "fast"]
    assert found("sort=slowest") == ["slow", "task", "fast"]
    assert found("reason=slow") == ["slow"]
    assert found("endpoint=send_receipt") == ["task"]
    assert "No request matches" in text_of(reader, f"{REQUESTS}?endpoint=gone")


@pytest.mark.parametrize(("megabytes", "told"), [(100, "fail or take longer than 1.0 s"), (0, "KEPT_REQUESTS_MB is 0")])
def test_an_empty_list_says_what_comes_there(reader: Client, monitoring: Any, megabytes: int, told: str) -> None:
    monitoring(KEPT_REQUESTS_MB=megabytes)

    assert told in text_of(reader, REQUESTS)


def test_a_page_asks_for_little(reader: Client, django_assert_max_num_queries: Any) -> None:
    keep_story()
    for address in (REQUESTS, f"{REQUESTS}the-request/"):
        with django_assert_max_num_queries(12):
            reader.get(address)


def test_an_event_leads_to_its_request(reader: Client) -> None:
    issue = keep(event(tags={"request_id": "a/b"}))

    page = Page(reader.get(f"/monitoring/issues/{issue.pk}/").content.decode())

    assert f"{REQUESTS}a/b/" in links(page)


# -- from the page of a failed request -------------------------------------------------------------------------------------


def fails(request: HttpRequest) -> HttpResponse:
    if "reads" in request.GET:
        assert request.user.pk
    raise ValueError("on purpose")


urlpatterns = [path("fails/", fails), path("monitoring/", include("crm_monitoring.dashboard.urls"))]
handler500 = "crm_monitoring.views.server_error"


@pytest.mark.parametrize(
    ("staff", "query", "leads"), [(True, "reads", True), (False, "reads", False), (True, "", False)]
)
def test_the_page_of_a_failed_request_leads_staff_to_its_story(
    settings: Any, staff: bool, query: str, leads: bool, django_assert_max_num_queries: Any
) -> None:
    settings.ROOT_URLCONF = __name__
    client = client_of(staff=staff)
    client.raise_request_exception = False

    with django_assert_max_num_queries(2 if query else 0):
        response = client.get(f"/fails/?{query}")

    address = f'href="{REQUESTS}{response.headers["X-Request-ID"]}/"'
    assert (address in response.content.decode()) is leads


def test_where_the_dashboard_has_no_pages_nothing_is_led_to(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.dashboard.urls_without_dashboard"
    client = client_of()
    client.raise_request_exception = False

    response = client.get("/fails/?reads")

    assert response.status_code == 500 and b"<a " not in response.content
