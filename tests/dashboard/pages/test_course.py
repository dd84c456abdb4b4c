"""Where a request spent its time: nested, folded, and with its gaps named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_monitoring.dashboard.presentation.course import (
    MAX_ROWS,
    OWN_CODE,
    Course,
    Piece,
    course_of,
    pieces_of_spans,
    pieces_of_steps,
)


def db(at_ms: float, duration_ms: float, text: str = "SELECT 1") -> Piece:
    return Piece(at_ms, duration_ms, "db", text)


def shown(course: Course) -> list[tuple[str, int, int, float]]:
    return [(row.text or row.kind, row.depth, row.count, round(row.duration_ms, 3)) for row in course.rows]


def test_what_lies_between_is_the_projects_own_code() -> None:
    course = course_of([db(10, 20), db(340, 20, "SELECT 2")], 400)

    assert shown(course) == [
        ("own", 0, 1, 10),
        ("SELECT 1", 0, 1, 20),
        ("own", 0, 1, 310),
        ("SELECT 2", 0, 1, 20),
        ("own", 0, 1, 40),
    ]
    assert course.sums == [(OWN_CODE, 360), ("db", 40)]


def test_short_gaps_are_no_rows_of_their_own() -> None:
    assert shown(course_of([db(1, 98)], 100)) == [("SELECT 1", 0, 1, 98)]


def test_a_piece_within_another_is_part_of_it() -> None:
    course = course_of([db(20, 30), Piece(10, 80, "function", "pay")], 100)

    assert shown(course)[1:3] == [("pay", 0, 1, 80), ("own", 1, 1, 10)]
    assert [(row.text, row.self_ms) for row in course.rows if row.text == "pay"] == [("pay", 50)]
    assert course.sums == [(OWN_CODE, 70), ("db", 30)]


def test_equal_ones_in_a_row_are_folded_with_their_count() -> None:
    course = course_of([*(db(number * 2, 2) for number in range(200)), db(400, 3, "UPDATE")], 403)

    assert shown(course) == [("SELECT 1", 0, 200, 400), ("UPDATE", 0, 1, 3)]
    assert (course.rows[0].x, course.rows[0].width) == ("0.000%", "99.256%")


def test_others_between_them_are_not_folded_away() -> None:
    course = course_of([db(0, 1), db(1, 1, "B"), db(2, 1)], 3)

    assert [row[0] for row in shown(course)] == ["SELECT 1", "B", "SELECT 1"]


def test_what_overlaps_counts_once() -> None:
    assert course_of([db(0, 60), db(40, 60)], 100).sums[0][0] == "db"
    assert sum(ms for _, ms in course_of([db(0, 60, "A"), db(40, 60, "B")], 100).sums) == 120


def test_too_many_rows_are_left_out_and_counted() -> None:
    course = course_of([db(number, 1, f"SELECT {number}") for number in range(MAX_ROWS + 7)], MAX_ROWS + 7)

    assert (len(course.rows), course.left_out) == (MAX_ROWS, 7)


def test_a_bar_is_wide_enough_to_be_seen_and_stays_within() -> None:
    (gap, row) = course_of([db(1000, 0)], 1000).rows

    assert gap.kind == OWN_CODE
    assert (row.x, row.width) == ("99.600%", "0.400%")


def test_what_took_no_time_has_a_course_too() -> None:
    assert course_of([], 0) == Course([], 0, [])
    assert [row.width for row in course_of([db(0, 0)], 0).rows] == ["100.000%"]


def test_spans_and_steps_are_pieces() -> None:
    body: dict[str, Any] = {
        "start_timestamp": "2026-11-26T10:00:00Z",
        "spans": [
            {
                "op": "db",
                "description": "SELECT 1",
                "start_timestamp": "2026-11-26T10:00:00.010Z",
                "timestamp": "2026-11-26T10:00:00.030Z",
            },
            {"op": "db"},
        ],
    }
    steps = [{"at_ms": 10.0, "duration_ms": 20, "operation": "db", "text": "SELECT 1"}, None, {"at_ms": "x"}]

    assert [tuple(piece) for piece in pieces_of_spans(body)] == [(10.0, 20.0, "db", "SELECT 1")]
    assert [tuple(piece) for piece in pieces_of_steps(steps)] == [(10.0, 20.0, "db", "SELECT 1"), (0.0, 0.0, "", "")]


@pytest.mark.slow
@given(
    st.lists(
        st.builds(Piece, st.floats(-10, 200), st.floats(-10, 200), st.sampled_from(["db", "function"]), st.text())
    ),
    st.floats(0, 100),
)
def test_whatever_comes_stays_within_the_whole(pieces: list[Piece], whole_ms: float) -> None:
    course = course_of(pieces, whole_ms)

    for row in course.rows:
        assert 0 <= row.at_ms <= whole_ms and row.self_ms <= row.duration_ms + 1e-6
        assert 0 <= float(row.x[:-1]) <= 100
