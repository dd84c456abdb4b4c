"""What people type to find something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring.dashboard.store.terms import MOST_TERMS, Filter, Terms, parse, seconds_of


@pytest.mark.parametrize(
    ("typed", "words", "filters"),
    [
        ("", (), ()),
        ("   ", (), ()),
        ("save fails", ("save", "fails"), ()),
        ('"save fails" now', ("save fails", "now"), ()),
        ("is:open level:error", (), (Filter("is", "open"), Filter("level", "error"))),
        ('-endpoint:"GET x/{pk}/" a', ("a",), (Filter("endpoint", "GET x/{pk}/", True),)),
        ("tenant:north tenant:north", (), (Filter("tenant", "north"),)),
        ("http://x/y", (), (Filter("http", "//x/y"),)),
        ("key: value", ("key:", "value"), ()),
        (":x - -x", (":x", "-", "-x"), ()),
        ('is:"', ("is:",), ()),
        ("#41", ("#41",), ()),
        ("ValueError: order 6", ("ValueError:", "order", "6"), ()),
        ("a\0b", ("a", "b"), ()),
    ],
)
def test_words_and_filters_are_told_apart(typed: str, words: tuple[str, ...], filters: tuple[Filter, ...]) -> None:
    assert parse(typed) == Terms(words, filters)


@pytest.mark.slow
@given(st.text(alphabet=st.sampled_from("ab:-\"' #é/\n.{}1")) | st.text())
def test_whatever_is_typed_is_read_and_written_again(typed: str) -> None:
    terms = parse(typed)

    assert parse(str(terms)) == terms


def test_it_is_bounded() -> None:
    assert len(parse(" ".join(f"w{number}" for number in range(100))).words) == MOST_TERMS
    assert parse("x" * 10_000).words == ("x" * 500,)


def test_a_term_can_be_taken_away() -> None:
    terms = parse("save is:open -level:error")

    assert str(terms.without("save")) == "is:open -level:error"
    assert str(terms.without(Filter("is", "open"))) == "save -level:error"


@pytest.mark.parametrize(("typed", "word"), [("41", "41"), ("a b", ""), ("a is:open", ""), ("", "")])
def test_one_word_alone_may_be_an_id(typed: str, word: str) -> None:
    assert parse(typed).only_word == word


@pytest.mark.parametrize(
    ("given", "seconds"), [("15m", 900), ("1h", 3600), ("7d", 604_800), ("h", None), ("99999d", None)]
)
def test_a_stretch_of_time_is_minutes_hours_or_days(given: str, seconds: int | None) -> None:
    assert seconds_of(given) == seconds
