"""Workers of the job runners, each over its real broker, tell of every job as a request is told of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from tests import redis_server
from tests.dashboard.traffic import kept_in
from tests.e2e.processes import Process
from tests.e2e.receiver import Receiver
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

SETTINGS = "tests.e2e.project.settings"
JOBS = "tests.e2e.project.runners.jobs"


class Runner(NamedTuple):
    """
    How people run its worker.

    Attributes:
        packages: What must be installed.
        worker: Arguments of Python; {queue} is the queue's name.
        app: The Django app that it comes with.
        job: The name of a job, by the function's.
        has_tables: The app has tables of its own.
    """

    packages: tuple[str, ...]
    worker: tuple[str, ...]
    app: str = "tests.e2e.project.runners"
    job: str = JOBS + ".{}"
    has_tables: bool = False


RUNNERS = {
    "django_q": Runner(("django_q",), ("manage.py", "qcluster"), "django_q", has_tables=True),
    "dramatiq": Runner(
        ("dramatiq",),
        ("-m", "dramatiq", "-p", "2", "-t", "2", "tests.e2e.project.runners.dramatiq"),
        job="{}",
    ),
    "huey": Runner(("huey",), ("manage.py", "run_huey", "-w", "2"), "huey.contrib.djhuey"),
    "rq": Runner(("rq", "django_rq"), ("manage.py", "rqworker", "{queue}"), "django_rq"),
}
KILLING = ("rq",)
NOT_REPEATING = ("django_q",)


class Asked(NamedTuple):
    """A job that somebody has asked for, in a unit of work with this request id and trace."""

    job: str
    job_id: str
    request_id: str
    trace_id: str


class Site:
    """A worker, where its events go, and who asks it for jobs."""

    def __init__(self, kind: str, variables: dict[str, str], receiver: Receiver, worker: Process) -> None:
        self.kind, self.receiver, self.worker = kind, receiver, worker
        self._variables = variables

    def ask(self, folder: Path, *jobs: str) -> list[Asked]:
        """Ask for jobs, one after the other, and wait for the end of each run but those that may be killed."""
        asked = [f"{job}:{folder / uuid4().hex}" for job in jobs]
        asking = Process("-m", "tests.e2e.project.runners.ask", self.kind, *asked, **self._variables)
        assert asking.ended() == 0, asking.err
        return [Asked(**json.loads(line)) for line in asking.err]

    def ends(self, asked: Asked, count: int = 1) -> list[dict[str, Any]]:
        """Return the lines of the ends of this job's runs, once there are so many."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.of(asked) if line["logger"] == "crm_monitoring.units"]

        wait_for(lambda: len(found()) >= count, f"{count} ends of {asked} in {self.worker.out} {self.worker.err}")
        return found()

    def of(self, asked: Asked) -> list[dict[str, Any]]:
        """Return the worker's lines within runs of this job."""
        # dramatiq's main process hands on what its workers write to standard error.
        lines = [json.loads(line) for line in (*self.worker.out, *self.worker.err) if line.startswith("{")]
        return [line for line in lines if line.get("job_id") == asked.job_id]

    def told(self, kind: str, asked: Asked) -> list[dict[str, Any]]:
        """Return what Sentry was told of this job."""
        return [one for one in self.receiver.payloads(kind) if one.get("tags", {}).get("job_id") == asked.job_id]


@contextmanager
def _running(kind: str, variables: dict[str, str]) -> Iterator[Site]:
    runner = RUNNERS[kind]
    queue = f"crm-{uuid4().hex}"
    with Receiver() as receiver:
        shared = {
            **variables,
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "E2E_QUEUE": queue,
            "E2E_REDIS": redis_server.REDIS,
            "E2E_RUNNER_APP": runner.app,
            "SENTRY_DSN": receiver.dsn,
        }
        arguments = [argument.format(queue=queue) for argument in runner.worker]
        if runner.has_tables:
            assert Process("manage.py", "migrate", "--verbosity=0", **shared).ended() == 0
        with Process(*arguments, **shared) as worker:
            yield Site(kind, shared, receiver, worker)


@pytest.fixture(scope="module", params=RUNNERS)
def kind(request: pytest.FixtureRequest) -> str:
    for package in RUNNERS[request.param].packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    redis_server.answering()
    return str(request.param)


@pytest.fixture(scope="module")
def site(kind: str, variables: dict[str, str]) -> Iterator[Site]:
    with _running(kind, variables) as site:
        yield site


def test_the_lines_of_a_job_carry_its_name_its_id_and_who_has_asked_for_it(site: Site, tmp_path: Path) -> None:
    (asked,) = site.ask(tmp_path, "succeeds")

    (end,) = site.ends(asked)
    (line,) = [line for line in site.of(asked) if line["logger"] == "crm.work"]
    name = RUNNERS[site.kind].job.format("succeeds")
    assert (end["event"], end["name"], end["kind"]) == ("unit_finished", name, "job")
    assert (line["event"], line["job"]) == ("import_started", name)
    for one in (line, end):
        assert (one["request_id"], one["trace_id"]) == (asked.request_id, asked.trace_id)


@pytest.mark.parametrize("way", ["fails", "crashes"])
def test_a_job_that_fails_is_one_event_and_one_line_of_its_end(site: Site, tmp_path: Path, way: str) -> None:
    asked, after = site.ask(tmp_path, way, "succeeds")

    (end,) = site.ends(asked)
    site.ends(after)
    wait_for(lambda: site.told("event", asked), f"event of {asked}")
    (event,) = site.told("event", asked)
    assert (end["event"], end["error"]) == ("unit_failed", "ValueError")
    assert (event["transaction"], event["tags"]["request_id"]) == (end["name"], asked.request_id)
    assert event["contexts"]["trace"]["trace_id"] == asked.trace_id
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False
    assert [line["event"] for line in site.of(asked) if line.get("exception")] in (["import_failed"], ["unit_failed"])


def test_a_retry_that_succeeds_makes_no_event(site: Site, tmp_path: Path) -> None:
    if site.kind in NOT_REPEATING:
        pytest.skip(f"{site.kind} repeats no job that has failed")

    (asked,) = site.ask(tmp_path, "recovers")

    first, second = site.ends(asked, 2)
    assert (first["event"], first["level"], first["error"]) == ("unit_finished", "warning", "OSError")
    assert (second["event"], second["request_id"]) == ("unit_finished", asked.request_id)
    assert site.told("event", asked) == []


def test_each_run_is_a_transaction_that_can_be_found_by_job_and_request(site: Site, tmp_path: Path) -> None:
    (asked,) = site.ask(tmp_path, "succeeds")

    wait_for(lambda: site.told("transaction", asked), f"transaction of {asked}")
    (transaction,) = site.told("transaction", asked)
    assert transaction["transaction"] == RUNNERS[site.kind].job.format("succeeds")
    assert transaction["tags"]["request_id"] == asked.request_id
    assert transaction["contexts"]["trace"]["trace_id"] == asked.trace_id


def test_a_worker_that_is_told_to_end_loses_nothing(kind: str, variables: dict[str, str], tmp_path: Path) -> None:
    # Of its own, for the worker of the other tests may write to theirs meanwhile.
    database = str(shutil.copy(variables["DEMO_DATABASE"], tmp_path))
    before = _counted(database, kind)
    with _running(kind, {**variables, "DEMO_DATABASE": database}) as site:
        *_, last = asked = site.ask(tmp_path, *["succeeds"] * 4, "fails")
        site.ends(last)
        for one in asked:
            site.ends(one)
        site.worker.stop()
        events = [site.told("event", one) for one in asked]

    assert [len(one) for one in events] == [0, 0, 0, 0, 1]
    assert len(site.receiver.payloads("event")) == 1
    runs, failed = _counted(database, kind)
    assert (runs - before[0], failed - before[1]) == (5, 1)


@pytest.mark.parametrize("kind", KILLING, indirect=True)
def test_a_job_that_is_killed_is_one_event(kind: str, variables: dict[str, str], tmp_path: Path) -> None:
    with _running(kind, variables) as site:
        (asked,) = site.ask(tmp_path, "dies")
        (end,) = site.ends(asked)
        (event,) = site.receiver.about("event", asked.request_id)

    assert (end["event"], end["name"]) == ("unit_failed", RUNNERS[kind].job.format("dies"))
    assert (event["transaction"], event["tags"]["job_id"]) == (end["name"], asked.job_id)
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False


def _counted(database: str, kind: str) -> tuple[int, int]:
    """Return how many runs of its jobs the dashboard has counted, and how many of them failed."""
    names = [RUNNERS[kind].job.format(job) for job in ("succeeds", "fails")]
    of_jobs = [one for one in kept_in(database, kind="operation") if one.name in names]
    return sum(one.count for one in of_jobs), sum(one.failed for one in of_jobs)
