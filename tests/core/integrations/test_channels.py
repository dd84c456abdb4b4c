"""A websocket of Channels is a unit of work: a scope, an id, a path and a user of its own, whatever its consumer is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("channels", reason="Channels is not installed")

from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import URLRouter
from channels.testing import ApplicationCommunicator, WebsocketCommunicator
from django.urls import path, re_path

from crm_monitoring import add_breadcrumb, capture_message, faults, get_logger, set_user_context, work
from crm_monitoring.hooks import Record
from crm_monitoring.integrations import channels
from tests import breakages
from tests.conftest import Lines, MemoryTransport

logger = get_logger("tests.channels")


class User:
    is_authenticated = True

    def __init__(self, pk: int) -> None:
        self.pk = pk


def _serve(text: str) -> None:
    logger.info("message_received", text=text)
    if text == "fail":
        breakages.logged_and_raised()
    if text == "sets":
        set_user_context(99, email="ada@example.org")
        add_breadcrumb("in the first")
    if text == "says":
        capture_message("said")


class SyncChat(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        _serve(text_data or "")
        self.send(text_data="served")


class AsyncChat(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        _serve(text_data or "")
        await self.send(text_data="served")


class Page(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        assert work.current_work() is None
        await self.send_response(200, b"ok")


application = URLRouter(
    [
        path("ws/sync/<int:room>/", SyncChat.as_asgi()),
        path("ws/async/<int:room>/", AsyncChat.as_asgi()),
        path("ws/login/<str:token>/", AsyncChat.as_asgi()),
        path("ws/plain/", AsyncChat.as_asgi(), {"kind": "quiet"}),
        re_path(r"^ws/unnamed-(\d+)/$", AsyncChat.as_asgi()),
        path("page/", Page.as_asgi()),
    ]
)


@pytest.fixture(autouse=True)
def _installed() -> None:
    channels.install()


def _over(socket: Callable[[WebsocketCommunicator], Awaitable[None]], address: str, user: Any = None) -> None:
    async def main() -> None:
        communicator = WebsocketCommunicator(application, address)
        communicator.scope["user"] = user
        connected, _ = await communicator.connect()
        assert connected
        await socket(communicator)

    asyncio.run(main())


def _says(*texts: str) -> Callable[[WebsocketCommunicator], Awaitable[None]]:
    async def socket(communicator: WebsocketCommunicator) -> None:
        for text in texts:
            await communicator.send_to(text_data=text)
            assert await communicator.receive_from() == "served"
        await communicator.disconnect()

    return socket


async def _fails(communicator: WebsocketCommunicator) -> None:
    await communicator.send_to(text_data="fail")
    with pytest.raises(ValueError, match="inner"):
        await communicator.wait()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_its_lines_carry_its_id_path_route_and_user(lines: Lines, records: list[Record], kind: str) -> None:
    _over(_says("hello"), f"/ws/{kind}/7/", User(5))

    line, finished = lines.one("message_received"), lines.one("unit_finished")
    assert (line["path"], line["route"], line["user_id"]) == (f"/ws/{kind}/7/", f"ws/{kind}/{{room}}/", "5")
    assert line["request_id"] == finished["request_id"] == records[0].request_id
    assert (finished["name"], finished["kind"]) == (f"WEBSOCKET ws/{kind}/{{room}}/", "websocket")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_failure_is_one_event_of_its_route(sentry: MemoryTransport, lines: Lines, kind: str) -> None:
    _over(_fails, f"/ws/{kind}/7/")

    (event,) = sentry.events
    assert event["transaction"] == f"WEBSOCKET ws/{kind}/{{room}}/"
    assert not breakages.is_handled(event)
    assert lines.one("unit_failed")["error"] == "ValueError"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_nothing_of_one_socket_is_on_the_next(sentry: MemoryTransport, kind: str) -> None:
    _over(_says("sets"), f"/ws/{kind}/1/", User(5))
    _over(_says("says"), f"/ws/{kind}/2/")

    (event,) = sentry.events
    assert "user" not in event
    assert "in the first" not in [crumb["message"] for crumb in event["breadcrumbs"]["values"]]


@pytest.mark.parametrize(
    ("address", "route", "shown"),
    [
        ("/ws/login/correcthorse/", "ws/login/{token}/", "/ws/login/{token}/"),
        ("/ws/unnamed-12/", "ws/unnamed-{var}/", "/ws/unnamed-12/"),
        ("/ws/plain/", f"{__name__}.AsyncChat", "/ws/plain/"),
    ],
)
def test_a_route_names_no_value(lines: Lines, address: str, route: str, shown: str) -> None:
    _over(_says("hello"), address)

    line = lines.one("message_received")
    assert (line["route"], line["path"]) == (route, shown)


def test_a_path_that_leads_nowhere_is_no_event(sentry: MemoryTransport) -> None:
    async def main() -> None:
        communicator = WebsocketCommunicator(application, "/ws/nowhere/")
        try:
            await communicator.connect()
        except ValueError:
            # As uvicorn does.
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
            raise

    with pytest.raises(ValueError, match="No route found"):
        asyncio.run(main())

    assert sentry.events == []


def test_a_consumer_of_http_is_left_to_others() -> None:
    async def main() -> dict[str, Any]:
        scope = {"type": "http", "path": "/page/", "method": "GET", "headers": []}
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        return dict(await communicator.receive_output())

    assert asyncio.run(main())["status"] == 200


def test_a_socket_is_served_though_nothing_is_known_of_it(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(channels, "_route", lambda *args: 1 / 0)

    _over(_says("hello"), "/ws/async/7/")

    assert lines.one("unit_finished")["name"] == "WEBSOCKET"
