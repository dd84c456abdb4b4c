"""Calls the handlers as a server does, without one: the environ or the scope in, the body read, the response closed."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

_HEADERS = {"HTTP_HOST": "testserver", "HTTP_USER_AGENT": "benchmark/1.0", "HTTP_ACCEPT": "*/*"}
_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "page=1",
    "SERVER_NAME": "testserver",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    **_HEADERS,
}

Request = Callable[[], int]
AsyncRequest = Callable[[], Awaitable[int]]


@cache
def _wsgi_application() -> Any:
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


@cache
def _asgi_application() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def wsgi_request(path: str, cookie: str = "") -> Request:
    """Return a function that makes one request and returns its status."""
    application = _wsgi_application()
    environ = {**_ENVIRON, "PATH_INFO": path, **({"HTTP_COOKIE": cookie} if cookie else {})}
    started: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        started.append(status)

    def request() -> int:
        response = application({**environ, "wsgi.input": io.BytesIO()}, start_response)
        for _ in response:
            pass
        response.close()
        return int(started.pop()[:3])

    return request


def asgi_request(path: str, cookie: str = "") -> AsyncRequest:
    """Return a coroutine function that makes one request and returns its status."""
    application = _asgi_application()
    headers = [(name[5:].lower().replace("_", "-").encode(), value.encode()) for name, value in _HEADERS.items()]
    if cookie:
        headers.append((b"cookie", cookie.encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"page=1",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
    }

    async def request() -> int:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]
        statuses: list[int] = []

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()
            raise AssertionError("A server stops waiting when it cancels.")

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await application(dict(scope), receive, send)
        return statuses[0]

    return request
