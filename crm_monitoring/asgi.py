"""
The end of ASGI servers: one that dies by the signal it was stopped with, as uvicorn does, runs nothing at exit.

It tells of its end by the lifespan protocol, which Django's own application does not speak.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache, wraps
from typing import Any

from crm_monitoring import process

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


@cache
def install() -> None:
    """
    Let Django's ASGI application answer the lifespan protocol, and so hear of the server's end.

    Django has no hook for it, so `ASGIHandler.__call__` is replaced, here alone: it answered such a scope with a ValueError.
    """
    # Imported here, for only servers need it.
    from django.core.handlers.asgi import ASGIHandler

    ASGIHandler.__call__ = _living(ASGIHandler.__call__)  # type: ignore[assignment, method-assign]


def _living(call: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(call)
    async def answer(handler: Any, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await call(handler, scope, receive, send)

    return answer


def flushed_at_shutdown(application: Application) -> Application:
    """
    Return `application` with the lifespan protocol: what waits to be sent or written leaves when the server stops, within SHUTDOWN_SECONDS.

    Django's own application needs it not. One that stands around it and knows no lifespan does, such as a router of protocols:
    `application = flushed_at_shutdown(ProtocolTypeRouter({"http": get_asgi_application(), ...}))`.
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
    await asyncio.to_thread(process.end)
    await send({"type": "lifespan.shutdown.complete"})
