"""A database of the dashboard that accepts and never answers costs nobody's request anything."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.processes import Process, Server, free_port

ENGINES = ["django.db.backends.postgresql", "django.db.backends.mysql"]
pytestmark = pytest.mark.processes


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen, let the kernel accept, and never answer, as a frozen server does; gives the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield listening.getsockname()[1]


@pytest.fixture(params=ENGINES)
def variables(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    with silent_server() as port:
        yield {
            "DJANGO_SETTINGS_MODULE": "tests.e2e.silent",
            "SILENT_ENGINE": request.param,
            "SILENT_PORT": str(port),
            "E2E_DATABASE": json.dumps({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}),
        }


def test_no_request_waits_and_no_worker_is_killed(variables: dict[str, str]) -> None:
    port = free_port()
    command = ("-m", "gunicorn", "django.core.wsgi:get_wsgi_application()", "--workers=2", "--timeout=5")
    with Server(*command, f"--bind=127.0.0.1:{port}", port=port, **variables) as server:
        workers, slowest, statuses = set(), 0.0, set()
        deadline = time.monotonic() + 12
        while time.monotonic() < deadline:
            # Failures ask for a flush at once.
            for path in ("/sync/200/", "/sync/500/"):
                started = time.monotonic()
                answer = server.get(path)
                slowest = max(slowest, time.monotonic() - started)
                workers.add(answer.text)
                statuses.add(answer.status)
            time.sleep(0.05)
        health = server.get("/health/monitoring").json()["monitoring"]
        started = time.monotonic()

        server.stop()

    assert statuses == {200, 500}
    assert len(workers) <= 2
    assert slowest < 1
    assert time.monotonic() - started < 4
    assert "The dashboard's database" in " ".join(health["problems"])


def test_a_process_ends_in_time_and_says_what_it_has_lost(variables: dict[str, str]) -> None:
    program = """
import django
django.setup()
from crm_monitoring import PerformanceMonitor, capture_message
with PerformanceMonitor("import"):
    capture_message("import_failed", level="error")
"""
    started = time.monotonic()

    process = Process("-c", program, **variables)

    assert process.ended() == 0
    assert time.monotonic() - started < 8
    (told,) = [line for line in process.lines if line["event"] == "events_lost"]
    assert told["lost"] == {"metrics": 2, "inbox_unwritten_events": 1}
