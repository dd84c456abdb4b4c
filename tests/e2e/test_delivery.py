"""A receiver in trouble costs events, which are counted, and never a request's time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import pytest

from tests.e2e.processes import Server
from tests.e2e.receiver import Receiver
from tests.e2e.servers import GUNICORN, serve
from tests.e2e.waiting import wait_for

pytestmark = pytest.mark.processes

REQUESTS = 30
DELAY_S = 2.0
RATIO = 4.0


def _fail_with(status: int) -> Callable[[Receiver], None]:
    return lambda receiver: setattr(receiver, "status", status)


def _answer_after(seconds: float | None) -> Callable[[Receiver], None]:
    return lambda receiver: setattr(receiver, "delay_s", seconds)


TROUBLES = {
    "slow": _answer_after(DELAY_S),
    "hangs": _answer_after(None),
    "429": _fail_with(429),
    "500": _fail_with(500),
    "down": Receiver.stop,
}


class Visit(NamedTuple):
    status: int
    seconds: float


@pytest.fixture
def server(receiver: Receiver, variables: dict[str, str]) -> Iterator[Server]:
    with serve((*GUNICORN, "-w", "1"), SENTRY_DSN=receiver.dsn, **variables) as server:
        yield server


@pytest.fixture
def calm(variables: dict[str, str]) -> Iterator[Server]:
    """A server like the other one, whose receiver is well: whatever else this machine does slows both."""
    with Receiver() as receiver, serve((*GUNICORN, "-w", "1"), SENTRY_DSN=receiver.dsn, **variables) as server:
        yield server


def _visit(server: Server, count: int = REQUESTS) -> list[Visit]:
    """Make so many requests, every fifth of which fails; each is traced."""
    return [_timed(server, number) for number in range(count)]


def _timed(server: Server, number: int) -> Visit:
    started = time.perf_counter()
    answer = server.get("/api/v1/organisations" if number % 5 else "/api/v1/broken")
    return Visit(answer.status, time.perf_counter() - started)


def _health(server: Server) -> dict[str, Any]:
    return server.get("/health/monitoring").json()


def _lost(server: Server) -> int:
    """Return how many errors and transactions are counted as lost; the one that a 429 answers is a failed delivery only."""
    lost = _health(server)["monitoring"]["lost"]
    items = sum(count for kind, count in lost.items() if kind.startswith(("sentry_error_", "sentry_transaction_")))
    return items + lost.get("sentry_delivery_status_429", 0)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_request_takes_no_longer_when_the_receiver_is_in_trouble(
    server: Server, calm: Server, receiver: Receiver, trouble: str
) -> None:
    for one in (server, calm):
        _visit(one, count=5)
    TROUBLES[trouble](receiver)

    pairs = [(_timed(server, number), _timed(calm, number)) for number in range(REQUESTS)]

    troubled, well = zip(*pairs, strict=True)
    assert [visit.status for visit in troubled] == [visit.status for visit in well]
    assert {visit.status for visit in troubled} == {200, 500}
    assert median(visit.seconds for visit in troubled) < RATIO * median(visit.seconds for visit in well)
    assert max(visit.seconds for visit in troubled) < DELAY_S / 2 + max(visit.seconds for visit in well)


@pytest.mark.parametrize("trouble", ["429", "500", "down"])
def test_what_a_receiver_does_not_take_is_counted_and_told(server: Server, receiver: Receiver, trouble: str) -> None:
    TROUBLES[trouble](receiver)

    visits = _visit(server)

    failed = [visit for visit in visits if visit.status == 500]
    wait_for(lambda: _lost(server) == len(visits) + len(failed), "count of every error and transaction")
    assert _health(server)["status"] == "degraded"


def test_what_finds_the_queue_full_is_counted_and_told(server: Server, receiver: Receiver) -> None:
    receiver.delay_s = None

    _visit(server, count=110)

    # Of the transactions the queue holds a hundred, and the first one is on its way; of equal errors ten leave at once.
    assert _lost(server) == 110 - 101
    assert _health(server)["monitoring"]["lost"]["events_held_back"] == 22 - 10
    assert _health(server)["status"] == "degraded"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_server_ends_in_good_time_and_without_a_word_when_the_receiver_is_in_trouble(
    server: Server, receiver: Receiver, trouble: str
) -> None:
    TROUBLES[trouble](receiver)
    _visit(server, count=5)

    started = time.perf_counter()
    code = server.stop()

    assert code == 0
    assert time.perf_counter() - started < 8
    assert {line["logger"].split(".")[0] for line in server.lines} <= {
        "gunicorn",
        "crm_monitoring",
        "demo_project",
        "django",
    }
