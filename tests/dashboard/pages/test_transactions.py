"""The list of slow transactions, and where one has spent its time."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from crm_monitoring.dashboard.pages.waterfall import MAX_SPANS, Repeated, Waterfall, arrange, db_share
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.dashboard.bodies import LINK, ODD, PAYLOAD, START, Page, hostile_transaction, keep_slow, span, transaction

pytestmark = pytest.mark.django_db

TRANSACTIONS = "/monitoring/transactions/"


@pytest.fixture
def reader(db: None) -> Client:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
    client = Client()
    client.force_login(user)
    return client


def page_of(client: Client, address: str) -> Page:
    response = client.get(address)
    assert response.status_code == 200
    return Page(response.content.decode())


def endpoints(client: Client, query: str = "") -> list[str]:
    return [row.transaction.endpoint for row in client.get(f"{TRANSACTIONS}?{query}").context["rows"]]


def placed(waterfall: Waterfall) -> list[tuple[str, int, str, str]]:
    return [(row.description, row.depth, row.x, row.width) for row in waterfall.rows[1:]]


# -- where the time went ---------------------------------------------------------------------------------------------------


def test_spans_are_below_their_parents_by_start_and_placed_in_time() -> None:
    body = transaction(
        span("late", 1.5, 2.0),
        span("child", 0.75, 1.0, parent="view"),
        span("view", 0.5, 1.25, op="view.render"),
        span("grandchild", 0.75, 0.875, parent="child"),
        seconds=2.0,
    )

    waterfall = arrange(body)

    whole = waterfall.rows[0]
    assert (whole.description, whole.depth, whole.kind) == ("GET organisations/", 0, "whole")
    assert (whole.x, whole.width, whole.duration_ms) == ("0.000%", "100.000%", 2000.0)
    assert placed(waterfall) == [
        ("does view", 1, "25.000%", "37.500%"),
        ("does child", 2, "37.500%", "12.500%"),
        ("does grandchild", 3, "37.500%", "6.250%"),
        ("does late", 1, "75.000%", "25.000%"),
    ]
    assert [(row.offset_ms, row.duration_ms) for row in waterfall.rows[1:]] == [
        (500.0, 750.0),
        (750.0, 250.0),
        (750.0, 125.0),
        (1500.0, 500.0),
    ]


def test_a_short_span_is_wide_enough_to_be_seen_and_stays_within() -> None:
    (row,) = placed(arrange(transaction(span("end", 2.0, 2.0))))

    assert row == ("does end", 1, "99.700%", "0.300%")


def test_a_span_that_leaves_the_transaction_is_cut_to_it() -> None:
    rows = placed(arrange(transaction(span("before", -1, 1), span("after", 1, 9), span("backwards", 1, 0.5))))

    assert rows[0] == ("does before", 1, "0.000%", "50.000%")
    assert sorted(rows[1:]) == [("does after", 1, "50.000%", "50.000%"), ("does backwards", 1, "50.000%", "0.300%")]


def test_a_span_without_its_parent_is_the_transactions_own() -> None:
    assert placed(arrange(transaction(span("lost", 0, 1, parent="gone"))))[0][1] == 1


@pytest.mark.parametrize("parents", [("a", "b"), ("b", "a"), ("b", "b")])
def test_spans_in_a_circle_are_shown_once_each(parents: tuple[str, str]) -> None:
    body = transaction(span("a", 0, 1, parent=parents[0]), span("b", 0, 1, parent=parents[1]))

    assert sorted(row[0] for row in placed(arrange(body))) == ["does a", "does b"]


def test_a_chain_of_a_thousand_spans_is_drawn_eight_deep() -> None:
    chain = [span(str(number), 0, 1, parent=str(number - 1)) for number in range(1, 1001)]

    waterfall = arrange(transaction(*chain))

    assert len(waterfall.rows) == MAX_SPANS + 1
    assert waterfall.left_out == 500
    assert max(row.depth for row in waterfall.rows) == 8


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("db", "db"),
        ("db.redis", "db"),
        ("http.client", "http"),
        ("cache.get", "cache"),
        ("function", "other"),
        ("", "other"),
    ],
)
def test_spans_are_coloured_by_their_operation(operation: str, kind: str) -> None:
    assert arrange(transaction(span("a", 0, 1, op=operation))).rows[1].kind == kind


def test_time_in_the_database_counts_once_where_spans_overlap() -> None:
    body = transaction(span("a", 0, 1), span("b", 0.5, 1.25), span("c", 0.6, 0.7), span("view", 0, 2, op="view"))

    waterfall = arrange(body)

    assert (waterfall.db_ms, waterfall.db_share) == (1250.0, 0.625)
    assert db_share(body) == 0.625


def test_a_transaction_that_took_no_time_has_no_shares() -> None:
    body = transaction(span("a", 0, 1), seconds=0)

    waterfall = arrange(body)

    assert placed(waterfall) == [("does a", 1, "0.000%", "100.000%")]
    assert (waterfall.db_share, db_share(body)) == (None, None)


def test_what_is_repeated_too_often_is_told_with_its_time() -> None:
    often = [span(f"s{number}", 0.1 * number, 0.1 * number + 0.05, description="SELECT 1") for number in range(4)]
    longer = [span(f"h{number}", 0.2, 0.7, op="http.client", description="GET /rates") for number in range(4)]
    seldom = [span(f"o{number}", 0.5, 0.6, description="SELECT 2") for number in range(3)]
    nameless = [span(f"n{number}", 0.5, 0.6, description="") for number in range(9)]

    repeated = arrange(transaction(*often, *longer, *seldom, *nameless), repeated_over=3).repeated

    assert repeated == [
        Repeated("http.client", "GET /rates", 4, 2000.0),
        Repeated("db", "SELECT 1", 4, pytest.approx(200.0)),
    ]
    assert arrange(transaction(*often), repeated_over=0).repeated == []


# -- the pages -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def traced(wsgi: WSGIClient, sentry: MemoryTransport, settings: Any) -> dict[str, Any]:
    """The transaction of a request that asked the database twelve times."""
    addresses = settings.ROOT_URLCONF
    settings.ROOT_URLCONF = "tests.urls"
    wsgi.get("/queries/12/")
    settings.ROOT_URLCONF = addresses
    (body,) = sentry.transactions
    return body


@pytest.fixture(params=["", f"{'a' * 32}/"])
def address(request: pytest.FixtureRequest) -> str:
    return f"{TRANSACTIONS}{request.param}"


def test_anonymous_visitors_are_sent_to_the_login_page(client: Client, address: str) -> None:
    assert client.get(address)["Location"].startswith("/login/")


def test_staff_without_the_permission_may_not(client: Client, address: str) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))

    assert client.get(address).status_code == 403


def test_pages_are_only_read(reader: Client, address: str) -> None:
    assert reader.post(address).status_code == 405


def test_where_nothing_is_kept_the_list_says_what_would_be(reader: Client) -> None:
    text = page_of(reader, TRANSACTIONS).text

    assert "No slow transaction yet" in text
    assert "longer than 1.0 s" in text


def test_where_no_transaction_matches_the_list_says_that(reader: Client) -> None:
    keep_slow(transaction())

    assert "No slow transaction matches" in page_of(reader, f"{TRANSACTIONS}?environment=other").text


def test_the_list_shows_the_newest_first_or_the_slowest(reader: Client) -> None:
    for endpoint, duration_ms in (("GET a/", 3000.0), ("GET b/", 1500.0), ("GET c/", 2000.0)):
        keep_slow(transaction(), duration_ms, endpoint=endpoint)

    assert endpoints(reader) == ["GET c/", "GET b/", "GET a/"]
    assert endpoints(reader, "sort=slowest") == ["GET a/", "GET c/", "GET b/"]
    assert endpoints(reader, "sort=made-up") == ["GET c/", "GET b/", "GET a/"]
    page = page_of(reader, f"{TRANSACTIONS}?sort=slowest&environment=production")
    assert "3.0 s" in page.text
    (current,) = page.all("a", aria_current="true", href="?sort=slowest&environment=production")
    assert parse_qs(current["href"][1:]) == {"sort": ["slowest"], "environment": ["production"]}


@pytest.mark.parametrize(
    ("user", "shown"), [({"id": "7", "username": "ada"}, "ada"), ({"id": 7}, "7"), (None, "–"), ("odd", "–")]
)
def test_the_list_shows_how_long_the_database_took_and_for_whom(reader: Client, user: Any, shown: str) -> None:
    keep_slow(transaction(span("a", 0.5, 1.0), user=user))

    assert f"1.5 s 25.0% {shown} " in page_of(reader, TRANSACTIONS).text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("environment=staging", ["GET b/"]),
        ("release=2.0", ["GET b/"]),
        ("endpoint=GET+b/", ["GET b/"]),
        ("environment=staging&release=2.0&endpoint=GET+b/", ["GET b/"]),
        ("environment=production&release=2.0", []),
    ],
)
def test_the_list_is_filtered(reader: Client, query: str, found: list[str]) -> None:
    keep_slow(transaction(), endpoint="GET a/")
    keep_slow(transaction(), endpoint="GET b/", environment="staging", release="2.0")

    assert endpoints(reader, query) == found


def test_there_are_fifty_on_a_page(reader: Client) -> None:
    for number in range(51):
        keep_slow(transaction(), endpoint=f"GET {number}/")

    assert [len(endpoints(reader, f"page={number}")) for number in (1, 2)] == [50, 1]
    assert "Page 1 of 2" in page_of(reader, TRANSACTIONS).text


def test_the_list_takes_as_many_queries_for_many_as_for_one(reader: Client, django_assert_max_num_queries: Any) -> None:
    keep_slow(transaction())
    with django_assert_max_num_queries(10):
        reader.get(TRANSACTIONS)
    for number in range(20):
        keep_slow(transaction(), endpoint=f"GET {number}/")
    with django_assert_max_num_queries(10):
        reader.get(TRANSACTIONS)


def test_a_page_answers_head(reader: Client) -> None:
    kept = keep_slow(transaction())

    for path in ("", f"{kept.event_id}/"):
        response = reader.head(f"{TRANSACTIONS}{path}")
        assert (response.status_code, response.content) == (200, b"")


def test_the_page_of_a_real_transaction_shows_its_spans(reader: Client, traced: dict[str, Any]) -> None:
    kept = keep_slow(traced, event_id=traced["event_id"])

    page = page_of(reader, f"{TRANSACTIONS}{kept.event_id}/")

    assert len(page.all("rect", **{"class": "bar db"})) == 12
    assert len(page.all("rect", **{"class": "bar whole"})) == 1
    assert 'SELECT ... FROM "auth_user"' in page.text
    assert "Repeated queries" in page.text
    assert "12 times," in page.text
    assert traced["tags"]["request_id"] in page.text
    assert page.all("a", href="/monitoring/?rows=all#:~:text=GET%20queries%2F%7Bcount%7D%2F")
    assert page.dangers() == []


def test_the_bars_are_where_the_spans_were(reader: Client) -> None:
    kept = keep_slow(transaction(span("a", 0.5, 1.0)))

    page = page_of(reader, f"{TRANSACTIONS}{kept.event_id}/")

    assert [(bar["x"], bar["width"]) for bar in page.all("rect")] == [("0.000%", "100.000%"), ("25.000%", "25.000%")]


def test_bars_are_the_same_in_a_language_with_commas(reader: Client, settings: Any) -> None:
    kept = keep_slow(transaction(span("a", 0.5, 1.0)))
    settings.LANGUAGE_CODE = "fr"

    page = page_of(reader, f"{TRANSACTIONS}{kept.event_id}/")

    assert page.all("rect", x="25.000%")
    assert "500,0 ms" in page.text


def test_spans_that_are_too_many_are_told(reader: Client) -> None:
    kept = keep_slow(transaction(*(span(str(number), 0, 1) for number in range(MAX_SPANS + 3))))

    page = page_of(reader, f"{TRANSACTIONS}{kept.event_id}/")

    assert len(page.all("rect")) == MAX_SPANS + 1
    assert "3 more spans are not shown; the JSON has them." in page.text


def test_a_transaction_is_given_as_json(reader: Client, traced: dict[str, Any]) -> None:
    kept = keep_slow(traced)

    response = reader.get(f"{TRANSACTIONS}{kept.event_id}/?format=json")

    assert (response["Content-Type"], response["X-Content-Type-Options"]) == ("application/json", "nosniff")
    assert response.json() == traced


@pytest.mark.parametrize("event_id", ["unknown", "a" * 32, "%00"])
def test_what_there_is_not_is_not_found(reader: Client, event_id: str) -> None:
    assert reader.get(f"{TRANSACTIONS}{event_id}/").status_code == 404


@pytest.mark.parametrize("text", [PAYLOAD, LINK])
def test_nothing_in_a_transaction_gets_into_the_page_as_anything_but_text(reader: Client, text: str) -> None:
    kept = keep_slow(hostile_transaction(text))

    for path in ("", f"{kept.event_id}/"):
        html = reader.get(f"{TRANSACTIONS}{path}").content.decode()
        assert Page(html).dangers() == []
        assert PAYLOAD not in html
    assert Page(html).text.count("alert(1)") > 50


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD, ids=[str(value)[:20] for value in ODD])
def test_a_transaction_of_odd_values_has_its_page(reader: Client, odd: Any) -> None:
    whole = transaction(span("a", 0, 1))
    odd_span = {**dict.fromkeys(whole["spans"][0], odd), "start_timestamp": START}
    bodies = [dict.fromkeys(whole, odd), transaction(odd_span, odd), transaction(dict.fromkeys(odd_span, odd)), odd]

    for body in bodies:
        kept = keep_slow(body, endpoint="")
        assert reader.get(f"{TRANSACTIONS}{kept.event_id}/").status_code == 200
