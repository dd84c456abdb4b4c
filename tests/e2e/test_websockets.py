"""uvicorn and daphne serve websockets of Channels: one event a failure, and nobody's user on the errors of another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.processes import Server, free_port
from tests.e2e.receiver import Receiver
from tests.e2e.servers import UVICORN
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

pytest.importorskip("channels", reason="Channels is not installed")
pytest.importorskip("daphne", reason="daphne is not installed")
client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
exceptions = pytest.importorskip("websockets.exceptions")

COMMANDS = {"uvicorn": UVICORN, "daphne": ("-m", "daphne", "-v", "0")}
every_server = pytest.mark.parametrize("command", COMMANDS)
every_consumer = pytest.mark.parametrize("consumer", ["sync", "async"])


@contextmanager
def _site(command: str, variables: dict[str, str]) -> Iterator[tuple[Server, Receiver]]:
    port = free_port()
    arguments = (*COMMANDS[command], "--port", str(port), "tests.e2e.project.sockets:application")
    with Receiver() as receiver:
        shared = {**variables, "DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings", "SENTRY_DSN": receiver.dsn}
        with Server(*arguments, port=port, **shared) as server:
            yield server, receiver


@contextmanager
def _socket(server: Server, path: str) -> Iterator[Any]:
    with client.connect(f"ws://127.0.0.1:{server.port}{path}") as socket:
        yield socket


def _say(socket: Any, text: str) -> None:
    socket.send(text)
    assert socket.recv(timeout=20) == "served"


@every_consumer
@every_server
def test_each_socket_is_told_of_by_itself(variables: dict[str, str], command: str, consumer: str) -> None:
    with _site(command, variables) as (server, receiver):
        with _socket(server, f"/ws/{consumer}/1/") as first, _socket(server, f"/ws/{consumer}/2/") as second:
            _say(first, "sign in")
            _say(second, "report")
            first.send("fail")
            with pytest.raises(exceptions.ConnectionClosed):
                first.recv(timeout=20)
        with pytest.raises(exceptions.InvalidStatus), _socket(server, "/ws/nowhere/"):
            pass
        with _socket(server, f"/ws/{consumer}/3/") as third:
            _say(third, "report")
        events = receiver.wait_for("event", 3)
        wait_for(lambda: len([line for line in server.out if '"unit_finished"' in line]) >= 2, "ends of two sockets")

    failed = [event for event in events if event.get("exception")]
    reported = [event for event in events if event.get("message") == "reported"]
    assert len(receiver.payloads("event")) == len(failed) + len(reported) == 3
    assert failed[0]["transaction"] == f"WEBSOCKET ws/{consumer}/{{room}}/"
    assert failed[0]["user"]["id"] == "7"
    assert failed[0]["exception"]["values"][-1]["mechanism"]["handled"] is False
    assert [event.get("user") for event in reported] == [None, None]
    assert len({event["tags"]["request_id"] for event in events}) == 3
