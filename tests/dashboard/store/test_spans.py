"""The widest slots that make up a stretch of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring.dashboard.store.spans import LADDER, Slots, Span, cover, floor_to

DAY = 86_400


def test_widest_slots_cover_a_stretch_of_time() -> None:
    span = Span(DAY - 8_160, 3 * DAY + 9_000)

    assert cover(span) == [
        Slots(60, Span(DAY - 8_160, DAY - 8_100)),
        Slots(900, Span(DAY - 8_100, DAY - 7_200)),
        Slots(7_200, Span(DAY - 7_200, DAY)),
        Slots(86_400, Span(DAY, 3 * DAY)),
        Slots(7_200, Span(3 * DAY, 3 * DAY + 7_200)),
        Slots(900, Span(3 * DAY + 7_200, 3 * DAY + 9_000)),
    ]


def test_a_slot_is_not_taken_while_what_is_in_it_is_not_in_it() -> None:
    unsettled = [(60, 2 * DAY + 900)]

    assert cover(Span(DAY, 4 * DAY), unsettled) == [
        Slots(86_400, Span(DAY, 2 * DAY)),
        Slots(900, Span(2 * DAY, 2 * DAY + 900)),
        Slots(60, Span(2 * DAY + 900, 2 * DAY + 1_800)),
        Slots(900, Span(2 * DAY + 1_800, 2 * DAY + 7_200)),
        Slots(7_200, Span(2 * DAY + 7_200, 3 * DAY)),
        Slots(86_400, Span(3 * DAY, 4 * DAY)),
    ]


MINUTES = st.integers(0, 5_000)


@given(MINUTES, MINUTES, st.lists(st.tuples(st.sampled_from(LADDER[:-1]), MINUTES), max_size=5))
def test_there_is_no_gap_and_no_overlap(start: int, length: int, marks: list[tuple[int, int]]) -> None:
    span = Span(start * 60, (start + length) * 60)
    unsettled = [(width, floor_to(minute * 60, width)) for width, minute in marks]

    slots = cover(span, unsettled)

    ends = [span.start, *(slot.span.end for slot in slots)]
    assert [slot.span.start for slot in slots] == ends[:-1]
    assert ends[-1] == span.end
    for slot in slots:
        held = [start for width, start in unsettled if width < slot.seconds]
        assert not [at for at in held if slot.span.start <= at < slot.span.end]


def test_no_slots_cover_nothing() -> None:
    assert cover(Span(900, 900)) == []
