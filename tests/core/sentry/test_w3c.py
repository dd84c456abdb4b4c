"""Traces that go on from callers, and to those we call, who speak the W3C's trace context."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any

import pytest
import sentry_sdk
from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring import faults
from crm_monitoring.sentry import trace_headers, w3c
from crm_monitoring.units import begin_unit, end_unit
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import MemoryTransport

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"

HEX = "0123456789abcdef"
trace_ids = st.text(HEX, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"})
span_ids = st.text(HEX, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"})


@contextmanager
def task(**headers: str) -> Iterator[None]:
    """A task that somebody has asked for, who has sent `headers`."""
    unit = begin_unit("import", "task", {}, headers)
    yield
    end_unit(unit)


# -- what a header says -----------------------------------------------------------------------------------------------------


@given(trace_ids, span_ids, st.integers(0, 255))
def test_a_traceparent_is_read_with_its_decision(trace_id: str, span_id: str, flags: int) -> None:
    assert w3c.as_sentry_trace(f"00-{trace_id}-{span_id}-{flags:02x}") == f"{trace_id}-{span_id}-{flags & 1}"


@given(trace_ids, span_ids, st.sampled_from(["", "-0", "-1"]))
def test_what_is_written_is_read_as_it_was(trace_id: str, span_id: str, sampled: str) -> None:
    written = w3c.as_traceparent(f"{trace_id}-{span_id}{sampled}")

    assert written is not None
    assert w3c.as_sentry_trace(written) == f"{trace_id}-{span_id}{sampled or '-0'}"


@given(st.text(max_size=80) | st.text(HEX + "-", min_size=50, max_size=60))
def test_nothing_else_is_a_traceparent(text: str) -> None:
    read = w3c.as_sentry_trace(text)

    assert read is None or text.strip(" \t")[3:52] == read[:49]


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"{PARENT},{PARENT}",
    ],
)
def test_a_malformed_traceparent_is_refused(malformed: str) -> None:
    assert w3c.continued({"traceparent": malformed, "tracestate": "a=1"}) == {}


def test_a_later_version_may_say_more() -> None:
    assert w3c.as_sentry_trace(f"01-{TRACE}-{SPAN}-01-what-comes") == f"{TRACE}-{SPAN}-1"


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", True),
        ("tenant@vendor=x , b=y", True),
        ("no value", False),
        ("a=1\r\nSet-Cookie: b=2", False),
        (f"a={'x' * 600}", False),
        (",".join(f"k{number}=1" for number in range(33)), False),
    ],
)
def test_a_tracestate_is_handed_on_where_it_is_one(sentry: MemoryTransport, state: str, is_kept: bool) -> None:
    with task(traceparent=PARENT, tracestate=state):
        written = trace_headers()

    assert written["traceparent"].startswith(f"00-{TRACE}-")
    assert written.get("tracestate") == (state if is_kept else None)


def test_the_state_of_one_trace_is_not_the_next_ones(sentry: MemoryTransport) -> None:
    with task(traceparent=PARENT, tracestate="a=1"):
        pass
    with task():
        assert "tracestate" not in trace_headers()


@given(st.sampled_from(["sentry-sample_rate", "sentry-sample_rand", "sentry-trace_id"]), st.text(max_size=12))
def test_no_baggage_costs_a_request(name: str, value: str) -> None:
    headers = w3c.continued({"traceparent": PARENT, "baggage": f"{name}={value}"})

    with sentry_sdk.isolation_scope() as scope:
        scope.generate_propagation_context(headers)
        assert scope.get_active_propagation_context().trace_id == TRACE


# -- who calls us -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest) -> WSGIClient | ASGIClient:
    client: WSGIClient = request.getfixturevalue(request.param)
    return client


def test_a_request_goes_on_with_its_callers_trace(site: Any, sentry: MemoryTransport) -> None:
    site.request("GET", "/fails/", headers={"traceparent": PARENT})

    (event,) = sentry.events
    assert event["contexts"]["trace"]["trace_id"] == TRACE


def test_sentrys_own_header_counts_more(site: Any, sentry: MemoryTransport) -> None:
    other = "1" * 32

    site.request("GET", "/fails/", headers={"traceparent": PARENT, "sentry-trace": f"{other}-{SPAN}-1"})

    (event,) = sentry.events
    assert event["contexts"]["trace"]["trace_id"] == other


def test_a_malformed_one_begins_a_trace(site: Any, sentry: MemoryTransport) -> None:
    site.request("GET", "/fails/", headers={"traceparent": f"00-{TRACE}-{SPAN}"})

    (event,) = sentry.events
    assert event["contexts"]["trace"]["trace_id"] != TRACE


@pytest.mark.parametrize(("flags", "count"), [("00", 0), ("01", 1)])
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_decision_of_the_caller_is_kept(
    site: Any, monitoring: Any, transport: MemoryTransport, rate: float, flags: str, count: int
) -> None:
    monitoring(TRACES_SAMPLE_RATE=rate, SENTRY_OPTIONS={"transport": transport})

    site.request("GET", "/ok/", headers={"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
    sentry_sdk.flush()

    assert len([*transport.transactions, *transport.spans]) == count


def test_a_baggage_with_an_infinite_rate_costs_the_baggage(site: Any, sentry: MemoryTransport) -> None:
    headers = {"sentry-trace": f"{TRACE}-{SPAN}-1", "baggage": "sentry-sample_rate=inf"}

    answer = site.request("GET", "/fails/", headers=headers)

    (event,) = sentry.events
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert faults.sentences() == []


# -- whom we call -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def called() -> Iterator[tuple[int, list[Any]]]:
    """The port of somebody whom we call, and the headers of each call."""
    calls: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.headers)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, calls
    server.shutdown()
    thread.join()
    server.server_close()


def call(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


def test_a_call_names_the_trace_in_both_languages(sentry: MemoryTransport, called: tuple[int, list[Any]]) -> None:
    port, calls = called

    with task(traceparent=PARENT, tracestate="a=1"):
        call(port)

    (headers,) = calls
    trace, span, sampled = headers["sentry-trace"].split("-")
    assert headers.get_all("traceparent") == [f"00-{trace}-{span}-0{sampled}"]
    assert (trace, headers["tracestate"]) == (TRACE, "a=1")


def test_where_opentelemetry_writes_it_we_do_not(
    sentry: MemoryTransport, called: tuple[int, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, calls = called
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation", ModuleType("opentelemetry.instrumentation"))

    with task():
        call(port)

    assert [("sentry-trace" in headers, "traceparent" in headers) for headers in calls] == [(True, False)]


def test_a_failure_of_ours_costs_the_w3cs_header_only(
    sentry: MemoryTransport, called: tuple[int, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, calls = called
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(w3c, "as_traceparent", None)

    with task():
        call(port)

    assert [("sentry-trace" in headers, "traceparent" in headers) for headers in calls] == [(True, False)]
    assert faults.sentences() == ["Naming the trace for a call failed 1 time, last with TypeError."]
