"""The one box: from what a customer says to what happened."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.urls import include, path

from crm_monitoring import capture_message, set_tag
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.metrics import hashed
from crm_monitoring.dashboard.models import Event, Issue
from crm_monitoring.dashboard.store import works
from crm_monitoring.ids import new_id
from tests import urls as core_urls
from tests.clients import WSGIClient
from tests.dashboard.bodies import Page, event, keep, keep_failure
from tests.dashboard.inbox.test_works import whole
from tests.dashboard.pages.test_issues import client_of

pytestmark = pytest.mark.django_db(transaction=True)

urlpatterns = [
    path("monitoring/", include("crm_monitoring.dashboard.urls")),
    path("", include(core_urls.urlpatterns)),
]


@pytest.fixture
def reader() -> Client:
    return client_of("view_dashboard")


def ask(client: Client, typed: str) -> Any:
    return client.get(f"/monitoring/find/?q={quote(typed)}")


def titles(client: Client, typed: str) -> list[str]:
    """The issues that are found, the newest first."""
    response = ask(client, typed)
    assert response.status_code == 200
    return [row.issue.title.removeprefix("ValueError: ") for row in response.context["rows"]]


# -- ids ------------------------------------------------------------------------------------------------------------------


def test_a_request_is_opened_by_its_id_or_its_traces(reader: Client) -> None:
    works.record(whole(1, request_id="the-request"))

    for typed in ("the-request", "a" * 32, f" {'a' * 32} "):
        assert ask(reader, typed).headers["Location"] == "/monitoring/requests/the-request/"


def test_several_requests_of_a_trace_are_listed(reader: Client) -> None:
    works.record(whole(1, request_id="page"))
    works.record(whole(2, request_id="api"))

    assert list(ask(reader, "a" * 32).context["found"].request_ids) == ["api", "page"]


def test_a_request_of_which_only_its_failure_is_kept_is_found(reader: Client) -> None:
    keep(event(), request_id="the-request")

    assert ask(reader, "the-request").headers["Location"] == "/monitoring/requests/the-request/"


@pytest.mark.parametrize("length", [8, 12, 32])
def test_an_event_is_opened_by_its_first_digits(reader: Client, length: int) -> None:
    issue = keep(event(event_id="0123abcd" * 4))

    address = ask(reader, ("0123ABCD" * 4)[:length]).headers["Location"]

    assert address == f"/monitoring/issues/{issue.pk}/events/{'0123abcd' * 4}/"


@pytest.mark.parametrize("typed", ["#{}", "{}"])
def test_an_issue_is_opened_by_its_number(reader: Client, typed: str) -> None:
    issue = keep(event())

    assert ask(reader, typed.format(issue.pk)).headers["Location"] == f"/monitoring/issues/{issue.pk}/"


def test_of_an_id_of_which_nothing_is_kept_it_is_told_why(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = time.time() - 600
    monkeypatch.setattr("crm_monitoring.ids.time", lambda: moment)
    made = new_id()
    monkeypatch.undo()

    assert "was fast and did not fail" in Page(ask(reader, made).content.decode()).text


@pytest.mark.parametrize(
    "typed", ["", "#999", "nothing-like-it", "☃", "%", "_", "'; DROP TABLE x", "last:soon is:lost", "9" * 40]
)
def test_whatever_is_typed_has_a_page(reader: Client, typed: str) -> None:
    assert "What can be found" in Page(ask(reader, typed).content.decode()).text


# -- words and filters ----------------------------------------------------------------------------------------------------


def test_issues_are_found_by_words_of_title_and_place(reader: Client) -> None:
    keep_failure("order 6 cannot be paid")
    keep_failure("no such category")

    assert titles(reader, "PAID order") == ["order 6 cannot be paid"]
    assert titles(reader, '"no such" category') == ["no such category"]
    assert len(titles(reader, '"POST organisations/"')) == 2
    assert titles(reader, "order category") == []


def test_filters_are_combined_and_turned_round(reader: Client) -> None:
    keep_failure("a", environment="production", release="1.4.2", level="error", transaction="GET a/", user=hashed("7"))
    keep_failure("b", environment="staging", release="1.4.1", level="warning", transaction="GET b/")
    Issue.objects.filter(title__endswith="b").update(status="resolved")

    for typed, found in (
        ("is:open", ["a"]),
        ("level:warning", ["b"]),
        ("env:production", ["a"]),
        ("-env:production", ["b"]),
        ("release:1.4", ["b", "a"]),
        ("release:1.4.2", ["a"]),
        ('endpoint:"GET b/"', ["b"]),
        ('-endpoint:"GET b/" is:open', ["a"]),
        ("user:7", ["a"]),
        ("user:8", []),
        (f"user:{hashed('7')}", ["a"]),
        ("last:1h", []),
        ("valueerror -level:error", ["b"]),
    ):
        assert titles(reader, typed) == found, typed


def test_issues_are_found_by_a_tag_of_an_event(
    reader: Client, wsgi: WSGIClient, settings: Any, monitoring: Any
) -> None:
    monitoring(INBOX=True)
    set_tag("tenant", "north")
    capture_message("import failed", level="error")
    flushing.flush()

    assert titles(reader, "tenant:north last:1h") == ["import failed"]
    assert titles(reader, "tenant:south") == []
    assert titles(reader, "-tenant:north") == []


def test_a_user_is_found_by_an_address(reader: Client) -> None:
    keep_failure("a", user=hashed("ada@example.org"))

    assert titles(reader, "user:ada@example.org") == ["a"]


def test_terms_are_chips_that_can_be_taken_away(reader: Client) -> None:
    keep_failure("order 6")

    response = ask(reader, 'order is:open endpoint:"POST organisations/"')

    assert [chip.text for chip in response.context["chips"]] == ["order", "is:open", 'endpoint:"POST organisations/"']
    without = reader.get(response.context["chips"][1].without)
    assert without.context["terms"] == 'order endpoint:"POST organisations/"'


def test_of_very_many_the_newest_are_shown(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_monitoring.dashboard.store.finding.MOST_FOUND", 2)
    for name in "abc":
        keep_failure(name)

    response = ask(reader, "ValueError")

    assert len(response.context["rows"]) == 2 and response.context["found"].is_more
    assert "There are more" in Page(response.content.decode()).text


def test_who_may_not_see_the_dashboard_finds_nothing() -> None:
    keep(event())

    assert ask(client_of(staff=False), "1").status_code == 403


@pytest.mark.parametrize("typed", ["order is:open tenant:north -level:error user:7 last:1h", "1" * 32, "word"])
def test_finding_asks_for_little(reader: Client, typed: str, django_assert_max_num_queries: Any) -> None:
    keep(event())

    with django_assert_max_num_queries(12):
        ask(reader, typed)


def test_the_box_is_on_every_page_and_keeps_what_was_typed(reader: Client) -> None:
    for address in ("", "issues/", "requests/", "alerts/", "find/?q=tenant%3Anorth"):
        page = Page(reader.get(f"/monitoring/{address}").content.decode())
        (box,) = page.all("input", name="q")
        assert page.all("form", action="/monitoring/find/", role="search")
    assert box["value"] == "tenant:north"


def test_what_tags_have_in_common_leads_to_the_issues_with_it(reader: Client) -> None:
    issue = keep(event(), tags={"tenant": "north west"})

    page = Page(reader.get(f"/monitoring/issues/{issue.pk}/").content.decode())

    assert page.all("a", href="/monitoring/find/?q=tenant%3A%22north+west%22")
    assert Event.objects.count() == 1
