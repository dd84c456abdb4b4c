"""The project's ASGI application with websockets: `daphne tests.e2e.project.sockets:application`."""

from __future__ import annotations

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from crm_monitoring import capture_message, get_logger, set_user_context

logger = get_logger("crm.sockets")
pages = get_asgi_application()


def _serve(text: str) -> None:
    logger.info("message_received", text=text)
    match text:
        case "fail":
            raise ValueError("no such room")
        case "sign in":
            set_user_context(7, email="ada@example.org")
        case "report":
            capture_message("reported")


class SyncChat(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        _serve(text_data or "")
        self.send(text_data="served")


class AsyncChat(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        _serve(text_data or "")
        await self.send(text_data="served")


routes = [path("ws/sync/<int:room>/", SyncChat.as_asgi()), path("ws/async/<int:room>/", AsyncChat.as_asgi())]
application = ProtocolTypeRouter({"http": pages, "websocket": AuthMiddlewareStack(URLRouter(routes))})
