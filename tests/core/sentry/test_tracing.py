"""One transaction a request, named by its route, continued from the caller and carried on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import sentry_sdk

from crm_monitoring import set_transaction_context
from tests.clients import WSGIClient
from tests.conftest import Lines, MemoryTransport

TRACE = "771a43a4192642f0b136d5159a501700"
SPAN = "1234567890abcdef"


@pytest.fixture(params=["static", "stream"])
def lifecycle(request: pytest.FixtureRequest, monitoring: Any, transport: MemoryTransport) -> Any:
    """Turns everything on in one of the SDK's two modes; returns what was sent of requests, alike in both."""

    def configure(**keys: Any) -> None:
        options = {"transport": transport, "trace_lifecycle": request.param}
        monitoring(**{"TRACES_SAMPLE_RATE": 1.0, "SENTRY_OPTIONS": options, **keys})

    def sent() -> list[dict[str, Any]]:
        sentry_sdk.flush()
        if request.param == "static":
            return [_from_transaction(transaction) for transaction in transport.transactions]
        return [_from_segment(span) for span in transport.spans if span["is_segment"]]

    configure()
    sent.configure = configure  # type: ignore[attr-defined]
    return sent


def _from_transaction(transaction: dict[str, Any]) -> dict[str, Any]:
    trace = transaction["contexts"]["trace"]
    return {
        "name": transaction["transaction"],
        "trace_id": trace["trace_id"],
        "parent": trace.get("parent_span_id"),
        "op": trace["op"],
        "status": trace["data"]["http.response.status_code"],
    }


def _from_segment(span: dict[str, Any]) -> dict[str, Any]:
    attributes = {name: attribute["value"] for name, attribute in span["attributes"].items()}
    return {
        "name": span["name"],
        "trace_id": span["trace_id"],
        "parent": span.get("parent_span_id"),
        "op": attributes["sentry.op"],
        "status": attributes["http.response.status_code"],
    }


# -- names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ok/", "GET ok/"),
        ("/organisations/7/", "GET organisations/{pk}/"),
        ("/nested/3/north/", "GET nested/{org}/{name}/"),
        ("/nowhere/", "GET (unrouted)"),
        ("/status/404/", "GET status/{code}/"),
    ],
)
def test_the_transaction_is_named_by_method_and_route(server: WSGIClient, lifecycle: Any, path: str, name: str) -> None:
    server.get(path)

    (request,) = lifecycle()
    assert (request["name"], request["op"]) == (name, "http.server")


def test_a_middleware_that_changes_the_urls_does_not_change_the_rule(settings: Any, lifecycle: Any) -> None:
    from django.core.wsgi import get_wsgi_application

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.middleware.other_urls"]
    wsgi = WSGIClient(get_wsgi_application())
    wsgi.get("/tenant/7/")
    wsgi.get("/ok/")

    assert {request["name"] for request in lifecycle()} == {"GET tenant/{pk}/", "GET (unrouted)"}


@pytest.mark.slow
def test_a_thousand_made_up_paths_have_one_name(wsgi: WSGIClient, sentry: MemoryTransport) -> None:
    for number in range(1000):
        wsgi.get(f"/wp-admin/{number}.php")

    assert {transaction["transaction"] for transaction in sentry.transactions} == {"GET (unrouted)"}


def test_made_up_methods_have_one_name(wsgi: WSGIClient, monitoring: Any, lines: Lines) -> None:
    monitoring()

    wsgi.request("HACK1", "/ok/")

    assert lines.one("request_finished")["method"] == "OTHER"


def test_the_view_may_name_its_transaction(settings: Any, lifecycle: Any, rf: Any) -> None:
    from crm_monitoring.middleware import lifecycle as requests

    running = requests.begin(rf.get("/ok/"))
    set_transaction_context("nightly import", operation="import")
    requests.conclude(running, 200)

    (request,) = lifecycle()
    assert (request["name"], request["op"]) == ("nightly import", "import")


def test_a_request_that_is_not_traced_can_be_named_too(monitoring: Any, transport: MemoryTransport, rf: Any) -> None:
    from crm_monitoring import capture_message
    from crm_monitoring.middleware import lifecycle as requests

    monitoring(TRACES_METHODS=[], SENTRY_OPTIONS={"transport": transport})
    running = requests.begin(rf.get("/ok/"))
    set_transaction_context("nightly import")
    capture_message("now")
    requests.conclude(running, 200)

    assert transport.events[0]["transaction"] == "nightly import"


@pytest.mark.parametrize("unmonitored", [False, True])
def test_where_the_sdk_watches_requests_its_trace_is_borrowed(
    sentry: MemoryTransport, rf: Any, monkeypatch: pytest.MonkeyPatch, unmonitored: bool
) -> None:
    from crm_monitoring.sentry import tracing
    from crm_monitoring.sentry.mode import mode

    monkeypatch.setattr(tracing, "mode", lambda: mode()._replace(watches_requests=True))
    request = rf.get("/")
    trace = tracing.trace_request(request, "abc", "GET", unmonitored=unmonitored)
    trace.close(200, "exited")
    sentry_sdk.capture_message("now")

    assert sentry.transactions == []
    assert sentry.events[0]["tags"]["request_id"] == "abc"
    assert sentry.events[0]["contexts"]["trace"]["trace_id"] == trace.trace_id
    assert "transaction" not in sentry.events[0]


# -- sampling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ok/", "/fails/", "/nowhere/", "/moves/"])
def test_an_unsampled_request_sends_no_transaction(server: WSGIClient, lifecycle: Any, path: str) -> None:
    lifecycle.configure(TRACES_SAMPLE_RATE=0.0)

    server.get(path)

    assert lifecycle() == []


@pytest.mark.parametrize("path", ["/quiet/", "/health/live", "/health/monitoring", "/healthz"])
def test_what_is_unmonitored_is_never_sampled(server: WSGIClient, lifecycle: Any, path: str) -> None:
    server.get(path, sentry_trace=f"{TRACE}-{SPAN}-1")

    assert lifecycle() == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_some_methods_make_no_transaction_unless_they_are_listed(
    server: WSGIClient, lifecycle: Any, method: str
) -> None:
    server.request(method, "/ok/")
    assert lifecycle() == []

    lifecycle.configure(TRACES_METHODS=[method])
    server.request(method, "/ok/")
    assert [request["name"] for request in lifecycle()] == [f"{method} ok/"]


@pytest.mark.parametrize("rule", ["GET organisations/{pk}/", "organisations/{pk}/", "/organisations/"])
def test_a_rule_sets_the_rate_by_route_or_by_path(server: WSGIClient, lifecycle: Any, rule: str) -> None:
    lifecycle.configure(TRACES_SAMPLE_RATE=0.0, TRACES_SAMPLE_RATE_OVERRIDES={rule: 1.0})

    server.get("/organisations/7/")
    server.get("/ok/")

    assert [request["name"] for request in lifecycle()] == ["GET organisations/{pk}/"]


# -- traces go on ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [{}, {"ok/": 0.0}])
def test_a_sampled_parent_is_continued(server: WSGIClient, lifecycle: Any, overrides: dict[str, float]) -> None:
    lifecycle.configure(TRACES_SAMPLE_RATE=0.0, TRACES_SAMPLE_RATE_OVERRIDES=overrides)

    server.get("/ok/", sentry_trace=f"{TRACE}-{SPAN}-1")

    (request,) = lifecycle()
    assert (request["trace_id"], request["parent"]) == (TRACE, SPAN)


def test_an_unsampled_parent_is_continued(server: WSGIClient, lifecycle: Any, lines: Lines) -> None:
    server.get("/ok/", sentry_trace=f"{TRACE}-{SPAN}-0")

    assert lifecycle() == []
    assert lines.one("ok_served")["trace_id"] == TRACE


def test_the_trace_goes_on_without_tracing_too(server: WSGIClient, monitoring: Any, lines: Lines) -> None:
    monitoring()

    server.get("/ok/", sentry_trace=f"{TRACE}-{SPAN}-1")

    assert lines.one("ok_served")["trace_id"] == TRACE


@pytest.mark.parametrize(("rate", "flag"), [(1.0, "1"), (0.0, "0")])
def test_our_decision_travels_with_outgoing_calls(lifecycle: Any, rf: Any, rate: float, flag: str) -> None:
    from crm_monitoring.middleware import lifecycle as requests

    lifecycle.configure(TRACES_SAMPLE_RATE=rate)
    running = requests.begin(rf.get("/ok/"))
    headers = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())
    requests.conclude(running, 200)

    assert headers["sentry-trace"].split("-")[0] == running.trace_id
    assert headers["sentry-trace"].split("-")[2] == flag
    assert f"sentry-sampled={'true' if rate else 'false'}" in headers["baggage"]


@pytest.fixture
def unsampled(monitoring: Any, transport: MemoryTransport, rf: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A running request that the draw leaves out."""
    from crm_monitoring.middleware import lifecycle as requests

    monkeypatch.setattr("crm_monitoring.sentry.tracing.random", lambda: 0.5)
    monitoring(TRACES_SAMPLE_RATE=0.25, SENTRY_OPTIONS={"transport": transport})
    running = requests.begin(rf.get("/ok/"))
    yield running
    requests.conclude(running, 200)
    assert transport.transactions == []


def current_transaction() -> Any:
    return sentry_sdk.get_current_scope().span


def baggage() -> dict[str, str]:
    headers = dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())
    return dict(item.removeprefix("sentry-").split("=") for item in headers["baggage"].split(","))


def test_an_unsampled_request_says_so_to_whom_it_calls(unsampled: Any) -> None:
    said = baggage()

    assert said["trace_id"] == unsampled.trace_id
    assert (said["sampled"], said["sample_rate"], said["sample_rand"]) == ("false", "0.25", "0.500000")
    assert current_transaction().to_traceparent() == f"{unsampled.trace_id}-{unsampled.trace.span_id}-0"


def test_an_unsampled_request_is_called_by_its_route(unsampled: Any) -> None:
    from django.urls import resolve

    unsampled.request.resolver_match = resolve("/ok/")

    assert unquote(baggage()["transaction"]) == "GET ok/"


def test_a_sampled_request_is_called_by_its_route_before_django_looks_it_up(
    monitoring: Any, transport: MemoryTransport, rf: Any
) -> None:
    from crm_monitoring.middleware import lifecycle as requests

    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS={"transport": transport})
    running = requests.begin(rf.get("/organisations/7/"))
    said = baggage()
    set_transaction_context("nightly import")
    named = current_transaction().name
    requests.conclude(running, 200)

    assert unquote(said["transaction"]) == "GET organisations/{pk}/"
    assert named == "nightly import"
    assert [sent["transaction"] for sent in transport.transactions] == ["nightly import"]


def test_an_unsampled_request_can_be_renamed(unsampled: Any) -> None:
    set_transaction_context("nightly import", operation="import")

    assert unquote(baggage()["transaction"]) == "nightly import"
    assert current_transaction().op == "import"


def test_an_unsampled_request_is_a_transaction_like_any_other(unsampled: Any) -> None:
    transaction = current_transaction()
    transaction.set_tag("step", "fetch")
    with sentry_sdk.start_span(op="step") as span:
        assert span.containing_transaction is transaction

    assert "GET" in repr(transaction)
    assert transaction.to_json()["tags"] == {"step": "fetch"}
    assert not hasattr(transaction, "nothing")


def test_an_event_of_an_unsampled_request_names_its_trace(unsampled: Any, transport: MemoryTransport) -> None:
    sentry_sdk.capture_message("now")

    trace = transport.events[0]["contexts"]["trace"]
    assert (trace["trace_id"], trace["span_id"]) == (unsampled.trace_id, unsampled.trace.span_id)


def test_events_lines_and_the_transaction_share_one_trace(
    server: WSGIClient, sentry: MemoryTransport, lines: Lines
) -> None:
    server.get("/reports/")

    (transaction,) = sentry.transactions
    traces = {event["contexts"]["trace"]["trace_id"] for event in [*sentry.events, transaction]}
    assert traces == {lines.one("request_finished")["trace_id"]}


def test_lines_and_events_share_one_trace_without_tracing(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport, lines: Lines
) -> None:
    monitoring(TRACES_SAMPLE_RATE=0.0, SENTRY_OPTIONS={"transport": transport})

    server.get("/fails/", sentry_trace=f"{TRACE}-{SPAN}")

    assert transport.events[0]["contexts"]["trace"]["trace_id"] == TRACE
    assert lines.one("request_failed")["trace_id"] == TRACE


# -- what a transaction carries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "status"), [("/ok/", 200), ("/fails/", 500), ("/nowhere/", 404), ("/moves/", 302)])
def test_the_transaction_has_the_responses_status(server: WSGIClient, lifecycle: Any, path: str, status: int) -> None:
    server.get(path)

    assert [request["status"] for request in lifecycle()] == [status]


def test_an_idle_view_makes_no_spans(server: WSGIClient, sentry: MemoryTransport) -> None:
    server.get("/ok/")

    (transaction,) = sentry.transactions
    assert transaction["spans"] == []
    assert transaction["request"]["url"] == "http://testserver/ok/"
    assert "modules" not in transaction
    assert "sys.argv" not in transaction.get("extra", {})


@pytest.mark.parametrize("path", ["/queries/2/", "/async-queries/2/"])
def test_queries_are_spans_of_the_request(db: None, server: WSGIClient, sentry: MemoryTransport, path: str) -> None:
    server.get(path)

    (transaction,) = sentry.transactions
    spans = [span for span in transaction["spans"] if span["op"] == "db"]
    assert len(spans) == 2
    assert {span["parent_span_id"] for span in spans} == {transaction["contexts"]["trace"]["span_id"]}
    assert spans[0]["description"].startswith("SELECT ")
