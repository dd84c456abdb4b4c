from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import structlog
from django.apps import apps
from django.test.utils import override_settings

from crm_monitoring import apps as start_of
from crm_monitoring import conf, faults
from crm_monitoring.logs import Handler
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

ROOT = Path(__file__).parents[2]
DSN = "http://public@127.0.0.1:9/7"

# What a process of the project does, and what it tells: whatever starts, connects or sends is heard of.
PRELUDE = """
import json, sys, threading
heard = []
events = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "socket.connect")
sys.addaudithook(lambda event, args: heard.append(event) if event in events else None)
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["crm_monitoring"],
    MIDDLEWARE=["crm_monitoring.middleware.MonitoringMiddleware"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ALLOWED_HOSTS=["*"],
)
"""
SDK_INTEGRATION = """
import io
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from sentry_sdk.integrations.django import DjangoIntegration
from tests.conftest import MemoryTransport

transport = MemoryTransport()
settings.configure(
    INSTALLED_APPS=["crm_monitoring"],
    MIDDLEWARE=["crm_monitoring.middleware.MonitoringMiddleware"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ALLOWED_HOSTS=["*"],
    CRM_MONITORING={
        "TRACES_SAMPLE_RATE": 1.0,
        "SENTRY_OPTIONS": {"transport": transport, "integrations": [DjangoIntegration()]},
        "UNMONITORED_PATHS": ["/healthz"],
        "LOG_LEVEL": "CRITICAL",
    },
)
django.setup()

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import connection
from tests.clients import ASGIClient, WSGIClient


def fails(request):
    raise ValueError("boom")


def queries(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse()


urlpatterns = [path("fails/", fails), path("queries/", queries), path("healthz", queries)]
client = SERVER
answers = [client.get(path) for path in ("/fails/", "/queries/", "/healthz")]
print(json.dumps({
    "ids": [answer.headers["X-Request-ID"] for answer in answers],
    "events": transport.events,
    "transactions": transport.transactions,
}))
"""


def run(script: str, **environment: str) -> Any:
    """Run `script` in a process of its own; what it prints last is JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout.splitlines()[-1])


# -- what happens in ready() ----------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("dsn", ["", DSN])
def test_starting_connects_to_nothing_and_starts_no_thread_and_no_process(dsn: str) -> None:
    told = run(
        PRELUDE + "django.setup()\nprint(json.dumps([heard, threading.active_count()]))",
        SENTRY_DSN=dsn,
        LOG_LEVEL="INFO",
    )

    assert told == [[], 1]


@pytest.mark.processes
@pytest.mark.parametrize("dsn", ["", DSN])
def test_receivers_that_come_later_connect_to_nothing_and_start_no_thread_either(dsn: str) -> None:
    told = run(
        PRELUDE
        + "django.setup()\n"
        + "from crm_monitoring import capture_message\n"
        + "from crm_monitoring.sentry.transport import register_receiver\n"
        + "received = []\n"
        + "register_receiver(received.append)\n"
        + "at_start = [heard[:], threading.active_count()]\n"
        + ("" if dsn else "capture_message('x')\n")
        + "print(json.dumps([*at_start, len(received), threading.active_count()]))",
        SENTRY_DSN=dsn,
        LOG_LEVEL="INFO",
    )

    assert told == [[], 1, 0 if dsn else 1, 1]


@pytest.mark.processes
def test_starting_takes_everything_from_the_environment() -> None:
    told = run(
        PRELUDE
        + "django.setup()\nfrom crm_monitoring import check_monitoring_health\nprint(json.dumps(check_monitoring_health()))",
        SENTRY_DSN=DSN,
        ENVIRONMENT="staging",
        LOG_LEVEL="WARNING",
        SENTRY_RELEASE="2.1",
    )

    assert told["sentry"] == {
        "enabled": True,
        "environment": "staging",
        "dsn_configured": True,
        "release": "2.1",
        "traces_sample_rate": 0.5,
        "owner": "crm_monitoring",
    }
    assert told["logging"] == {"level": "WARNING", "structured": True}
    assert told["problems"] == []


@pytest.mark.processes
@pytest.mark.parametrize(
    "variables", [{"SENTRY_DSN": "nonsense"}, {"LOG_LEVEL": "LOUD"}, {"SENTRY_DSN": "https://key@host/x"}]
)
def test_a_bad_environment_does_not_keep_the_project_from_starting(variables: dict[str, str]) -> None:
    told = run(
        PRELUDE
        + "django.setup()\nfrom crm_monitoring import check_monitoring_health\nprint(json.dumps(check_monitoring_health()))",
        **variables,
    )

    (problem,) = told["problems"]
    assert problem.endswith("cannot be used as it is set.")


def test_ready_twice_is_the_same_as_once(sentry: MemoryTransport) -> None:
    client, handlers = sentry_sdk.get_client(), logging.getLogger().handlers[:]

    apps.get_app_config("crm_monitoring").ready()

    assert sentry_sdk.get_client() is client
    assert logging.getLogger().handlers == handlers
    assert sum(type(handler) is Handler for handler in handlers) == 1


def test_other_apps_may_come_and_go(server: WSGIClient, sentry: MemoryTransport, lines: Lines) -> None:
    with override_settings(INSTALLED_APPS=["crm_monitoring", "django.contrib.contenttypes", "django.contrib.auth"]):
        server.get("/fails/")

    assert len(sentry.events) == 1
    assert len(lines.named("request_failed")) == 1


def test_structlog_is_configured(settings: Any) -> None:
    structlog.reset_defaults()

    apps.get_app_config("crm_monitoring").ready()

    assert structlog.is_configured()


def test_a_part_that_cannot_start_does_not_cost_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("no")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(start_of.sentry, "init_sentry", broken)
    structlog.reset_defaults()

    start_of.start()

    assert structlog.is_configured()
    assert faults.sentences() == ["Starting broken failed 1 time, last with ValueError."]


def test_a_changed_setting_of_others_changes_nothing(settings: Any, sentry: MemoryTransport) -> None:
    before = conf.get()

    settings.APPEND_SLASH = False

    assert conf.get() is before


# -- where the project prefers the SDK's own integration ------------------------------------------------------------------


@pytest.fixture(params=["WSGIClient(get_wsgi_application())", "ASGIClient(get_asgi_application())"])
def told_by_sdk(request: pytest.FixtureRequest) -> Any:
    return run("import json\n" + SDK_INTEGRATION.replace("SERVER", request.param), SENTRY_DSN="")


@pytest.mark.processes
def test_the_sdks_integration_reports_a_failure_once(told_by_sdk: Any) -> None:
    (event,) = told_by_sdk["events"]

    assert event["exception"]["values"][-1]["mechanism"] == {"type": "django", "handled": False}
    assert event["tags"]["request_id"] == told_by_sdk["ids"][0]


@pytest.mark.processes
def test_the_sdks_integration_makes_one_transaction_a_request(told_by_sdk: Any) -> None:
    failed, queried = told_by_sdk["transactions"]

    assert [failed["transaction"], queried["transaction"]] == ["/fails/", "/queries/"]
    assert [failed["tags"]["request_id"], queried["tags"]["request_id"]] == told_by_sdk["ids"][:2]
    assert [span["description"] for span in queried["spans"] if span["op"] == "db"].count("SELECT 1") == 1
