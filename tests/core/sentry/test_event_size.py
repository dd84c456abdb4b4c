"""An event of any content fits what a server takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_monitoring import capture_exception, capture_message, get_logger
from crm_monitoring.sentry import event_size
from crm_monitoring.sentry.event_size import MAX_EVENT_BYTES, fitted
from crm_monitoring.sentry.transport import MemoryTransport

LONG = "x" * 2_000_000


def size(event: dict[str, Any]) -> int:
    return len(orjson.dumps(event))


def test_an_event_that_fits_stays_as_it_is() -> None:
    event = {"event_id": "a", "extra": {"rows": list(range(1000))}}

    assert fitted(event) is event
    assert event == {"event_id": "a", "extra": {"rows": list(range(1000))}}


@pytest.mark.parametrize(
    ("event", "place", "mark"),
    [
        ({"extra": {"rows": [{"id": 1, "name": "n" * 90}] * 20_000}}, "extra.rows", "[19980 items cut]"),
        ({"extra": {"text": LONG}}, "extra.text", "[1998000 characters cut]"),
        ({"extra": {str(number): "x" * 90 for number in range(20_000)}}, "extra", "[19980 items cut]"),
        ({"request": {"data": {"file": LONG}}}, "request.data.file", "[1998000 characters cut]"),
        ({"contexts": {"log": {"rows": [["a", LONG]]}}}, "contexts.log.rows.0.1", "[1998000 characters cut]"),
        ({"breadcrumbs": {"values": [{"message": "x" * 900}] * 2_000}}, "breadcrumbs.values", "[1980 items cut]"),
        ({"logentry": {"message": LONG}}, "logentry.message", "[1998000 characters cut]"),
    ],
)
def test_the_fattest_part_is_cut_and_what_is_gone_is_told(event: dict[str, Any], place: str, mark: str) -> None:
    left = fitted({"event_id": "a", **event})

    assert size(left) <= MAX_EVENT_BYTES
    assert left["contexts"]["cut"] == {place: mark}


def test_many_fat_parts_are_cut_one_after_the_other() -> None:
    left = fitted({"extra": {f"part{number}": "x" * 100_000 for number in range(19)}})

    assert size(left) <= MAX_EVENT_BYTES
    assert len(left["extra"]) == 19
    assert 1 < len(left["contexts"]["cut"]) < 19


def test_a_list_says_where_its_items_are_gone_but_not_among_breadcrumbs() -> None:
    left = fitted({"extra": {"rows": ["x" * 900] * 2_000}, "breadcrumbs": {"values": [{"message": "x" * 900}] * 2_000}})

    assert left["extra"]["rows"][10] == "[1980 items cut]"
    assert left["breadcrumbs"]["values"] == [{"message": "x" * 900}] * 20


def test_what_cannot_be_cut_any_more_leaves_the_event_without_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_size, "MAX_EVENT_BYTES", 100)

    left = fitted({"event_id": "a", "level": "error", "extra": {"n": 10**150, "text": "x" * 90}})

    assert left == {"event_id": "a", "level": "error", "logentry": {"message": "[event larger than 1 MB]"}}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=20)
    | st.integers(1, 40_000).map("y".__mul__),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=5), inner, max_size=40),
    max_leaves=60,
)


parts = st.sampled_from(("extra", "contexts", "request", "breadcrumbs", "tags"))


@settings(max_examples=30)
@given(st.dictionaries(parts, st.dictionaries(st.text(max_size=5), plain, max_size=40)))
def test_whatever_it_holds_it_fits(event: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_size, "MAX_EVENT_BYTES", 20_000)

        left = fitted({"event_id": "a", **event})

    # The context that tells of the cuts comes on top.
    assert size({name: part for name, part in left.items() if name != "contexts"}) <= 20_000


@pytest.mark.parametrize("way", ["line", "extra", "message"])
def test_no_report_is_larger_than_a_server_takes(sentry: MemoryTransport, way: str) -> None:
    rows = [{"id": number, "name": "n" * 50} for number in range(20_000)]

    match way:
        case "line":
            get_logger("shop").error("import_failed", rows=rows)
        case "extra":
            capture_exception(ValueError("no"), extra={f"row{number}": "n" * 5_000 for number in range(1_000)})
        case _:
            capture_message("n" * 3_000_000)

    (event,) = sentry.events
    assert size(event) <= MAX_EVENT_BYTES + 1_000
