from __future__ import annotations

from typing import Any

import pytest

from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport


@pytest.mark.parametrize("path", ["/fails/", "/async-fails/"])
def test_a_view_that_raises_makes_exactly_one_event(server: WSGIClient, sentry: MemoryTransport, path: str) -> None:
    answer = server.get(path)

    (event,) = sentry.events
    (exception,) = event["exception"]["values"]
    assert answer.status == 500
    assert (exception["type"], exception["value"]) == ("ValueError", "boom")
    assert exception["stacktrace"]["frames"][-1]["function"] in ("fails", "async_fails")
    assert exception["mechanism"]["handled"] is False
    assert event["transaction"] == f"GET {path.removeprefix('/')}"
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
