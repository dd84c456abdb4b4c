"""A task of django-q2 is a unit of work: one event for one failure, its name on events and lines, and who has asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import Value
from queue import Queue
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

pytest.importorskip("django_q", reason="django-q2 is not installed")

from crm_monitoring import get_logger, hooks, unit_of_work
from crm_monitoring.records import OperationRecord
from tests import breakages
from tests.conftest import Lines, MemoryTransport

# Its configuration starts one, to see what system it runs on.
# A worker looks after the connections to the database before each task.
pytestmark = [pytest.mark.processes, pytest.mark.django_db]

logger = get_logger("tests.django_q")


def works(way: str) -> None:
    breakages.WAYS[way]()


def says() -> None:
    logger.info("said")


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    # It reads the second when the first has it imported.
    apps = [*settings.INSTALLED_APPS, "django_q"]
    with override_settings(Q_CLUSTER={"timeout": 30}), override_settings(INSTALLED_APPS=apps):
        from crm_monitoring.integrations import django_q

        django_q.install()
        yield


def ask(name: str, *args: str) -> dict[str, Any]:
    """Return the task as it is sent."""
    from django_q.signals import pre_enqueue

    task = {"id": f"{name}-1", "name": "lucky-seven", "func": f"{__name__}.{name}", "args": args, "kwargs": {}}
    pre_enqueue.send(sender="django_q", task=task)
    return task


def run(*tasks: dict[str, Any]) -> None:
    """Work through the tasks as a worker does, here."""
    from django_q.worker import worker

    waiting: Queue[Any] = Queue()
    for task in (*({"sync": True, **task} for task in tasks), "STOP"):
        waiting.put(task)
    worker(waiting, Queue(), Value("f", -1), -1)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(
    sentry: MemoryTransport, records: list[hooks.Record], way: Any
) -> None:
    escapes = way in breakages.ESCAPING
    task = {**ask("works", way.__name__), "sync": False}

    run(task)

    (event,) = sentry.events
    assert breakages.is_handled(event) is not escapes
    assert (event["transaction"], event["tags"]["job_id"]) == (f"{__name__}.works", "works-1")
    (record,) = [record for record in records if isinstance(record, OperationRecord)]
    assert (record.name, record.error is not None) == (f"{__name__}.works", escapes)


def test_a_task_that_is_no_function_is_an_event(sentry: MemoryTransport) -> None:
    run({**ask("nobody"), "sync": False})

    (event,) = sentry.events
    assert "is not defined" in event["exception"]["values"][-1]["value"]


def test_a_task_knows_who_has_asked_for_it(lines: Lines) -> None:
    with unit_of_work("asks", request_id="asked-1"):
        asked = ask("says")
    alone = {**ask("says"), "id": "alone-1"}

    run(asked, alone)

    first, second = lines.named("said")
    assert (first["request_id"], first["job_id"]) == ("asked-1", "says-1")
    assert second["job_id"] == "alone-1"
    assert second["request_id"] != "asked-1"


def test_the_monitors_line_of_a_failure_is_left_out(lines: Lines) -> None:
    from django_q.brokers import Broker
    from django_q.monitor import monitor

    finished: Queue[Any] = Queue()
    for task in ({**ask("says"), "success": False, "result": "Traceback", "cached": False, "save": False}, "STOP"):
        finished.put(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_q.monitor.save_task", lambda task, broker: None)
        monitor(finished, Broker(list_key="crm"))

    assert not [line for line in lines.all() if line["event"].startswith("Failed")]
