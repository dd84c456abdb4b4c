"""Muting and acknowledging on the page of alerts."""

from __future__ import annotations

import io
from time import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert

pytestmark = pytest.mark.django_db

ADDRESS = "/monitoring/alerts/"
CHANNELS = {"team": {"type": "email", "to": ["team@example.org"]}}


@pytest.fixture
def alert(monitoring: Any) -> Alert:
    """An alert that fires."""
    monitoring(ALERT_CHANNELS=CHANNELS, SITE_URL="https://crm.example.org/")
    now = moment_of(time() - 60)
    return Alert.objects.create(
        rule="error_rate", environment="production", state="firing", since=now, last_sent=now, value=12
    )


@pytest.fixture
def camille() -> User:
    return User.objects.create_user("camille", is_staff=True)


def client_of(user: User, *codenames: str) -> Client:
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_dashboard", *codenames)))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, alert: Alert, action: str) -> Any:
    return client.post(f"{ADDRESS}{alert.pk}/act/", {"action": action})


def test_somebody_takes_an_alert_on(camille: User, alert: Alert) -> None:
    client = client_of(camille, "change_alert")
    assert f'id="alert-{alert.pk}"' in client.get(ADDRESS).text

    answer = act(client, alert, "acknowledge")

    assert (answer.status_code, answer["Location"]) == (302, ADDRESS)
    assert "acknowledged by camille" in client.get(ADDRESS).text


@pytest.mark.parametrize(("action", "seconds"), [("mute_hour", 3_600), ("mute_day", 86_400)])
def test_an_alert_is_muted_for_a_time_and_told_of_again(camille: User, alert: Alert, action: str, seconds: int) -> None:
    client = client_of(camille, "change_alert")

    act(client, alert, action)
    alert.refresh_from_db()
    muted, page = alert.muted_until, client.get(ADDRESS).text
    act(client, alert, "notify")
    alert.refresh_from_db()

    assert muted is not None
    assert abs(muted.timestamp() - time() - seconds) < 60
    assert "muted until" in page
    assert alert.muted_until is None


def test_what_is_over_cannot_be_taken_on(camille: User, alert: Alert) -> None:
    Alert.objects.update(state="resolved")

    answer = client_of(camille, "change_alert").post(
        f"{ADDRESS}{alert.pk}/act/", {"action": "acknowledge"}, follow=True
    )

    assert "It is over already." in answer.text


def test_an_action_that_nobody_knows_is_refused(camille: User, alert: Alert) -> None:
    assert act(client_of(camille, "change_alert"), alert, "dance").status_code == 400


def test_whoever_may_only_look_may_not_act(camille: User, alert: Alert) -> None:
    client = client_of(camille)

    assert "Mute for 1 hour" not in client.get(ADDRESS).text
    assert act(client, alert, "acknowledge").status_code == 403


def test_the_overview_shows_no_buttons(camille: User, alert: Alert) -> None:
    assert "Mute for 1 hour" not in client_of(camille, "change_alert").get("/monitoring/").text


def manage(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", "alerts", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_the_command_mutes_a_rule_for_hours_and_notifies_again(alert: Alert) -> None:
    told = manage("--mute", "slow", "--hours", "2")
    until = Alert.objects.get(rule="slow").muted_until

    assert told.startswith("The rule 'slow' is muted until 20")
    assert until is not None
    assert abs(until.timestamp() - time() - 7_200) < 60
    assert manage("--mute", "slow", "--hours", "0") == "The rule 'slow' notifies again.\n"
    assert Alert.objects.get(rule="slow").muted_until is None


def test_a_rule_that_there_is_not_cannot_be_muted(alert: Alert) -> None:
    with pytest.raises(
        CommandError, match="There is no usable rule 'slwo'. Usable rules: new_issue, error_rate, slow."
    ):
        manage("--mute", "slwo")
