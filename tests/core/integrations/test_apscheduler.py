"""Each run of a job of APScheduler is a unit of work: one event for one failure, its name and id on lines, and a record."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("apscheduler", reason="APScheduler is not installed")

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from crm_monitoring import add_breadcrumb, capture_message, get_logger, set_user_context
from crm_monitoring.hooks import Record
from crm_monitoring.integrations import apscheduler
from tests import breakages
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.apscheduler")
ENDS = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR


@pytest.fixture(autouse=True)
def _installed() -> None:
    apscheduler.install()


def succeeds() -> None:
    set_user_context(7)
    add_breadcrumb("in the first")
    logger.info("invoices_sent")


def fails() -> None:
    breakages.logged_and_raised()


def says() -> None:
    capture_message("said")


async def waits() -> None:
    logger.info("invoices_sent")
    breakages.logged_and_raised()


def in_threads(*jobs: Callable[[], None]) -> None:
    """Run the jobs one after the other, and stop."""
    scheduler = BackgroundScheduler(timezone=UTC)
    scheduler.start()
    for job in jobs:
        ended = threading.Event()
        scheduler.add_listener(lambda event, ended=ended: ended.set(), ENDS)
        scheduler.add_job(job, "date", run_date=datetime.now(UTC), misfire_grace_time=None, id=f"{job.__name__}-1")
        assert ended.wait(30)
    scheduler.shutdown()


def in_a_loop(job: Callable[[], Any]) -> None:
    async def main() -> None:
        scheduler, ended = AsyncIOScheduler(timezone=UTC), asyncio.Event()
        scheduler.add_listener(lambda event: ended.set(), ENDS)
        scheduler.start()
        scheduler.add_job(job, "date", run_date=datetime.now(UTC), misfire_grace_time=None, id=f"{job.__name__}-1")
        await asyncio.wait_for(ended.wait(), 30)
        scheduler.shutdown()

    asyncio.run(main())


def test_a_run_has_a_name_and_an_id_on_its_lines_and_a_record(lines: Lines, records: list[Record]) -> None:
    in_threads(succeeds)

    line, finished = lines.one("invoices_sent"), lines.one("unit_finished")
    assert line["job_id"] == finished["job_id"] == "succeeds-1"
    assert (finished["name"], finished["kind"]) == ("succeeds", "job")
    assert line["request_id"] == finished["request_id"] == records[0].request_id


@pytest.mark.parametrize(("run", "job"), [(in_threads, fails), (in_a_loop, waits)])
def test_a_run_that_fails_is_one_event(sentry: MemoryTransport, lines: Lines, run: Any, job: Any) -> None:
    run(job)

    (event,) = sentry.events
    assert event["transaction"] == lines.one("unit_failed")["name"] == job.__name__
    assert event["tags"]["job_id"] == f"{job.__name__}-1"
    assert not breakages.is_handled(event)


def test_nothing_of_one_run_is_on_the_next(sentry: MemoryTransport) -> None:
    in_threads(succeeds, says)

    (event,) = sentry.events
    assert not event.get("user")
    assert "in the first" not in [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
