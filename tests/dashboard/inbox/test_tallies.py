"""What is not kept is counted: what the quota holds back, and everything where Sentry keeps the events."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from crm_monitoring import capture_exception, capture_message, faults, get_logger, set_user_context
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.alerts import scheduler
from crm_monitoring.dashboard.inbox import receiver, tallies, waiting
from crm_monitoring.dashboard.metrics import hashed
from crm_monitoring.dashboard.models import AffectedUser, Event, Issue, Sighting
from crm_monitoring.dashboard.store import WINDOWS, figures, issue_writer
from crm_monitoring.sentry import client
from tests import urls as core_urls
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.dashboard.pages.test_issues import client_of
from tests.e2e.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
logger = get_logger("tests.tallies")


def crashes(request: HttpRequest, pk: int) -> HttpResponse:
    set_user_context(str(pk))
    raise ValueError(f"order {pk} for ada@example.org")


urlpatterns = [
    path("crashes/<int:pk>/", crashes),
    path("monitoring/", include("crm_monitoring.dashboard.urls")),
    path("", include(core_urls.urlpatterns)),
]
handler500 = "crm_monitoring.views.server_error"


@pytest.fixture(autouse=True)
def _site(settings: Any, monitoring: Any) -> None:
    settings.ROOT_URLCONF = __name__
    monitoring(SENTRY_RELEASE="1.0", ENVIRONMENT="test")


def errors() -> float | None:
    return figures.read(WINDOWS["1h"]).errors.now


# -- what the quota holds back --------------------------------------------------------------------------------------------


def test_185_equal_crashes_are_185_errors_and_an_issue_of_185(wsgi: WSGIClient) -> None:
    for number in range(185):
        wsgi.get(f"/crashes/{number % 7}/")
        if number == 100:
            flushing.flush()
            assert (errors(), Issue.objects.get().count) == (101, 101)
    flushing.flush()

    issue = Issue.objects.get()
    assert (errors(), issue.count) == (185, 185)
    assert Event.objects.count() < 20
    assert AffectedUser.objects.filter(issue=issue).count() == 7
    (seen,) = Sighting.objects.all()
    assert (seen.endpoint, seen.environment, seen.release, seen.count) == ("GET crashes/{pk}/", "test", "1.0", 185)


@pytest.mark.parametrize(
    "happens",
    [
        lambda number: capture_message("flood", level="error"),
        lambda number: capture_message(f"order {number} failed", level="error"),
        lambda number: logger.error("flood", number=number),
        lambda number: capture_exception(KeyError("x")),
    ],
    ids=["message", "message with a number", "line", "exception"],
)
def test_whatever_floods_is_one_issue_with_its_true_count(happens: Any) -> None:
    for number in range(60):
        happens(number)
    flushing.flush()

    assert [issue.count for issue in Issue.objects.all()] == [60]
    assert errors() == 60


def test_a_flood_eats_nobodys_count() -> None:
    for number in range(200):
        logger.error("flood", number=number)
    for kind in (KeyError, LookupError, OSError):
        capture_exception(kind("other"))
    flushing.flush()

    assert sorted(issue.count for issue in Issue.objects.all()) == [1, 1, 1, 200]


def test_an_issue_all_of_whose_events_are_held_back_is_known_without_secrets(monitoring: Any) -> None:
    monitoring(EVENTS_OVERALL_PER_MINUTE=1)
    capture_message("first", level="error")
    for _ in range(3):
        capture_exception(ValueError("no room for ada@example.org"))
    flushing.flush()

    issue = Issue.objects.get(title__startswith="ValueError")
    assert (issue.title, issue.count) == ("ValueError: no room for [Filtered]", 3)
    assert not issue.events.exists()


def test_one_that_was_resolved_comes_back() -> None:
    capture_message("flood", level="error")
    flushing.flush()
    Issue.objects.update(status="resolved", resolved_at="2020-01-01T00:00:00Z")
    for _ in range(30):
        capture_message("flood", level="error")
    flushing.flush()

    assert Issue.objects.get().status == Issue.Status.OPEN


def test_the_sum_that_is_told_at_the_end_is_no_issue_and_no_error(sentry: MemoryTransport, monitoring: Any) -> None:
    monitoring(EVENTS_BURST=1)
    for _ in range(3):
        capture_message("flood", level="error")
    client.tell_held_back()
    flushing.flush()

    assert [issue.title for issue in Issue.objects.all()] == ["flood"]
    assert errors() == 3


def test_threads_count_together() -> None:
    def flood() -> None:
        for _ in range(50):
            capture_message("flood", level="error")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flushing.flush()

    assert Issue.objects.get().count == errors() == 200


@pytest.mark.processes
def test_a_forked_child_counts_what_is_its_own() -> None:
    for _ in range(20):
        capture_message("flood", level="error")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - measured in the parent
        os._exit(tallies.has_work())
    _, status = os.waitpid(pid, 0)
    flushing.flush()

    assert os.waitstatus_to_exitcode(status) == 0
    assert Issue.objects.get().count == 20


# -- what Sentry keeps ----------------------------------------------------------------------------------------------------


def test_issues_are_known_by_their_counts_where_sentry_keeps_the_events(wsgi: WSGIClient, monitoring: Any) -> None:
    with Receiver() as server:
        monitoring(SENTRY_DSN=server.dsn, SENTRY_RELEASE="1.0")
        for number in range(40):
            wsgi.get(f"/crashes/{number % 3}/")
        flushing.flush()

        issue = Issue.objects.get()
        page = client_of("view_dashboard").get(f"/monitoring/issues/{issue.pk}/").content.decode()

    assert (issue.title, issue.count, issue.first_release) == ("ValueError: order 0 for [Filtered]", 40, "1.0")
    assert Event.objects.count() == 0
    assert set(AffectedUser.objects.values_list("user", flat=True)) == {hashed("0"), hashed("1"), hashed("2")}
    assert "Its events are at http://" in page and "INBOX = True keeps them here too." in page


def test_a_new_and_a_busy_issue_are_told_of_where_sentry_keeps_the_events(monitoring: Any) -> None:
    with Receiver() as server:
        monitoring(
            SENTRY_DSN=server.dsn,
            ALERTS={"busy_issue": {"threshold": 20}},
            ALERT_CHANNELS={"mail": {"type": "email", "to": ["a@crm.example"]}},
        )
        for _ in range(30):
            capture_exception(KeyError("x"))
        flushing.flush()

        found = {rule.name: changes for rule, changes in scheduler.look(time.time())}

    assert len(found["new_issue"]) == 1
    assert len(found["busy_issue"]) == 1


# -- bounds and outages ---------------------------------------------------------------------------------------------------


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MAX_TALLIES", 2)
    monkeypatch.setattr(tallies, "MAX_USERS", 1)
    for kind in "abcd":
        for user in ("1", "2"):
            tallies.count_held_back({"level": "warning", "logger": kind, "message": kind, "user": {"id": user}})
    flushing.flush()

    assert [issue.count for issue in Issue.objects.all()] == [2, 2]
    assert AffectedUser.objects.count() == 2
    assert faults.losses()[waiting.FULL] == 4


def test_what_cannot_be_written_waits_for_the_next_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    record = issue_writer.record_tally

    def fails(tally: Any) -> None:
        tallies.count_held_back({"level": "error", "message": "flood"})
        raise Error("gone")

    tallies.count_held_back({"level": "error", "message": "flood"})
    monkeypatch.setattr(issue_writer, "record_tally", fails)
    with pytest.raises(Error):
        tallies.write()
    monkeypatch.setattr(issue_writer, "record_tally", record)
    tallies.write()

    assert Issue.objects.get().count == 2
    assert not tallies.has_work()


def test_what_no_database_would_take_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DataError

    def refuses(tally: Any) -> None:
        raise DataError("too long")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(issue_writer, "record_tally", refuses)
    tallies.count_held_back({"level": "error", "message": "flood"})
    tallies.write()

    assert faults.losses()[waiting.UNWRITABLE] == 1 and not tallies.has_work()


def test_what_never_could_be_written_is_lost_aloud() -> None:
    for _ in range(3):
        tallies.count_held_back({"level": "error", "message": "flood"})

    tallies.lose()
    tallies.lose()

    assert faults.losses()[tallies.UNWRITTEN] == 3


def test_without_a_dashboard_nobody_counts() -> None:
    from crm_monitoring import extending

    extending.unregister_held_back(tallies.count_held_back)
    for _ in range(30):
        capture_message("flood", level="error")

    assert not tallies.has_work() and receiver.counts()["received"]
