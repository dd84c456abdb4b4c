"""A task of the django-tasks package is a unit of work: one event for one failure, its name on events and lines."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("django_tasks", reason="django-tasks is not installed")

from django_tasks import task

from crm_monitoring import get_logger, hooks
from crm_monitoring.integrations import django_tasks
from crm_monitoring.records import OperationRecord
from tests import breakages
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.django_tasks")
NAME = f"{__name__}.works"


@task
def works(way: str) -> None:
    breakages.WAYS[way]()


@task
def says() -> None:
    logger.info("said")


@pytest.fixture(autouse=True)
def _installed(settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
    django_tasks.install()


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(sentry: MemoryTransport, way: Any) -> None:
    result = works.enqueue(way.__name__)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (event["transaction"], event["tags"]["task_id"]) == (NAME, str(result.id))


def test_each_run_is_a_record_and_has_an_id_and_a_trace_of_its_own(records: list[hooks.Record], lines: Lines) -> None:
    first, second = says.enqueue(), says.enqueue()

    made = [record for record in records if isinstance(record, OperationRecord)]
    assert [(record.name, record.error) for record in made] == [(f"{__name__}.says", None)] * 2
    one, other = lines.named("said")
    assert (one["task_id"], other["task_id"]) == (str(first.id), str(second.id))
    assert one["request_id"] != other["request_id"]
    assert one["trace_id"] != other["trace_id"]
