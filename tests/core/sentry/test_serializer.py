"""What JSON knows goes past the SDK's serializer, and arrives as it would have by way of it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sentry_sdk
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk.serializer import serialize
from sentry_sdk.utils import AnnotatedValue

from crm_monitoring import capture_message
from crm_monitoring.sentry.tuning.serializer import PlainEvent
from tests.conftest import MemoryTransport

# Longer texts and integers past 64 bits are told apart below.
atoms = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
trees = st.recursive(atoms, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
parts = st.lists(trees) | st.dictionaries(st.text(), trees)


class Unknown:
    def __repr__(self) -> str:
        return "<something else>"


def plain(**parts: Any) -> PlainEvent:
    """The event as the serializer gets it."""
    return PlainEvent(copy.deepcopy(parts))


@pytest.mark.slow
@given(parts)
def test_the_serializer_makes_the_same_of_a_plain_event(part: Any) -> None:
    assert serialize(plain(contexts=part)) == serialize({"contexts": part})


@pytest.mark.slow
@given(parts)
def test_the_serializer_makes_the_same_of_a_plain_part_beside_one_that_is_not(part: Any) -> None:
    parts = {"contexts": part, "tags": {"price": Decimal("1.5")}}

    assert serialize(plain(**parts)) == serialize(parts)


def test_an_event_is_copied_and_stays_as_it_is() -> None:
    event = plain(contexts={"order": {"id": 1}})

    serialize(event)["contexts"]["order"].clear()

    assert event == {"contexts": {"order": {"id": 1}}}


@pytest.mark.parametrize("beside", [None, Decimal("1.5")])
def test_what_is_plain_is_not_walked(beside: Any) -> None:
    rows = list(range(12))

    assert serialize(plain(extra={"rows": rows}, tags={"price": beside}))["extra"]["rows"] == rows


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_number_that_json_lacks_is_none(number: float) -> None:
    assert serialize(plain(contexts={"ratio": number}))["contexts"] == {"ratio": None}


def test_a_moment_is_plain() -> None:
    moment = datetime(2026, 11, 23, 10, 30, 45, 123456, tzinfo=UTC)

    assert serialize(plain(spans=[{"timestamp": moment}])) == serialize({"spans": [{"timestamp": moment}]})


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        Decimal("1.5"),
        2**64,
        {1: "a key that is no text"},
        mark_safe("a kind of text"),
        AnnotatedValue("", {"len": 5}),
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_does_not_know_is_left_to_the_serializer(value: Any) -> None:
    known = {"contexts": {"order": {"value": value}}, "tags": {"tenant": "acme"}}

    assert serialize(plain(**known)) == serialize(known)


def test_what_is_too_long_is_left_to_the_serializer_to_trim() -> None:
    event = serialize(plain(extra={"rows": list(range(50_000))}))

    assert event["extra"]["rows"] == list(range(10))
    assert event["_meta"]["extra"]["rows"][""] == {"len": 50_000}


def test_a_project_may_say_how_long_texts_are(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "max_value_length": 50})

    capture_message("now", extra={"text": "word " * 20, "rows": list(range(12))})

    extra = transport.events[0]["extra"]
    assert len(extra["text"]) == 50
    assert extra["rows"] == list(range(10))


def test_what_is_never_trimmed_may_be_long() -> None:
    spans = [{"op": "db", "description": f"SELECT {number}"} for number in range(10_000)]

    assert serialize(plain(spans=spans)) == serialize({"spans": spans})


def test_short_rows_are_not_trimmed(sentry: MemoryTransport) -> None:
    capture_message("now", extra={"rows": list(range(12))})

    assert sentry.events[0]["extra"]["rows"] == list(range(12))


def test_secrets_are_searched_for_all_the_same(sentry: MemoryTransport) -> None:
    sentry_sdk.get_isolation_scope().set_context("order", {"password": "hunter2", "items": [{"token": "abc"}]})

    capture_message("now")

    assert sentry.events[0]["contexts"]["order"] == {"password": "[Filtered]", "items": [{"token": "[Filtered]"}]}


def test_how_many_spans_the_project_has_dropped_is_counted(
    monitoring: Any, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop_spans(event: Any, hint: Any) -> Any:
        return {**event, "spans": event["spans"][:1]}

    lost: list[Any] = []
    monkeypatch.setattr(transport, "record_lost_event", lambda *about, **more: lost.append((about, more)))
    options = {"transport": transport, "before_send_transaction": drop_spans}
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS=options)

    with sentry_sdk.start_transaction(name="import") as transaction:
        for _ in range(3):
            transaction.start_child(op="step").finish()

    assert len(transport.transactions[0]["spans"]) == 1
    assert lost == [((), {"reason": "before_send", "data_category": "span", "quantity": 2})]
