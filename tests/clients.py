"""Clients that drive the real WSGI and ASGI applications: Django's own test Client goes round them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson
from asgiref.sync import async_to_sync
from django.http.response import ResponseHeaders


@dataclass
class Answer:
    status: int
    headers: ResponseHeaders
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return orjson.loads(self.body)


class WSGIClient:
    """Calls the application as a WSGI server does: iterates the response, then closes it."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.cookies: dict[str, str] = {}

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        environ: dict[str, Any] | None = None,
    ) -> Answer:
        started: list[Any] = []
        iterable = self.application(
            self.environ(method, path, body, headers or {}, environ or {}), lambda *args: started.append(args)
        )
        try:
            content = b"".join(iterable)
        finally:
            if hasattr(iterable, "close"):
                iterable.close()
        status, pairs = started[0][:2]
        return Answer(int(status.split()[0]), ResponseHeaders(dict(pairs)), content)

    def environ(
        self, method: str, path: str, body: bytes, headers: dict[str, str], extra: dict[str, Any]
    ) -> dict[str, Any]:
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if self.cookies:
            environ["HTTP_COOKIE"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        return {**environ, **extra}

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=_names(headers))

    def head(self, path: str, **headers: str) -> Answer:
        return self.request("HEAD", path, headers=_names(headers))

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        return self.request("POST", path, body, headers=_names(headers))


class ASGIClient(WSGIClient):
    """Calls the application as an ASGI server does. Sync code of Django runs in the caller's thread, on its connection."""

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        environ: dict[str, Any] | None = None,
    ) -> Answer:
        return async_to_sync(self.arequest)(method, path, body, headers)

    async def arequest(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop(0)
            import asyncio

            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        length = {"content-length": str(len(body))} if body else {}
        await self.application(self.scope(method, path, {**length, **(headers or {})}), receive, send)  # type: ignore[misc]
        start = next(message for message in sent if message["type"] == "http.response.start")
        content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
        return Answer(
            start["status"],
            ResponseHeaders({name.decode(): value.decode() for name, value in start["headers"]}),
            content,
        )

    def scope(self, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
        path, _, query = path.partition("?")
        pairs = {"host": "testserver", **{name.lower(): value for name, value in headers.items()}}
        if self.cookies:
            pairs["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
        }


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
