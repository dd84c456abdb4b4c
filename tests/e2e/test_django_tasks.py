"""A worker of the django-tasks package: its tasks are told of by their own names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import Process
from tests.e2e.receiver import Receiver
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

pytest.importorskip("django_tasks_db", reason="django-tasks-db is not installed")

NAME = "tests.e2e.project.runners.django_tasks_db.{}"


def test_each_task_has_a_name_an_id_a_trace_and_a_transaction_of_its_own(
    variables: dict[str, str], receiver: Receiver, tmp_path: Path
) -> None:
    shared = {
        **variables,
        "DEMO_DATABASE": str(shutil.copy(variables["DEMO_DATABASE"], tmp_path)),
        "DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings",
        "E2E_QUEUE": "unused",
        "E2E_REDIS": "redis://127.0.0.1:1/0",
        "E2E_RUNNER_APP": "django_tasks_db",
        "SENTRY_DSN": receiver.dsn,
    }
    assert Process("manage.py", "migrate", "--verbosity=0", **shared).ended() == 0
    asking = Process("-m", "tests.e2e.project.runners.ask", "django_tasks_db", "succeeds:", "fails:", **shared)
    assert asking.ended() == 0, asking.out
    succeeds, fails = (json.loads(line)["job_id"] for line in asking.err)

    with Process("manage.py", "db_worker", **shared) as worker:
        wait_for(lambda: len(_ends(worker)) == 2, f"ends of two tasks in {worker.out} {worker.err}")
    first, second = _ends(worker)

    assert [first["event"], second["event"]] == ["unit_finished", "unit_failed"]
    assert [first["task_id"], second["task_id"]] == [succeeds, fails]
    assert first["trace_id"] != second["trace_id"]
    (event,) = receiver.payloads("event")
    assert (event["transaction"], event["tags"]["task_id"]) == (NAME.format("fails"), fails)
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False
    made = [one["transaction"] for one in receiver.payloads("transaction") if "task_id" in one.get("tags", {})]
    assert made == [NAME.format("succeeds"), NAME.format("fails")]


def _ends(worker: Process) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.out if line.startswith("{")]
    return [line for line in lines if line["logger"] == "crm_monitoring.units" and "task_id" in line]
