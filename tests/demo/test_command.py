from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from itertools import count, islice, takewhile
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import pytest

from demo_project.organisations.rehearsal import Visitor
from demo_project.organisations.seed import COLLEAGUES, USERNAME

pytestmark = pytest.mark.processes

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(MANAGE), "demo", "--port", "0", *arguments]


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "demo_project.settings",
        "DEMO_DATABASE": str(tmp_path / "demo.sqlite3"),
    }


@pytest.fixture
def demo(environment):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_demo_prepares_and_sends_requests_and_can_be_started_again(demo, tmp_path):
    first = demo("--no-serve", "--requests", "12")
    second = demo("--no-serve", "--requests", "12")

    assert (first.returncode, first.stderr) == (0, "")
    assert (second.returncode, second.stderr) == (0, "")
    assert "200 organisations created" in first.stdout
    assert "0 organisations created" in second.stdout
    for run in (first, second):
        assert re.findall(r"(\d+) x (\d+)", run.stdout) == [("10", "200"), ("1", "201"), ("1", "500")]
    assert "organisation_created" in (tmp_path / "demo.sqlite3.log").read_text()


def test_what_the_demo_sent_is_on_the_dashboard(demo, environment):
    demo("--no-serve", "--requests", "12")

    status = [sys.executable, str(MANAGE), "monitoring", "status", "--json"]
    figures = json.loads(subprocess.run(status, env=environment, capture_output=True, text=True, check=True).stdout)
    with closing(sqlite3.connect(environment["DEMO_DATABASE"])) as database:
        ((users,),) = database.execute("SELECT COUNT(DISTINCT user) FROM crm_monitoring_dashboard_visit")
        issues = database.execute("SELECT title, count FROM crm_monitoring_dashboard_issue").fetchall()

    # Three users have logged in besides, which takes two requests each.
    assert (figures["requests"]["now"], figures["failed"]["now"]) == (12 + 3 * 2, 1)
    assert users == 3
    assert issues == [("ZeroDivisionError: division by zero", 1)]


class Serving(NamedTuple):
    process: subprocess.Popen[str]
    port: int

    def stop(self) -> str:
        """Interrupt the demo, and return what it had yet to say."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=60)[0]


@pytest.fixture
def interruptible():
    """What a shell starts in its background ignores SIGINT, and so does every process that a suite starts there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def serving(environment, interruptible):
    """Start the demo, and wait until it serves: `serving("--requests", "4")`."""
    with ExitStack() as started:

        def start(*arguments: str) -> Serving:
            process = subprocess.Popen(
                command(*arguments), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            started.enter_context(process)
            started.callback(process.kill)
            assert process.stdout is not None
            opening = "".join(takewhile(lambda line: not line.startswith("Log lines follow."), process.stdout))
            assert process.poll() is None, opening
            return Serving(process, int(re.search(r"http://127\.0\.0\.1:(\d+)/", opening)[1]))

        yield start


def test_demo_serves_until_it_is_interrupted(serving):
    running = serving("--requests", "4")
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)) as connection:
        connection.request("GET", "/api/v1/organisations")
        served = json.load(connection.getresponse())
    ending = running.stop()

    assert served["count"] >= 200
    assert running.process.returncode == 0
    assert "Stopped." in ending
    assert "Traceback" not in ending


def test_traffic_goes_on_until_it_is_interrupted(serving):
    running = serving("--requests", "1", "--traffic")
    lines = map(json.loads, running.process.stdout)
    requests = list(islice((line["path"] for line in lines if line["event"] == "request_finished"), 2))
    ending = running.stop()

    assert requests == ["/organisations/", "/organisations/"]
    assert running.process.returncode == 0
    assert "Traceback" not in ending


def test_what_breaks_is_in_the_inbox_within_two_seconds(serving):
    running = serving("--requests", "1")
    with closing(Visitor(running.port)) as visitor:
        visitor.log_in(USERNAME)
        assert "ZeroDivisionError" not in page(visitor, "/monitoring/issues/")
        assert visitor.get("/break/error/") == 500
        broken_at = monotonic()
        looks = count(1)
        while "ZeroDivisionError" not in page(visitor, "/monitoring/issues/"):
            # On a machine so busy that a page takes its time ten looks take longer.
            assert next(looks) < 10 or monotonic() - broken_at < 2
            sleep(0.05)

        overview = page(visitor, "/monitoring/")
    running.stop()

    assert "GET break/error/" in overview


def test_what_breaks_is_a_mail_within_thirty_seconds(serving):
    running = serving("--requests", "1")
    with closing(Visitor(running.port)) as visitor:
        visitor.log_in(USERNAME)
        assert visitor.post("/alerts/break/", "") == 302
        broken_at = monotonic()
        while "New issue: Breakdown" not in page(visitor, "/alerts/"):
            assert monotonic() - broken_at < 30
            sleep(1)

        alerts = page(visitor, "/alerts/")
    running.stop()

    assert f"http://127.0.0.1:{running.port}/monitoring/issues/1/" in alerts


def test_the_dashboard_is_for_who_may_see_it(serving):
    running = serving("--requests", "1")

    with closing(Visitor(running.port)) as visitor:
        stranger = visitor.get("/monitoring/")
        visitor.log_in(COLLEAGUES[0])
        colleague = visitor.get("/monitoring/")
        style = visitor.get("/static/crm_monitoring/dashboard/dashboard.css")
    running.stop()

    assert (stranger, colleague, style) == (302, 403, 200)


def page(visitor: Visitor, path: str) -> str:
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in visitor.cookies.items())
    visitor.connection.request("GET", path, headers={"Cookie": cookies})
    response = visitor.connection.getresponse()
    body = response.read().decode()
    assert response.status == 200, body
    return body


def test_taken_port_gets_a_clear_sentence_before_any_work(demo, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = demo("--port", str(port))

    assert result.returncode == 1
    assert f"Port {port} is taken. Stop what listens there, or choose another one" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "demo.sqlite3").exists()


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_what_is_no_port_gets_a_clear_sentence(demo, port):
    result = demo(f"--port={port}")

    assert result.returncode == 2
    assert f"'{port}' is not a port" in result.stderr
