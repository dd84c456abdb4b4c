"""What only one process may do at a time is done by one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from django.db import connections

from crm_monitoring.dashboard.models import Lease
from crm_monitoring.dashboard.store import clock, leases
from tests.dashboard.databases import ALIAS
from tests.dashboard.measured import Clock
from tests.e2e.processes import READY, ROOT, environment, go_together


def test_who_comes_second_does_not_get_it(each_database: str) -> None:
    assert leases.take("chore", 60)

    assert not leases.take("chore", 60)
    assert leases.take("another chore", 60)


def test_it_ends_by_itself(each_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Clock(time.time())
    monkeypatch.setattr(clock, "now", now)
    leases.take("chore", 60)

    now.now += 59
    early = leases.take("chore", 60)
    now.now += 1

    assert not early
    assert leases.take("chore", 60)


def test_it_can_be_given_back(each_database: str) -> None:
    leases.take("chore", 60)

    leases.give_back("chore")

    assert leases.take("chore", 60)


@pytest.mark.parametrize("is_there", [False, True])
def test_of_many_threads_at_once_one_gets_it(each_database: str, is_there: bool) -> None:
    if is_there:
        Lease.objects.using(each_database).create(name="chore")
    connections[each_database].close()
    taken: list[bool] = []
    barrier = threading.Barrier(6)

    def take() -> None:
        connections[each_database].ensure_connection()
        barrier.wait()
        taken.append(leases.take("chore", 60))
        connections[each_database].close()

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == [False] * 5 + [True]


@pytest.mark.processes
def test_of_many_processes_at_once_one_gets_it(each_database: str) -> None:
    settings = connections.settings[ALIAS]
    database = {name: settings[name] for name in ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME")}
    variables = environment(DJANGO_SETTINGS_MODULE="tests.e2e.counted", E2E_DATABASE=json.dumps(database))

    racing = [
        subprocess.Popen(
            [sys.executable, "-c", RACE], cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    go_together(racing)
    answers = sorted(process.communicate(timeout=30)[0].decode().strip() for process in racing)

    assert answers == ["False", "False", "False", "True"]


RACE = f"""
import sys
if "mysql" in __import__("os").environ["E2E_DATABASE"]:
    import pymysql
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
import django
django.setup()
from django.db import connection
from crm_monitoring.dashboard.store import leases
connection.ensure_connection()
{READY}
print(leases.take("chore", 60))
"""
