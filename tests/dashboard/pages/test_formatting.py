"""Figures as people read them."""

from __future__ import annotations

import pytest
from django.utils import translation

from crm_monitoring.dashboard.pages.formatting import Delta, change, count, milliseconds, percent, score
from crm_monitoring.dashboard.store.figures import Change


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.0, "0 ms"),
        (0.04, "0.0 ms"),
        (3.44, "3.4 ms"),
        (9.96, "10 ms"),
        (150.4, "150 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (1_234.0, "1.2 s"),
        (1_234_567.0, "1,234.6 s"),
        (None, "–"),
    ],
)
def test_durations_are_milliseconds_up_to_a_second(ms: float | None, text: str) -> None:
    assert milliseconds(ms) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (0.000_01, "<0.1%"),
        (0.000_6, "0.1%"),
        (0.012_34, "1.2%"),
        (0.999_9, "100%"),
        (1.0, "100%"),
        (None, "–"),
    ],
)
def test_shares_are_percent_and_a_little_is_not_nothing(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_counts_have_their_thousands_apart() -> None:
    assert (count(0), count(1_234), count(None)) == ("0", "1,234", "–")


def test_an_apdex_has_two_decimals() -> None:
    assert (score(0.944), score(1.0), score(None)) == ("0.94", "1.00", "–")


@pytest.mark.parametrize(
    ("figure", "delta"),
    [
        (Change(3, 2), Delta("+50%", "up")),
        (Change(1, 3), Delta("−67%", "down")),
        (Change(40, 1), Delta("+3,900%", "up")),
        (Change(0, 4), Delta("−100%", "down")),
        (Change(3, 0), Delta("from 0", "up")),
        (Change(2, 2), Delta("no change", "same")),
        (Change(0, 0), Delta("no change", "same")),
        (Change(1_001, 1_000), Delta("no change", "same")),
        (Change(3, None), Delta("", "")),
        (Change(None, 3), Delta("", "")),
    ],
)
def test_changes_are_percent_of_what_was_before(figure: Change, delta: Delta) -> None:
    assert change(figure) == delta


def test_numbers_are_written_as_in_the_language() -> None:
    with translation.override("fr"):
        assert milliseconds(1_234.0) == "1,2\xa0s"
        assert count(1_234) == "1\xa0234"
        assert score(0.944) == "0,94"
