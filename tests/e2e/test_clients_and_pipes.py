"""What is at the other ends may go away: the client in the middle of an answer, the reader of the lines."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.processes import CONCLUSIONS, Server
from tests.e2e.receiver import Receiver
from tests.e2e.servers import GUNICORN, UVICORN, serve

pytestmark = pytest.mark.processes

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings"}


@pytest.fixture(scope="module")
def uvicorn(variables: dict[str, str]) -> Iterator[Server]:
    with serve(UVICORN, "tests.e2e.project", **variables, **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def gunicorn(variables: dict[str, str]) -> Iterator[Server]:
    with serve((*GUNICORN, "-w", "1"), "tests.e2e.project", **variables, **SETTINGS) as server:
        yield server


def _ask(server: Server, path: str, request_id: str, until: bytes = b"") -> None:
    """Ask for `path` and go away once `until` was answered."""
    with server.asked(path, X_Request_ID=request_id) as client:
        answered = b""
        while until not in answered:
            answered += client.recv(4096)


def _statuses(server: Server, request_id: str) -> list[int]:
    server.of_request(request_id)
    # A later request of the same process would come after a second line.
    later = server.get("/health/live")
    assert later.status == 200
    return [line["status"] for line in server.of_request(request_id) if line["event"] in CONCLUSIONS]


def test_client_that_leaves_a_slow_async_view_makes_one_line_499(uvicorn: Server) -> None:
    _ask(uvicorn, "/waits/", "left-view")

    assert _statuses(uvicorn, "left-view") == [499]


def test_client_that_leaves_an_async_stream_makes_one_line_499(uvicorn: Server) -> None:
    _ask(uvicorn, "/async-stream/", "left-async-stream", until=b"chunk")

    assert _statuses(uvicorn, "left-async-stream") == [499]


def test_client_that_leaves_a_stream_makes_one_line_499(gunicorn: Server) -> None:
    _ask(gunicorn, "/stream/", "left-stream", until=b"chunk")

    assert _statuses(gunicorn, "left-stream") == [499]


@pytest.mark.parametrize("command", [(*GUNICORN, "-w", "1"), UVICORN], ids=["gunicorn", "uvicorn"])
def test_lines_that_nobody_reads_any_more_are_counted_and_cost_no_request(
    receiver: Receiver, variables: dict[str, str], command: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    with serve(command, stdout=writer, SENTRY_DSN=receiver.dsn, **variables) as server:
        os.close(writer)
        os.close(reader)

        statuses = [server.get(path).status for path in ("/", "/break/missing/", "/break/error/", "/break/stream/")]

        health = server.get("/health/monitoring").json()
        code = server.stop()
    assert statuses == [200, 404, 500, 200]
    assert health["monitoring"]["lost"]["log_lines"] >= len(statuses)
    assert health["status"] == "degraded"
    assert code <= 0
    assert server.err == []
