"""A message of dramatiq is a unit of work: one event for one failure, its name on events and lines, and who has asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("dramatiq", reason="dramatiq is not installed")

from dramatiq import Broker, Middleware, Worker, actor
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import SkipMessage

from crm_monitoring import get_logger, hooks, unit_of_work
from crm_monitoring.integrations import dramatiq
from crm_monitoring.records import OperationRecord
from tests import breakages
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.dramatiq")


class Expected(Exception):
    pass


class Skips(Middleware):
    def before_process_message(self, broker: Broker, message: Any) -> None:
        raise SkipMessage


def works(way: str) -> None:
    breakages.WAYS[way]()


def crashes() -> None:
    raise ValueError("no such table")


def declines() -> None:
    raise Expected


def says() -> None:
    logger.info("said")


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    dramatiq.install()
    broker = StubBroker()
    yield broker
    broker.close()


def run(broker: StubBroker, job: Any, *args: str, **options: Any) -> str:
    """Ask for the job and let a worker do it, here; return its id."""
    options = {"max_retries": 0, "min_backoff": 1, **options} if broker.actor_options else options
    message = actor(job, broker=broker, **options).send(*args)
    worker = Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    broker.join("default", fail_fast=False)
    worker.join()
    worker.stop()
    return str(message.message_id)


@pytest.mark.parametrize("way", [*breakages.ESCAPING, *breakages.HANDLED], ids=lambda way: way.__name__)
def test_however_often_a_failure_is_reported_it_is_one_event(
    broker: StubBroker, sentry: MemoryTransport, way: Any
) -> None:
    job_id = run(broker, works, way.__name__)

    (event,) = sentry.events
    assert breakages.is_handled(event) is (way in breakages.HANDLED)
    assert (event["transaction"], event["tags"]["job_id"]) == ("works", job_id)


def test_each_run_is_a_record_and_the_last_attempt_is_the_event(
    broker: StubBroker, sentry: MemoryTransport, records: list[hooks.Record]
) -> None:
    run(broker, crashes, max_retries=1)

    made = [record for record in records if isinstance(record, OperationRecord)]
    assert [(record.name, record.error) for record in made] == [("crashes", "ValueError")] * 2
    (event,) = sentry.events
    assert not breakages.is_handled(event)


def test_without_retries_the_first_attempt_is_the_last(sentry: MemoryTransport) -> None:
    dramatiq.install()
    broker = StubBroker(middleware=[])

    run(broker, crashes)

    assert len(sentry.events) == 1


def test_an_exception_that_the_actor_declares_is_no_event(broker: StubBroker, sentry: MemoryTransport) -> None:
    run(broker, declines, throws=(Expected,))

    assert sentry.events == []


def test_a_message_that_is_skipped_ends_too(broker: StubBroker, lines: Lines) -> None:
    broker.add_middleware(Skips())

    job_id = run(broker, says)

    assert lines.named("said") == []
    assert lines.one("unit_finished")["job_id"] == job_id


def test_a_message_knows_who_has_asked_for_it(broker: StubBroker, lines: Lines) -> None:
    with unit_of_work("asks", request_id="asked-1"):
        job_id = run(broker, says)

    line = lines.one("said")
    assert (line["request_id"], line["job_id"]) == ("asked-1", job_id)


def test_dramatiqs_own_line_of_a_failure_is_left_out_and_ours_has_the_traceback(
    broker: StubBroker, lines: Lines
) -> None:
    run(broker, works, "raised_from")

    assert not [line for line in lines.all() if "Failed to process" in line["event"]]
    assert "Outer" in str(lines.one("unit_failed")["exception"])


def test_a_broker_that_was_there_before_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = StubBroker(middleware=[])
    broker.middleware.clear()
    monkeypatch.setattr("dramatiq.broker.global_broker", broker)

    dramatiq.install.__wrapped__()

    assert isinstance(broker.middleware[0], dramatiq.MonitoringMiddleware)
