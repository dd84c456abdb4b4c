"""`flushed_at_shutdown`, as a server calls it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crm_monitoring.asgi import flushed_at_shutdown

pytestmark = pytest.mark.processes


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "of the application", "scope": scope["type"]})


def _sent(kind: str, *messages: str) -> list[Any]:
    waiting = [{"type": message} for message in messages]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(flushed_at_shutdown(_echo)({"type": kind}, receive, send))
    return sent


def test_lifespan_is_answered() -> None:
    sent = _sent("lifespan", "lifespan.startup", "lifespan.shutdown")

    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_requests_go_to_the_application() -> None:
    assert _sent("http") == [{"type": "of the application", "scope": "http"}]
