"""Sentry's events without a server: taken as they leave, written when nobody waits, and never in the way."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import sentry_sdk
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DataError, Error, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from sentry_sdk.envelope import Envelope, Item

from crm_monitoring import (
    PerformanceMonitor,
    capture_exception,
    capture_message,
    check_monitoring_health,
    faults,
    get_logger,
    set_user_context,
)
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.inbox import receiver, waiting
from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, SlowTransaction
from crm_monitoring.dashboard.store import issue_writer, issues
from crm_monitoring.sentry import status
from crm_monitoring.sentry.transport import LocalTransport
from crm_monitoring.testing import capture_monitoring
from tests import urls as core_urls
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.core.scrubbing.test_leaks import FREE, PLAIN, free, keyed, planted
from tests.e2e.receiver import Receiver

logger = get_logger("tests.inbox")

pytestmark = pytest.mark.django_db(transaction=True)


def fails_with_everything(request: HttpRequest) -> HttpResponse:
    amount = 7
    set_user_context(request.GET.get("user", "1"))
    logger.info("row_imported", amount=amount)
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("outer")  # noqa: B904 - the implicit context is the case


def writes_and_fails(request: HttpRequest) -> HttpResponse:
    get_user_model().objects.create(username="rolled back")
    logger.error("import_failed", org_id=7)
    raise ValueError("after the write")


def slow(request: HttpRequest) -> HttpResponse:
    with PerformanceMonitor("import"), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        time.sleep(0.03)
    return HttpResponse("slow")


urlpatterns = [
    path("everything/", fails_with_everything),
    path("writes/", writes_and_fails),
    path("slow/", slow),
    path("", include(core_urls.urlpatterns)),
]
handler500 = "crm_monitoring.views.server_error"


@pytest.fixture(autouse=True)
def _site(settings: Any, monitoring: Any) -> None:
    settings.ROOT_URLCONF = __name__
    monitoring(SENTRY_RELEASE="1.0", ENVIRONMENT="test", TRACES_SAMPLE_RATE=1.0)


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the collector is told of errors: fingerprint and quantity."""
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(
        collector, "count_error", lambda fingerprint, quantity=1: counted.append((fingerprint, quantity))
    )
    return counted


def bodies() -> list[Any]:
    return [orjson.loads(zlib.decompress(event.body)) for event in Event.objects.order_by("pk")]


# -- without a DSN --------------------------------------------------------------------------------------------------------


def test_a_crash_makes_one_issue_with_one_event_that_tells_everything(server: WSGIClient) -> None:
    answer = server.get("/everything/?page=2")
    receiver.write()

    issue = Issue.objects.get()
    assert (issue.title, issue.place) == (
        "ValueError: outer",
        "tests.dashboard.inbox.test_inbox in fails_with_everything",
    )
    assert (issue.count, issue.level, issue.first_release) == (1, "error", "1.0")
    (body,) = bodies()
    inner, outer = body["exception"]["values"]
    frame = outer["stacktrace"]["frames"][-1]
    assert (inner["type"], outer["type"], outer["mechanism"]["handled"]) == ("KeyError", "ValueError", False)
    assert frame["vars"]["amount"] == "7"
    assert "raise ValueError" in frame["context_line"]
    assert body["transaction"] == "GET everything/"
    assert body["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert body["request"]["query_string"] == "page=2"
    assert body["user"]["id"] == "1"
    assert "row_imported" in [crumb["message"] for crumb in body["breadcrumbs"]["values"]]
    event = Event.objects.get()
    assert (event.environment, event.release, event.endpoint) == ("test", "1.0", "GET everything/")


def test_nothing_is_written_before_the_response(server: WSGIClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        server.get("/everything/")

    assert receiver.counts()["waiting"] == 1


def test_a_request_that_is_rolled_back_loses_no_event(server: WSGIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    server.get("/writes/")
    receiver.write()

    assert not get_user_model().objects.exists()
    assert set(Issue.objects.values_list("title", flat=True)) == {"import_failed", "ValueError: after the write"}


def test_one_failure_again_and_again_is_one_issue_of_two_users(wsgi: WSGIClient) -> None:
    for user in ("1", "2", "1"):
        wsgi.get(f"/everything/?user={user}")
    receiver.write()

    assert Issue.objects.get().count == 3
    assert set(AffectedUser.objects.values_list("user", flat=True)) == {hashed("1"), hashed("2")}


def test_an_event_that_leaves_after_others_were_held_back_counts_once(
    monitoring: Any, errors: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring(EVENTS_BURST=1, EVENTS_PER_MINUTE=60)
    now = time.monotonic()
    monkeypatch.setattr("crm_monitoring.sentry.quota.monotonic", lambda: now)
    for _ in range(4):
        capture_message("flood", level="error")
    now += 1.5
    capture_message("flood", level="error")
    flushing.flush()

    assert (Issue.objects.get().count, Event.objects.count()) == (5, 2)
    assert [quantity for _, quantity in errors] == [1] * 5


def test_only_errors_are_counted_as_errors(errors: list[tuple[str, int]]) -> None:
    for level in ("debug", "info", "warning", "error", "critical"):
        capture_message(f"of level {level}", level=level)
    receiver.write()

    found = Issue.objects.filter(level__in=("error", "fatal")).values_list("fingerprint", flat=True)
    assert Issue.objects.count() == 5
    assert {fingerprint for fingerprint, _ in errors} == set(found)


def test_crashes_outside_of_requests_are_taken() -> None:
    def crash() -> None:
        raise LookupError("in a thread")

    before = threading.excepthook
    threading.excepthook = lambda args: None
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    threading.excepthook = before
    receiver.write()

    assert Issue.objects.get().title == "LookupError: in a thread"


def test_a_slow_transaction_is_kept_with_its_spans(server: WSGIClient, monitoring: Any) -> None:
    monitoring(TRACES_SAMPLE_RATE=1.0, SLOW_REQUEST_MS=20.0)

    server.get("/slow/")
    server.get("/ok/")
    receiver.write()

    # On a busy machine the other may be slow too.
    kept = SlowTransaction.objects.get(endpoint="GET slow/")
    spans = issues.transaction(kept.event_id).body["spans"]
    assert 30 <= kept.duration_ms < 10_000
    assert {span["op"] for span in spans} >= {"db", "function"}
    assert receiver.counts()["received"] == {"transaction": 2}


def test_a_transaction_below_the_threshold_is_not_kept(wsgi: WSGIClient, monitoring: Any) -> None:
    monitoring(TRACES_SAMPLE_RATE=1.0, SLOW_REQUEST_MS=60_000.0)

    wsgi.get("/slow/")
    receiver.write()

    assert not SlowTransaction.objects.exists()
    assert receiver.counts()["received"] == {"transaction": 1}


def test_sampling_is_as_with_a_dsn(wsgi: WSGIClient, monitoring: Any) -> None:
    monitoring(TRACES_SAMPLE_RATE=0.0)

    wsgi.get("/ok/")

    assert receiver.counts()["received"] == {}


def test_every_type_of_item_is_accepted() -> None:
    kinds = ["session", "sessions", "check_in", "log", "trace_metric", "span", "feedback", "profile", "profile_chunk"]
    items = [Item(b"{}", type=kind) for kind in (*kinds, "client_report", "attachment", "of tomorrow", None)]
    batch = Item(b"{}", type="log", headers={"item_count": 7})

    receiver.receive(Envelope(items=[*items, batch, Item(b"{}", type="event"), Item(b"{}", type="transaction")]))

    received = receiver.counts()["received"]
    assert received.pop("log") == 8
    assert received.pop("other") == 2
    assert set(received.values()) == {1}
    assert receiver.counts()["waiting"] == 0


def test_what_the_sdk_sends_besides_is_counted() -> None:
    sentry_sdk.crons.capture_checkin(monitor_slug="import", status="ok")
    sentry_sdk.metrics.count("rows", 1)
    sentry_sdk.logger.warning("log")
    sentry_sdk.flush()

    assert receiver.counts() == {"received": {"check_in": 1, "trace_metric": 1, "log": 1}, "waiting": 0}


# -- where events go ------------------------------------------------------------------------------------------------------


def test_without_a_dsn_nothing_is_sent_and_the_health_view_says_so() -> None:
    assert isinstance(sentry_sdk.get_client().transport, LocalTransport)
    assert status().local
    assert check_monitoring_health()["sentry"]["enabled"] is False


@pytest.mark.parametrize(("keeps", "count"), [(True, 1), (False, 0)])
def test_with_a_dsn_the_inbox_keeps_events_where_it_is_asked_to(
    monitoring: Any, errors: list[tuple[str, int]], keeps: bool, count: int
) -> None:
    with Receiver() as server:
        monitoring(SENTRY_DSN=server.dsn, INBOX=keeps, SLOW_REQUEST_MS=0, TRACES_SAMPLE_RATE=1.0)
        with PerformanceMonitor("import"):
            event_id = capture_exception(ValueError("boom"))
        receiver.write()

        (sent,) = server.wait_for("event")

    assert sent["event_id"] == event_id
    assert Event.objects.filter(event_id=event_id).count() == Event.objects.count() == count
    assert SlowTransaction.objects.count() == count
    assert [quantity for _, quantity in errors] == [1]


def test_a_transport_of_the_project_stands_in_for_the_inbox(sentry: MemoryTransport, server: WSGIClient) -> None:
    server.get("/fails/")

    assert len(sentry.events) == 1
    assert receiver.counts() == {"received": {}, "waiting": 0}


def test_what_a_projects_tests_capture_is_theirs(wsgi: WSGIClient) -> None:
    with capture_monitoring() as captured:
        wsgi.get("/fails/")
    capture_message("after")

    assert len(captured.events) == 1
    assert receiver.counts()["received"] == {"event": 1}


def test_the_health_view_tells_what_waits() -> None:
    capture_message("x")

    assert receiver.has_work()
    assert receiver.counts()["waiting"] == 1
    assert check_monitoring_health()["inbox"] == {"received": {"event": 1}, "waiting": 1}


COMMANDS = """
import io, json, sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["crm_monitoring", "crm_monitoring.dashboard", "django.contrib.auth", "django.contrib.contenttypes"],
    MIDDLEWARE=["crm_monitoring.middleware.MonitoringMiddleware"],
    ROOT_URLCONF="__main__",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()

from django.core.management import CommandError, call_command
from crm_monitoring.dashboard.models import Event


def told(*args):
    out = io.StringIO()
    try:
        call_command("monitoring", *args, stdout=out, no_color=True)
    except CommandError as error:
        return f"{out.getvalue()}{error}"
    return out.getvalue()


unmigrated = told("test")
call_command("migrate", verbosity=0)
print(json.dumps([unmigrated, told("test"), told("check"), list(Event.objects.values_list("event_id", flat=True))]))
"""


@pytest.mark.processes
def test_the_command_tests_the_inbox(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMANDS, str(tmp_path / "db.sqlite3")],
        env={**os.environ, "SENTRY_DSN": "", "LOG_LEVEL": "CRITICAL"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    unmigrated, tested, checked, stored = orjson.loads(done.stdout.splitlines()[-1])
    missing = "They did not arrive in the inbox. The dashboard's tables are missing: run manage.py migrate."
    assert missing in unmigrated
    assert tested.endswith("Both arrived in the inbox.\n")
    assert set(re.findall("[0-9a-f]{32}", unmigrated + tested)) == set(stored)
    assert len(stored) == 4
    assert "Where events go\n  the inbox: SENTRY_DSN is not set\n" in checked


def test_the_command_tells_of_both_destinations(monitoring: Any) -> None:
    out = io.StringIO()
    monitoring(SENTRY_DSN="http://public@127.0.0.1:9/7", INBOX=True)

    call_command("monitoring", "check", stdout=out, no_color=True)

    assert "  http://127.0.0.1:9/7 and the inbox\n" in out.getvalue()


# -- what the inbox makes of an event -------------------------------------------------------------------------------------


def receive(**event: Any) -> None:
    envelope = Envelope()
    envelope.add_event(event)  # type: ignore[arg-type]
    receiver.receive(envelope)


def receive_transaction(**event: Any) -> None:
    envelope = Envelope()
    envelope.add_transaction({"type": "transaction", **event})  # type: ignore[typeddict-item]
    receiver.receive(envelope)


@pytest.mark.parametrize("event_id", [None, "", "short", "x" * 32, ["list"]])
def test_an_event_without_a_usable_id_gets_one(event_id: Any) -> None:
    receive(event_id=event_id, message="one")
    receive(event_id=event_id, message="two")
    receiver.write()

    assert Event.objects.count() == 2


def test_an_event_that_is_delivered_twice_counts_once() -> None:
    for _ in range(2):
        for _ in range(2):
            receive(event_id="9C8589018A57479181FE4C455B099BC9", message="twice")
        receiver.write()

    assert Issue.objects.get().count == 1


@pytest.mark.parametrize("timestamp", [None, "nonsense", "2199-01-01T00:00:00Z", float("nan")])
def test_a_moment_that_cannot_be_is_now(timestamp: Any) -> None:
    receive(message="x", timestamp=timestamp)
    receiver.write()

    assert abs(Event.objects.get().moment.timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"timestamp": "2026-01-01T00:00:01Z"},
        {"timestamp": "x", "start_timestamp": "y"},
        {"timestamp": 1.0, "start_timestamp": 2.0},
    ],
)
def test_a_transaction_whose_duration_is_not_known_is_not_slow(times: dict[str, Any]) -> None:
    receive_transaction(transaction="x", **times)

    assert receiver.counts() == {"received": {"transaction": 1}, "waiting": 0}


HOSTILE = "nul \0 surrogate \ud800 and 🚀 " + "long " * 1000


def test_any_text_can_be_written() -> None:
    receive(
        message=HOSTILE,
        logger=HOSTILE,
        transaction=HOSTILE,
        release=HOSTILE,
        environment=HOSTILE,
        user={"id": HOSTILE},
        extra={HOSTILE: [HOSTILE, float("nan"), 1 << 80]},
        contexts={"quota": {"held_back": "many"}},
    )
    receiver.write()

    issue = Issue.objects.get()
    assert issue.title.startswith("nul \ufffd surrogate \\ud800 and 🚀 long")
    assert issue.count == 1
    assert issues.event(issue).body["message"].startswith("nul \0 surrogate")


# -- bounds ---------------------------------------------------------------------------------------------------------------


def test_what_waits_is_bounded_in_number_and_the_rest_is_counted() -> None:
    for number in range(receiver.MAX_EVENTS + 3):
        receive(message=f"{number}")
    for _ in range(receiver.MAX_TRANSACTIONS + 4):
        receive_transaction(timestamp=1000.0, start_timestamp=1.0)

    assert receiver.counts()["waiting"] == receiver.MAX_EVENTS + receiver.MAX_TRANSACTIONS
    assert faults.losses()[waiting.FULL] == 7


def test_what_waits_is_bounded_in_bytes() -> None:
    half = "x" * (waiting.MAX_BYTES // 2)

    for _ in range(3):
        receive(message=half, user={"id": "1"})

    assert receiver.counts()["waiting"] == 1
    assert faults.losses()[waiting.FULL] == 2


def test_room_is_made_by_writing() -> None:
    most = "x" * (waiting.MAX_BYTES - 1000)
    for _ in range(2):
        receive(message=most)
        receiver.write()

    assert Issue.objects.get().count == 2
    assert waiting.FULL not in faults.losses()


@pytest.mark.processes
def test_a_forked_child_writes_nothing_of_its_parents() -> None:
    receive(message="the parent's")

    pid = os.fork()
    if pid == 0:
        os._exit(receiver.counts()["waiting"])

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert receiver.counts()["waiting"] == 1


# -- writing --------------------------------------------------------------------------------------------------------------


def test_an_event_that_fails_does_not_keep_the_others_from_being_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the database itself stumbles on, in whatever way."""
    record = issue_writer.record

    def stumbles(one: Any) -> None:
        if one.group.title == "bad":
            raise Error("no")
        record(one)

    monkeypatch.setattr(receiver.events, "record", stumbles)
    for message in ("bad", "good", "better"):
        receive(message=message)
    for _ in range(2):
        with pytest.raises(Error):
            receiver.write()

    assert Issue.objects.count() == 2
    assert receiver.counts()["waiting"] == 1


@pytest.mark.parametrize("error", [DataError("too long"), TypeError("no such value")])
def test_an_event_that_no_database_would_take_is_lost_and_counted(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuses(one: Any) -> None:
        raise error

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(receiver.events, "record", refuses)
    receive(message="one")
    receive(message="two")

    receiver.write()

    assert receiver.counts()["waiting"] == 0
    assert faults.losses()[waiting.UNWRITABLE] == 2
    assert faults.sentences() == [f"Writing an event to the inbox failed 2 times, last with {type(error).__name__}."]


def test_an_answer_that_is_lost_makes_no_event_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection drops after the commit, before anybody knows of it."""
    record = issue_writer.record

    def drops(one: Any) -> None:
        record(one)
        raise Error("connection lost")

    receive(message="once")
    with monkeypatch.context() as patch, pytest.raises(Error):
        patch.setattr(receiver.events, "record", drops)
        receiver.write()
    receiver.write()

    assert Issue.objects.get().count == 1


def test_what_another_flush_has_written_meanwhile_does_not_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(one: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(receiver.events, "record", issue_writer.record)
            receiver.write()
        raise Error("connection lost")

    monkeypatch.setattr(receiver.events, "record", overtaken)
    receive(message="once")
    with pytest.raises(Error):
        receiver.write()

    assert not receiver.has_work()
    assert Issue.objects.get().count == 1


def test_what_is_written_within_a_transaction_of_the_host_survives_only_with_it() -> None:
    """Which is why a flush stays out of them."""
    receive(message="x")

    with transaction.atomic():
        receiver.write()
        transaction.set_rollback(True)

    assert not Issue.objects.exists()


# -- secrets --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(settings: Any, monitoring: Any) -> Iterator[Callable[[], str]]:
    """Returns every byte in the dashboard's tables, bodies unpacked."""
    settings.ROOT_URLCONF = "tests.core.scrubbing.test_leaks"
    monitoring(SENTRY_RELEASE="1.0", TRACES_SAMPLE_RATE=1.0, SLOW_QUERY_MS=0.0001, SLOW_REQUEST_MS=0)

    def read() -> str:
        sentry_sdk.flush()
        receiver.write()
        models = list(apps.get_app_config("crm_monitoring_dashboard").get_models())
        rows = [value for model in models for row in model._default_manager.values_list() for value in row]
        assert Event.objects.exists()
        return "\n".join(zlib.decompress(row).decode() if isinstance(row, bytes) else str(row) for row in rows)

    yield read
    planted.clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", keyed)
def test_a_secret_under_a_key_is_not_stored(server: WSGIClient, stored: Callable[[], str], name: str) -> None:
    planted.append(lambda: keyed[name](PLAIN))

    server.get("/crashes/?token=" + PLAIN)

    assert PLAIN not in stored()


@pytest.mark.slow
@pytest.mark.parametrize("name", free)
def test_a_secret_that_its_form_tells_is_not_stored(wsgi: WSGIClient, stored: Callable[[], str], name: str) -> None:
    for secret in FREE.values():
        planted[:] = [partial(free[name], secret)]
        wsgi.get("/crashes/")

    found = stored()
    assert [form for form, secret in FREE.items() if secret in found] == []


def test_a_mark_that_is_no_secret_is_stored(wsgi: WSGIClient, stored: Callable[[], str]) -> None:
    """So that the tests above can fail."""
    planted.append(lambda: free["exception"]("harmless-mark"))

    wsgi.get("/crashes/")

    assert "harmless-mark" in stored()
