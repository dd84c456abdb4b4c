"""Nothing is sent twice by a process that was copied."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.e2e.processes import Process, Server, free_port
from tests.e2e.receiver import Receiver
from tests.e2e.servers import COMMANDS, serve
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

# What the command itself tells its terminal, by print rather than by a log line.
TALK = r"(Performing system checks|System check identified|\w+ \d+, \d{4} - |Django version|Starting (WSGI )?dev|Quit the|WARNING: This is a|For more info|$)"


def test_event_that_waits_while_the_process_forks_is_sent_once(receiver: Receiver, variables: dict[str, str]) -> None:
    receiver.delay_s = 0.2

    with Process("-m", "tests.e2e.forking", SENTRY_DSN=receiver.dsn, **variables) as program:
        code = program.ended()

    messages = Counter(event["message"] for event in receiver.payloads("event"))
    assert code == 0
    # Python 3.12 and later warn of a fork beside threads.
    assert {line["logger"] for line in program.lines} <= {"py.warnings"}
    assert messages == {"sent before the fork": 1, "waiting at the fork": 1, "in the child": 1}


def test_crash_in_a_worker_of_a_preloaded_application_is_sent_once(
    receiver: Receiver, variables: dict[str, str]
) -> None:
    with serve(COMMANDS["gunicorn gthread preload"], SENTRY_DSN=receiver.dsn, **variables) as server:
        ids = {server.get("/api/v1/broken").headers["X-Request-ID"] for _ in range(10)}

    server.stop()

    sent = Counter(event["tags"]["request_id"] for event in receiver.payloads("event"))
    assert sent == dict.fromkeys(ids, 1)


def test_runserver_with_its_reloader_serves_and_writes_json(receiver: Receiver, variables: dict[str, str]) -> None:
    port = free_port()
    development = {**variables, "DEMO_DEBUG": "true", "SENTRY_DSN": receiver.dsn, "PYTHONUNBUFFERED": "1"}
    with Server("manage.py", "runserver", f"127.0.0.1:{port}", port=port, **development) as server:
        answer = server.get("/api/v1/broken")

        wait_for(
            lambda: any("/api/v1/broken" in line and "request_f" in line for line in server.out), "line of the request"
        )
        receiver.about("event", answer.headers["X-Request-ID"])

    rest = [line for line in server.out if not re.match(TALK, line)]
    lines = [json.loads(line) for line in rest]
    told = Counter(line["event"] for line in lines if "/api/v1/broken" in str(line))
    assert server.err == []
    assert max(told.values()) == 1
