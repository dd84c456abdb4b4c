"""What happens is told in time, though nothing comes by: who is killed loses ten seconds at most."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.processes import Process
from tests.e2e.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture
def database(variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a project with a database of its own, in which this failure has not happened yet."""
    path = tmp_path / "demo.sqlite3"
    shutil.copy(variables["DEMO_DATABASE"], path)
    return {**variables, "DEMO_DATABASE": str(path)}


def seen(variables: dict[str, str]) -> int:
    """Return how often the failure is in the inbox."""
    with sqlite3.connect(variables["DEMO_DATABASE"], timeout=20) as connection:
        (total,) = connection.execute(
            "SELECT COALESCE(SUM(count), 0) FROM crm_monitoring_dashboard_issue WHERE title LIKE '%in an idle process%'"
        ).fetchone()
    connection.close()
    return int(total)


@pytest.mark.parametrize(
    ("where", "failures"),
    [("within_a_command", 1), ("within_a_unit", 1), ("within_a_server", 1), ("within_a_forked_child", 2)],
)
def test_a_failure_is_told_in_time_and_the_thread_ends(database: dict[str, str], where: str, failures: int) -> None:
    with Process("-m", "tests.e2e.idle", where, SENTRY_DSN="", **database) as program:
        wait_for(lambda: len(program.out) and program.out[-1].startswith("["), "the threads")
        told, threads = seen(database), json.loads(program.out[-1])
        os.killpg(program.popen.pid, signal.SIGKILL)

    assert told == failures
    assert "crm_monitoring-background" not in threads


def test_a_process_with_nothing_to_say_has_no_thread(database: dict[str, str]) -> None:
    with Process("-m", "tests.e2e.idle", "without_anything", SENTRY_DSN="", **database) as program:
        wait_for(lambda: program.out, "the threads")
        os.killpg(program.popen.pid, signal.SIGKILL)

    assert json.loads(program.out[-1]) == ["MainThread"]
