"""The dashboard's tables in the admin: there to look things up."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from crm_monitoring.dashboard.models import (
    Alert,
    Delivery,
    Deploy,
    Event,
    Issue,
    Sighting,
    SlowTransaction,
)
from tests.dashboard.bodies import PAYLOAD, Page, hostile, hostile_transaction, keep, keep_slow

pytestmark = pytest.mark.django_db

SHOWN = [Issue, Event, SlowTransaction, Sighting, Deploy, Alert, Delivery]


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def rows() -> dict[type, Any]:
    """A row of every table, with hostile texts."""
    issue = keep(hostile())
    alert = _saved(Alert(rule="new_issue", environment="production", title=PAYLOAD, since=timezone.now()))
    return {
        Issue: issue,
        Event: Event.objects.get(),
        SlowTransaction: keep_slow(hostile_transaction()),
        Sighting: Sighting.objects.get(),
        Deploy: _saved(
            Deploy(release=PAYLOAD, environment="production", moment=timezone.now(), url="javascript:alert(1)")
        ),
        Alert: alert,
        Delivery: _saved(
            Delivery(alert=alert, channel=PAYLOAD, kind=Delivery.Kind.START, created=timezone.now(), body=PAYLOAD)
        ),
    }


def _saved(row: Any) -> Any:
    row.save()
    return row


def address(model: type, *path: Any) -> str:
    return "/".join(["/admin/crm_monitoring_dashboard", model.__name__.lower(), *map(str, path), ""])


@pytest.mark.parametrize("model", SHOWN)
def test_a_table_is_listed_searched_and_shown(root: Client, rows: dict[type, Any], model: type) -> None:
    assert len(Page(root.get(address(model)).content.decode()).all("table", id="result_list")) == 1
    assert root.get(f"{address(model)}?q=production").status_code == 200
    assert root.get(address(model, rows[model].pk, "change")).status_code == 200


@pytest.mark.parametrize("model", SHOWN)
def test_nobody_adds_changes_or_deletes(root: Client, rows: dict[type, Any], model: type) -> None:
    pk = rows[model].pk

    assert root.get(address(model, "add")).status_code == 403
    assert root.post(address(model, pk, "change"), {"status": "resolved"}).status_code == 403
    assert root.post(address(model, pk, "delete"), {"post": "yes"}).status_code == 403
    root.post(address(model), {"action": "delete_selected", "_selected_action": pk, "post": "yes"})
    assert model.objects.filter(pk=pk, **({"status": "open"} if model is Issue else {})).exists()


@pytest.mark.parametrize("model", SHOWN)
def test_nothing_in_a_row_gets_into_the_page_as_anything_but_text(
    root: Client, rows: dict[type, Any], model: type
) -> None:
    for path in ((), (rows[model].pk, "change")):
        html = root.get(address(model, *path)).content.decode()
        assert PAYLOAD not in html
        assert "<img src=x" not in html
        assert not [link for link in Page(html).all("a") if link.get("href", "").startswith("javascript:")]


@pytest.mark.parametrize("model", [Event, SlowTransaction])
def test_the_body_is_decoded_and_leads_to_its_page(root: Client, rows: dict[type, Any], model: type) -> None:
    page = Page(root.get(address(model, rows[model].pk, "change")).content.decode())

    assert '"username": "<script>alert(1)' in page.text
    (link,) = [link["href"] for link in page.all("a") if link["href"].startswith("/monitoring/")]
    assert root.get(link).status_code == 200


def test_an_issue_leads_to_its_page(root: Client, rows: dict[type, Any]) -> None:
    assert Page(root.get(address(Issue)).content.decode()).all("a", href=f"/monitoring/issues/{rows[Issue].pk}/")


@pytest.mark.urls("tests.dashboard.urls_of_the_admin")
def test_a_project_without_the_pages_has_the_admin(root: Client, rows: dict[type, Any]) -> None:
    for model in (Issue, Event, SlowTransaction):
        assert root.get(address(model)).status_code == 200


def test_lists_do_not_read_bodies_and_ask_as_often_for_many_rows(
    root: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        keep({"message": f"{number}", "fingerprint": [str(number)]})
        keep_slow({"transaction": f"GET {number}/"})

    for model in (Event, SlowTransaction, Issue):
        with django_assert_max_num_queries(7) as queries:
            root.get(address(model))
        assert not [query for query in queries.captured_queries if '"body"' in query["sql"]]


def test_personal_details_of_users_are_not_in_the_admin() -> None:
    shown = {model for model in admin.site._registry if model._meta.app_label == "crm_monitoring_dashboard"}

    assert shown == set(SHOWN)
    assert shown < set(apps.get_app_config("crm_monitoring_dashboard").get_models())
