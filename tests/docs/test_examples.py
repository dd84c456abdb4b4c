"""What single pages show is what happens."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import migrations
from django_structlog import signals

from crm_monitoring import capture_message, get_logger, set_tag
from crm_monitoring.dashboard.alerts import rules
from crm_monitoring.dashboard.alerts.channels import signature
from crm_monitoring.dashboard.alerts.messages import Message
from crm_monitoring.sentry.transport import MemoryTransport
from crm_monitoring.testing import capture_monitoring
from tests.clients import WSGIClient
from tests.docs.conftest import Page
from tests.docs.markdown import DOCS, blocks, section


def test_lines_that_a_page_shows_are_those_its_code_writes(page: Page, lines: Any) -> None:
    (shown,) = (orjson.loads(block.text) for block in blocks(DOCS / "privacy.md", "json"))

    page(DOCS / "privacy.md")

    written = lines.one("partner_called")
    assert {**written, "timestamp": None, "logger": None} == {**shown, "timestamp": None, "logger": None}
    assert list(written) == list(shown)


def test_names_of_your_own_are_masked_however_they_are_written(page: Page, lines: Any) -> None:
    page(DOCS / "privacy.md")

    get_logger("crm").info("read", customerNumber=1, customer_number=2, **{"X-Customer-Number": 3, "customers": 4})

    line = lines.one("read")
    assert [line[name] for name in ("customerNumber", "customer_number", "X-Customer-Number")] == ["[Filtered]"] * 3
    assert line["customers"] == 4


def test_code_that_starts_with_a_test_of_its_own_passes_it(page: Page, rf: Any) -> None:
    page(DOCS / "start.md")["test_creating_an_organisation_is_logged"](rf)


@pytest.mark.django_db
def test_who_is_allowed_to_may_see_the_dashboard(page: Page) -> None:
    user = User.objects.create(username="alva")

    page(DOCS / "dashboard.md")["allow"](user)

    user = User.objects.get()
    assert user.is_staff
    assert user.has_perm("crm_monitoring_dashboard.view_dashboard")


def test_a_routes_rate_is_that_of_the_sampler(page: Page, wsgi: WSGIClient, settings: Any) -> None:
    sampler = page(DOCS / "settings.md")["sampler"]

    assert sampler({"route": "ping/", "method": "GET", "path": "/ping/"}) == 0.0
    assert sampler({}) == 0.1


# -- alerts ---------------------------------------------------------------------------------------------------------------


def test_the_rules_of_the_page_are_rules(page: Page) -> None:
    page(DOCS / "alerts.md")

    assert [rule.name for rule in rules.active()] == ["new_issue", "slow", "imports", "no orders", "queue"]


def test_the_kinds_of_rules_are_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)`(?: \(on\))? \|", section(DOCS / "alerts.md", "Rules"), re.MULTILINE)

    assert rows == list(rules.KINDS)


def test_a_webhook_gets_what_the_page_shows() -> None:
    (shown,) = (orjson.loads(block.text) for block in blocks(DOCS / "alerts.md", "json"))

    assert list(shown) == [field.name for field in fields(Message)]


def test_the_check_of_a_webhook_knows_what_is_ours(page: Page) -> None:
    is_ours = page(DOCS / "alerts.md")["is_ours"]
    moment = str(int(time.time()))
    signed = {"X-Monitoring-Timestamp": moment, "X-Monitoring-Signature": signature("secret", moment, b"{}")}
    old = {"X-Monitoring-Timestamp": "1", "X-Monitoring-Signature": signature("secret", "1", b"{}")}

    assert is_ours("secret", signed, b"{}")
    assert not is_ours("secret", signed, b"{ }")
    assert not is_ours("other", signed, b"{}")
    assert not is_ours("secret", old, b"{}")


# -- commands and tasks ---------------------------------------------------------------------------------------------------


def test_threads_that_are_handed_the_context_log_the_requests_id(
    page: Page, rf: Any, settings: Any, wsgi: WSGIClient
) -> None:
    from django.http import JsonResponse
    from django.urls import path as route

    names = page(DOCS / "celery-and-tasks.md")
    names["urlpatterns"] = [route("", lambda request: JsonResponse({"done": names["export"]([1, 2])}))]
    settings.ROOT_URLCONF = names["__name__"]

    with capture_monitoring() as captured:
        wsgi.get("/", **{"X-Request-ID": "abc"})

    told = [line["request_id"] for line in captured.lines if line["event"] == "organisation_exported"]
    assert told == ["abc", "abc"]


def test_what_one_job_sets_and_fails_with_is_not_the_next_ones(page: Page) -> None:
    class Job:
        def __init__(self, number: int) -> None:
            self.name, self.id = "send_invoices", number

        def run(self) -> None:
            set_tag("job", str(self.id))
            if self.id == 1:
                raise ValueError("no address")
            capture_message("sent")

    with capture_monitoring() as captured:
        page(DOCS / "celery-and-tasks.md")["work_through"]([Job(1), Job(2)])

    failed, sent = captured.events
    assert failed["exception"]["values"][-1]["mechanism"]["handled"] is False
    assert (failed["tags"]["job"], sent["tags"]["job"]) == ("1", "2")
    assert failed["tags"]["request_id"] != sent["tags"]["request_id"]
    assert [line["job_id"] for line in captured.lines if line["event"].startswith("unit_")] == [1, 2]


# -- coming from others ---------------------------------------------------------------------------------------------------


def test_receivers_of_django_structlog_add_to_the_requests_line(page: Page, wsgi: WSGIClient, lines: Any) -> None:
    receiver = page(DOCS / "coming-from-sentry-and-django-structlog.md")["add_tenant"]
    try:
        wsgi.get("/", **{"X-Tenant": "north"})
    finally:
        signals.bind_extra_request_finished_metadata.disconnect(receiver)

    assert lines.one("request_finished")["tenant"] == "north"


def test_what_the_sdk_is_told_directly_is_merged_with_the_rest(sentry: MemoryTransport) -> None:
    import sentry_sdk

    from crm_monitoring import capture_exception

    try:
        raise ValueError("once")
    except ValueError as error:
        sentry_sdk.capture_exception(error)
        capture_exception(error)
        get_logger("crm").exception("import_failed")

    assert len(sentry.events) == 1


# -- contributing ---------------------------------------------------------------------------------------------------------


def test_the_migration_of_the_page_is_one(page: Page) -> None:
    names = page(DOCS / "contributing.md")

    assert issubclass(names["Migration"], migrations.Migration)
