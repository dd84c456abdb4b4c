"""Every extension point of the page, tried by the app that the page shows."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from crm_monitoring import capture_message, check_monitoring_health, extending, faults, process
from crm_monitoring.dashboard.alerts import channels, rules
from crm_monitoring.testing import capture_monitoring
from tests.clients import WSGIClient
from tests.dashboard.bodies import keep
from tests.docs.conftest import Namespace, Page
from tests.docs.markdown import DOCS, prose

# The dashboard looks for its tables.
pytestmark = pytest.mark.django_db

PAGE = DOCS / "extending.md"


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls"


@pytest.fixture
def app(page: Page, monitoring: Any) -> Iterator[Namespace]:
    """The app of the page, ready."""
    names = page(PAGE)
    config, ledger = names["LedgerConfig"]("ledger", sys.modules["ledger.apps"]), names["ledger"]
    config.ready()
    config.ready()
    monitoring(LEDGER_ROWS=2, LEDGER_TOKEN="hunter2")
    yield names
    extending.unregister_hook(ledger.keep)
    extending.unregister_receiver(ledger.receive)
    extending.unregister_section("ledger")
    extending.unregister_problems(ledger.problems)
    extending.unregister_unneeded_database(ledger.database)
    extending.unregister_pause(ledger.write)
    extending.unregister_ending(ledger.write)
    extending.unregister_keys(names["LedgerKeys"])


def manage(*arguments: str) -> str:
    out = io.StringIO()
    call_command("monitoring", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_the_page_names_every_extension_point() -> None:
    text = PAGE.read_text()
    unnamed = [name for name in extending.__all__ if name not in text and not name.startswith("unregister_")]

    assert set(unnamed) <= {"OperationRecord", "Record", "SentryStatus"}
    assert "`unregister_…`" in prose(PAGE)


def test_a_hook_of_the_setting_gets_every_record(page: Page, wsgi: WSGIClient) -> None:
    names = page(PAGE)

    wsgi.get("/ok/")

    assert list(names["slowest"]) == ["GET ok/"]


def test_a_hook_of_an_app_gets_every_record_once(app: Namespace, wsgi: WSGIClient) -> None:
    wsgi.get("/ok/")

    assert [record.endpoint for record in app["ledger"].records] == ["GET ok/"]


def test_a_receiver_gets_what_sentry_would_scrubbed(app: Namespace) -> None:
    capture_message("password=hunter2")

    assert [event["message"] for event in app["ledger"].events] == ["password=[Filtered]"]


def test_a_section_and_problems_are_in_the_health(app: Namespace, wsgi: WSGIClient) -> None:
    before = check_monitoring_health()
    wsgi.get("/ok/")
    wsgi.get("/ok/")
    after = check_monitoring_health()

    assert (before["ledger"], before["problems"]) == ({"records": 0, "events": 0}, [])
    assert (after["ledger"]["records"], after["problems"]) == (2, ["The ledger is full: raise LEDGER_ROWS."])


def test_keys_are_checked_and_secret_ones_masked(app: Namespace, monitoring: Any) -> None:
    told = manage("check")
    monitoring(LEDGER_ROWS=0)
    problems = check_monitoring_health()["problems"]

    assert "LEDGER_ROWS: 2\n" in told
    assert "LEDGER_TOKEN: ********\n" in told
    assert problems[0].endswith("LEDGER_ROWS cannot be used as it is set.")


def test_it_writes_when_a_task_or_the_process_ends(app: Namespace, wsgi: WSGIClient) -> None:
    from crm_monitoring import hooks

    wsgi.get("/ok/")
    hooks.paused()
    wsgi.get("/ok/")
    process.end()

    assert len(app["ledger"].written) == 2


def test_it_starts_over_in_a_forked_child(app: Namespace, wsgi: WSGIClient) -> None:
    wsgi.get("/ok/")

    process.start_over()

    assert app["ledger"].records == []


def test_a_database_that_it_says_nobody_needs_is_not_asked(
    app: Namespace, wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {**connections.settings["default"], "NAME": "/nowhere/at/all.sqlite3"}
    monkeypatch.setattr(connections, "settings", {"default": connections.settings["default"], "ledger": nowhere})

    answer = wsgi.get("/health/ready")

    assert list(answer.json()["databases"]) == ["default"]


def test_a_subcommand_takes_its_arguments(app: Namespace, wsgi: WSGIClient) -> None:
    capture_message("kept")

    assert (manage("count"), manage("count", "--events")) == ("0 kept.\n", "1 kept.\n")


def test_the_check_says_where_events_go_besides(app: Namespace, monitoring: Any) -> None:
    monitoring(SENTRY_DSN="https://key@sentry.example/7")

    assert "https://sentry.example/7 and the ledger\n" in manage("check")


def test_its_own_view_is_not_measured(app: Namespace, wsgi: WSGIClient, settings: Any) -> None:
    from django.urls import path

    app["urlpatterns"].append(path("ledger/", app["show"]))
    settings.ROOT_URLCONF = app["__name__"]

    with capture_monitoring() as captured:
        answer = wsgi.get("/ledger/")

    assert answer.json()["newest"] == []
    assert captured.records == []


def test_what_fails_in_it_is_a_problem_and_costs_nobody_anything(
    app: Namespace, wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(app["ledger"], "records", None)

    answer = wsgi.get("/ok/")

    assert answer.status == 200
    assert any("Ledger.keep failed 1 time" in problem for problem in check_monitoring_health()["problems"])


# -- classes and functions that the setting names --------------------------------------------------------------------------


def test_a_channel_of_your_own_is_given_its_options_and_hides_the_secret_one(page: Page) -> None:
    page(DOCS / "alerts.md")

    phone = {channel.name: channel for channel in channels.active()}["phone"]

    assert phone.number == "+33 1 23 45 67 89"
    assert "+33" not in repr(phone)


def test_a_kind_of_rule_of_your_own_finds_and_says_what_it_looks_for(page: Page) -> None:
    page(DOCS / "alerts.md")

    rule = {rule.name: rule for rule in rules.active()}["queue"]

    assert rule.describe() == "More than 100 jobs wait"
    assert [(found.value, found.is_breach) for found in rule.findings(0)] == [(12, False)]


@pytest.mark.django_db
def test_a_card_of_your_own_is_on_the_dashboard(page: Page, client: Any, django_user_model: Any, settings: Any) -> None:
    page(DOCS / "dashboard.md")
    settings.CRM_MONITORING = {"CARDS": ["project.cards.orders"]}
    settings.ROOT_URLCONF = "demo_project.urls"
    client.force_login(django_user_model.objects.create_superuser("alva"))
    keep({"message": "Without an issue the page says how to begin"})

    shown = client.get("/monitoring/").content.decode()

    assert "Orders paid" in shown
    assert "Requests that paid an order." in shown
