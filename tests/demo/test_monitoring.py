from __future__ import annotations

import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import resolve

from crm_monitoring.dashboard.presentation import Route, as_test, present


@pytest.fixture
def visitor() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("path", ["/organisations/", "/api/v1/organisations", "/api/v1/organisations/async"])
def test_fetching_organisations_leaves_a_line(client, lines, organisation, path):
    client.get(path)

    assert lines.one("organisations_fetched")["count"] == 1


def test_a_failed_fetch_leaves_a_line_and_reports_its_exception_once(visitor, sentry, lines):
    def fail(*args):
        raise DatabaseError("the disk is full")

    with connection.execute_wrapper(fail):
        response = visitor.get("/api/v1/organisations")

    assert response.status_code == 500
    assert lines.one("organisations_fetch_failed")["error"] == "the disk is full"
    (event,) = sentry.events
    assert event["exception"]["values"][-1]["type"] == "DatabaseError"
    assert "Fetching organisations" in [crumb["message"] for crumb in event["breadcrumbs"]["values"]]


def test_creating_an_organisation_leaves_a_line(member, lines):
    created = member.post(
        "/api/v1/organisations",
        json.dumps({"name": "Groupe Kermorel", "category": "Corporate", "city": "Rennes"}),
        content_type="application/json",
    ).json()

    line = lines.one("organisation_created")
    assert (line["org_id"], line["org_name"], line["category"]) == (created["id"], "Groupe Kermorel", "Corporate")


def test_asking_who_i_am_leaves_a_line(member, user, lines):
    member.get("/api/v1/me")

    assert lines.one("user_profile_accessed")["user_id"] == user.pk


def test_an_import_leaves_a_line_and_two_messages(member, sentry, lines):
    file = SimpleUploadedFile("organisations.csv", b"name,category,city\nA,CGP,Lyon\nB,CGP,\n")

    member.post("/api/v1/organisations/import", {"file": file})

    line = lines.one("import_completed")
    assert (line["filename"], line["success_count"], line["error_count"]) == ("organisations.csv", 1, 1)
    assert [(event["message"], event["level"]) for event in sentry.events] == [
        ("Starting import from organisations.csv", "info"),
        ("Import completed: 1 success, 1 errors", "warning"),
    ]


def test_a_refused_file_leaves_a_line(member, lines):
    member.post("/organisations/import/", {"file": SimpleUploadedFile("organisations.csv", b"nom\nA\n")})

    assert lines.one("import_rejected")["reason"] == "These columns are missing: name, category, city."


def test_kpis_are_caught_for_their_n_plus_1(client, lines, organisations):
    client.get("/api/v1/kpis")

    assert lines.named("n_plus_one_detected")


def test_handled_error_and_message_make_one_event_each(client, sentry):
    client.get("/break/handled/")
    client.get("/break/message/")

    error, message = sentry.events
    assert error["exception"]["values"][-1]["type"] == "ValueError"
    assert error["extra"]["input"] == "forty-two"
    assert message["message"] == "Somebody pressed the message button"


@pytest.mark.parametrize("path", ["/break/error/", "/api/v1/broken"])
def test_unhandled_error_makes_one_event(visitor, sentry, path):
    visitor.get(path)

    assert len(sentry.events) == 1


@pytest.mark.parametrize("path", ["/break/error/", "/api/v1/broken"])
def test_a_copied_test_fails_as_the_page_did(visitor, sentry, path):
    visitor.get(path)
    (failure,) = sentry.events
    error = failure["exception"]["values"][-1]
    copied = {}

    exec(as_test(present(failure), Route(resolve(path).view_name, {})), copied)  # noqa: S102

    with pytest.raises(Exception, match=re.escape(error["value"])) as raised:
        next(value for name, value in copied.items() if name.startswith("test_"))()
    assert raised.type.__name__ == error["type"]
