"""What a page shows of an event, whatever the event holds."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_monitoring import capture_message, get_logger, set_user_context
from crm_monitoring.dashboard.inbox.untrusted import (
    MAX_ITEMS,
    Pair,
    indented,
    integer,
    moment,
    number,
    objects,
    pairs,
    pretty,
)
from crm_monitoring.dashboard.pages.waterfall import arrange
from crm_monitoring.dashboard.presentation import EventPage, SourceLine, place_of, present
from crm_monitoring.dashboard.texts import MAX_TEXT, string
from tests.clients import WSGIClient
from tests.conftest import MemoryTransport
from tests.dashboard.bodies import ODD, event, hostile

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def failing(wsgi: WSGIClient, sentry: MemoryTransport, settings: Any) -> Any:
    """Give the event that a request to a path of tests.urls makes."""
    settings.ROOT_URLCONF = "tests.urls"

    def request(path: str) -> EventPage:
        wsgi.get(path)
        (body,) = sentry.events
        return present(body)

    return request


def chain(page: EventPage) -> list[tuple[str, str, str]]:
    return [(part.type, part.link, part.parent) for part in page.exceptions]


# -- exceptions ------------------------------------------------------------------------------------------------------------


def test_the_exception_of_the_title_comes_first_then_what_led_to_it(failing: Any) -> None:
    page = failing("/failure/raised_from/")

    assert page.title == "Outer: outer"
    assert chain(page) == [("Outer", "", ""), ("ValueError", "earlier", "")]


def test_members_of_a_group_say_of_which(failing: Any) -> None:
    page = failing("/failure/grouped/")

    assert chain(page) == [
        ("ExceptionGroup", "", ""),
        ("ValueError", "member", "ExceptionGroup"),
        ("KeyError", "member", "ExceptionGroup"),
    ]


@pytest.mark.parametrize(
    ("source", "link"),
    [("__cause__", "cause"), ("__context__", "context"), ("exceptions[1]", "member"), (None, "earlier")],
)
def test_a_chain_tells_how_it_is_linked_where_the_event_says(source: str | None, link: str) -> None:
    first = {"type": "Inner", "mechanism": {"type": "chained", "source": source, "exception_id": 1, "parent_id": 0}}
    last = {"type": "Outer", "mechanism": {"type": "django", "exception_id": 0}}

    page = present({"exception": {"values": [first, last]}})

    assert chain(page) == [("Outer", "", ""), ("Inner", link, "Outer")]


def test_frames_are_innermost_first_and_those_of_libraries_folded(failing: Any) -> None:
    (exception,) = failing("/fails/").exceptions

    own, library = exception.stretches
    assert [frame.function for frame in own.frames] == ["fails"]
    assert (own.is_library, own.is_folded) == (False, False)
    assert (library.is_library, library.is_folded) == (True, True)


def test_frames_of_libraries_alone_are_not_folded() -> None:
    frames = [{"function": "a", "in_app": False}, {"function": "b", "in_app": False}]

    (exception,) = present({"exception": {"values": [{"stacktrace": {"frames": frames}}]}}).exceptions

    (stretch,) = exception.stretches
    assert [frame.function for frame in stretch.frames] == ["b", "a"]
    assert (stretch.is_library, stretch.is_folded) == (True, False)


def test_source_lines_have_their_numbers() -> None:
    frame = {"lineno": 10, "pre_context": ["a", "b"], "context_line": "c", "post_context": ["d"]}

    assert source_of(frame) == [
        SourceLine(8, "a", False),
        SourceLine(9, "b", False),
        SourceLine(10, "c", True),
        SourceLine(11, "d", False),
    ]
    assert source_of({**frame, "lineno": "?"})[2] == SourceLine(None, "c", True)
    assert source_of({"lineno": 10}) == []


def source_of(frame: dict[str, Any]) -> list[SourceLine]:
    (exception,) = present({"exception": [{"stacktrace": {"frames": [frame]}}]}).exceptions
    return list(exception.stretches[0].frames[0].source)


def test_variables_of_a_real_frame_are_shown(db: None, failing: Any) -> None:
    (exception,) = failing("/queries/3/?fail=1").exceptions

    frame = exception.stretches[0].frames[0]
    assert frame.filename == "tests/views.py"
    assert Pair("count", "3") in frame.variables


@pytest.mark.parametrize(("handled", "shown"), [(True, True), (False, False), (None, None), ("yes", None)])
def test_whether_an_exception_was_handled_is_told_where_it_is_known(handled: Any, shown: bool | None) -> None:
    page = present({"exception": {"values": [{"type": "E", "mechanism": {"type": "django", "handled": handled}}]}})

    assert (page.handled, page.mechanism) == (shown, "django")


def test_a_message_has_no_exception_but_may_have_a_stack() -> None:
    frames = {"frames": [{"function": "main"}]}

    page = present({"message": "done", "threads": {"values": [{"stacktrace": frames, "current": True}]}})

    assert (page.title, page.handled) == ("done", None)
    assert page.exceptions[0].stretches[0].frames[0].function == "main"


def test_of_several_threads_the_current_one_is_shown() -> None:
    threads = [{"stacktrace": {"frames": [{"function": name}]}, "current": name == "b"} for name in ("a", "b")]

    (part,) = present({"threads": {"values": threads}}).exceptions

    assert part.stretches[0].frames[0].function == "b"


def test_too_many_frames_lose_those_furthest_out() -> None:
    frames = [{"function": str(index)} for index in range(MAX_ITEMS + 7)]

    (exception,) = present({"exception": [{"stacktrace": {"frames": frames}}]}).exceptions

    assert exception.left_out == 7
    assert exception.stretches[0].frames[0].function == str(MAX_ITEMS + 6)


# -- the rest --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({"message": "text"}, "text"),
        ({"message": {"formatted": "text"}}, "text"),
        ({"logentry": {"message": "%s", "formatted": "filled in"}}, "filled in"),
        ({"logentry": {"message": "import_failed"}}, "import_failed"),
        ({"exception": {"type": "E", "value": "v"}, "message": "text"}, "E: v"),
        ({"exception": [{"type": "E"}]}, "E"),
        ({"exception": [{}], "message": "text"}, "text"),
        ({}, ""),
    ],
)
def test_an_event_is_titled_by_its_exception_or_its_message(body: dict[str, Any], title: str) -> None:
    assert present(body).title == title


def test_the_fields_of_the_reporting_lines_are_shown(failing: Any) -> None:
    page = failing("/failure/logged_and_raised/")

    assert page.fields == [Pair("events", '["fetch_failed"]'), Pair("page", "3")]
    assert "log" not in [section.name for section in page.contexts]


def test_breadcrumbs_are_newest_last_with_level_category_and_data(sentry: MemoryTransport) -> None:
    get_logger("shop").warning("stock_low", item=3)
    get_logger("shop").info("restocked")
    capture_message("now")

    first, second = present(sentry.events[0]).breadcrumbs
    assert (first.message, first.level, first.category, first.data) == (
        "stock_low",
        "warning",
        "shop",
        [Pair("item", "3")],
    )
    assert second.message == "restocked"
    assert second.moment is not None


def test_the_request_is_shown(failing: Any) -> None:
    request = failing("/fails/?page=2").request

    assert (request.method, request.url, request.query) == ("GET", "http://testserver/fails/", "page=2")
    assert Pair("SERVER_NAME", "testserver") in request.environ


@pytest.mark.parametrize(
    ("data", "shown"), [({"a": 1}, '{\n  "a": 1\n}'), ("raw <text>", "raw <text>"), (None, ""), ([], "[]")]
)
def test_the_body_of_a_request_is_shown_as_it_reads_best(data: Any, shown: str) -> None:
    request = present({"request": {"url": "x", "data": data}}).request

    assert request is not None
    assert request.body == shown


@pytest.mark.parametrize(
    ("query", "shown"), [("a=1&b=2", "a=1&b=2"), ({"a": "1"}, "a=1"), ([["a", "1"], ["b", 2]], "a=1&b=2"), (3, "")]
)
def test_a_query_may_come_in_any_form_that_sentry_knows(query: Any, shown: str) -> None:
    request = present({"request": {"query_string": query}}).request

    assert request is not None
    assert request.query == shown


def test_user_tags_contexts_and_extra_are_shown(sentry: MemoryTransport) -> None:
    set_user_context(7, plan="pro")
    capture_message("now", tags={"step": "import"}, extra={"row": 4})

    page = present(sentry.events[0])
    assert page.user == [Pair("id", "7"), Pair("plan", "pro")]
    assert Pair("step", "import") in page.tags
    assert {section.name for section in page.contexts} >= {"trace", "runtime", "extra"}


def test_what_the_quota_held_back_is_told(sentry: MemoryTransport) -> None:
    page = present({"contexts": {"quota": {"held_back": 12}}})

    assert page.held_back == 12
    assert page.contexts == []


def test_where_an_event_comes_from_is_told(failing: Any) -> None:
    page = failing("/fails/")

    assert (page.environment, page.release, page.endpoint) == ("test", "1.0", "GET fails/")
    assert page.server
    assert (len(page.trace_id), len(page.request_id)) == (32, 32)


# -- anything at all -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ODD, ids=[str(value)[:20] for value in ODD])
def test_no_field_of_an_event_can_break_it(odd: Any) -> None:
    full = hostile("text")

    for name in full:
        present({**full, name: odd})
    present(odd)


@pytest.mark.parametrize("odd", ODD, ids=[str(value)[:20] for value in ODD])
@pytest.mark.parametrize("inside", ["exception", "breadcrumbs", "request", "contexts", "threads"])
def test_nothing_inside_an_event_can_break_it(odd: Any, inside: str) -> None:
    for body in replaced(hostile("text")[inside], odd):
        present(event(**{inside: body}))


def replaced(tree: Any, odd: Any) -> list[Any]:
    """Copies of a tree, each with another of its nodes made odd."""
    if isinstance(tree, dict):
        return [odd, *({**tree, name: copy} for name, item in tree.items() for copy in replaced(item, odd))]
    if isinstance(tree, list):
        return [
            odd,
            *([*tree[:at], copy, *tree[at + 1 :]] for at, item in enumerate(tree) for copy in replaced(item, odd)),
        ]
    return [odd]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted([*hostile(), "spans", "start_timestamp"])), ANYTHING))
def test_an_event_may_be_anything(body: dict[str, Any]) -> None:
    asdict(present(body))
    arrange(body, 1)


def test_what_leaves_can_be_encoded() -> None:
    page = present(hostile("lone \ud800 surrogate"))

    assert "\\ud800" in page.title
    str(asdict(page)).encode()


# -- reading what may be anything ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("2025-06-15T15:06:40Z", datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        ("2025-06-15T15:06:40", datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        ("2025-06-15T17:06:40+02:00", datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("yesterday", None),
        (float("nan"), None),
        (1e300, None),
        (10**400, None),
        (True, None),
        (None, None),
        ([], None),
    ],
)
def test_a_moment_is_read_or_left_out(value: Any, read: datetime | None) -> None:
    assert moment(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [(3, 3), (3.9, 3), (-1, -1), (1e300, None), (10**400, None), ("3", None), (False, None), (None, None)],
)
def test_a_whole_number_is_read_or_left_out(value: Any, read: int | None) -> None:
    assert integer(value) == read


def test_infinity_is_no_number() -> None:
    assert (number(1.5), number(float("inf"))) == (1.5, None)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": 1, "b": None, "c": [1]}, [Pair("a", "1"), Pair("c", "[1]")]),
        ([["a", 1], ("b", 2), ["c"], "d"], [Pair("a", "1"), Pair("b", "2")]),
        ([{"key": "a", "value": 1}, {"key": "b"}], [Pair("a", "1")]),
        ("a=1", []),
        (None, []),
    ],
)
def test_pairs_are_read_in_any_form_that_sentry_knows(value: Any, read: list[Pair]) -> None:
    assert pairs(value) == read


def test_pairs_and_texts_are_bounded() -> None:
    assert len(pairs({str(index): index for index in range(MAX_ITEMS + 5)})) == MAX_ITEMS
    assert len(string("x" * 10**6)) <= MAX_TEXT
    assert "cut" in string("x" * 10**6)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"values": [{"a": 1}, 3, {"b": 2}]}, [{"a": 1}, {"b": 2}]),
        ([{"a": 1}], [{"a": 1}]),
        ({"a": 1}, [{"a": 1}]),
        ({"values": None}, []),
        ("text", []),
    ],
)
def test_a_list_is_read_in_any_form_that_sentry_knows(value: Any, read: list[Any]) -> None:
    assert objects(value) == read


def test_json_that_is_nested_too_deeply_to_be_written_is_cut() -> None:
    deep = orjson.loads("[" * 900 + "]" * 900)

    assert b"[too deep]" in indented({"deep": deep})
    assert "[too deep]" in pretty(deep)


# -- what is folded -------------------------------------------------------------------------------------------------------


def calls(*names: str, own: str = "") -> list[dict[str, Any]]:
    return [{"function": name, "filename": f"{name}.py", "lineno": 1, "in_app": name == own} for name in names]


def shown_calls(*names: str, own: str = "") -> list[tuple[str, int]]:
    """The calls of a stack and how many more each stands for, innermost first."""
    body = event(exception={"values": [{"type": "E", "stacktrace": {"frames": calls(*names, own=own)}}]})
    part = present(body).exceptions[0]
    return [(frame.function, frame.repeats) for stretch in part.stretches for frame in stretch.frames]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a"] * 61, [("a", 60)]),
        (["view", *["walk"] * 59, "leaf"], [("leaf", 0), ("walk", 58), ("view", 0)]),
        (["a", "b"] * 30, [("b", 0), ("a", 58)]),
        (["a", "b", "c"] * 10 + ["leaf"], [("leaf", 0), ("c", 0), ("b", 0), ("a", 27)]),
        (["a", "a", "b"], [("b", 0), ("a", 0), ("a", 0)]),
        ([], []),
    ],
)
def test_a_recursion_is_folded(names: list[str], shown: list[tuple[str, int]]) -> None:
    assert shown_calls(*names) == shown


@pytest.mark.parametrize(
    ("names", "own", "place"),
    [(["wsgi", "view", "pay", "lib"], "pay", "pay"), (["wsgi", "lib"], "", "lib"), ([], "", None)],
)
def test_the_place_is_the_projects_own_innermost_call(names: list[str], own: str, place: str | None) -> None:
    body = event(exception={"values": [{"type": "E", "stacktrace": {"frames": calls(*names, own=own)}}]})

    found = place_of(present(body).exceptions)

    assert (found and found.function) == place


def test_equal_breadcrumbs_in_a_row_are_one_with_their_count() -> None:
    crumbs = [{"category": "query", "message": name} for name in ("A", "A", "A", "B", "A")]

    found = present(event(breadcrumbs={"values": crumbs})).breadcrumbs

    assert [(crumb.message, crumb.count) for crumb in found] == [("A", 3), ("B", 1), ("A", 1)]


def test_a_long_list_of_columns_is_left_out_of_a_breadcrumb() -> None:
    crumbs = [{"category": "query", "message": 'SELECT "a"."b", "a"."c", "a"."d" FROM "a"'}]

    assert present(event(breadcrumbs={"values": crumbs})).breadcrumbs[0].message == 'SELECT … FROM "a"'
