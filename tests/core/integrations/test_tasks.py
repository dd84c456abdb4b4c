"""A task of django.tasks is a unit of work: one event for one failure, its name on events and lines, and an end that is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest

if django.VERSION < (6, 0):
    pytest.skip("django.tasks came with Django 6.0", allow_module_level=True)

import structlog
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.http import HttpRequest, HttpResponse
from django.tasks import TaskResultStatus, task
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.urls import path
from django_structlog.tasks.receivers import DjangoTaskReceiver

from crm_monitoring import add_breadcrumb, capture_exception, capture_message, faults, get_logger, hooks, set_tag, work
from crm_monitoring.integrations import tasks
from tests import breakages
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.tasks")
NAME = f"{__name__}.works"


@task
def works(way: str) -> None:
    breakages.WAYS[way]()


@task
def sets() -> None:
    set_tag("step", "first")
    add_breadcrumb("in the first")
    structlog.contextvars.bind_contextvars(row=3)
    logger.info("row_read")


@task
def says() -> None:
    capture_message("said")


@task
def handles() -> str | None:
    return breakages.returns_its_id()


@task
async def waits() -> None:
    breakages.logged_and_raised()


@task
def interrupts() -> None:
    raise KeyboardInterrupt


@task
def starts_another() -> None:
    works.enqueue("logged_and_raised")
    capture_message("outer")


@pytest.fixture
def told() -> Iterator[list[str]]:
    ends: list[str] = []

    def ended() -> None:
        ends.append("ended")

    hooks.register_pause(ended)
    yield ends
    hooks.unregister_pause(ended)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(sentry: MemoryTransport, way: Any) -> None:
    result = works.enqueue(way.__name__)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (result.status == TaskResultStatus.FAILED) is (way in breakages.ESCAPING)


def test_a_coroutine_is_a_task_too(sentry: MemoryTransport) -> None:
    waits.enqueue()

    (event,) = sentry.events
    assert not breakages.is_handled(event)


def test_the_event_has_the_name_of_the_task_and_the_fields_of_every_report(sentry: MemoryTransport) -> None:
    result = works.enqueue("logged_captured_and_raised")

    (event,) = sentry.events
    assert (event["transaction"], event["transaction_info"]) == (NAME, {"source": "task"})
    assert event["tags"].items() >= {"step": "fetch", "task": NAME, "task_id": result.id}.items()
    assert event["extra"] == {"query": "organisations"}
    log = event["contexts"]["log"]
    assert (log["page"], log["task"], log["task_id"]) == (3, NAME, result.id)
    assert log["events"][0] == "fetch_failed"


def test_the_id_the_code_got_is_the_events(sentry: MemoryTransport) -> None:
    result = handles.enqueue()

    assert [event["event_id"] for event in sentry.events] == [result.return_value]


def test_two_failures_are_two_events(sentry: MemoryTransport) -> None:
    works.enqueue("two_failures")

    assert len(sentry.events) == 2


def test_one_exception_object_that_fails_two_tasks_is_two_events(sentry: MemoryTransport) -> None:
    works.enqueue("raises_a_shared_exception")
    works.enqueue("raises_a_shared_exception")

    assert len(sentry.events) == 2


def test_a_worker_that_reports_what_a_task_raised_adds_no_event(sentry: MemoryTransport) -> None:
    ids: list[str | None] = []

    def worker(sender: Any, **kwargs: Any) -> None:
        ids.append(capture_exception())

    task_finished.connect(worker)
    works.enqueue("logged_and_raised")
    task_finished.disconnect(worker)

    assert ids == [event["event_id"] for event in sentry.events]


def test_every_end_is_told_once(told: list[str]) -> None:
    says.enqueue()
    works.enqueue("raised_from")

    assert told == ["ended", "ended"]


def test_every_line_of_a_task_has_its_name_and_id_and_none_after(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(worker="7")
    result = sets.enqueue()
    logger.info("all_done")

    inside, after = lines.one("row_read"), lines.one("all_done")
    assert (inside["task"], inside["task_id"], inside["worker"]) == (f"{__name__}.sets", result.id, "7")
    assert after["worker"] == "7"
    assert after.keys().isdisjoint({"task", "task_id", "row"})


def test_each_run_is_a_record(records: list[hooks.Record]) -> None:
    says.enqueue()
    works.enqueue("raised_from")

    assert [(record.name, record.operation, record.error) for record in records] == [  # type: ignore[union-attr]
        (f"{__name__}.says", "queue.task", None),
        (NAME, "queue.task", "Outer"),
    ]


def test_nothing_that_is_set_in_a_task_reaches_the_next(sentry: MemoryTransport) -> None:
    sets.enqueue()
    result = says.enqueue()

    (event,) = sentry.events
    messages = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert event["tags"]["task_id"] == result.id
    assert "step" not in event["tags"]
    assert "in the first" not in messages


def test_a_task_that_another_has_started_is_a_unit_of_its_own(sentry: MemoryTransport, told: list[str]) -> None:
    starts_another.enqueue()

    assert [event["transaction"] for event in sentry.events] == [NAME, f"{__name__}.starts_another"]
    assert told == ["ended", "ended"]


def test_a_task_that_a_worker_command_runs_is_a_unit_of_its_own(sentry: MemoryTransport, lines: Lines) -> None:
    class Command(BaseCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args: Any, **options: Any) -> None:
            works.enqueue("logged_and_raised")
            assert [event["transaction"] for event in sentry.events] == [NAME]
            logger.info("worker_waits")

    Command.__module__ = "crm.management.commands.worker"
    call_command(Command())

    waits = lines.one("worker_waits")
    assert (waits["command"], waits.get("task")) == ("worker", None)
    assert len(sentry.events) == 1


def test_an_interrupted_task_leaves_nothing_behind_in_the_command(sentry: MemoryTransport) -> None:
    class Command(BaseCommand):
        requires_system_checks: list[str] = []

        def handle(self, *args: Any, **options: Any) -> None:
            interrupts.enqueue()

    with pytest.raises(KeyboardInterrupt):
        call_command(Command())

    assert work.current_work() is None


def _enqueues(request: HttpRequest) -> HttpResponse:
    works.enqueue("logged_and_raised")
    logger.info("view_ran")
    return HttpResponse()


urlpatterns = [path("enqueues/", _enqueues)]


def test_a_task_within_a_request_is_a_unit_of_its_own_with_the_requests_id(
    server: WSGIClient, sentry: MemoryTransport, told: list[str], lines: Lines, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    answer = server.get("/enqueues/")

    (event,) = sentry.events
    assert event["transaction"] == NAME
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert not breakages.is_handled(event)
    assert told == []
    assert "task" not in lines.one("view_ran")
    assert lines.one("view_ran")["request_id"] == answer.headers["X-Request-ID"]


@pytest.fixture
def structlog_receivers(settings: Any) -> Iterator[None]:
    """What the app django_structlog connects with DJANGO_STRUCTLOG_DJANGO_TASKS_ENABLED."""
    settings.DJANGO_STRUCTLOG_DJANGO_TASKS_ENABLED = True
    settings.CACHES = {
        name: {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": name}
        for name in ("default", "django_structlog")
    }
    receiver = DjangoTaskReceiver()
    receiver.connect_signals()
    yield
    task_started.disconnect(receiver.receiver_task_started)
    task_finished.disconnect(receiver.receiver_task_finished)
    task_enqueued.disconnect(receiver.receiver_task_enqueued)


@pytest.mark.parametrize("way", ["logged_and_raised", "logged_in_an_except_block"])
def test_django_structlogs_receivers_carry_the_request_id_into_tasks(
    sentry: MemoryTransport, lines: Lines, structlog_receivers: None, way: str
) -> None:
    structlog.contextvars.bind_contextvars(request_id="the-request")

    result = works.enqueue(way)

    (event,) = sentry.events
    assert event["tags"] == {"task": NAME, "task_id": result.id, "request_id": "the-request"}
    (last,) = [line for line in lines.all() if line["event"] in ("task_failed", "task_succeeded")]
    for line in (lines.one("fetch_failed"), last):
        assert (line["task"], line["task_id"], line["request_id"]) == (NAME, result.id, "the-request")


def test_a_task_that_no_request_has_enqueued_keeps_the_id_of_its_own(
    sentry: MemoryTransport, lines: Lines, structlog_receivers: None
) -> None:
    says.enqueue()

    (event,), finished = sentry.events, lines.one("unit_finished")
    assert event["tags"]["request_id"] == finished["request_id"]
    assert lines.one("task_succeeded")["request_id"] == finished["request_id"]


def test_a_task_runs_though_its_unit_of_work_fails(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("the unit")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(work.Unit, "__init__", fail)

    result = says.enqueue()

    assert result.status == TaskResultStatus.SUCCESSFUL
    assert faults.sentences() == ["begin_unit failed 1 time, last with RuntimeError."]


def test_a_task_is_watched_once_however_often_the_app_is_made_ready(told: list[str]) -> None:
    tasks.install()

    says.enqueue()

    assert told == ["ended"]
