"""A trace goes on through a real server: in by the headers of the request, out by those of its own calls."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.e2e.processes import Server
from tests.e2e.receiver import Receiver
from tests.e2e.servers import GUNICORN, serve

pytestmark = pytest.mark.processes

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
BAGGAGE = f"sentry-trace_id={TRACE_ID},sentry-environment=browser,sentry-sample_rate=0.25"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.e2e.project.settings"}


class Peer:
    """A server that our server calls, and that keeps the headers it got."""

    def __init__(self) -> None:
        self.headers: list[Any] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        headers = self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers.append(self.headers)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.stop()


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(collector: Receiver, variables: dict[str, str]) -> Iterator[Server]:
    """A server that traces every request."""
    with _serve(collector, {**variables, "ENVIRONMENT": "development"}) as server:
        yield server


@pytest.fixture(scope="module")
def untraced(collector: Receiver, variables: dict[str, str]) -> Iterator[Server]:
    """A server that traces no request by its own decision."""
    with _serve(collector, {**variables, "E2E_TRACES_SAMPLE_RATE": "0"}) as server:
        yield server


def _serve(collector: Receiver, variables: dict[str, str]) -> Server:
    return serve((*GUNICORN, "-w", "1"), "tests.e2e.project", SENTRY_DSN=collector.dsn, **variables, **SETTINGS)


def _traces(receiver: Receiver, server: Server, request_id: str | None) -> list[Any]:
    """Return the request's place in the trace, by the transactions that arrive; a later request's tells that all have."""
    last = server.get("/calls/?url=http://127.0.0.1:1/", sentry_trace=f"{TRACE_ID}-{PARENT_ID}-1", baggage=BAGGAGE)
    receiver.about("transaction", last.headers["X-Request-ID"])
    return [
        transaction["contexts"]["trace"]
        for transaction in receiver.payloads("transaction")
        if transaction["tags"]["request_id"] == request_id
    ]


def test_sampled_trace_of_the_client_goes_on(traced: Server, collector: Receiver, peer: Peer) -> None:
    answer = traced.get(f"/calls/?url={peer.url}", sentry_trace=f"{TRACE_ID}-{PARENT_ID}-1", baggage=BAGGAGE)

    (trace,) = _traces(collector, traced, answer.headers["X-Request-ID"])
    (headers,) = peer.headers
    trace_id, span_id, sampled = headers["sentry-trace"].split("-")
    (transaction,) = collector.about("transaction", answer.headers["X-Request-ID"])
    assert (trace["trace_id"], trace["parent_span_id"]) == (TRACE_ID, PARENT_ID)
    assert (trace_id, sampled) == (TRACE_ID, "1")
    assert span_id == transaction["spans"][0]["span_id"]
    assert headers["baggage"].split(",")[:2] == BAGGAGE.split(",")[:2]


def test_unsampled_trace_of_the_client_stays_unsampled(traced: Server, collector: Receiver, peer: Peer) -> None:
    answer = traced.get(f"/calls/?url={peer.url}", sentry_trace=f"{TRACE_ID}-{PARENT_ID}-0", baggage=BAGGAGE)

    (headers,) = peer.headers
    trace_id, _, sampled = headers["sentry-trace"].split("-")
    assert _traces(collector, traced, answer.headers["X-Request-ID"]) == []
    assert (trace_id, sampled) == (TRACE_ID, "0")
    assert headers["baggage"].split(",")[:2] == BAGGAGE.split(",")[:2]


def test_own_trace_goes_out_with_a_call(traced: Server, collector: Receiver, peer: Peer) -> None:
    answer = traced.get(f"/calls/?url={peer.url}")

    (trace,) = _traces(collector, traced, answer.headers["X-Request-ID"])
    (headers,) = peer.headers
    trace_id, _, sampled = headers["sentry-trace"].split("-")
    assert (trace_id, sampled) == (trace["trace_id"], "1")
    assert f"sentry-trace_id={trace_id}" in headers["baggage"].split(",")


def test_own_decision_against_a_trace_goes_out_with_a_call(untraced: Server, collector: Receiver, peer: Peer) -> None:
    answer = untraced.get(f"/calls/?url={peer.url}")

    (headers,) = peer.headers
    trace_id, _, sampled = headers["sentry-trace"].split("-")
    (line,) = untraced.of_request(answer.headers["X-Request-ID"])
    assert _traces(collector, untraced, answer.headers["X-Request-ID"]) == []
    assert (trace_id, sampled) == (line["trace_id"], "0")
    assert "sentry-sampled=false" in headers["baggage"].split(",")


def test_error_belongs_to_the_trace_of_the_client(traced: Server, collector: Receiver) -> None:
    answer = traced.get("/calls/?url=nowhere", sentry_trace=f"{TRACE_ID}-{PARENT_ID}-0", baggage=BAGGAGE)

    (event,) = collector.about("event", answer.headers["X-Request-ID"])
    assert event["contexts"]["trace"]["trace_id"] == TRACE_ID
