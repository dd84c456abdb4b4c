"""For asgi.py: a server that dies by the signal it was stopped with, as uvicorn does, runs nothing at exit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from crm_monitoring import conf, hooks
from crm_monitoring.sentry import flush

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def flushed_at_shutdown(application: Application) -> Application:
    """
    Return `application` with the lifespan protocol: what waits to be sent to Sentry is sent when the server stops, within SHUTDOWN_SECONDS.

    `application = flushed_at_shutdown(get_asgi_application())`.
    """

    async def flushed(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await application(scope, receive, send)

    return flushed


async def _live(receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await asyncio.to_thread(_end)
    await send({"type": "lifespan.shutdown.complete"})


def _end() -> None:
    hooks.ended()
    flush(conf.get().SHUTDOWN_SECONDS)
