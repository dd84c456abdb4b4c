"""A task of Celery is a unit of work: one event for one failure, its name on events and lines, and an end that is told."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from celery import Celery, Task, signals
from celery.result import EagerResult
from celery.states import FAILURE, SUCCESS
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django_structlog.celery.receivers import CeleryReceiver

from crm_monitoring import add_breadcrumb, apps, capture_message, faults, get_logger, hooks, set_tag, unit_of_work, work
from crm_monitoring.integrations import celery
from crm_monitoring.records import OperationRecord
from tests import breakages
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.celery")
app = Celery("crm", broker="memory://", set_as_current=False)


class Expected(Exception):
    pass


@app.task(name="crm.works")
def works(way: str) -> None:
    breakages.WAYS[way]()


@app.task(name="crm.sets")
def sets() -> None:
    set_tag("step", "first")
    add_breadcrumb("in the first")
    structlog.contextvars.bind_contextvars(row=3)
    logger.info("row_read")


@app.task(name="crm.says")
def says() -> None:
    capture_message("said")


@app.task(name="crm.declines", throws=(Expected,))
def declines() -> None:
    raise Expected


@app.task(name="crm.tries_again", bind=True, max_retries=1)
def tries_again(self: Task[..., Any]) -> None:
    try:
        raise OSError("no route to host")
    except OSError as error:
        raise self.retry(exc=error, countdown=0) from error


@app.task(name="crm.starts_another")
def starts_another() -> None:
    works.apply(("logged_and_raised",))
    capture_message("outer")


@pytest.fixture(autouse=True)
def _installed() -> None:
    celery.install()


@pytest.fixture
def told() -> Iterator[list[str]]:
    ends: list[str] = []

    def ended() -> None:
        ends.append("ended")

    hooks.register_pause(ended)
    yield ends
    hooks.unregister_pause(ended)


def run(task: Task[..., Any], *arguments: str) -> EagerResult[Any]:
    """Run the task as a worker does, here."""
    return task.apply(arguments)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(sentry: MemoryTransport, way: Any) -> None:
    result = run(works, way.__name__)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert result.state == (FAILURE if way in breakages.ESCAPING else SUCCESS)


def test_the_event_has_the_name_of_the_task_and_the_fields_of_every_report(sentry: MemoryTransport) -> None:
    result = run(works, "logged_captured_and_raised")

    (event,) = sentry.events
    assert (event["transaction"], event["transaction_info"]) == ("crm.works", {"source": "task"})
    assert (event["tags"]["task_id"], event["tags"]["step"]) == (result.id, "fetch")
    log = event["contexts"]["log"]
    assert (log["page"], log["task"], log["task_id"]) == (3, "crm.works", result.id)
    assert log["events"][0] == "fetch_failed"


def test_an_exception_that_the_task_declares_is_no_event(sentry: MemoryTransport) -> None:
    assert run(declines).state == FAILURE
    assert sentry.events == []


def test_tries_that_fail_are_one_event_at_the_last(sentry: MemoryTransport, told: list[str]) -> None:
    result = run(tries_again)

    (event,) = sentry.events
    assert event["tags"]["task_id"] == result.id
    assert told == ["ended", "ended"]


def test_every_line_of_a_task_has_its_name_and_id_and_none_after(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(worker="7")
    result = run(sets)
    logger.info("all_done")

    inside, after = lines.one("row_read"), lines.one("all_done")
    assert (inside["task"], inside["task_id"], inside["worker"]) == ("crm.sets", result.id, "7")
    assert after["worker"] == "7"
    assert after.keys().isdisjoint({"task", "task_id", "row"})


def test_each_run_is_a_record(records: list[hooks.Record]) -> None:
    run(says)
    run(works, "raised_from")
    run(tries_again)

    made = [record for record in records if isinstance(record, OperationRecord)]
    assert [(record.name, record.error) for record in made] == [
        ("crm.says", None),
        ("crm.works", "Outer"),
        ("crm.tries_again", None),
        ("crm.tries_again", "OSError"),
    ]
    assert {(record.operation, record.slow) for record in made} == {("queue.task", False)}
    assert all(record.duration_ms > 0 for record in made)


def test_the_end_of_a_workers_child_is_told(sentry: MemoryTransport) -> None:
    ends: list[str] = []

    def ended() -> None:
        ends.append("ended")

    hooks.register_ending(ended)
    signals.worker_process_shutdown.send(sender=None, pid=1, exitcode=0)
    hooks.unregister_ending(ended)

    assert ends == ["ended"]


def test_nothing_that_is_set_in_a_task_reaches_the_next(sentry: MemoryTransport) -> None:
    run(sets)
    result = run(says)

    (event,) = sentry.events
    messages = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert event["tags"]["task_id"] == result.id
    assert "step" not in event["tags"]
    assert "in the first" not in messages


def test_a_task_that_another_has_started_is_a_unit_of_its_own(sentry: MemoryTransport, told: list[str]) -> None:
    run(starts_another)

    assert [event["transaction"] for event in sentry.events] == ["crm.works", "crm.starts_another"]
    assert told == ["ended", "ended"]


def _runs_a_task(request: HttpRequest) -> HttpResponse:
    run(works, "logged_and_raised")
    logger.info("view_ran")
    return HttpResponse()


urlpatterns = [path("runs/", _runs_a_task)]


def test_a_task_within_a_request_is_a_unit_of_its_own_with_the_requests_id(
    server: WSGIClient, sentry: MemoryTransport, told: list[str], lines: Lines, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__

    answer = server.get("/runs/")

    (event,) = sentry.events
    assert event["transaction"] == "crm.works"
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert not breakages.is_handled(event)
    assert told == []
    assert "task" not in lines.one("view_ran")
    assert lines.one("view_ran")["request_id"] == answer.headers["X-Request-ID"]


def published(task: Task[..., Any]) -> dict[str, Any]:
    """Ask for the task; return the headers of its message."""
    with app.connection() as connection:
        result = task.apply_async(connection=connection)
        message = connection.SimpleQueue("celery").get(timeout=5)
        message.ack()
    assert message.headers["id"] == result.id
    return dict(message.headers)


def test_the_request_that_asks_for_a_task_goes_with_it(sentry: MemoryTransport, lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="the-request"):
        headers = published(sets)

    _as_worker(sets, headers)
    _as_worker(says, headers)

    assert lines.one("row_read")["request_id"] == "the-request"
    (event,) = sentry.events
    assert event["tags"] == {"task": "crm.says", "task_id": headers["id"], "request_id": "the-request"}
    logger.info("all_done")
    assert "request_id" not in lines.one("all_done")


def test_who_asks_for_a_task_knows_of_it_at_the_end() -> None:
    with unit_of_work("asks"):
        asking = work.current_work()
        headers = published(sets)

    assert asking is not None
    assert asking.asked == (("crm.sets", headers["id"]),)


def test_without_a_request_there_is_none_to_go_with_it() -> None:
    assert celery.HEADER not in published(sets)


def _as_worker(task: Task[..., Any], headers: dict[str, Any]) -> None:
    """Run the task with the headers of a message, which a worker makes attributes of its request."""
    task.push_request(id=headers["id"], args=(), kwargs={}, **{celery.HEADER: headers[celery.HEADER]})
    signals.task_prerun.send(sender=task, task_id=headers["id"], task=task, args=(), kwargs={})
    task.run()
    signals.task_postrun.send(sender=task, task_id=headers["id"], task=task, retval=None, state=SUCCESS)
    task.pop_request()


@pytest.fixture
def structlog_receivers() -> Iterator[None]:
    """What the step that django-structlog adds to a worker connects."""
    receiver = CeleryReceiver()
    receiver.connect_worker_signals()
    yield
    for signal, connected in (
        (signals.before_task_publish, receiver.receiver_before_task_publish),
        (signals.after_task_publish, receiver.receiver_after_task_publish),
        (signals.task_prerun, receiver.receiver_task_prerun),
        (signals.task_retry, receiver.receiver_task_retry),
        (signals.task_success, receiver.receiver_task_success),
        (signals.task_failure, receiver.receiver_task_failure),
        (signals.task_revoked, receiver.receiver_task_revoked),
        (signals.task_unknown, receiver.receiver_task_unknown),
        (signals.task_rejected, receiver.receiver_task_rejected),
    ):
        signal.disconnect(connected)


def test_the_lines_of_django_structlogs_receivers_carry_the_same_and_add_no_event(
    sentry: MemoryTransport, lines: Lines, structlog_receivers: None
) -> None:
    result = run(works, "logged_and_raised")

    assert len(sentry.events) == 1
    for line in (lines.one("fetch_failed"), lines.one("task_failed")):
        assert (line["task"], line["task_id"]) == ("crm.works", result.id)


def test_a_task_runs_though_its_unit_of_work_fails(
    sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("the unit")

    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(work.Unit, "__init__", fail)

    assert run(says).state == SUCCESS
    assert faults.sentences() == ["begin_unit failed 1 time, last with RuntimeError."]


def test_celerys_own_lines_of_a_task_hold_neither_its_arguments_nor_its_traceback_twice(lines: Lines) -> None:
    run(works, "logged_and_raised")

    (line,) = [line for line in lines.all() if line["logger"] == "celery.app.trace"]
    assert line["event"].startswith("Task crm.works[")
    assert "data" not in line
    assert "ValueError: inner" in line["exception"]


def test_a_process_without_celery_is_not_made_to_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "celery")

    apps.start()

    assert "celery" not in sys.modules


def test_a_worker_leaves_logging_as_it_is(lines: Lines) -> None:
    before = logging.getLogger().handlers.copy()

    app.log.setup_logging_subsystem()

    assert logging.getLogger().handlers == before


def test_a_worker_sets_up_logging_where_the_project_does(monitoring: Any) -> None:
    signals.setup_logging.disconnect(dispatch_uid="crm_monitoring")
    monitoring(CONFIGURE_LOGGING=False)

    celery.install()

    assert not signals.setup_logging.receivers
