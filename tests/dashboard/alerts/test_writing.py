"""What a message says that decides whether to get up."""

from __future__ import annotations

from typing import Any

import pytest

from crm_monitoring.dashboard.alerts import scheduler, writing
from crm_monitoring.dashboard.alerts.messages import Message, as_text, from_json
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Issue
from crm_monitoring.dashboard.store import alerts
from tests.dashboard.databases import ALIAS
from tests.dashboard.happenings import happen, measure

NOW = 1_800_000_000.0
TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}
SITE = "https://crm.example.org/monitoring/"


@pytest.fixture
def configure(monitoring: Any, a_sqlite: str) -> Any:
    def configure(rules: dict[str, Any]) -> None:
        off = dict.fromkeys(("new_issue", "error_rate", "slow"), False)
        monitoring(
            DASHBOARD_DATABASE=a_sqlite,
            ALERT_CHANNELS=TEAM,
            ALERTS={**off, **rules},
            SITE_URL="https://crm.example.org/",
        )

    return configure


def said() -> Message:
    scheduler.evaluate(NOW)
    (delivery,) = alerts.history()
    return from_json(delivery.body)


def test_a_figure_of_an_environment_leads_to_just_that(configure: Any) -> None:
    configure({"silence": {"kind": "no_requests", "environments": ["production"]}})
    measure(moment=NOW - 1_200)

    message = said()

    assert message.url == f"{SITE}?window=1h&environment=production"
    assert message.figures == (("Measured", "19 minutes without a request"),)


def test_a_figure_of_an_endpoint_leads_to_all_of_them(configure: Any) -> None:
    configure({"slow": {"for": 0, "endpoints": ["GET ok/"]}})
    measure(ms=3_000, moment=NOW)

    message = said()

    assert message.url == f"{SITE}?window=1h&environment=production&rows=all"
    assert message.headline == "P95 of requests is over 1000 ms: GET ok/"


def test_errors_lead_to_the_issues_of_their_environment(configure: Any) -> None:
    configure({"error_rate": {"for": 0}})
    measure("error", count=20, name="a", moment=NOW)

    assert said().url == f"{SITE}issues/?environment=production"


def test_an_issue_says_whom_it_met_where_and_by_which_request(configure: Any) -> None:
    configure({"new_issue": {}})
    event = {"tags": {"request_id": "4f1c0a"}}
    for number, endpoint in enumerate(("GET a/", "GET b/", "GET c/", "GET d/")):
        happen(moment=NOW - number, endpoint=endpoint, user=f"user {number}", event=event)

    figures = dict(said().figures)

    assert figures["Users"] == "4"
    assert figures["Request id"] == "4f1c0a"
    assert figures["Endpoint"].endswith(" …")
    assert figures["Endpoint"].count("GET") == 3


def test_an_issue_without_endpoint_release_or_stack_says_what_there_is(configure: Any) -> None:
    configure({"new_issue": {}})
    bare = {"exception": {"values": [{"type": "ValueError", "value": "bare"}]}}
    happen(moment=NOW, endpoint="", release="", event=bare)

    message = said()

    assert [name for name, _ in message.figures] == ["Measured", "Environment", "First seen"]
    assert message.stack == ()


def test_an_issue_that_is_deleted_meanwhile_says_its_title(configure: Any) -> None:
    configure({"new_issue": {}})
    happen(moment=NOW)
    ((_, changes),) = scheduler.look(NOW)
    Issue.objects.using(ALIAS).all().delete()
    alert = changes[0].alert
    alert.title = "ValueError: gone"

    message = writing.of_issues(changes, alert, moment_of(NOW))

    assert (message.headline, message.figures, message.url) == ("New issue: ValueError: gone", (), "")


def test_a_message_has_a_way_to_silence_it_until_it_is_over(configure: Any) -> None:
    configure({"error_rate": {"for": 0}})
    measure("error", count=20, name="a", moment=NOW)

    text = as_text(said())
    scheduler.evaluate(NOW + 300)
    (over, _) = alerts.history()

    assert "Mute or acknowledge: https://crm.example.org/monitoring/alerts/#alert-" in text
    assert from_json(over.body).links == ()
