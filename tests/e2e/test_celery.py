"""
A worker of Celery and the server that asks it for work, over RabbitMQ.

Address: CRM_MONITORING_RABBITMQ="guest:guest@127.0.0.1:5672".
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_connection
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.dashboard.traffic import kept_in
from tests.e2e.processes import Process, Server
from tests.e2e.receiver import Receiver
from tests.e2e.servers import GUNICORN, serve
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

pytest.importorskip("celery", reason="Celery is not installed")

BROKER = f"amqp://{os.environ.get('CRM_MONITORING_RABBITMQ', 'guest:guest@127.0.0.1:5672')}//"
TASK = "organisations.imports"


class Site(NamedTuple):
    """A server, and a worker with two processes."""

    server: Server
    worker: Process
    receiver: Receiver

    def ask(self, work: str) -> tuple[str | None, str]:
        """Have the server ask for work; return the ids of its request and of the task, once the worker has done it."""
        answer = self.server.get(f"/asks/?work={work}")
        task_id = answer.body.decode()
        wait_for(lambda: self.of_task(task_id, "celery.app.trace"), f"end of task {task_id}")
        return answer.headers["X-Request-ID"], task_id

    def of_task(self, task_id: str, logger: str) -> list[dict[str, Any]]:
        """Return the worker's lines by this logger within the task."""
        return [line for line in self.worker.lines if line.get("task_id") == task_id and line["logger"] == logger]


@pytest.fixture(scope="module")
def broker() -> str:
    parts = urlsplit(BROKER)
    try:
        create_connection((parts.hostname, parts.port), timeout=2).close()
    except OSError:
        pytest.skip(f"no RabbitMQ answers at {parts.hostname}:{parts.port}")
    return BROKER


@pytest.fixture(scope="module")
def site(broker: str, variables: dict[str, str]) -> Iterator[Site]:
    with _running(broker, variables) as site:
        yield site


@contextmanager
def _running(broker: str, variables: dict[str, str]) -> Iterator[Site]:
    queue = f"crm-{uuid4().hex}"
    with Receiver() as receiver:
        shared = {
            **variables,
            "DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings",
            "E2E_BROKER": broker,
            "E2E_QUEUE": queue,
            "SENTRY_DSN": receiver.dsn,
        }
        # Two workers of one name would share a mailbox.
        options = ("-n", f"{queue}@%h", "-c", "2", "--without-mingle", "--without-gossip")
        with (
            Process("-m", "celery", "-A", "tests.e2e.project.worker", "-q", "worker", *options, **shared) as worker,
            serve((*GUNICORN, "-w", "1"), "tests.e2e.project", **shared) as server,
        ):
            yield Site(server, worker, receiver)
    _delete(broker, queue)


def _delete(broker: str, queue: str) -> None:
    from celery import Celery

    with Celery(broker=broker, set_as_current=False).connection() as connection:
        connection.default_channel.queue_delete(queue)


def test_the_lines_of_a_task_carry_its_name_its_id_and_the_request_that_asked_for_it(site: Site) -> None:
    request_id, task_id = site.ask("succeeds")

    (line,) = site.of_task(task_id, "crm.work")
    assert (line["event"], line["task"], line["request_id"]) == ("import_started", TASK, request_id)
    (done,) = site.of_task(task_id, "celery.app.trace")
    assert done["event"].startswith(f"Task {TASK}[{task_id}] succeeded in ")


def test_a_task_goes_on_with_the_trace_of_the_request(site: Site) -> None:
    request_id, task_id = site.ask("succeeds")

    (line,) = site.of_task(task_id, "crm.work")
    (asking,) = site.server.of_request(request_id)
    assert line["trace_id"] == asking["trace_id"]


def test_a_task_that_logs_its_failure_and_raises_is_one_event(site: Site) -> None:
    request_id, task_id = site.ask("fails")
    site.ask("succeeds")

    events = site.receiver.about("event", request_id)
    (event,) = events
    assert (event["transaction"], event["tags"]["task_id"]) == (TASK, task_id)
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False
    assert event["contexts"]["log"]["row"] == 3


def test_the_dashboard_counts_every_run_of_a_worker_that_has_shut_down(broker: str, variables: dict[str, str]) -> None:
    before = _counted(variables["DEMO_DATABASE"])
    with _running(broker, variables) as site:
        for _ in range(5):
            site.ask("succeeds")
        site.ask("fails")

    runs, failed = _counted(variables["DEMO_DATABASE"])
    assert (runs - before[0], failed - before[1]) == (6, 1)


def _counted(database: str) -> tuple[int, int]:
    """Return how many runs of the task the dashboard has counted, and how many of them failed."""
    runs = kept_in(database, kind="operation", name=TASK)
    return sum(one.count for one in runs), sum(one.failed for one in runs)


def test_what_the_quota_held_back_is_told_when_the_worker_shuts_down(broker: str, variables: dict[str, str]) -> None:
    with _running(broker, variables) as site:
        site.ask("floods")
        site.worker.stop()

        messages = Counter(event["message"] for event in site.receiver.payloads("event"))
    assert messages == {"flood": 10, "events_held_back": 1}
    (lost,) = [json.loads(line) for line in site.worker.out if "events_lost" in line]
    assert lost["lost"] == {"events_held_back": 2}
