from __future__ import annotations

import dataclasses
import enum
import math
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_monitoring.rendering import (
    Renderer,
    console_renderer,
    cut,
    dumps,
    json_renderer,
    logfmt_renderer,
    plain,
    simple,
    text,
)

# Threads that other tests leave (the SDK's) draw random numbers meanwhile, which is taken for the strategy's doing.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

LIMITS = SimpleNamespace(LOG_MAX_STRING=1024, LOG_MAX_LINE=4096)
SMALLEST = SimpleNamespace(LOG_MAX_STRING=256, LOG_MAX_LINE=256)
CORE = {"event": "e", "level": "info", "timestamp": "2026-11-23T07:36:08.000Z", "logger": "tests"}


def colored(limits: Any) -> Renderer:
    return console_renderer(limits, colors=True)


RENDERERS: list[Callable[[Any], Renderer]] = [json_renderer, logfmt_renderer, colored]


class Color(enum.Enum):
    RED = "red"


class Kind(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int
    y: Any


class Hostile:
    def __str__(self) -> str:
        raise ValueError("no text")


class Interrupted:
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Moment(datetime):
    """orjson leaves subclasses of datetime to us."""


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {"a": 1}
    value["self"] = value
    return value


unhurried = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
    ],  # CPUs are shared; `lines` is emptied
)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp"])),
    st.binary(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.sampled_from([Color.RED, Kind.ONE, Point(1, Hostile()), Hostile(), Hostile, object(), 2**70, -(2**70)]),
    st.sampled_from([cyclic(), gettext_lazy("Name"), Path("/tmp"), ValueError(Hostile()), QueryDict("a=1")]),
)
names = st.one_of(
    st.text(), st.integers(), st.none(), st.sampled_from(["exception", "stack", "level", "name", "event", " ", "é"])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner) | st.tuples(inner, inner), max_leaves=8
)
events = st.dictionaries(names, values).map(lambda fields: {**CORE, **fields, **CORE, "event": fields.get("e", "e")})


@unhurried
@given(events)
def test_any_event_is_one_valid_line_of_json_within_the_limit(event: dict[str, Any]) -> None:
    line = json_renderer(LIMITS)(event)

    assert orjson.loads(line)["level"] == "info"
    assert b"\n" not in line and len(line) <= LIMITS.LOG_MAX_LINE


@pytest.mark.slow
@unhurried
@given(events)
def test_any_event_is_one_line_of_logfmt_within_the_limit(event: dict[str, Any]) -> None:
    line = logfmt_renderer(LIMITS)(event)

    assert b" level=info " in line
    assert b"\n" not in line and b"\r" not in line and len(line) <= LIMITS.LOG_MAX_LINE


@pytest.mark.slow
@unhurried
@given(events)
def test_any_event_is_readable_text_on_a_console_within_the_limit(event: dict[str, Any]) -> None:
    line = colored(LIMITS)(event)

    assert "info" in line.decode()
    assert len(line) <= LIMITS.LOG_MAX_LINE


@unhurried
@given(st.dictionaries(st.text(), st.text(min_size=200) | st.text("\x00\"'\\é💥", min_size=90), min_size=1))
def test_the_smallest_limit_holds_whatever_the_line_is(fields: dict[str, str]) -> None:
    for renderer in RENDERERS:
        assert len(renderer(SMALLEST)({**CORE, **fields})) <= SMALLEST.LOG_MAX_LINE


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (Moment(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=90), "0:01:30"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (Path("/tmp/x"), "/tmp/x"),
        (Color.RED, "red"),
        (Kind.ONE, 1),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (b"\xffa", "\\xffa"),
        (memoryview(b"ab"), "ab"),
        (gettext_lazy("Name"), "Name"),
        (ValueError("wrong"), "ValueError: wrong"),
        (Point, "tests.core.logs.test_rendering.Point"),
        (Point(1, 2), {"x": 1, "y": 2}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (math.nan, None),
        (math.inf, None),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ("\ud800", "\\ud800"),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "[1, 2]": "c"}),
        (Hostile(), "<unprintable Hostile>"),
        (cyclic(), {"a": 1, "self": {"a": 1, "self": "[cycle]"}}),
    ],
)
def test_a_value_is_rendered_as(value: Any, rendered: Any) -> None:
    assert orjson.loads(dumps(value)) == rendered


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 2), math.nan, 2**64 - 1, Color.RED, Kind.ONE, (1,), {1}, Decimal("1.10"), Point(1, [2]), b"a"],
)
def test_a_value_is_rendered_the_same_beside_one_that_orjson_refuses(value: Any) -> None:
    beside = orjson.loads(dumps({"value": value, "bad": "\ud800"}))

    assert beside["value"] == orjson.loads(dumps(value))


def test_an_integer_that_python_refuses_to_write_in_decimal_is_written_in_hexadecimal() -> None:
    assert orjson.loads(dumps(10**5000)) == hex(10**5000)


@pytest.mark.django_db
def test_models_and_querysets_are_named_without_a_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        rendered = orjson.loads(dumps({"user": User(pk=7), "users": User.objects.filter(pk=1), "all": User.objects}))

    assert rendered == {"user": "<auth.User 7>", "users": "<QuerySet of auth.User>", "all": "auth.User.objects"}


@pytest.mark.parametrize("beside", ["a", "\ud800"])
def test_a_lazy_object_is_not_evaluated(beside: str) -> None:
    def evaluate() -> Any:
        raise AssertionError("evaluated")

    rendered = orjson.loads(dumps({"user": SimpleLazyObject(evaluate), "beside": beside}))

    assert rendered["user"] == "<SimpleLazyObject>"


@pytest.mark.parametrize("beside", ["a", "\ud800"])
def test_a_lazy_object_that_was_evaluated_is_shown_as_what_it_holds(beside: str) -> None:
    user = SimpleLazyObject(lambda: User(pk=7))
    assert user.pk == 7

    rendered = orjson.loads(dumps({"user": user, "beside": beside}))

    assert rendered["user"] == "<auth.User 7>"


def test_a_request_is_named_by_method_and_path() -> None:
    request = HttpRequest()
    request.method, request.path = "GET", "/ok/"

    assert simple(request) == "<GET /ok/>"


def test_an_interrupt_in_a_values_own_code_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        dumps({"value": Interrupted()})


def test_a_structure_deeper_than_any_renderer_takes_is_marked() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    assert b"[too deep]" in dumps(value)


def test_what_refers_to_itself_over_and_over_is_bounded() -> None:
    nodes: list[dict[str, Any]] = [{} for _ in range(30)]
    for node in nodes:
        node.update({str(number): other for number, other in enumerate(nodes)})

    started = time.process_time()
    line = dumps({"graph": nodes, "after": 1})

    assert time.process_time() - started < 2
    assert b"left out]" in line and orjson.loads(line)["after"] == 1


def test_items_past_the_limit_are_counted_in_the_tree() -> None:
    tree = plain({"many": list(range(10_005)), "table": {str(n): n for n in range(10_002)}})

    assert tree["many"][-1] == "[5 left out]"
    assert tree["table"]["[left out]"] == 2


def test_a_field_that_breaks_while_it_is_walked_costs_only_itself() -> None:
    @dataclasses.dataclass
    class Broken:
        @property
        def x(self) -> Any:
            raise ValueError

        x: Any  # type: ignore[no-redef]

    broken = Broken.__new__(Broken)
    Broken.x = property(lambda self: 1 / 0)  # type: ignore[assignment]

    tree = plain({"broken": broken, "after": 1})

    assert tree == {"broken": "<unprintable Broken>", "after": 1}


# -- limits ---------------------------------------------------------------------------------------------------------------


def test_a_text_within_the_limit_is_not_touched() -> None:
    assert cut("a" * 100, 100) == "a" * 100


def test_a_text_over_the_limit_keeps_both_ends_and_says_how_much_is_missing() -> None:
    shortened = cut("a" * 5000 + "z" * 5000, 1000)

    assert len(shortened) <= 1000
    assert shortened.startswith("aaa") and shortened.endswith("zzz")
    missing = 10_000 - shortened.count("a") + 2 - shortened.count("z")  # "characters" holds two of the letter
    assert f"[cut {missing} characters]" in shortened


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_value_over_the_limit_is_cut_and_marked_and_its_neighbours_stay(renderer: Any) -> None:
    line = renderer(LIMITS)({**CORE, "big": "x" * 2000, "small": "kept"}).decode()

    assert "characters]" in line and "kept" in line
    assert "x" * 1024 not in line


@pytest.mark.parametrize(
    "value", [{"deep": [{"er": "x" * 5000}]}, list(range(5000)), b"x" * 5000, Point(1, "x" * 5000)]
)
def test_a_nested_value_over_the_limit_is_cut_as_text(value: Any) -> None:
    line = orjson.loads(json_renderer(LIMITS)({**CORE, "big": value}))

    assert "characters]" in line["big"] and len(line["big"]) <= LIMITS.LOG_MAX_STRING


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("character", ["x", "é", "💥", "\x00", '"', "\\", "\n"])
def test_a_line_is_within_its_limit_in_bytes(renderer: Any, character: str) -> None:
    line = renderer(LIMITS)({**CORE, **{f"field_{n}": character * 1000 for n in range(20)}})

    assert len(line) <= LIMITS.LOG_MAX_LINE
    assert b"field_19" in line


@pytest.mark.parametrize("renderer", RENDERERS)
def test_of_too_many_fields_the_first_stay_and_the_rest_are_counted(renderer: Any) -> None:
    fields = {f"field_{n}": n for n in range(50_000)}

    line = renderer(LIMITS)({**CORE, **fields, "request_id": "r-1"})

    assert len(line) <= LIMITS.LOG_MAX_LINE
    assert b"field_50" in line and b"r-1" in line and b"fields_left_out" in line


def test_names_that_become_one_when_they_are_cut_are_counted() -> None:
    long = {f"{'k' * 2000}{n}{'k' * 2000}": "x" for n in range(3)}

    line = orjson.loads(json_renderer(LIMITS)({**CORE, **long}))

    assert line["fields_left_out"] == 2


def test_a_line_that_no_cutting_makes_short_enough_says_so() -> None:
    line = orjson.loads(json_renderer(SMALLEST)({**CORE, "event": "\x00" * 48, "logger": "\x00" * 48}))

    assert (line["event"], line["level"], line["fields_left_out"]) == ("line_too_long", "info", 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", ["x" * 10**7, ["x" * 10] * 10**6, b"x" * 10**7, "\ud800" * 10**6, {str(n): n for n in range(10**6)}]
)
@pytest.mark.parametrize("renderer", RENDERERS)
def test_ten_megabytes_take_no_quadratic_work(renderer: Any, value: Any) -> None:
    started = time.process_time()
    line = renderer(LIMITS)({**CORE, "big": value})

    assert time.process_time() - started < 5
    assert len(line) <= LIMITS.LOG_MAX_LINE and b"characters]" in line or b"left out" in line


# -- formats --------------------------------------------------------------------------------------------------------------


def test_logfmt_quotes_what_needs_it() -> None:
    line = logfmt_renderer(LIMITS)({"event": "two words", "a b": 'q"', "": True, "none": None, "n": 1.5, "d": {"x": 1}})

    assert line.decode() == r'event="two words" a_b="q\"" _=true none=null n=1.5 d="{\"x\":1}"'


def test_console_prints_the_traceback_on_lines_of_its_own() -> None:
    line = console_renderer(LIMITS, colors=False)({**CORE, "exception": "ValueError: boom"})

    assert line.decode().splitlines()[1:] == ["  ValueError: boom"]


@pytest.mark.parametrize("name", ["exception", "stack", "event", "logger"])
def test_console_takes_any_value_for_the_names_it_treats_apart(name: str) -> None:
    assert b"12345" in console_renderer(LIMITS, colors=False)({**CORE, name: [12345]})


def test_text_leaves_text_alone_and_makes_json_of_the_rest() -> None:
    assert [text("a\ud800"), text({"a": 1}), text(None)] == ["a\\ud800", '{"a":1}', "null"]


def test_a_huge_traceback_keeps_its_beginning_and_its_end() -> None:
    event = {**CORE, "exception": "Traceback\n" + "  frame\n" * 10_000 + "ValueError: boom"}

    exception = orjson.loads(json_renderer(LIMITS)(event))["exception"]

    assert exception.startswith("Traceback") and exception.endswith("ValueError: boom")


# -- lines that stay lines ------------------------------------------------------------------------------------------------

BREAKING = ["\x00", "\x07", "\x08", "\n", "\r", "\x1b[31m", "\x7f", "\x85", "\x9b31m", "\u2028", "\u2029"]
"""Texts that would end a line, or command the terminal."""


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("breaking", BREAKING, ids=ascii)
@pytest.mark.parametrize("where", ["event", "logger", "field", "nested", "name", "level"])
def test_nothing_in_a_line_ends_it_or_commands_the_terminal(
    renderer: Callable[[Any], Renderer], breaking: str, where: str
) -> None:
    odd = f"a{breaking}b"
    field = {odd: 1} if where == "name" else {"field": [odd] if where == "nested" else odd if where == "field" else ""}
    line = renderer(LIMITS)({**CORE, **field, **({where: odd} if where in CORE else {})}).decode()

    shown = re.sub(r"\x1b\[(?:0|[12](?:;31)?|3[1-3])m", "", line) if renderer is colored else line
    assert shown.isprintable()
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("breaking", BREAKING, ids=ascii)
def test_json_gives_back_what_was_escaped(breaking: str) -> None:
    line = json_renderer(LIMITS)({**CORE, "field": f"é{breaking}é"})

    assert orjson.loads(line)["field"] == f"é{breaking}é"


def test_a_traceback_on_a_console_cannot_pass_for_a_line() -> None:
    line = console_renderer(LIMITS, colors=False)({**CORE, "exception": "ValueError: a\n07:36:08 info all_well\x1b[2J"})

    assert line.decode().splitlines()[1:] == ["  ValueError: a", "  07:36:08 info all_well\\x1b[2J"]


# -- the console ----------------------------------------------------------------------------------------------------------

REQUEST = {
    **CORE,
    "event": "request_finished",
    "logger": "crm_monitoring.requests",
    "method": "GET",
    "route": "create/",
    "path": "/create/",
    "status": 201,
    "duration_ms": 9.213,
    "db_queries": 0,
    "db_ms": 0.0,
    "response_bytes": 12,
    "request_id": "0f3c1d9be0a94c6e8f2f6b1a3b0b9f11",
    "trace_id": "771a43a4192642f0b136d5159a501700",
    "span_id": "b3f1c0de9a7d4e21",
    "user_id": "7",
}


def console(event: dict[str, Any]) -> str:
    return console_renderer(LIMITS, colors=False)(event).decode()


def test_a_request_reads_at_a_glance_on_a_console() -> None:
    line = console(REQUEST)

    assert line == (
        "07:36:08 info     GET /create/ 201 9 ms 0 queries  db_ms=0.0 response_bytes=12  user=7 request=0f3c1d9b"
    )
    assert len(line) <= 120


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"db_queries": 1}, "GET /create/ 201 9 ms 1 query "),
        ({"duration_ms": 0.312}, "GET /create/ 201 0.312 ms 0 queries"),
        ({"duration_ms": None}, "GET /create/ 201 null ms 0 queries"),
        ({"path": "/create/7/", "route": "create/{pk}/"}, "GET /create/7/ 201 9 ms 0 queries  route=create/{pk}/"),
        ({"event": "request_failed", "status": 500}, "GET /create/ 500 9 ms"),
    ],
)
def test_what_is_unlike_other_requests_is_shown(fields: dict[str, Any], shown: str) -> None:
    assert shown in console({**REQUEST, **fields})


def test_a_line_of_the_name_of_a_request_without_its_fields_is_a_line_like_others() -> None:
    assert console({**CORE, "event": "request_finished", "status": 200}) == (
        "07:36:08 info     request_finished  status=200  tests"
    )


def test_a_line_shows_its_fields_before_where_it_comes_from() -> None:
    line = console({**CORE, "event": "org_created", "org_id": 7, "name": "Org Ltd", "rows": [1, "a b"]})

    assert line == '07:36:08 info     org_created  org_id=7 name="Org Ltd" rows=[1,"a b"]  tests'


def test_colours_are_the_levels() -> None:
    painted = console_renderer(LIMITS, colors=True)

    assert b"\x1b[31merror" in painted({**CORE, "level": "error"})
    assert b"\x1b" not in painted({"event": "", "level": "odd", "timestamp": ""})
