"""A local server that takes envelopes as Sentry does, or misbehaves as servers do."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.e2e.waiting import wait_for


class Item(NamedTuple):
    type: str
    payload: Any


class Receiver:
    """
    A threaded HTTP server on a free port, which keeps what it accepted.

    Attributes:
        status: What it answers with.
        delay_s: How long it waits before it answers; None: it never does.
        dsn: What to set SENTRY_DSN to.
    """

    def __init__(self) -> None:
        self.status = 200
        self.delay_s: float | None = 0.0
        self.items: list[Item] = []
        self.asked = 0
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self.dsn = f"http://public@127.0.0.1:{self._server.server_port}/1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let go of whoever waits, and close the port."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def payloads(self, kind: str) -> list[Any]:
        return [item.payload for item in self.items if item.type == kind]

    def wait_for(self, kind: str, count: int = 1) -> list[Any]:
        """Return the payloads of that kind once there are at least `count`."""
        wait_for(lambda: len(self.payloads(kind)) >= count, f"{count} x {kind}")
        return self.payloads(kind)

    def about(self, kind: str, request_id: str | None) -> list[Any]:
        """Return the payloads of that kind with this request id, once there are any."""

        def found() -> list[Any]:
            return [one for one in self.payloads(kind) if one.get("tags", {}).get("request_id") == request_id]

        wait_for(found, f"{kind} of request {request_id}")
        return found()

    def take(self, envelope: bytes) -> int:
        """Keep the envelope if the server is well; return the status to answer with, once the delay is over."""
        delay_s = self.delay_s
        self.asked += 1
        self._released.wait(delay_s)
        if self.status == 200:
            self.items += _items(envelope)
        return self.status


def _handler_for(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = receiver.take(body) if re.fullmatch(r"/api/\d+/envelope/", self.path) else 404
            with suppress(OSError):  # a client that has not waited
                self._answer(status)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "60")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _items(envelope: bytes) -> Iterator[Item]:
    _, _, rest = envelope.partition(b"\n")
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        payload, rest = rest[: header["length"]], rest[header["length"] :].removeprefix(b"\n")
        yield Item(header["type"], json.loads(payload))
