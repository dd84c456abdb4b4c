"""What people see of alerts: the page of its own, and what fires on the overview."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from crm_monitoring.dashboard.alerts import rules
from crm_monitoring.dashboard.models import Alert, Delivery
from crm_monitoring.dashboard.pages.alerts import EXAMPLE, duration
from tests.dashboard.bodies import PAYLOAD, Page, keep_failure

pytestmark = pytest.mark.django_db

ADDRESS = "/monitoring/alerts/"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHANNEL = {"team": {"type": "email", "to": ["team@example.org"]}}


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """Whatever language the last request of this thread was in."""
    with translation.override("en"):
        yield


@pytest.fixture
def reader(client: Client) -> Client:
    """Staff who may see the dashboard."""
    user = User.objects.create_user("camille", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
    client.force_login(user)
    return client


@pytest.fixture
def channel(monitoring: Any) -> None:
    monitoring(ALERT_CHANNELS=CHANNEL)


def page_of(client: Client, address: str = ADDRESS) -> Page:
    response = client.get(address)
    assert response.status_code == 200
    return Page(response.text)


def fire(rule: str = "error_rate", **fields: Any) -> Alert:
    given = {"environment": "production", "value": 42.0, "since": timezone.now() - timedelta(hours=2)}
    return Alert.objects.create(**{"rule": rule, "state": Alert.State.FIRING, **given, **fields})


def send(alert: Alert, **fields: Any) -> Delivery:
    now = timezone.now()
    given = {"channel": "team", "kind": Delivery.Kind.START, "created": now, "attempts": 1, "body": "{}"}
    return Delivery.objects.create(**{"alert": alert, **given, **fields})


# -- who may see it -------------------------------------------------------------------------------------------------------


def test_it_is_for_who_may_see_the_dashboard(client: Client) -> None:
    assert client.get(ADDRESS).status_code == 302
    client.force_login(User.objects.create_user("karim", is_staff=True))
    assert client.get(ADDRESS).status_code == 403


def test_nothing_is_changed_by_it(reader: Client) -> None:
    assert reader.post(ADDRESS).status_code == 405


def test_every_page_leads_to_it(reader: Client) -> None:
    (link,) = page_of(reader, "/monitoring/issues/").all("a", href=ADDRESS)
    (here,) = page_of(reader).all("a", href=ADDRESS)

    assert "aria-current" not in link
    assert here["aria-current"] == "page"


# -- what it says ---------------------------------------------------------------------------------------------------------


def test_without_a_channel_it_says_how_to_set_one(reader: Client, monitoring: Any) -> None:
    monitoring()
    page = page_of(reader)

    assert "Nobody is notified yet" in page.text
    assert '"ALERT_CHANNELS": {"team"' in page.text
    assert "1 minute" not in page.text


def test_what_it_says_to_write_is_right(reader: Client, settings: Any) -> None:
    written: dict[str, Any] = {}
    exec(EXAMPLE, written)
    settings.CRM_MONITORING = written["CRM_MONITORING"]

    assert "No alert yet" in page_of(reader).text


@pytest.mark.usefixtures("channel")
def test_the_rules_are_shown_with_their_thresholds(reader: Client) -> None:
    text = page_of(reader).text
    words = {rule.name: rule.describe() for rule in rules.active()}

    assert f"{words['new_issue']} new_issue ok 1 day everywhere team 1 hour" in text
    assert f"{words['error_rate']} error_rate ok 1 minute everywhere team 1 hour" in text
    assert f"{words['slow']} slow ok 5 minutes from 10 on everywhere team 1 hour" in text
    assert "More than 10 errors a minute" in text
    assert "monitoring alerts --test team" in text


def test_a_rule_says_where_it_counts_and_who_is_told(reader: Client, monitoring: Any) -> None:
    rule = {"environments": ["staging"], "endpoints": ["GET kpis/"], "channels": ["boss"]}
    monitoring(ALERT_CHANNELS={**CHANNEL, "boss": CHANNEL["team"]}, ALERTS={"slow": rule})

    assert "staging GET kpis/ boss" in page_of(reader).text


def test_a_rule_that_cannot_be_used_is_named(reader: Client, monitoring: Any) -> None:
    monitoring(ALERT_CHANNELS=CHANNEL, ALERTS={"slow": {"treshold": 3}})

    assert "Cannot be used: CRM_MONITORING['ALERTS']['slow']" in page_of(reader).text


def test_a_channel_that_cannot_be_used_is_named_without_its_secrets(reader: Client, monitoring: Any) -> None:
    monitoring(ALERT_CHANNELS={"pager": {"type": "webhook", "url": "ftp://hunter2@pager", "secret": "hunter2"}})
    text = page_of(reader).text

    assert "Cannot be used: CRM_MONITORING['ALERT_CHANNELS']['pager']" in text
    assert "hunter2" not in text


@pytest.mark.usefixtures("channel")
def test_what_fires_is_on_both_pages_with_figure_and_age(reader: Client) -> None:
    fire()

    for address in (ADDRESS, "/monitoring/"):
        text = page_of(reader, address).text
        assert "Firing now 1" in text
        assert "More than 10 errors a minute error_rate production 42 errors a minute 2 hours ago" in text
    assert "error_rate firing 1 minute" in page_of(reader).text


@pytest.mark.usefixtures("channel")
def test_the_overview_names_the_latest_few_and_how_many_there_are(reader: Client) -> None:
    for number in range(7):
        fire("slow", subject=f"GET {number}/", title=f"GET {number}/")

    text = page_of(reader, "/monitoring/").text
    assert "Firing now 7 All alerts" in text
    assert "GET 6/" in text
    assert "GET 1/" not in text
    assert text.count("slow production") == 5


@pytest.mark.usefixtures("channel")
def test_where_nothing_fires_nothing_is_said_of_it(reader: Client) -> None:
    fire(state=Alert.State.RESOLVED)

    for address in (ADDRESS, "/monitoring/"):
        assert "Firing now" not in page_of(reader, address).text


def test_where_nobody_is_told_the_overview_does_not_ask(reader: Client, monitoring: Any) -> None:
    monitoring()
    fire()

    with CaptureQueriesContext(connection) as queries:
        page = page_of(reader, "/monitoring/")

    assert "Firing now" not in page.text
    assert not [query for query in queries.captured_queries if Alert._meta.db_table in query["sql"]]


@pytest.mark.usefixtures("channel")
def test_an_alert_leads_to_what_it_is_about(reader: Client) -> None:
    issue = keep_failure("boom")
    fire("new_issue", subject=str(issue.pk), title=issue.title, environment="")
    fire("slow", subject="GET kpis/", title="GET kpis/")
    fire("error_rate")
    page = page_of(reader)

    (link,) = page.all("a", href=f"/monitoring/issues/{issue.pk}/")
    assert reader.get(link["href"]).status_code == 200
    assert page.all("a", href="/monitoring/?rows=all#:~:text=GET%20kpis%2F")
    assert len(page.all("a", href="/monitoring/")) == 2


@pytest.mark.usefixtures("channel")
def test_an_alert_whose_rule_is_gone_is_still_told(reader: Client) -> None:
    send(fire("night", title="GET kpis/", state=Alert.State.RESOLVED))
    send(fire("day", title="", state=Alert.State.RESOLVED))
    send(fire("busy_issue", subject="no key"))

    text = page_of(reader).text
    assert "GET kpis/ night production" in text
    assert "day day production" in text


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"sent_at": NOON}, "start team 11/23/2026 1 p.m. 1"),
        ({"sent_at": NOON, "kind": Delivery.Kind.END, "attempts": 3}, "end team 11/23/2026 1 p.m. 3"),
        (
            {"due": NOON, "attempts": 2, "error": "ConnectionRefusedError"},
            "start team not yet ConnectionRefusedError 2",
        ),
        ({"attempts": 40, "error": "HTTP 500"}, "start team given up HTTP 500 40"),
    ],
)
@pytest.mark.usefixtures("channel")
def test_messages_are_told_with_what_became_of_them(reader: Client, fields: dict[str, Any], shown: str) -> None:
    send(fire(), created=NOON, **fields)

    assert f"error_rate production {shown} 11/23/2026 1 p.m." in page_of(reader).text


@pytest.mark.usefixtures("channel")
def test_nothing_in_an_alert_gets_into_the_page_as_anything_but_text(reader: Client) -> None:
    send(fire("new_issue", title=PAYLOAD, environment=PAYLOAD[:60], subject=PAYLOAD), channel=PAYLOAD, error=PAYLOAD)

    for address in (ADDRESS, "/monitoring/"):
        html = reader.get(address).text
        assert PAYLOAD not in html
        assert "<img src=x" not in html


@pytest.mark.usefixtures("channel")
def test_many_messages_cost_as_many_queries_as_few(reader: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        send(fire(subject=f"GET {number}/", title=f"GET {number}/"))

    with django_assert_max_num_queries(6):
        page_of(reader)


@pytest.mark.usefixtures("channel")
def test_it_speaks_french(reader: Client) -> None:
    fire()

    text = Page(reader.get(ADDRESS, headers={"accept-language": "fr"}).text).text
    assert "Plus de 10 erreurs par minute" in text
    assert "Règles" in text


# -- lengths --------------------------------------------------------------------------------------------------------------


def test_lengths_of_time_are_in_words() -> None:
    assert duration(5 * 60) == "5\xa0minutes"
