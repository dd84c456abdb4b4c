"""Requests and units of work that are kept whole: the ones that failed, the slow ones, and a sample of the rest."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from crm_monitoring import PerformanceMonitor, faults, get_logger, set_user_context, unit_of_work
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.inbox import works
from crm_monitoring.dashboard.metrics.pseudonyms import hashed
from crm_monitoring.dashboard.models import Event, KeptWork
from crm_monitoring.dashboard.store import stories, upkeep
from crm_monitoring.dashboard.store import works as store
from crm_monitoring.dashboard.store.stories import WorkFilters
from tests import urls as core_urls
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import MemoryTransport

NOW = time.time() - 5_000
logger = get_logger("tests.works")
pytestmark = pytest.mark.django_db(transaction=True)


def acts(request: HttpRequest, pk: int) -> HttpResponse:
    set_user_context("7")
    logger.info("payment_begun", order=6, password="hunter2")
    with PerformanceMonitor("charge"), connection.cursor() as cursor:
        for number in range(25):
            cursor.execute("SELECT %s", [number])
    if "fails" in request.GET:
        raise ValueError("declined")
    return HttpResponse("paid")


urlpatterns = [path("acts/<int:pk>/", acts), path("", include(core_urls.urlpatterns))]
handler500 = "crm_monitoring.views.server_error"


@pytest.fixture(autouse=True)
def _site(settings: Any, monitoring: Any) -> None:
    settings.ROOT_URLCONF = __name__
    monitoring(SENTRY_RELEASE="1.0", ENVIRONMENT="test")


def whole(number: int = 0, **given: Any) -> store.Whole:
    about: dict[str, Any] = {
        "event_id": f"{number:032x}",
        "request_id": f"request-{number}",
        "trace_id": "a" * 32,
        "moment": NOW + number,
        "environment": "test",
        "release": "1.0",
        "endpoint": "GET acts/{pk}/",
        "body": b"{}",
        "kind": "request",
        "duration_ms": 10.0,
        "status": 500,
        "failed": True,
        "reason": "failed",
        "user": "",
    }
    return store.Whole(**about | given)


@pytest.fixture(params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest) -> WSGIClient | ASGIClient:
    client: WSGIClient | ASGIClient = request.getfixturevalue(request.param)
    return client


def test_a_request_that_fails_is_kept_with_all_that_it_did(site: WSGIClient, sentry: MemoryTransport) -> None:
    answer = site.get("/acts/6/?fails")
    flushing.flush()

    story = stories.story(answer.headers["X-Request-ID"])
    ((work,), (body,)) = story.works, story.bodies
    assert (work.kind, work.endpoint, work.status, work.failed, work.reason) == (
        "request",
        "GET acts/{pk}/",
        500,
        True,
        "failed",
    )
    assert (work.environment, work.release, work.user) == ("test", "1.0", hashed("7"))
    assert (body["method"], body["path"], body["error"]) == ("GET", "/acts/6/", "ValueError")
    assert [line["event"] for line in body["lines"]] == ["payment_begun"]
    assert body["lines"][0]["fields"] == {"order": 6, "password": "[Filtered]"}
    ((statement),) = body["statements"]
    assert (statement["sql"], statement["count"]) == ("SELECT %s", 25)
    assert statement["place"]["code.function"] == "acts"
    assert [step["operation"] for step in body["steps"]] == ["db"] * 25 + ["function"]
    assert 0 <= body["steps"][0]["at_ms"] <= work.duration_ms
    assert b"hunter2" not in KeptWork.objects.get().body


@pytest.mark.usefixtures("sentry")
def test_its_failure_is_found_by_its_id(wsgi: WSGIClient, monitoring: Any) -> None:
    monitoring(INBOX=True)
    answer = wsgi.get("/acts/6/?fails")
    flushing.flush()

    (event,) = stories.story(answer.headers["X-Request-ID"]).events
    assert event.issue.title == "ValueError: declined"
    assert event.trace_id == stories.story(answer.headers["X-Request-ID"]).works[0].trace_id != ""


def test_a_slow_request_is_kept_and_of_the_rest_one_in_five_minutes(
    wsgi: WSGIClient, monitoring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(works, "monotonic", lambda: clock[0])
    for _ in range(3):
        wsgi.get("/ok/")
    flushing.flush()
    assert [work.reason for work in KeptWork.objects.all()] == ["sample"]

    monitoring(SLOW_REQUEST_MS=0)
    wsgi.get("/ok/")
    flushing.flush()

    assert sorted(work.reason for work in KeptWork.objects.all()) == ["sample", "slow"]


def test_a_process_keeps_another_sample_after_five_minutes_if_no_other_has(
    wsgi: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(works, "monotonic", lambda: clock[0])
    for _ in range(3):
        wsgi.get("/ok/")
        flushing.flush()
        clock[0] += store.SAMPLE_EVERY_S + 1

    # Its own clock says that it is time, and the rows say that one is kept already.
    assert KeptWork.objects.count() == 1


def test_what_is_quick_and_fine_asks_the_database_for_nothing(wsgi: WSGIClient, django_assert_num_queries: Any) -> None:
    wsgi.get("/ok/")

    with django_assert_num_queries(0):
        wsgi.get("/ok/")


def test_a_unit_of_work_that_fails_is_kept_under_the_id_of_who_asked() -> None:
    with pytest.raises(ValueError, match="full"), unit_of_work("send_receipt", "task", request_id="the-request"):
        raise ValueError("full")
    flushing.flush()

    (work,) = stories.story("the-request").works
    assert (work.kind, work.endpoint, work.status, work.failed) == ("task", "send_receipt", None, True)


def test_other_works_of_the_same_trace_are_found() -> None:
    store.record(whole(1, request_id="page"))
    store.record(whole(2, request_id="api"))
    store.record(whole(3, request_id="else", trace_id="b" * 32))

    assert [work.request_id for work in stories.story("page").others] == ["api"]


def test_unmonitored_requests_are_not_kept(wsgi: WSGIClient) -> None:
    wsgi.get("/quiet/")
    flushing.flush()

    assert KeptWork.objects.count() == 0


def test_a_project_may_keep_none(wsgi: WSGIClient, monitoring: Any) -> None:
    monitoring(KEPT_REQUESTS_MB=0)
    wsgi.get("/acts/6/?fails")

    assert not works.has_work()


def test_of_a_flood_the_first_are_kept(wsgi: WSGIClient) -> None:
    for _ in range(works.MOST_ALIKE + 5):
        wsgi.get("/acts/6/?fails")
    flushing.flush()
    assert KeptWork.objects.count() == works.MOST_ALIKE

    wsgi.get("/acts/6/?fails")
    flushing.flush()

    assert KeptWork.objects.count() == works.MOST_ALIKE + 1


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "MAX_NAMES", 2)
    for name in "abc":
        with unit_of_work(name, "job"):
            pass
    flushing.flush()

    assert sorted(work.endpoint for work in KeptWork.objects.all()) == ["a", "b"]


def test_of_an_endpoint_the_newest_and_the_slowest_stay() -> None:
    for number in range(store.SLOWEST_KEPT):
        store.record(whole(number, duration_ms=5000.0 + number))
    for number in range(store.SLOWEST_KEPT, 100):
        store.record(whole(number))
    store.record(whole(1000, endpoint="GET other/"))

    kept = list(KeptWork.objects.filter(endpoint="GET acts/{pk}/"))
    assert len(kept) == store.NEWEST_KEPT + store.SLOWEST_KEPT
    assert kept[0].request_id == "request-99"
    assert sum(work.duration_ms >= 5000 for work in kept) == store.SLOWEST_KEPT


def test_the_same_is_kept_once() -> None:
    for _ in range(2):
        store.record(whole(1))

    assert KeptWork.objects.count() == 1


def test_all_together_have_room(monitoring: Any) -> None:
    monitoring(KEPT_REQUESTS_MB=1)
    for number in range(3):
        store.record(replace(whole(number), body=bytes(range(256)) * 10))
    KeptWork.objects.update(size=400_000)

    assert upkeep.prune().works == 1
    assert {work.request_id for work in KeptWork.objects.all()} == {"request-1", "request-2"}


def test_what_is_older_than_what_is_kept_is_deleted() -> None:
    store.record(whole(1, moment=time.time() - 90 * 86_400))

    assert upkeep.prune().works == 1


def test_what_never_could_be_written_is_lost_aloud(wsgi: WSGIClient) -> None:
    wsgi.get("/acts/6/?fails")

    works.lose()

    assert faults.losses()[works.UNWRITTEN_WORKS] == 1 and not works.has_work()


def test_they_are_found_by_what_they_were() -> None:
    store.record(whole(1, duration_ms=5.0, reason="slow", failed=False))
    store.record(whole(2, duration_ms=1.0))
    store.record(whole(3, endpoint="GET other/", environment="live"))

    def found(slowest_first: bool = False, **filters: str) -> list[str]:
        return [work.request_id for work in stories.find(WorkFilters(**filters), slowest_first=slowest_first).items]

    assert found() == ["request-3", "request-2", "request-1"]
    assert found(slowest_first=True, environment="test") == ["request-1", "request-2"]
    assert found(reason="slow") == ["request-1"]
    assert stories.choices("endpoint") == ["GET acts/{pk}/", "GET other/"]


def test_events_of_before_have_no_request() -> None:
    assert Event._meta.get_field("request_id").db_default == ""
    assert stories.story("").works == stories.story("nothing").works == []
