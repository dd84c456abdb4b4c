"""The list of counters, and what derives from it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from crm_monitoring.dashboard.metrics import sums
from crm_monitoring.dashboard.metrics.counters import FORMAT, NAMES, Counters
from crm_monitoring.dashboard.metrics.sketch import Sketch, UnknownFormat
from crm_monitoring.dashboard.metrics.sums import Key, Names, Totals

SINCE = {counter.name: counter.metadata["since"] for counter in fields(Counters) if counter.metadata}


def full() -> Counters:
    """Every counter, each with a value of its own."""
    counters = Counters(**{name: number for number, name in enumerate(NAMES, 1)})
    counters.sketch.add(10.0)
    return counters


def test_every_counter_but_the_greatest_is_added_up() -> None:
    counters = full()

    counters.add(full())

    expected = {name: number if name == "slowest_ms" else 2 * number for number, name in enumerate(NAMES, 1)}
    assert {name: getattr(counters, name) for name in NAMES} == expected
    assert counters.sketch.count == 2


def test_what_is_stored_comes_back() -> None:
    names = Names({Key("request", "GET a/"): full(), Key("error", "abc", "1.4"): full(), Key("loss", "inbox"): full()})

    back = Names.from_bytes(names.to_bytes())

    assert back == names
    assert Totals.from_bytes(names.totals().to_bytes()) == names.totals()
    assert (back.totals().errors, back.totals().losses) == ({"1.4": 1}, {"inbox": 1})


def test_a_counter_that_is_new_is_last_in_the_list_and_has_the_newest_format() -> None:
    assert list(SINCE.values()) == sorted(SINCE.values())
    assert max(SINCE.values()) == FORMAT


def test_what_a_version_before_has_stored_lacks_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counters, "numbers", lambda counters: [counters.count, counters.redirected])
    old = Names({Key("request", "GET a/"): full()})
    stored = old.to_bytes(), old.totals().to_bytes()

    (counters,) = Names.sum([stored[0], stored[0]]).values()

    assert (counters.count, counters.redirected, counters.rejected, counters.slowest_ms) == (2, 4, 0, 0.0)
    assert Totals.from_bytes(stored[1]).requests.count == 1


@pytest.mark.parametrize("stored", [Names, Totals, Sketch])
def test_what_a_newer_version_has_stored_is_never_misread(stored: Any) -> None:
    with pytest.raises(UnknownFormat):
        stored.from_bytes(bytes([FORMAT + 1]) + b"whatever there is")


def test_nothing_is_no_format() -> None:
    with pytest.raises(UnknownFormat):
        Names.from_bytes(b"")


def test_releases_are_kept_apart_for_errors_and_added_up_by_name() -> None:
    names = Names({Key("error", "abc", "1"): Counters(count=1), Key("error", "abc", "2"): Counters(count=2)})

    assert {name: counted.count for name, counted in names.by_name(sums.ERROR).items()} == {"abc": 3}
