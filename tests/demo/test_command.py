from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

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


def test_demo_serves_until_it_is_interrupted(environment):
    with subprocess.Popen(
        command("--requests", "4"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        opening = "".join(iter(process.stdout.readline, "Log lines follow. Stop with Ctrl+C.\n"))
        port = re.search(r"http://127\.0\.0\.1:(\d+)/", opening)[1]
        with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)) as connection:
            connection.request("GET", "/api/v1/organisations")
            served = json.load(connection.getresponse())
        process.send_signal(signal.SIGINT)
        ending, _ = process.communicate(timeout=10)

    assert served["count"] >= 200
    assert process.returncode == 0
    assert "Stopped." in ending
    assert "Traceback" not in ending


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
