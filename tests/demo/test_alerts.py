"""The page that shows alerts at work."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from crm_monitoring.dashboard.models import Alert, Delivery
from demo_project.organisations import alerts, mails
from demo_project.organisations.seed import create_users


@pytest.fixture(autouse=True)
def folder(settings, tmp_path) -> Path:
    settings.MAIL_FOLDER = tmp_path / "mails"
    return settings.MAIL_FOLDER


@pytest.fixture
def demo() -> Client:
    create_users()
    browser = Client()
    browser.force_login(User.objects.get(username="demo"))
    return browser


def put_mail(folder: Path, subject: str) -> None:
    folder.mkdir()
    now = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} -0000"
    (folder / "1.log").write_text(f"Subject: {subject}\nTo: team@crm.example\nDate: {now}\n\nIt broke.\n{'-' * 79}\n")


def test_it_is_for_who_may_see_the_dashboard(client, member):
    assert client.get("/alerts/").url == "/login/?next=/alerts/"
    assert client.post("/alerts/break/").url == "/login/?next=/alerts/break/"
    assert member.get("/alerts/").status_code == 302


def test_it_shows_rules_mails_and_what_fires(demo, folder):
    put_mail(folder, "Alert <b>1</b>")
    alert = Alert.objects.create(
        rule="slow", environment="staging", subject="GET kpis/", title="GET kpis/", state="firing", since=timezone.now()
    )
    Delivery.objects.create(
        alert=alert, channel="team", kind="start", created=timezone.now(), error="HTTP 500", body="{}"
    )

    page = demo.get("/alerts/").content.decode()

    assert "More than 10 errors a minute" in page
    assert "Alert &lt;b&gt;1&lt;/b&gt;" in page
    assert "It broke." in page
    assert "GET kpis/</a>" in page
    assert "not yet HTTP 500" in page


def test_before_anything_happened_it_says_so(demo):
    page = demo.get("/alerts/").content.decode()

    assert "None yet." in page
    assert "Nothing." in page
    assert "http-equiv" not in page


def test_the_button_breaks_something_new_each_time(demo, monkeypatch):
    broken = []
    monkeypatch.setattr(alerts, "capture_exception", lambda error, **given: broken.append(type(error).__name__))

    answers = [demo.post("/alerts/break/") for _ in range(2)]

    assert len(set(broken)) == 2
    assert {answer.url.partition("?")[0] for answer in answers} == {"/alerts/"}


def test_the_page_looks_again_until_the_mail_is_there(demo, folder):
    waiting = f"/alerts/?since={int(time.time())}"

    assert 'http-equiv="refresh"' in demo.get(waiting).content.decode()
    put_mail(folder, "New issue")
    assert "http-equiv" not in demo.get(waiting).content.decode()


@pytest.mark.parametrize("since", ["", "soon", "0", "-1"])
def test_it_does_not_wait_for_ever(since):
    assert not alerts.is_waiting(since, [])


def test_a_mail_from_before_is_not_the_one_that_is_waited_for():
    now = int(time.time())
    before = mails.Mail(datetime.fromtimestamp(now - 5, UTC), "Alert", "team@crm.example", "")

    assert alerts.is_waiting(str(now), [before])


def test_it_speaks_french(demo):
    page = demo.get("/alerts/", headers={"accept-language": "fr"}).content.decode()

    assert "Casser quelque chose de nouveau" in page
    assert "Règles" in page
