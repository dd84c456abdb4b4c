"""How envelopes leave: errors first, each loss counted, what a server asks for done."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope, Item, PayloadRef

from crm_monitoring import capture_message, check_monitoring_health, faults
from crm_monitoring.sentry import (
    counts_deliveries,
    destination,
    flush,
    get_traces_sample_rate,
    init_sentry,
    status,
    transport,
)
from crm_monitoring.sentry.transport import (
    LocalTransport,
    OrderedTransport,
    has_receivers,
    register_receiver,
    unregister_receiver,
)
from crm_monitoring.testing import capture_monitoring
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.e2e.receiver import Receiver
from tests.e2e.waiting import wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def sender(monitoring: Any, receiver: Receiver) -> Iterator[OrderedTransport]:
    monitoring(SENTRY_DSN=receiver.dsn, TRACES_SAMPLE_RATE=1.0, EVENTS_BURST=1000, EVENTS_OVERALL_PER_MINUTE=1000)
    found = sentry_sdk.get_client().transport
    assert isinstance(found, OrderedTransport)
    transport.lose_waiting()
    faults.reset()
    yield found
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What is queued may not fail in the next test.
    receiver.stop()
    found.flush(5)


def _trace(count: int) -> None:
    for number in range(count):
        with sentry_sdk.start_transaction(name=f"task {number}", op="task"):
            pass


def test_errors_do_not_wait_behind_a_thousand_transactions(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.delay_s = None
    _trace(1)
    wait_for(lambda: receiver.asked, "delivery")
    receiver.delay_s = 0.0
    _trace(999)

    for number in range(10):
        capture_message(f"error {number}")

    assert len(receiver.wait_for("event", 10)) == 10
    assert receiver.payloads("transaction") == []
    lost = faults.losses()
    # The queue holds a hundred, and one is on its way.
    assert lost["sentry_transaction_queue_overflow"] == 1000 - 101
    assert lost["sentry_span_queue_overflow"] == lost["sentry_transaction_queue_overflow"]
    assert "sentry_error_queue_overflow" not in lost


def test_what_waits_when_the_process_ends_is_lost_and_counted(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.delay_s = None
    _trace(5)
    capture_message("x")

    sender.flush(0.2)
    transport.lose_waiting()

    assert faults.losses() == {"sentry_error_shutdown": 1, "sentry_transaction_shutdown": 5}


def test_what_was_sent_is_not_lost(sender: OrderedTransport, receiver: Receiver) -> None:
    _trace(3)
    capture_message("x")

    sentry_sdk.flush(5)
    transport.lose_waiting()

    assert len(receiver.payloads("transaction")) == 3
    assert faults.losses() == {}


@pytest.mark.parametrize("trouble", ["down", "500", "429"])
def test_what_a_server_does_not_take_is_lost_once(sender: OrderedTransport, receiver: Receiver, trouble: str) -> None:
    if trouble == "down":
        receiver.stop()
    else:
        receiver.status = int(trouble)

    capture_message("x")
    sentry_sdk.flush(5)
    transport.lose_waiting()

    items = [kind for kind in faults.losses() if not kind.startswith("sentry_delivery_")]
    assert items == ([] if trouble == "429" else ["sentry_error_network_error"])


def test_flush_ends_in_time_for_both_queues_together(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.delay_s = None
    _trace(2)
    capture_message("x")
    clock = transport.monotonic

    before = clock()
    sender.flush(2)

    assert 1.9 < clock() - before < 4


@pytest.mark.parametrize(("delay_s", "is_all_sent"), [(0.0, True), (0.3, True), (None, False)])
def test_flush_tells_whether_everything_was_sent(
    sender: OrderedTransport, receiver: Receiver, delay_s: float | None, is_all_sent: bool
) -> None:
    receiver.delay_s = delay_s
    capture_message("x")
    _trace(1)

    assert flush(30 if is_all_sent else 0.2) is is_all_sent
    assert len(receiver.items) >= 2 * is_all_sent


@pytest.mark.parametrize("trouble", ["down", "500", "429"])
def test_what_a_server_does_not_take_waits_no_more(sender: OrderedTransport, receiver: Receiver, trouble: str) -> None:
    if trouble == "down":
        receiver.stop()
    else:
        receiver.status = int(trouble)
    capture_message("x")

    assert flush(30)


def test_a_server_that_asks_errors_to_wait_is_asked_no_more(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.status = 429
    capture_message("one")
    sentry_sdk.flush(5)
    asked, receiver.status = receiver.asked, 200

    capture_message("two")
    sentry_sdk.flush(5)

    assert receiver.asked == asked
    assert faults.losses()["sentry_error_ratelimit_backoff"] == 1
    assert not status().healthy


def test_transactions_learn_by_themselves_that_a_server_wants_them_to_wait(
    sender: OrderedTransport, receiver: Receiver
) -> None:
    receiver.status = 429
    _trace(1)
    sentry_sdk.flush(5)
    receiver.status = 200

    _trace(1)
    capture_message("errors go on")
    sentry_sdk.flush(5)

    assert receiver.payloads("transaction") == []
    assert [event["message"] for event in receiver.payloads("event")] == ["errors go on"]


def test_a_batch_counts_as_many_as_it_holds(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.stop()
    batch = Item(type="log", headers={"item_count": 7}, payload=PayloadRef(json={"items": []}))

    sender.capture_envelope(Envelope(items=[batch]))
    sentry_sdk.flush(5)

    assert faults.losses()["sentry_log_item_network_error"] == 7


@pytest.mark.parametrize("reason", ["before_send", "event_processor", "sample_rate"])
def test_what_was_not_meant_to_be_sent_is_not_lost(sender: OrderedTransport, reason: str) -> None:
    sender.record_lost_event(reason, data_category="error")

    assert faults.losses() == {}


def test_a_loss_is_counted_by_category_and_reason(sender: OrderedTransport) -> None:
    sender.record_lost_event("callback_error", data_category="span", quantity=3)

    assert faults.losses() == {"sentry_span_callback_error": 3}


def test_a_healthy_sender_knows_where_it_sends_to(sender: OrderedTransport, receiver: Receiver) -> None:
    assert status().healthy
    assert counts_deliveries()
    assert destination() == receiver.dsn.replace("public@", "")


def test_the_senders_have_the_name_by_which_their_lines_are_known(sender: OrderedTransport, receiver: Receiver) -> None:
    receiver.delay_s = None
    capture_message("x")

    wait_for(lambda: receiver.asked, "delivery")
    names = {thread.name for thread in threading.enumerate()}

    assert transport.SENDER_THREAD in names


def test_a_delivery_that_fails_writes_no_line(
    sender: OrderedTransport, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.stop()

    capture_message("x")
    sentry_sdk.flush(5)

    assert faults.losses()["sentry_delivery_network"] >= 1
    assert capsys.readouterr() == ("", "")


def test_the_projects_own_lines_of_urllib3_stay(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("urllib3.connectionpool").warning("retrying")

    assert '"retrying"' in capsys.readouterr().out


def test_the_sender_does_not_go_on_with_the_trace_of_a_request(sender: OrderedTransport, receiver: Receiver) -> None:
    with sentry_sdk.start_transaction(name="task", op="task"):
        capture_message("x")
        sentry_sdk.flush(5)

    (transaction,) = receiver.wait_for("transaction")
    assert transaction["spans"] == []


def test_a_killed_sender_sends_no_more(sender: OrderedTransport, receiver: Receiver) -> None:
    sender.kill()
    sentry_sdk.get_client().close(timeout=0)

    assert sentry_sdk.capture_message("x") is None


# -- who else gets the envelopes ------------------------------------------------------------------------------------------


@pytest.fixture
def received(monitoring: Any) -> Iterator[list[Envelope]]:
    """What a receiver gets, without a DSN unless the test sets one."""
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_RELEASE="1.0")
    envelopes: list[Envelope] = []
    register_receiver(envelopes.append)
    yield envelopes
    unregister_receiver(envelopes.append)


def kinds(envelopes: list[Envelope]) -> list[str | None]:
    return [item.type for envelope in envelopes for item in envelope.items]


def test_without_a_dsn_receivers_get_everything(received: list[Envelope], server: WSGIClient) -> None:
    server.get("/fails/")

    assert kinds(received) == ["event", "transaction"]
    assert received[0].items[0].get_event()["transaction"] == "GET fails/"  # type: ignore[index]


def test_without_a_dsn_nothing_is_sent_and_this_is_said(received: list[Envelope]) -> None:
    assert isinstance(sentry_sdk.get_client().transport, LocalTransport)
    assert not init_sentry()
    assert (status().enabled, status().local, status().dsn_configured, status().healthy) == (False, True, False, True)
    assert destination() is None
    assert check_monitoring_health()["sentry"]["enabled"] is False
    assert check_monitoring_health()["problems"] == []


def test_without_a_dsn_no_thread_is_started_to_send(received: list[Envelope], wsgi: WSGIClient) -> None:
    before = set(threading.enumerate())

    wsgi.get("/fails/")
    sentry_sdk.flush()

    # Those of other tests may have ended meanwhile, and the one that looks after what is held sends nothing.
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert started <= {"crm_monitoring-background"}


def test_without_a_dsn_no_session_is_counted(received: list[Envelope], server: WSGIClient) -> None:
    server.get("/ok/")
    sentry_sdk.get_client().close()

    assert kinds(received) == ["transaction"]


def test_receivers_get_what_leaves_without_its_secrets(received: list[Envelope]) -> None:
    capture_message("login with password=hunter2", extra={"token": "hunter2"})

    assert kinds(received) == ["event"]
    assert b"hunter2" not in received[0].serialize()


def test_sampling_is_the_same_as_with_a_dsn(received: list[Envelope], monitoring: Any, server: WSGIClient) -> None:
    monitoring(TRACES_SAMPLE_RATE_OVERRIDES={"GET ok/": 0.0}, TRACES_SAMPLE_RATE=1.0)

    server.get("/ok/")
    server.get("/quiet/")
    server.get("/fails/")

    assert kinds(received) == ["event", "transaction"]
    assert get_traces_sample_rate() == 1.0


def test_the_quota_holds_for_receivers_too(received: list[Envelope], monitoring: Any) -> None:
    monitoring(EVENTS_BURST=2)

    for _ in range(5):
        capture_message("flood")

    assert kinds(received) == ["event", "event"]
    assert faults.losses()["events_held_back"] == 3


def test_what_fails_on_its_way_to_receivers_is_lost_and_counted(received: list[Envelope], monitoring: Any) -> None:
    def before_send(event: Any, hint: Any) -> Any:
        raise ValueError("no")

    monitoring(SENTRY_OPTIONS={"before_send": before_send})
    faults.reraise = False

    capture_message("x")

    assert received == []
    assert faults.losses()["sentry_error_callback_error"] == 1


def test_a_lost_item_is_counted_by_its_category(received: list[Envelope]) -> None:
    batch = Item(type="log", headers={"item_count": 7}, payload=PayloadRef(json={"items": []}))

    sentry_sdk.get_client().transport.record_lost_event("queue_overflow", item=batch)  # type: ignore[union-attr]

    assert faults.losses()["sentry_log_item_queue_overflow"] == 7


def test_with_a_dsn_both_get_everything(
    received: list[Envelope], sender: OrderedTransport, receiver: Receiver, server: WSGIClient
) -> None:
    server.get("/fails/")

    (sent,) = receiver.wait_for("event")
    assert kinds(received) == ["event", "transaction"]
    assert received[0].headers["event_id"] == sent["event_id"]


def test_a_transport_of_the_project_gets_them_instead(
    received: list[Envelope], sentry: MemoryTransport, server: WSGIClient
) -> None:
    server.get("/fails/")

    assert len(sentry.events) == 1
    assert received == []
    assert (status().enabled, status().local) == (True, False)


def test_what_tests_capture_is_theirs_alone(received: list[Envelope], server: WSGIClient) -> None:
    with capture_monitoring() as captured:
        server.get("/fails/")

    assert len(captured.events) == 1
    assert received == []
    assert status().local


def test_a_receiver_that_raises_stops_nobody(received: list[Envelope], server: WSGIClient) -> None:
    def broken(envelope: Envelope) -> None:
        raise ValueError("no")

    faults.reraise = False
    register_receiver(broken)

    status_code = server.get("/ok/").status

    unregister_receiver(broken)
    assert (status_code, kinds(received)) == (200, ["transaction"])
    (sentence,) = faults.sentences()
    assert sentence.startswith("The receiver of envelopes tests.core.sentry.test_transport.")
    assert sentence.endswith(".broken failed 1 time, last with ValueError.")


def test_registering_starts_the_client_once(received: list[Envelope]) -> None:
    client = sentry_sdk.get_client()

    register_receiver(received.append)
    init_sentry()
    register_receiver(print)
    unregister_receiver(print)
    unregister_receiver(print)

    assert sentry_sdk.get_client() is client


def test_with_a_dsn_registering_leaves_the_client_alone(sender: OrderedTransport) -> None:
    client = sentry_sdk.get_client()

    register_receiver(print)
    unregister_receiver(print)

    assert sentry_sdk.get_client() is client


def test_when_the_last_receiver_has_gone_nothing_is_made(received: list[Envelope], server: WSGIClient) -> None:
    unregister_receiver(received.append)

    server.get("/fails/")

    assert (has_receivers(), status().local, sentry_sdk.get_client().transport) == (False, False, None)
    assert received == []
