"""Every request is counted once, whatever serves it, on one database for all processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crm_monitoring.dashboard.metrics.sketch import Sketch
from tests.dashboard.databases import a_postgresql, databases_of_vendors
from tests.dashboard.traffic import kept
from tests.e2e.processes import Server
from tests.e2e.servers import GUNICORN, UVICORN, serve
from tests.e2e.waiting import DEADLINE_S, wait_for

pytestmark = pytest.mark.processes

__all__ = ["a_postgresql", "databases_of_vendors"]

CLIENTS = 40
BURSTS = 5
REQUESTS = 10_000
STATUSES = (200, 200, 200, 200, 302, 404, 200, 500, 200, 200)
SERVERS = {
    "gunicorn": (*GUNICORN, "-w", "4", "--threads", "4"),
    "uvicorn": (*UVICORN, "--workers", "2"),
}
WORKERS = {"gunicorn": 4, "uvicorn": 2}


@pytest.fixture
def variables(a_postgresql: str, databases_of_vendors: Any) -> dict[str, str]:
    """What a server has in its environment that keeps its figures on PostgreSQL."""
    database = json.dumps(databases_of_vendors["postgresql"])
    return {"DJANGO_SETTINGS_MODULE": "tests.e2e.counted", "E2E_DATABASE": database, "SENTRY_RELEASE": "1.0"}


@pytest.mark.parametrize("kind", SERVERS)
def test_ten_thousand_requests_are_ten_thousand_in_the_rows(
    a_postgresql: str, variables: dict[str, str], kind: str
) -> None:
    with serve(SERVERS[kind], **variables) as server:
        asked = Counter[tuple[str, int]]()
        for burst in range(BURSTS):
            asked += _burst(server, REQUESTS // BURSTS, burst)
        server.stop()

    assert sum(asked.values()) == REQUESTS
    assert _counted(a_postgresql) == asked
    assert _measured(a_postgresql) == REQUESTS


@pytest.mark.parametrize("kind", SERVERS)
def test_a_killed_server_loses_no_more_than_it_has_not_written(
    a_postgresql: str, variables: dict[str, str], kind: str
) -> None:
    with serve(SERVERS[kind], **variables) as server:
        before = _burst(server, 400, 0)
        time.sleep(1.1)
        # A failure of each process has it write what it holds.
        answered = _until_every_process_fails(server, WORKERS[kind])
        wait_for(lambda: sum(_counted(a_postgresql).values()) >= 400 + WORKERS[kind], "rows of what came before")
        after = _burst(server, 200, 1)
        os.killpg(server.popen.pid, signal.SIGKILL)

    counted = _counted(a_postgresql)
    assert all(counted[endpoint] >= before[endpoint] for endpoint in before)
    assert sum(counted.values()) <= 400 + answered + sum(after.values())


def _until_every_process_fails(server: Server, processes: int) -> int:
    """Ask until so many have answered, for who takes a connection is chance; return how often that was."""
    pids: list[bytes] = []

    def fail() -> bool:
        pids.append(server.get("/sync/500/").body)
        return len(set(pids)) == processes

    wait_for(fail, f"answer of each of {processes} processes")
    return len(pids)


def _burst(server: Server, requests: int, seed: int) -> Counter[tuple[str, int]]:
    """Ask over so many connections at once; return how often each endpoint answered with which status."""
    asked: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
        for turn in range(requests // CLIENTS):
            kind, status = ("sync", "async")[(turn + number) % 2], STATUSES[(turn + seed) % len(STATUSES)]
            connection.request("GET", f"/{kind}/{status}/")
            response = connection.getresponse()
            response.read()
            assert response.status == status
            with lock:
                asked[f"GET {kind}/{{status}}/", status] += 1
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    return asked


def _counted(alias: str) -> Counter[tuple[str, int]]:
    """Return what was counted, in the form that `_burst` does."""
    counted: Counter[tuple[str, int]] = Counter()
    for one in kept(alias, kind="request"):
        others = {302: one.redirected, 404: one.rejected, 500: one.failed}
        counted.update({(one.name, status): count for status, count in others.items()})
        counted[one.name, 200] += one.count - sum(others.values())
    return counted


def _measured(alias: str) -> int:
    return Sketch.sum(one.sketch for one in kept(alias, kind="request")).count
