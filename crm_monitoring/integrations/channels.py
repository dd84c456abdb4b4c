"""
Consumers of Channels as units of work: each websocket has a scope, an id, a path and a user of its own.

Channels has no signal around a consumer, so `AsyncConsumer.__call__`, which the sync ones share, is replaced, here alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

from channels.consumer import AsyncConsumer

from crm_monitoring import faults
from crm_monitoring.requests import user_id_of
from crm_monitoring.scrubbing import UrlSecrets
from crm_monitoring.sentry import ignore_also, set_user_context
from crm_monitoring.units import unit_of_work

Consumer = Callable[..., Any]


@cache
def install() -> None:
    """Make every websocket that opens from here on a unit of work."""
    AsyncConsumer.__call__ = _watched(AsyncConsumer.__call__)
    ignore_also(_is_unknown_path)


def _watched(call: Consumer) -> Consumer:
    @wraps(call)
    async def watched(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        if scope.get("type") != "websocket":
            return await call(self, scope, receive, send)
        name, fields = _described(self, scope) or ("WEBSOCKET", {})
        async with unit_of_work(name, "websocket", **fields):
            _name_user(scope)
            return await call(self, scope, receive, send)

    return watched


@faults.guarded
def _described(consumer: Any, scope: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    path, captured = scope["path"], _captured(scope)
    route = _route(path, captured)
    # What captured it cannot be seen in the path: its route is the consumer's own name, for the path is one of many.
    name = f"{type(consumer).__module__}.{type(consumer).__qualname__}" if route is None else route
    return f"WEBSOCKET {name}", {"path": UrlSecrets(path, captured).path, "route": name}


def _captured(scope: Mapping[str, Any]) -> dict[str, Any]:
    known = scope.get("url_route", {})
    return {**dict.fromkeys(map(str, known.get("args", ())), ""), **known.get("kwargs", {})}


def _route(path: str, captured: Mapping[str, Any]) -> str | None:
    """Return the path with {name} for each value that its route has captured, None where one is not to be found."""
    route = path.lstrip("/")
    for name, value in captured.items():
        shown = rf"(?<![^\W_]){re.escape(str(value) or name)}(?![^\W_])"
        route, count = re.subn(shown, f"{{{name}}}" if str(value) else "{var}", route, count=1)
        if not count:
            return None
    return route


@faults.guarded
def _name_user(scope: Mapping[str, Any]) -> None:
    user_id = user_id_of(scope.get("user"))
    if user_id is not None:
        set_user_context(user_id)


def _is_unknown_path(error: BaseException) -> bool:
    """Whether a client has asked for what is not there. URLRouter has no exception of its own for it."""
    return type(error) is ValueError and str(error).startswith("No route found for path ")
