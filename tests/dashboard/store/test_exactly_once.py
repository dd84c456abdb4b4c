"""What many processes count is counted once, whoever writes twice, rolls up at once or is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from django.db import connections

from crm_monitoring.dashboard.store import gathering
from tests.dashboard.databases import ALIAS
from tests.dashboard.traffic import kept, roll_up
from tests.e2e.processes import ROOT, environment

WRITERS, BATCHES, EACH = 4, 25, 7

PREPARED = """
import random, sys, time
if "mysql" in __import__("os").environ["E2E_DATABASE"]:
    import pymysql
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
import django
django.setup()
from django.db import OperationalError
from crm_monitoring.dashboard.metrics.sums import Key, Names
from crm_monitoring.dashboard.store import aside, flushes, rollups
from crm_monitoring.dashboard.store.flushes import Batch

def insist(work, *given):
    while True:
        try:
            with aside():
                return work(*given)
        except OperationalError:
            time.sleep(0.01)
"""

WRITER = f"""{PREPARED}
chance = random.Random(int(sys.argv[1]))
for number in range({BATCHES}):
    names = Names()
    for _ in range({EACH}):
        names.of(Key("request", "GET a/")).time(chance.lognormvariate(5, 1))
    batch = Batch("production", int(time.time()) // 60 * 60 - chance.randrange(4) * 60, names)
    insist(flushes.add, batch)
    if chance.random() < 0.3:
        # Nobody knows whether it was written, now or when it was rolled up long ago.
        time.sleep(chance.random() / 20)
        insist(flushes.add, batch)
"""

ROLLER = f"""{PREPARED}
rollups.MAX_FLUSHES = 20
print("ready", flush=True)
while True:
    insist(rollups.add_flushes, time.time())
    insist(lambda: list(rollups.widen(time.time() + 3_600)))
"""


@pytest.mark.processes
def test_every_request_is_counted_once(each_database: str) -> None:
    settings = connections.settings[ALIAS]
    database = {name: settings[name] for name in ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")}
    variables = environment(DJANGO_SETTINGS_MODULE="tests.e2e.counted", E2E_DATABASE=json.dumps(database))

    def start(program: str, *given: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", program, *given], cwd=ROOT, env=variables, stdout=subprocess.PIPE
        )

    rolling = [start(ROLLER) for _ in range(3)]
    for roller in rolling:
        assert roller.stdout is not None
        roller.stdout.readline()
    writers = [start(WRITER, str(number)) for number in range(WRITERS)]
    seen = [0]
    while any(writer.poll() is None for writer in writers):
        seen.append(_seen())
        killed = rolling.pop(0)
        killed.kill()
        killed.communicate()
        rolling.append(start(ROLLER))
    for process in (*writers, *rolling):
        process.kill() if process in rolling else None
        process.communicate()
    roll_up(time.time() + 3_600)

    assert [writer.returncode for writer in writers] == [0] * WRITERS
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert _seen() == WRITERS * BATCHES * EACH
    assert sum(one.sketch.count for one in kept(each_database)) == WRITERS * BATCHES * EACH


def _seen() -> int:
    """Return how many requests a reader sees."""
    names = gathering.names_since(int(time.time()) // 60 * 60 - 3_600, time.time()).get("production", {})
    return sum(counters.count for counters in names.values())
