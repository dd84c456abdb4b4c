"""The list of issues, the page of one, and what may be done with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from crm_monitoring.dashboard.models import Event, Issue, Sighting
from crm_monitoring.dashboard.store.issues import set_status
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.dashboard.bodies import LINK, ODD, PAYLOAD, Page, event, hostile, keep, keep_failure
from tests.dashboard.happenings import measure

pytestmark = pytest.mark.django_db

ISSUES = "/monitoring/issues/"
ACT = "/monitoring/issues/act/"


def client_of(*permissions: str, staff: bool = True, csrf: bool = False) -> Client:
    user = User.objects.create_user(f"user{User.objects.count()}", is_staff=staff)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="crm_monitoring_dashboard", codename__in=permissions)
    )
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


@pytest.fixture
def reader() -> Client:
    return client_of("view_dashboard")


@pytest.fixture
def editor() -> Client:
    return client_of("view_dashboard", "change_issue")


def page_of(client: Client, address: str) -> Page:
    response = client.get(address)
    assert response.status_code == 200
    return Page(response.content.decode())


def titles(client: Client, query: str = "") -> list[str]:
    """The names of the issues on the list, in order."""
    response = client.get(f"{ISSUES}?{query}")
    assert response.status_code == 200
    return [row.issue.title.removeprefix("ValueError: ") for row in response.context["rows"]]


# -- who may ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["", "1/", f"1/events/{'a' * 32}/", "act/"])
def address(request: pytest.FixtureRequest) -> str:
    return f"{ISSUES}{request.param}"


def test_anonymous_visitors_are_sent_to_the_login_page(client: Client, address: str) -> None:
    response = client.get(address)

    assert (response.status_code, urlsplit(response["Location"]).path) == (302, "/login/")


@pytest.mark.parametrize(
    ("permissions", "staff"), [((), True), (("change_issue",), True), (("view_dashboard",), False)]
)
def test_who_lacks_the_permission_or_is_no_staff_may_not(
    address: str, permissions: tuple[str, ...], staff: bool
) -> None:
    assert client_of(*permissions, staff=staff).get(address).status_code == 403


def test_acting_takes_a_post(editor: Client) -> None:
    assert editor.get(ACT).status_code == 405


def test_acting_takes_a_csrf_token() -> None:
    issue = keep_failure("boom")
    editor = client_of("view_dashboard", "change_issue", csrf=True)

    assert editor.post(ACT, {"issue": issue.pk, "status": "resolved"}).status_code == 403
    issue.refresh_from_db()
    assert issue.status == "open"


def test_the_form_has_the_token_it_takes() -> None:
    issue = keep_failure("boom")
    editor = client_of("view_dashboard", "change_issue", csrf=True)
    (token,) = page_of(editor, f"{ISSUES}{issue.pk}/").all("input", name="csrfmiddlewaretoken")

    fields = {"issue": issue.pk, "status": "resolved", "csrfmiddlewaretoken": token["value"]}
    assert editor.post(ACT, fields).status_code == 302
    issue.refresh_from_db()
    assert issue.status == "resolved"


def test_who_may_only_see_sees_no_buttons_and_may_not_act(reader: Client) -> None:
    issue = keep_failure("boom")

    for address in (ISSUES, f"{ISSUES}{issue.pk}/"):
        page = page_of(reader, address)
        assert page.all("button", name="status") == []
        assert page.all("input", name="issue") == []
    assert reader.post(ACT, {"issue": issue.pk, "status": "resolved"}).status_code == 403
    issue.refresh_from_db()
    assert issue.status == "open"


@pytest.mark.parametrize("method", ["put", "patch", "delete", "post"])
def test_pages_are_only_read(editor: Client, method: str) -> None:
    assert getattr(editor, method)(ISSUES).status_code == 405


def test_a_page_answers_head(reader: Client) -> None:
    issue = keep_failure("boom")

    for address in (ISSUES, f"{ISSUES}{issue.pk}/"):
        response = reader.head(address)
        assert (response.status_code, response.content) == (200, b"")


# -- the list --------------------------------------------------------------------------------------------------------------


def test_where_nothing_has_failed_the_list_says_so(reader: Client) -> None:
    page = page_of(reader, ISSUES)

    assert "Nothing has failed yet" in page.text
    assert page.all("form", role="search", aria_label="Filter") == []


def test_where_no_issue_matches_the_list_says_that(reader: Client) -> None:
    keep_failure("boom")

    page = page_of(reader, f"{ISSUES}?search=other")

    assert "No issue matches" in page.text
    assert "Nothing has failed yet" not in page.text


def test_the_list_shows_what_an_issue_is_about(editor: Client) -> None:
    issue = keep_failure("boom", count=1234, user="a" * 32)

    page = page_of(editor, ISSUES)

    assert page.all("a", href=f"{ISSUES}{issue.pk}/")
    assert page.all("input", name="issue", value=str(issue.pk))
    for shown in ("ValueError: boom", "error", "1,234", "1 issue"):
        assert shown in page.text


def test_only_open_issues_are_listed_unless_asked_otherwise(reader: Client) -> None:
    for status in Issue.Status:
        set_status([keep_failure(status.value).pk], status)

    assert titles(reader) == ["open"]
    assert titles(reader, "status=resolved") == ["resolved"]
    assert titles(reader, "status=ignored") == ["ignored"]
    assert sorted(titles(reader, "status=")) == ["ignored", "open", "resolved"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=two", ["two"]),
        ("search=VALUEERROR+two", ["two"]),
        ("search=%00two", []),
        ("level=warning", ["two"]),
        ("level=none", []),
        ("environment=staging", ["two"]),
        ("release=2.0", ["two"]),
        ("endpoint=GET+two/", ["two"]),
        ("environment=staging&release=2.0&endpoint=GET+two/&level=warning&search=two&status=open", ["two"]),
        ("environment=staging&release=1.0", []),
        ("search=two&level=error", []),
        ("", ["two", "one"]),
    ],
)
def test_the_filters_find_what_matches_all_of_them(reader: Client, query: str, found: list[str]) -> None:
    keep_failure("one")
    keep_failure("two", level="warning", environment="staging", release="2.0", transaction="GET two/")

    assert titles(reader, query) == found


def test_the_filters_show_what_was_chosen(reader: Client) -> None:
    keep_failure("one", environment="staging")

    page = page_of(reader, f"{ISSUES}?search=one&environment=staging&release=0.9&sort=count")

    chosen = [option["value"] for option in page.all("option") if "selected" in option]
    assert chosen == ["open", "", "staging", "0.9", ""]
    assert page.all("input", name="search", value="one")
    assert page.all("input", name="sort", value="count")


def test_an_issue_is_found_by_the_id_of_its_event(reader: Client) -> None:
    keep_failure("one")
    issue = keep_failure("two")

    assert titles(reader, f"search={Event.objects.get(issue=issue).event_id}") == ["two"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("last_seen", ["old", "few", "many"]),
        ("", ["old", "few", "many"]),
        ("made-up", ["old", "few", "many"]),
        ("first_seen", ["few", "many", "old"]),
        ("count", ["many", "old", "few"]),
        ("user_count", ["few", "old", "many"]),
    ],
)
def test_the_list_is_sorted(reader: Client, sort: str, order: list[str]) -> None:
    keep_failure("old", user="a" * 32)
    keep_failure("many", count=9)
    keep_failure("few", user="a" * 32)
    keep_failure("few", user="b" * 32, count=0)
    keep_failure("old", user="a" * 32)

    assert titles(reader, f"sort={sort}") == order


def test_sorting_keeps_the_filters_and_begins_on_the_first_page(reader: Client) -> None:
    keep_failure("one")

    page = page_of(reader, f"{ISSUES}?environment=production&page=3&sort=count")

    (current,) = page.all("th", aria_sort="descending")
    queries = [parse_qs(link["href"][1:]) for link in page.all("a") if link["href"].startswith("?")]
    assert queries == [
        {"environment": ["production"], "sort": [sort]} for sort in ("last_seen", "first_seen", "count", "user_count")
    ]


def test_there_are_fifty_issues_on_a_page(reader: Client) -> None:
    first = keep_failure("first")
    alike = {"title": "x", "level": "error", "first_seen": first.first_seen, "last_seen": first.last_seen}
    Issue.objects.bulk_create(Issue(fingerprint=str(number), **alike) for number in range(100))

    assert [len(titles(reader, f"page={number}")) for number in (1, 2, 3)] == [50, 50, 1]
    page = page_of(reader, f"{ISSUES}?level=error&page=2")
    assert "Page 2 of 3" in page.text
    assert [link["href"] for link in page.all("a", rel="prev")] == ["?level=error&page=1"]
    assert [link["href"] for link in page.all("a", rel="next")] == ["?level=error&page=3"]


@pytest.mark.parametrize("page", ["0", "-1", "99999999", "9" * 5000, "²", "x", ""])
def test_a_page_that_there_is_not_is_one_that_there_is(reader: Client, page: str) -> None:
    keep_failure("one")

    assert titles(reader, f"page={page}") == ["one"]


def test_an_issue_of_today_is_new_and_one_that_came_back_is_regressed(reader: Client) -> None:
    keep_failure("new", moment=timezone.now().timestamp())
    Issue.objects.filter(pk=keep_failure("back").pk).update(regressed_at=timezone.now())

    assert "new" in page_of(reader, f"{ISSUES}?search=new").text.split()
    assert "regressed" not in page_of(reader, f"{ISSUES}?search=new").text.split()
    assert "regressed" in page_of(reader, f"{ISSUES}?search=back").text.split()


def test_an_issue_of_last_week_is_neither(reader: Client) -> None:
    keep_failure("boom", moment=(timezone.now() - timedelta(days=7)).timestamp())

    assert not {"new", "regressed"} & set(page_of(reader, ISSUES).text.split())


def test_the_list_takes_as_many_queries_for_many_issues_as_for_one(
    editor: Client, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    keep_failure("first")
    with CaptureQueriesContext(connection) as few:
        editor.get(ISSUES)
    for number in range(30):
        keep_failure(f"number {number}", user=f"{number:032}")
    with django_assert_max_num_queries(len(few)):
        editor.get(ISSUES)
    assert len(few) <= 12


# -- what may be done ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["resolved", "ignored", "open"])
def test_several_issues_are_changed_at_once(editor: Client, status: str) -> None:
    one, two, three = (keep_failure(name) for name in ("one", "two", "three"))
    set_status([one.pk, two.pk, three.pk], Issue.Status.IGNORED if status == "open" else Issue.Status.OPEN)

    response = editor.post(ACT, {"issue": [one.pk, two.pk], "status": status, "next": f"{ISSUES}?level=error"})

    assert (response.status_code, response["Location"]) == (302, f"{ISSUES}?level=error")
    changed = Issue.objects.filter(status=status).values_list("pk", flat=True)
    assert sorted(changed) == [one.pk, two.pk]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [("resolved", "2 issues are resolved."), ("ignored", "2 issues are ignored."), ("open", "2 issues are open.")],
)
def test_the_next_page_says_what_was_done(editor: Client, status: str, sentence: str) -> None:
    pks = [keep_failure(name).pk for name in ("one", "two")]

    response = editor.post(ACT, {"issue": pks, "status": status}, follow=True)

    assert sentence in Page(response.content.decode()).text


def test_a_project_without_messages_can_act_too(editor: Client, settings: Any) -> None:
    issue = keep_failure("boom")
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "messages" not in name]

    assert editor.post(ACT, {"issue": issue.pk, "status": "resolved"}).status_code == 302
    issue.refresh_from_db()
    assert issue.status == "resolved"


@pytest.mark.parametrize(
    "fields",
    [{"status": "closed"}, {}, {"status": "resolved", "issue": "x"}, {"status": "resolved", "issue": "9" * 5000}],
)
def test_what_makes_no_sense_changes_nothing(editor: Client, fields: dict[str, str]) -> None:
    issue = keep_failure("boom")

    assert editor.post(ACT, {"issue": issue.pk, **fields}).status_code == 400
    issue.refresh_from_db()
    assert issue.status == "open"


def test_without_a_chosen_issue_nothing_happens(editor: Client) -> None:
    keep_failure("boom")

    assert editor.post(ACT, {"status": "resolved"}).status_code == 302
    assert Issue.objects.get().status == "open"


@pytest.mark.parametrize(
    "address", ["https://evil.example/", "//evil.example/", LINK, "", "http:///evil.example", "/\\evil.example"]
)
def test_the_way_back_leads_nowhere_else(editor: Client, address: str) -> None:
    issue = keep_failure("boom")

    response = editor.post(ACT, {"issue": issue.pk, "status": "resolved", "next": address})

    assert response["Location"] == ISSUES


def test_an_issue_offers_what_it_is_not(editor: Client) -> None:
    issue = keep_failure("boom")

    def offered() -> list[str]:
        return [button["value"] for button in page_of(editor, f"{ISSUES}{issue.pk}/").all("button", name="status")]

    assert offered() == ["resolved", "ignored"]
    set_status([issue.pk], Issue.Status.RESOLVED)
    assert offered() == ["ignored", "open"]
    set_status([issue.pk], Issue.Status.IGNORED)
    assert offered() == ["resolved", "open"]


# -- one issue -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def failed(wsgi: WSGIClient, sentry: MemoryTransport, settings: Any) -> dict[str, Any]:
    """The event of a request that logged, failed, and failed again while it dealt with that."""
    addresses = settings.ROOT_URLCONF
    settings.ROOT_URLCONF = "tests.urls"
    wsgi.get("/failure/raised_from/?page=2", User_Agent="curl/8")
    settings.ROOT_URLCONF = addresses
    (body,) = sentry.events
    return body


def test_the_page_of_a_real_failure_tells_all_of_it(reader: Client, failed: dict[str, Any]) -> None:
    issue = keep(failed, count=3)

    page = page_of(reader, f"{ISSUES}{issue.pk}/")

    for shown in (
        "Outer: outer",
        "inner",
        "Preceded by:",
        "tests/breakages.py",
        'raise Outer("outer") from error',
        "calls in libraries",
        "local variable",
        "fetch_failed",
        "HTTP Request: GET /failure/raised_from/",
        "http://testserver/failure/raised_from/?page=2",
        "curl/8",
        "GET failure/{how}/",
        "no (django)",
        failed["tags"]["request_id"],
        failed["contexts"]["trace"]["trace_id"],
        failed["server_name"],
        failed["event_id"],
    ):
        assert shown in page.text, shown
    assert page.dangers() == []


def test_the_innermost_call_comes_first(reader: Client, failed: dict[str, Any]) -> None:
    text = page_of(reader, f"{ISSUES}{keep(failed).pk}/").text

    assert text.index('raise Outer("outer") from error') < text.index("WAYS[how]()") < text.index("calls in libraries")


def test_an_issue_shows_its_newest_event_and_links_to_the_others(reader: Client) -> None:
    ids = []
    for number in range(3):
        body = event(message=f"message {number}")
        ids.append(body["event_id"])
        issue = keep(body)

    newest = page_of(reader, f"{ISSUES}{issue.pk}/")
    middle = page_of(reader, f"{ISSUES}{issue.pk}/events/{ids[1]}/")

    assert "message 2" in newest.text
    assert newest.all("a", rel="next") == []
    assert [link["href"] for link in newest.all("a", rel="prev")] == [f"{ISSUES}{issue.pk}/events/{ids[1]}/"]
    assert "message 1" in middle.text
    assert [link["href"] for link in middle.all("a", rel="prev")] == [f"{ISSUES}{issue.pk}/events/{ids[0]}/"]
    assert [link["href"] for link in middle.all("a", rel="next")] == [f"{ISSUES}{issue.pk}/events/{ids[2]}/"]
    assert middle.all("a", href=f"{ISSUES}{issue.pk}/")


def test_an_issue_shows_where_it_was_seen_and_links_there(reader: Client) -> None:
    keep(event())
    keep(event())
    issue = keep(event(environment="staging", release="2.0", transaction="GET a-b/{pk}/"))

    page = page_of(reader, f"{ISSUES}{issue.pk}/")

    assert page.all("a", href=f"{ISSUES}?environment=staging")
    assert page.all("a", href=f"{ISSUES}?release=2.0")
    assert page.all("a", href=f"{ISSUES}?endpoint=GET+a-b%2F%7Bpk%7D%2F")
    assert page.all("a", href="/monitoring/?rows=all#:~:text=GET%20a%2Db%2F%7Bpk%7D%2F")
    assert "production 66.7% 2 staging 33.3% 1" in page.text


def test_an_issue_seen_nowhere_in_particular_says_so(reader: Client) -> None:
    issue = keep({"message": "x"})

    assert "unknown" in page_of(reader, f"{ISSUES}{issue.pk}/").text


def test_an_issue_outlives_its_events(reader: Client) -> None:
    issue = keep(event())
    Event.objects.all().delete()
    Sighting.objects.all().delete()

    assert "None of its events is kept any more." in page_of(reader, f"{ISSUES}{issue.pk}/").text


def test_dates_of_an_issue_that_was_resolved_or_came_back_are_shown(reader: Client) -> None:
    issue = keep(event())
    Issue.objects.update(resolved_at=timezone.now(), status="resolved")
    assert "Resolved" in page_of(reader, f"{ISSUES}{issue.pk}/").text
    Issue.objects.update(regressed_at=timezone.now())
    assert "Came back" in page_of(reader, f"{ISSUES}{issue.pk}/").text


@pytest.mark.parametrize(
    "path", ["999/", f"{10**30}/", "{pk}/events/unknown/", "{pk}/events/%00/", f"999/events/{'a' * 32}/"]
)
def test_what_there_is_not_is_not_found(reader: Client, path: str) -> None:
    issue = keep(event())

    assert reader.get(ISSUES + path.replace("{pk}", str(issue.pk))).status_code == 404


def test_an_event_of_another_issue_is_not_found(reader: Client) -> None:
    other, issue = keep_failure("other"), keep_failure("boom")

    event_id = Event.objects.get(issue=other).event_id

    assert reader.get(f"{ISSUES}{issue.pk}/events/{event_id}/").status_code == 404


def test_the_page_takes_as_many_queries_for_many_events_as_for_two(
    reader: Client, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for _ in range(2):
        issue = keep(event())
    with CaptureQueriesContext(connection) as few:
        reader.get(f"{ISSUES}{issue.pk}/")
    for number in range(20):
        keep(event(release=f"{number}"), user=f"{number:032}")
    with django_assert_max_num_queries(len(few)):
        reader.get(f"{ISSUES}{issue.pk}/")
    assert len(few) <= 12


# -- copies ----------------------------------------------------------------------------------------------------------------


def test_an_event_is_given_as_json(reader: Client, failed: dict[str, Any]) -> None:
    issue = keep(failed)

    response = reader.get(f"{ISSUES}{issue.pk}/events/{failed['event_id']}/?format=json")

    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response.json() == failed


def test_an_event_is_given_as_text(reader: Client, failed: dict[str, Any]) -> None:
    issue = keep(failed)

    response = reader.get(f"{ISSUES}{issue.pk}/events/{failed['event_id']}/?format=text")

    text = response.content.decode()
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert text.startswith("Outer: outer\n\nEvent: ")
    assert f"http://testserver{ISSUES}{issue.pk}/events/{failed['event_id']}/" in text
    assert '    raise Outer("outer") from error' in text
    assert "Preceded by: ValueError: inner" in text
    assert "<" not in text.replace("<lambda>", "")


def test_text_is_not_escaped_for_it_is_no_page(reader: Client) -> None:
    body = hostile()
    issue = keep(body)

    response = reader.get(f"{ISSUES}{issue.pk}/events/{body['event_id']}/?format=text")

    assert PAYLOAD in response.content.decode()
    assert response["Content-Type"].startswith("text/plain")


def test_the_links_to_copies_work_without_a_script(reader: Client) -> None:
    issue = keep(event())

    links = page_of(reader, f"{ISSUES}{issue.pk}/").all("a", data_copied="Copied")

    assert [urlsplit(link["href"]).query for link in links] == ["format=markdown", "format=text", "format=json"]
    assert [reader.get(link["href"]).status_code for link in links] == [200, 200, 200]


# -- events from anywhere --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [PAYLOAD, LINK, f'" onmouseover="{LINK}'])
def test_nothing_in_an_event_gets_into_the_page_as_anything_but_text(editor: Client, text: str) -> None:
    issue = keep(hostile(text))

    for address in (ISSUES, f"{ISSUES}{issue.pk}/"):
        html = editor.get(address).content.decode()
        assert Page(html).dangers() == []
        assert PAYLOAD not in html
    assert Page(html).text.count("alert(1)") > 50


def test_nothing_in_a_filter_gets_into_the_page_as_anything_but_text(editor: Client) -> None:
    keep(event())
    names = ("search", "status", "level", "environment", "release", "endpoint", "sort", "page", "other")

    for name in names:
        response = editor.get(ISSUES, {name: PAYLOAD})
        assert Page(response.content.decode()).dangers() == []


@pytest.mark.parametrize("odd", ODD, ids=[str(value)[:20] for value in ODD])
def test_an_event_of_odd_values_has_its_page(reader: Client, odd: Any) -> None:
    body = {**dict.fromkeys(hostile(), odd), "event_id": "a" * 32}
    issue = keep(body, environment="", release="", endpoint="")

    for query in ("", "?format=text", "?format=json"):
        assert reader.get(f"{ISSUES}{issue.pk}/events/{'a' * 32}/{query}").status_code == 200


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_a_body_that_is_no_event_has_its_page(reader: Client, body: Any) -> None:
    issue = keep(body)

    assert reader.get(f"{ISSUES}{issue.pk}/").status_code == 200


def test_a_huge_event_has_a_page_of_bounded_size(reader: Client) -> None:
    frames = [{"function": f"f{number}", "vars": {"x": "y" * 20_000}} for number in range(300)]
    issue = keep(
        event(exception={"values": [{"type": "E", "stacktrace": {"frames": frames}}]}, extra={"x": "y" * 10**6})
    )

    response = reader.get(f"{ISSUES}{issue.pk}/")

    assert len(response.content) < 1_500_000
    assert "50 outer calls are not shown" in Page(response.content.decode()).text


@pytest.mark.parametrize("pk", ["0", "-1", str(2**63), "9" * 5000, "1e3", "²", "x", ""])
def test_an_absurd_issue_is_refused(pk: str) -> None:
    response = client_of("view_dashboard", "change_issue").post(ACT, {"status": "resolved", "issue": pk})

    assert response.status_code == 400


# -- the first screen -----------------------------------------------------------------------------------------------------


def test_the_first_lines_say_what_where_how_often_and_since_when(reader: Client) -> None:
    frame = {"function": "pay", "filename": "shop/orders.py", "lineno": 29, "in_app": True, "vars": {"pk": "6"}}
    error = {"values": [{"type": "ValueError", "value": "order 6", "stacktrace": {"frames": [frame]}}]}
    keep(event(exception=error), user="a" * 32)
    issue = keep(event(exception=error), user="b" * 32)

    page = page_of(reader, f"{ISSUES}{issue.pk}/")

    text = page.text[page.text.index("Alerts") :]
    first = text[: text.index("Stack")]
    for part in (f"#{issue.pk} ValueError", "shop/orders.py:29", "in pay", "2 times", "2 users", "in 1.0"):
        assert part in first
    assert page.all("details", open="")


def test_how_often_it_happened_is_drawn_by_the_hour(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = keep(event())
    now = timezone.now().timestamp()
    measure("error", count=3, name=issue.fingerprint, moment=now)
    measure("error", count=1, name="another", moment=now)
    measure("error", count=2, name=issue.fingerprint, moment=now - 7200)

    bars = reader.get(f"{ISSUES}{issue.pk}/").context["bars"]

    assert (len(bars), [bar.count for bar in bars[-3:]]) == (24, [2, 0, 3])
    assert [bar.height for bar in bars[-3:]] == [66.67, 1.0, 100.0]


def test_what_its_tags_have_in_common_is_told(reader: Client) -> None:
    for tenant in ("north", "north", "south"):
        issue = keep(event(), tags={"tenant": tenant})

    assert "north 66.7% 2 south 33.3% 1" in page_of(reader, f"{ISSUES}{issue.pk}/").text


@pytest.mark.parametrize("shown_as", ["markdown", "curl", "test", "text"])
def test_an_event_is_copied_as_text(reader: Client, shown_as: str) -> None:
    issue = keep(event(request={"method": "GET", "url": "http://testserver/monitoring/issues/7/"}))

    response = reader.get(f"{ISSUES}{issue.pk}/?format={shown_as}")

    assert response["Content-Type"].startswith("text/plain") and response["X-Content-Type-Options"] == "nosniff"
    assert b"monitoring/issues/7" in response.content or b"crm_monitoring_dashboard:issue" in response.content


def test_what_was_no_request_is_no_command_of_curl(reader: Client) -> None:
    issue = keep(event(request=None))

    assert reader.get(f"{ISSUES}{issue.pk}/?format=curl").content == b""


def test_an_event_is_one_of_those_that_are_kept(reader: Client) -> None:
    ids = []
    for _ in range(3):
        issue = keep(event())
        ids.append(Event.objects.latest("pk").event_id)

    page = page_of(reader, f"{ISSUES}{issue.pk}/events/{ids[1]}/")

    assert "event 2 of 3 kept" in page.text
    links = [attributes.get("href", "") for tag, attributes in page.elements if tag == "a"]
    for event_id in (ids[0], ids[2]):
        assert f"{ISSUES}{issue.pk}/events/{event_id}/" in links
