"""A local server that takes releases and deploys as Sentry's API does, or misbehaves as servers do."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    body: Any


class Api:
    """
    A threaded HTTP server on a free port, which keeps what it was asked.

    Attributes:
        statuses: What it answers with, one after the other; 201 after the last.
        body: What it answers.
        content_type: What it says this is.
        location: Where a redirect leads.
        hangs: Whether it never answers.
        drops: Whether it closes the connection instead of answering.
        url: What to set SENTRY_URL to.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.body = "{}"
        self.content_type = "application/json"
        self.location = ""
        self.hangs = False
        self.drops = False
        self.asked: list[Asked] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        self._released.wait()


def _handler_for(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.asked.append(Asked(self.path, dict(self.headers), json.loads(body)))
            if api.hangs:
                api.wait()
            elif not api.drops:
                with suppress(OSError):  # a client that has not waited
                    self._answer(api.statuses.pop(0) if api.statuses else 201)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Type", api.content_type)
            self.send_header("Content-Length", str(len(api.body.encode())))
            if api.location:
                self.send_header("Location", api.location)
            self.end_headers()
            self.wfile.write(api.body.encode())

        def do_GET(self) -> None:
            """Answer what follows a redirect as a GET."""
            api.asked.append(Asked(self.path, dict(self.headers), None))
            self._answer(200)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
