"""Responses that are still being made when the view has returned."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from django.http import StreamingHttpResponse

from crm_monitoring import RequestRecord, work
from crm_monitoring.hooks import Record
from tests import views
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import Lines, MemoryTransport

STREAMS = [("wsgi", "/stream/"), ("asgi", "/async-stream/")]


@pytest.fixture(params=STREAMS, ids=["wsgi", "asgi"])
def stream(request: pytest.FixtureRequest) -> Any:
    """Fetches the stream that suits the server."""
    name, path = request.param
    client: WSGIClient = request.getfixturevalue(name)
    return lambda query="": client.get(path + query)


def test_a_stream_is_timed_until_it_ends(stream: Any, records: list[Record]) -> None:
    answer = stream("?seconds=0.3")

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert answer.body == b"onetwo"
    assert record.duration_ms >= 300
    assert record.response_bytes == 6


def test_a_stream_makes_one_line(stream: Any, lines: Lines) -> None:
    answer = stream()

    line = lines.one("request_finished")
    assert (line["status"], line["request_id"]) == (200, answer.headers["X-Request-ID"])


def test_lines_of_the_stream_belong_to_the_request(stream: Any, lines: Lines) -> None:
    answer = stream()

    assert lines.one("in_stream")["request_id"] == answer.headers["X-Request-ID"]


def test_a_streams_transaction_lasts_until_it_ends(stream: Any, sentry: MemoryTransport) -> None:
    stream("?seconds=0.2")

    (transaction,) = sentry.transactions
    assert transaction["transaction"].endswith("stream/")
    assert _seconds(transaction) >= 0.2


def test_an_error_in_a_stream_is_reported_with_the_requests_name_and_id(
    stream: Any, sentry: MemoryTransport, lines: Lines
) -> None:
    with contextlib.suppress(ValueError):
        stream("?fail=1")

    (event,) = sentry.events
    line = lines.one("request_failed")
    assert event["transaction"] in ("GET stream/", "GET async-stream/")
    assert event["tags"]["request_id"] == line["request_id"]
    assert event["exception"]["values"][0]["mechanism"]["handled"] is False
    assert line["level"] == "error"


def test_an_error_in_a_stream_reaches_the_server(wsgi: WSGIClient) -> None:
    with pytest.raises(ValueError, match="in the stream"):
        wsgi.get("/stream/?fail=1")


def test_a_client_that_leaves_a_wsgi_stream_is_recorded_as_499(wsgi: WSGIClient, records: list[Record]) -> None:
    response = wsgi.application(wsgi.environ("GET", "/stream/", b"", {}, {}), lambda *args: None)

    next(iter(response))
    response.close()  # type: ignore[attr-defined]

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert (record.status, record.response_bytes) == (499, 3)
    assert work.current_work() is None


def test_a_stream_that_nobody_asked_for_keeps_its_status(wsgi: WSGIClient, records: list[Record]) -> None:
    response = wsgi.application(wsgi.environ("HEAD", "/stream/", b"", {}, {}), lambda *args: None)

    response.close()  # type: ignore[attr-defined]

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert record.status == 200


def test_a_client_that_leaves_an_asgi_view_is_recorded_as_499(asgi: ASGIClient, records: list[Record]) -> None:
    asyncio.run(_leave_after(asgi, "/waits/", seconds=0.1))

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert (record.status, record.error) == (499, None)


def test_a_client_that_leaves_an_asgi_stream_is_recorded_as_499(asgi: ASGIClient, records: list[Record]) -> None:
    asyncio.run(_leave_after(asgi, "/async-stream/?seconds=20", seconds=0.1))

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert (record.status, record.response_bytes) == (499, 3)


def test_a_cancelled_request_makes_no_event(asgi: ASGIClient, sentry: MemoryTransport) -> None:
    asyncio.run(_leave_after(asgi, "/waits/", seconds=0.1))

    assert sentry.events == []


def test_a_file_goes_to_the_server_as_it_is(wsgi: WSGIClient, records: list[Record]) -> None:
    environ = wsgi.environ("GET", "/file/", b"", {}, {"wsgi.file_wrapper": FileWrapper})

    response = wsgi.application(environ, lambda *args: None)
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert type(response) is FileWrapper
    assert body == Path(views.__file__).read_bytes()
    assert (record.status, record.response_bytes) == (200, len(body))


def test_a_file_is_streamed_where_the_server_has_no_better_way(wsgi: WSGIClient, records: list[Record]) -> None:
    answer = wsgi.get("/file/")

    (record,) = records
    assert isinstance(record, RequestRecord)
    assert record.response_bytes == len(answer.body)


def test_a_stream_whose_server_never_closes_it_does_not_reach_the_next_request(
    wsgi: WSGIClient, sentry: MemoryTransport
) -> None:
    import sentry_sdk

    next(iter(wsgi.application(wsgi.environ("GET", "/stream/", b"", {}, {}), lambda *args: None)))
    sentry_sdk.set_tag("left", "behind")
    wsgi.get("/fails/")

    (event,) = sentry.events
    assert "left" not in event["tags"]


def test_the_view_still_has_its_own_response(wsgi: WSGIClient) -> None:
    response = wsgi.application(wsgi.environ("GET", "/stream/", b"", {}, {}), lambda *args: None)

    assert type(response) is StreamingHttpResponse
    response.close()


async def _leave_after(asgi: ASGIClient, path: str, seconds: float) -> None:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        pass

    await asgi.application(asgi.scope("GET", path, {}), receive, send)  # type: ignore[misc]


def _seconds(transaction: dict[str, Any]) -> float:
    from datetime import datetime

    start, end = (datetime.fromisoformat(transaction[name]) for name in ("start_timestamp", "timestamp"))
    return (end - start).total_seconds()
