"""A task of huey is a unit of work: one event for one failure, its name on events and lines, and who has asked for it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

pytest.importorskip("huey", reason="huey is not installed")

from huey import CancelExecution, MemoryHuey

from crm_monitoring import get_logger, hooks, unit_of_work
from crm_monitoring.integrations import huey
from crm_monitoring.records import OperationRecord
from tests import breakages
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.huey")


def works(way: str) -> None:
    breakages.WAYS[way]()


def crashes() -> None:
    raise ValueError("no such table")


def says(**given: str) -> None:
    logger.info("said", **given)


@pytest.fixture
def runner() -> MemoryHuey:
    huey.install()
    return MemoryHuey(immediate=False)


def run(runner: MemoryHuey) -> None:
    """Execute what waits as a worker does, here."""
    while (task := runner.dequeue()) is not None:
        runner.execute(task)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(
    runner: MemoryHuey, sentry: MemoryTransport, way: Any
) -> None:
    asked = runner.task()(works)(way.__name__)

    run(runner)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (event["transaction"], event["tags"]["job_id"]) == (f"{__name__}.works", asked.id)


def test_each_run_is_a_record_and_the_last_attempt_is_the_event(
    runner: MemoryHuey, sentry: MemoryTransport, records: list[hooks.Record]
) -> None:
    runner.task(retries=1)(crashes)()

    run(runner)

    made = [record for record in records if isinstance(record, OperationRecord)]
    assert [(record.name, record.error) for record in made] == [(f"{__name__}.crashes", "ValueError")] * 2
    (event,) = sentry.events
    assert not breakages.is_handled(event)


def test_a_task_knows_who_has_asked_for_it_and_is_called_with_its_own_arguments(
    runner: MemoryHuey, lines: Lines
) -> None:
    task = runner.task()(says)
    with unit_of_work("asks", request_id="asked-1"):
        asked = task(page="3")
        task(page="4")
    alone = task(page="5")

    run(runner)

    first, second, third = lines.named("said")
    assert (first["request_id"], first["job_id"], first["page"]) == ("asked-1", asked.id, "3")
    assert second["request_id"] == "asked-1"
    assert (third["job_id"], third["page"]) == (alone.id, "5")
    assert third["request_id"] != "asked-1"


def test_what_a_message_carries_needs_nothing_of_ours_to_be_read(runner: MemoryHuey) -> None:
    with unit_of_work("asks", request_id="asked-1"):
        runner.task()(says)(page="3")

    data = runner.storage.dequeue()
    assert b"crm_monitoring." not in data
    assert pickle.loads(data).kwargs == {"page": "3"}


def test_hueys_own_line_of_a_failure_is_left_out_and_ours_has_the_traceback(runner: MemoryHuey, lines: Lines) -> None:
    runner.task()(works)("raised_from")

    run(runner)

    assert not [line for line in lines.all() if "Unhandled exception" in line["event"]]
    assert "Outer" in str(lines.one("unit_failed")["exception"])


def test_a_task_that_is_cancelled_ends_without_a_failure(
    runner: MemoryHuey, sentry: MemoryTransport, lines: Lines
) -> None:
    def cancels() -> None:
        raise CancelExecution(retry=False)

    runner.task()(cancels)()

    run(runner)

    assert sentry.events == []
    assert lines.one("unit_finished")["name"].endswith(".cancels")
