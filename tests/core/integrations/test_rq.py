"""A job of RQ is a unit of work: one event for one failure, its name on events and lines, and who has asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("rq", reason="RQ is not installed")

from redis import Redis
from rq import Queue, Retry, SimpleWorker, Worker

from crm_monitoring import get_logger, hooks, unit_of_work
from crm_monitoring.integrations import rq
from crm_monitoring.records import OperationRecord
from tests import breakages, redis_server
from tests.conftest import Lines, MemoryTransport

pytestmark = pytest.mark.processes

logger = get_logger("tests.rq")


def works(way: str) -> None:
    breakages.WAYS[way]()


def crashes() -> None:
    raise ValueError("no such table")


def says() -> None:
    logger.info("said")


NAME = f"{__name__}.works"


@pytest.fixture
def queue() -> Iterator[Queue]:
    rq.install()
    with Redis.from_url(redis_server.answering()) as connection:
        queue = Queue(f"crm-{uuid4().hex}", connection=connection)
        yield queue
        queue.delete()


def run(queue: Queue) -> None:
    """Work through the queue as a worker does, here."""
    SimpleWorker([queue], connection=queue.connection).work(burst=True)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(queue: Queue, sentry: MemoryTransport, way: Any) -> None:
    job = queue.enqueue(works, way.__name__)

    run(queue)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (event["transaction"], event["tags"]["job_id"]) == (NAME, job.id)


def test_each_run_is_a_record_and_the_last_attempt_is_the_event(
    queue: Queue, sentry: MemoryTransport, records: list[hooks.Record]
) -> None:
    queue.enqueue(crashes, retry=Retry(max=1))

    run(queue)

    made = [record for record in records if isinstance(record, OperationRecord)]
    assert [(record.name, record.error) for record in made] == [(f"{__name__}.crashes", "ValueError")] * 2
    (event,) = sentry.events
    assert not breakages.is_handled(event)


def test_a_job_knows_who_has_asked_for_it_and_the_dict_of_its_author_stays_as_it_is(queue: Queue, lines: Lines) -> None:
    meta = {"of": "importer"}
    with unit_of_work("asks", request_id="asked-1"):
        job = queue.enqueue(says, meta=meta)
    alone = queue.enqueue(says)

    run(queue)

    first, second = lines.named("said")
    assert (first["request_id"], first["job_id"]) == ("asked-1", job.id)
    assert second["job_id"] == alone.id
    assert second["request_id"] != "asked-1"
    assert (meta, alone.meta) == ({"of": "importer"}, {})


def test_rqs_own_line_of_a_failure_is_left_out_and_ours_has_the_traceback(queue: Queue, lines: Lines) -> None:
    queue.enqueue(works, "raised_from")

    run(queue)

    assert not [line for line in lines.all() if "exception raised while executing" in line["event"]]
    assert "Outer" in str(lines.one("unit_failed")["exception"])


def test_a_work_horse_that_was_killed_is_told_of_by_its_worker(queue: Queue, sentry: MemoryTransport) -> None:
    job = queue.enqueue(says)

    Worker([queue], connection=queue.connection).handle_work_horse_killed(job, 1, 9, None)

    (event,) = sentry.events
    assert event["exception"]["values"][-1]["type"] == "WorkHorseKilledError"
    assert (event["transaction"], event["tags"]["job_id"]) == (f"{__name__}.says", job.id)
