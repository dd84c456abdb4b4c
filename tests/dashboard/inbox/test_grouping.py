"""Which events are of one kind, and how the kind is called."""

from __future__ import annotations

from typing import Any

import pytest

from crm_monitoring.dashboard.inbox.grouping import LOGGER_LENGTH, TITLE_LENGTH, group_of, one_line


def frame(module: str, function: str, *, in_app: bool = True, **more: Any) -> dict[str, Any]:
    return {"module": module, "function": function, "in_app": in_app, **more}


def failure(*frames: dict[str, Any], kind: str = "ValueError", value: str = "boom", **more: Any) -> dict[str, Any]:
    """An event of one exception; its outermost frame comes first, as Sentry has it."""
    return {"exception": {"values": [{"type": kind, "value": value, "stacktrace": {"frames": list(frames)}}]}, **more}


def fingerprint(event: dict[str, Any]) -> str:
    return group_of(event).fingerprint


CREATE = frame("organisations.views", "create", lineno=7)
SAVE = frame("django.db.models", "save", in_app=False)


# -- exceptions -----------------------------------------------------------------------------------------------------------


def test_one_type_in_one_place_is_one_issue_whatever_its_value_and_line() -> None:
    moved = frame("organisations.views", "create", lineno=99)

    assert fingerprint(failure(CREATE, value="no 7")) == fingerprint(failure(moved, value="no 8"))


def test_the_place_is_the_innermost_frame_of_the_projects_own_code() -> None:
    outer = frame("organisations.middleware", "__call__")

    group = group_of(failure(outer, CREATE, SAVE))

    assert group.place == "organisations.views in create"
    assert group.fingerprint == fingerprint(failure(CREATE))


@pytest.mark.parametrize(
    "other",
    [
        failure(CREATE, kind="KeyError"),
        failure(frame("organisations.views", "delete")),
        failure(frame("people.views", "create")),
    ],
)
def test_another_type_or_place_is_another_issue(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint(failure(CREATE))


def test_without_a_frame_of_the_projects_own_the_innermost_counts() -> None:
    assert group_of(failure(frame("django.core", "handle", in_app=False), SAVE)).place == "django.db.models in save"


def test_a_chain_is_known_by_its_outermost_exception() -> None:
    inner, outer = failure(SAVE, kind="KeyError"), failure(CREATE)
    chain = {"exception": {"values": inner["exception"]["values"] + outer["exception"]["values"]}}

    assert group_of(chain) == group_of(outer)


def test_an_exception_without_a_stack_is_known_by_its_type_and_what_is_constant_of_its_value() -> None:
    assert fingerprint(failure(value="row 7 of 'a.csv'")) == fingerprint(failure(value="row 8 of 'b.csv'"))
    assert fingerprint(failure(value="row 7")) != fingerprint(failure(value="column 7"))


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (failure(CREATE), "ValueError: boom"),
        (failure(CREATE, value=""), "ValueError"),
        (failure(CREATE, kind=""), "Exception: boom"),
        (failure(CREATE, value="two\n  lines"), "ValueError: two lines"),
    ],
)
def test_an_exception_is_called_by_its_type_and_value(event: dict[str, Any], title: str) -> None:
    assert group_of(event).title == title


@pytest.mark.parametrize(
    ("known", "place"),
    [
        ({"filename": "organisations/list.html"}, "organisations/list.html"),
        ({"function": "create"}, "create"),
        ({"module": "a", "filename": "a.py", "function": "f"}, "a in f"),
    ],
)
def test_a_place_is_told_as_far_as_it_is_known(known: dict[str, str], place: str) -> None:
    assert group_of(failure({"in_app": True, **known})).place == place


# -- messages -------------------------------------------------------------------------------------------------------------


def line(message: str, logger: str = "organisations", **more: Any) -> dict[str, Any]:
    return {"logentry": {"message": message}, "logger": logger, "level": "error", **more}


def test_a_line_is_known_by_its_logger_and_event_name() -> None:
    assert fingerprint(line("import_failed")) == fingerprint(line("import_failed"))
    assert fingerprint(line("import_failed")) != fingerprint(line("import_failed", logger="people"))
    assert fingerprint(line("import_failed")) != fingerprint(line("export_failed"))


def test_a_message_is_called_by_its_text_and_has_no_place() -> None:
    event = {"logentry": {"message": "Row %s", "formatted": "Row 7"}, "level": "warning", "logger": "a"}

    group = group_of(event)

    assert (group.title, group.place, group.logger, group.level) == ("Row 7", "", "a", "warning")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order 17 failed", "Order 4,018.50 failed"),
        ("At 10:15:01", "At 23:59:59"),
        (
            "Import 3f2504e0-4f89-11d3-9a0c-0305e82c3301 failed",
            "Import 9C858901-8A57-4791-81FE-4C455B099BC9 failed",
        ),
        ("Object at 0x7f15f3534b80", "Object at 0x7F1405a3"),
        ("Commit 93c3285aa moved", "Commit 6337d34bbb moved"),
        ("No category 'blue'", "No category 'red and green'"),
        ('No category "blue"', 'No category "7"'),
        ("Can't read `a`", "Can't read `b`"),
    ],
)
def test_numbers_ids_and_quoted_values_make_no_other_issue(one: str, other: str) -> None:
    assert fingerprint({"message": one}) == fingerprint({"message": other})


@pytest.mark.parametrize(("one", "other"), [("decade", "facade"), ("don't stop", "don't go"), ("", "empty")])
def test_words_make_another_issue(one: str, other: str) -> None:
    assert fingerprint({"message": one}) != fingerprint({"message": other})


def test_an_empty_message_has_a_title() -> None:
    assert group_of({}).title == "(no message)"


# -- fingerprints of one's own --------------------------------------------------------------------------------------------


def test_an_explicit_fingerprint_counts_first() -> None:
    one, other = failure(CREATE, fingerprint=["payment", 7]), line("x", fingerprint=["payment", "7"])

    assert fingerprint(one) == fingerprint(other) != fingerprint(failure(CREATE, fingerprint=["payment", "8"]))


@pytest.mark.parametrize("default", ["{{ default }}", "{{default}}", " {{ default }} "])
def test_default_in_a_fingerprint_stands_for_what_counts_without_one(default: str) -> None:
    alone, refined = failure(CREATE, fingerprint=[default]), failure(CREATE, fingerprint=[default, "tenant 7"])

    assert fingerprint(alone) == fingerprint(failure(CREATE))
    assert fingerprint(refined) != fingerprint(alone)
    assert fingerprint(refined) != fingerprint(failure(SAVE, fingerprint=[default, "tenant 7"]))


@pytest.mark.parametrize("empty", [[], None, "not a list"])
def test_an_empty_fingerprint_is_none(empty: Any) -> None:
    assert fingerprint(failure(CREATE, fingerprint=empty)) == fingerprint(failure(CREATE))


# -- whatever an event holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {"exception": None, "logentry": None},
        {"exception": {"values": []}},
        {"exception": {"values": [None]}},
        {"exception": {"values": [{"type": ["x"], "value": {"a": 1}, "stacktrace": {"frames": [None, 7]}}]}},
        {"exception": [], "logentry": 7, "message": 7, "logger": 7, "level": [], "fingerprint": [None, [1]]},
    ],
)
def test_any_event_has_a_group(event: dict[str, Any]) -> None:
    group = group_of(event)

    assert len(group.fingerprint) == 64
    assert group.title
    assert group.level == "error"


def test_texts_are_cut_to_what_their_columns_take() -> None:
    long = "x" * 10_000

    group = group_of(failure(frame(long, long), value=long, logger=long))

    assert (len(group.title), len(group.place), len(group.logger)) == (TITLE_LENGTH, TITLE_LENGTH, LOGGER_LENGTH)
    assert group.title.endswith("…")


def test_what_a_database_refuses_is_replaced() -> None:
    assert one_line("a\0b\n\tc \ud800", 20) == "a\ufffdb c \\ud800"
    assert one_line(None, 20) == ""
