"""gunicorn and uvicorn serve the demo: one JSON line a request, one id everywhere, events that arrive."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Site
from tests.e2e.processes import CONCLUSIONS
from tests.e2e.receiver import Receiver
from tests.e2e.servers import COMMANDS, serve

pytestmark = pytest.mark.processes

REQUESTS = [
    ("/", 200),
    ("/api/v1/organisations", 200),
    ("/api/v1/organisations/async", 200),
    ("/break/stream/", 200),
    ("/break/handled/", 302),
    ("/break/missing/", 404),
    ("/break/error/", 500),
    ("/api/v1/broken", 500),
]

every_server = pytest.mark.parametrize("kind", COMMANDS)


@every_server
@pytest.mark.parametrize(("path", "status"), REQUESTS)
def test_request_has_one_line_with_the_id_of_its_response(
    site: Callable[[str], Site], kind: str, path: str, status: int
) -> None:
    server, _ = site(kind)

    answer = server.get(path)

    lines = server.of_request(answer.headers["X-Request-ID"])
    (line,) = [line for line in lines if line["event"] in CONCLUSIONS]
    assert answer.status == line["status"] == status
    assert line["path"] == path
    assert line["event"] == ("request_failed" if status == 500 else "request_finished")


@every_server
@pytest.mark.parametrize("path", ["/break/missing/", "/break/error/", "/"])
def test_a_request_is_one_line_whatever_django_and_the_server_say_of_it(
    site: Callable[[str], Site], kind: str, path: str
) -> None:
    server, _ = site(kind)

    answer = server.get(path)

    lines = server.of_request(answer.headers["X-Request-ID"])
    about = ("crm_monitoring.requests", "django.request", "django.server", "uvicorn.access", "gunicorn.access")
    assert [line["logger"] for line in lines if line["logger"] in about] == ["crm_monitoring.requests"]


@every_server
def test_health_is_well_and_has_no_line(site: Callable[[str], Site], kind: str) -> None:
    server, receiver = site(kind)
    server.get("/api/v1/broken")

    answer = server.get("/health/monitoring")

    health = answer.json()
    server.of_request(server.get("/").headers["X-Request-ID"])
    assert (health["status"], health["monitoring"]["lost"]) == ("ok", {})
    assert health["monitoring"]["sentry"]["enabled"] is True
    assert not [line for line in server.lines if line.get("request_id") == answer.headers["X-Request-ID"]]


@every_server
def test_crash_arrives_once_with_all_that_is_known(site: Callable[[str], Site], kind: str) -> None:
    server, receiver = site(kind)

    answer = server.get("/break/error/?page=2")

    (event,) = receiver.about("event", answer.headers["X-Request-ID"])
    (exception,) = event["exception"]["values"]
    crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert exception["type"] == "ZeroDivisionError"
    assert exception["mechanism"]["handled"] is False
    assert event["transaction"] == "GET break/error/"
    assert event["request"]["url"] == f"http://127.0.0.1:{server.port}/break/error/"
    assert (event["request"]["method"], event["request"]["query_string"]) == ("GET", "page=2")
    assert (event["environment"], event["release"]) == ("development", "crm@1.2.3")
    assert crumbs == ["HTTP Request: GET /break/error/", "About to divide by zero"]


@every_server
def test_transaction_arrives_with_the_trace_of_the_lines(site: Callable[[str], Site], kind: str) -> None:
    server, receiver = site(kind)

    answer = server.get("/api/v1/organisations")

    (transaction,) = receiver.about("transaction", answer.headers["X-Request-ID"])
    lines = server.of_request(answer.headers["X-Request-ID"])
    assert transaction["transaction"] == "GET api/v1/organisations"
    assert {line["trace_id"] for line in lines} == {transaction["contexts"]["trace"]["trace_id"]}
    assert [span["op"] for span in transaction["spans"]] == ["db"]


@every_server
def test_what_waits_when_the_server_is_stopped_is_delivered(
    receiver: Receiver, variables: dict[str, str], kind: str
) -> None:
    receiver.delay_s = 0.6
    with serve(COMMANDS[kind], SENTRY_DSN=receiver.dsn, **variables) as server:
        answer = server.get("/api/v1/broken")

        code = server.stop()

    # uvicorn ends by the very signal that it was stopped with.
    assert code in (0, -signal.SIGTERM)
    assert len(receiver.about("event", answer.headers["X-Request-ID"])) == 1
    assert len(receiver.about("transaction", answer.headers["X-Request-ID"])) == 1
    assert _repeated_lines(server.lines) == []


def _repeated_lines(lines: list[dict[str, str]]) -> list[str]:
    """Return the lines about one process that came more than once."""
    told = Counter(line["event"] for line in lines if re.search(r"(pid: |process \[)\d+", line["event"]))
    assert told
    return [event for event, count in told.items() if count > 1]


@every_server
def test_lines_have_only_the_fields_of_lines(site: Callable[[str], Site], kind: str) -> None:
    server, _ = site(kind)

    own = [line for line in server.lines if line["logger"] in ("gunicorn.error", "uvicorn.error")]

    assert own
    assert all(set(line) == {"event", "level", "timestamp", "logger"} for line in own)
