"""
One event dict to one line of bytes, whatever its values are.

orjson does nearly all of it in one call. What it cannot take (an integer past 64 bits, a lone surrogate, a cycle) goes the
slow road through `plain`, which returns something for any value there is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

import orjson
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty
from structlog.dev import ConsoleRenderer, plain_traceback

Event = dict[Any, Any]
Renderer = Callable[[Event], bytes]

CORE_FIELDS = ("event", "level", "timestamp", "logger", "request_id")

# Keys that are no text make every line dearer, and are rare.
_OPTIONS = (orjson.OPT_UTC_Z, orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000
_MIN_KEPT = 48
_FEWEST_FIELDS = 3
_SHORTEST_FIELD = len(b"a=1 ")
_INT64 = 1 << 63
# Python refuses to write integers of more than some 14 000 bits in decimal digits.
_DECIMAL_BITS = 10_000
# They are numbers and moments in whatever form.
_WITHOUT_TEXT = (int, float, date, time, timedelta, Decimal, UUID)
_BARE = re.compile(r'[^ "=\\]+')


class Limits(Protocol):
    """How long a value may be in characters, and a line in bytes."""

    @property
    def LOG_MAX_STRING(self) -> int: ...  # noqa: N802 - the setting's own names

    @property
    def LOG_MAX_LINE(self) -> int: ...  # noqa: N802


def json_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of JSON, without its newline."""
    return _limited(dumps, limits)


def logfmt_renderer(limits: Limits) -> Renderer:
    """Return a renderer of one line of key=value pairs, without its newline."""
    return _limited(_logfmt, limits)


def console_renderer(limits: Limits, *, colors: bool) -> Renderer:
    """Return a renderer for people: coloured, a traceback on lines of its own."""
    console = ConsoleRenderer(colors=colors, exception_formatter=plain_traceback)

    def render(event: Event) -> bytes:
        tree = plain(event)
        texts = {name: text(tree[name]) for name in ("event", "exception", "stack") if name in tree}
        return console(None, "", {**tree, **texts}).encode()

    return _limited(render, limits)


def _limited(render: Renderer, limits: Limits) -> Renderer:
    max_string, max_line = limits.LOG_MAX_STRING, limits.LOG_MAX_LINE
    # A line shorter than one value may be cannot hold a value that is too long.
    surely_fits = min(max_string, max_line)

    def render_limited(event: Event) -> bytes:
        line = render(event)
        return line if len(line) <= surely_fits else _fit(event, max_string, max_line, render)

    return render_limited


def dumps(value: Any) -> bytes:
    """Return `value` as JSON, whatever it is."""
    for options in _OPTIONS:
        try:
            return orjson.dumps(value, default=simple, option=options)
        except (TypeError, ValueError, RecursionError) as error:
            # orjson wraps what the value's own code raises, an interrupt too.
            if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
    return orjson.dumps(plain(value), option=orjson.OPT_NON_STR_KEYS)


def text(value: Any) -> str:
    """Return `value` as it reads best in a sentence: text as it is, the rest as JSON. Any encoding of Unicode takes it."""
    if isinstance(value, str):
        return _encodable(value)
    dumped = dumps(value)
    return str(orjson.loads(dumped)) if dumped.startswith(b'"') else dumped.decode()


def simple(value: Any) -> Any:
    """Return something JSON knows for a value it does not know. Never runs a query."""
    try:
        return _simple(value)
    except Exception:
        return _unprintable(value)


def _simple(value: Any) -> Any:
    match value:
        case LazyObject():
            # Evaluating it, as `request.user`, may run queries. Without Django's private name it is shown unevaluated.
            wrapped = vars(value).get("_wrapped", empty)
            return f"<{type(value).__name__}>" if wrapped is empty else wrapped
        case Model():
            return f"<{value._meta.label} {value.pk}>"
        case QuerySet():
            return f"<QuerySet of {value.model._meta.label}>"
        case HttpRequest():
            return f"<{value.method} {value.path}>"
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case type():
            return f"{value.__module__}.{value.__qualname__}"
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case set() | frozenset() | tuple():
            return list(value)
        case Enum():
            return value.value
        case _:
            return str(value)


def searchable(value: Any) -> Any:
    """Return an object as the tree or the text it will be shown as, so that it can be searched for secrets before."""
    if isinstance(value, LazyObject):
        return simple(value)
    if isinstance(value, _WITHOUT_TEXT):
        return value
    try:
        return _fields_of(value) or simple(value)
    except Exception:
        return _unprintable(value)


def _fields_of(value: Any) -> Event | None:
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return None
    return {spec.name: getattr(value, spec.name, None) for spec in dataclasses.fields(value)}


def _unprintable(value: Any) -> str:
    return f"<unprintable {type(value).__name__}>"


def plain(value: Any) -> Any:
    """
    Return `value` as a tree of dict, list, str, int, float, bool and None that any renderer takes.

    At most 12 levels and 10 000 items (of each field, where `value` is a dict) are kept, and what is left out is marked.
    """
    if type(value) is dict:
        return {_name(name): _Tree().of(item) for name, item in value.items()}
    return _Tree().of(value)


class _Tree:
    """Walks one value, and counts what it meets, for a value may refer to the same things over and over."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def of(self, value: Any, inside: tuple[int, ...] = ()) -> Any:
        try:
            return self._of(value, inside)
        except Exception:
            return _unprintable(value)

    def _of(self, value: Any, inside: tuple[int, ...]) -> Any:
        # Asked first: the class of a lazy object is that of what it evaluates to.
        if not isinstance(value, LazyObject):
            match value:
                case None | bool():
                    return value
                case Enum():
                    return self.of(simple(value), inside)
                case str():
                    return _encodable(value)
                case int():
                    return _number(value)
                case float():
                    return float(value)
        if id(value) in inside:
            return "[cycle]"
        if len(inside) >= _MAX_DEPTH:
            return "[too deep]"
        return self._of_many(value, (*inside, id(value)))

    def _of_many(self, value: Any, inside: tuple[int, ...]) -> Any:
        if isinstance(value, LazyObject):
            return self.of(simple(value), inside)
        value = _fields_of(value) or value
        if isinstance(value, Mapping):
            return self._dict(value, inside)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(value, inside)
        return self.of(simple(value), inside)

    def _dict(self, value: Mapping[Any, Any], inside: tuple[int, ...]) -> Event:
        tree: Event = {}
        for name, item in value.items():
            if not self._may_go_on():
                tree["[left out]"] = len(value) - len(tree)
                break
            tree[_name(name)] = self.of(item, inside)
        return tree

    def _list(self, value: Collection[Any], inside: tuple[int, ...]) -> list[Any]:
        tree: list[Any] = []
        for item in value:
            if not self._may_go_on():
                tree.append(f"[{len(value) - len(tree)} left out]")
                break
            tree.append(self.of(item, inside))
        return tree

    def _may_go_on(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _name(name: Any) -> str:
    return _encodable(name) if isinstance(name, str) else str(_Tree().of(name))


def _encodable(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


def _number(value: int) -> int | str:
    if -_INT64 <= value < 2 * _INT64:
        return int(value)
    return str(int(value)) if value.bit_length() < _DECIMAL_BITS else hex(value)


def _fit(event: Event, max_string: int, max_line: int, render: Renderer) -> bytes:
    """Render `event` with what is longer than the limits cut and marked; the fields of the line itself stay longest."""
    names = [*(name for name in CORE_FIELDS if name in event), *(name for name in event if name not in CORE_FIELDS)]
    fields = {name: _cuttable(event[name], max_string) for name in names}
    for limit, count in _attempts(max_string, min(len(fields), max_line // _SHORTEST_FIELD)):
        line = render(_reduced(fields, limit, count))
        if len(line) <= max_line:
            return line
    core = {name: event.get(name) for name in ("level", "timestamp")}
    return render({"event": "line_too_long", **core, "fields_left_out": len(event)})


def _attempts(limit: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield ever shorter limits of a value, then ever fewer fields. Each is half of the last, so the work stays linear."""
    while limit > _MIN_KEPT:
        yield limit, count
        limit //= 2
    while count >= _FEWEST_FIELDS:
        yield _MIN_KEPT, count
        count //= 2


def _reduced(fields: Event, limit: int, count: int) -> Event:
    kept = list(fields.items())[:count]
    reduced: Event = {cut(_name(name), limit): _shortened(value, limit) for name, value in kept}
    if len(reduced) < len(fields):
        reduced["fields_left_out"] = len(fields) - len(reduced)
    return reduced


def _cuttable(value: Any, limit: int) -> Any:
    """Return a value that is too long as its text, made once however often it is cut."""
    if isinstance(value, str):
        return value
    dumped = dumps(value)
    return value if len(dumped) <= limit else dumped.decode()


def _shortened(value: Any, limit: int) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    shown = text(value)
    return value if len(shown) <= limit else cut(shown, limit)


def cut(value: str, limit: int) -> str:
    """
    Return `value` with its middle cut out where it is too long, and a mark there.

    Args:
        limit: How many characters are returned at most; 48 are never too many.
    """
    limit = max(limit, _MIN_KEPT)
    if len(value) <= limit:
        return value
    kept = limit - len(_mark(len(value)))
    tail = kept // 3
    return f"{value[: kept - tail]}{_mark(len(value) - kept)}{value[len(value) - tail :]}"


def _mark(length: int) -> str:
    return f"… [cut {length} characters] …"


def _logfmt(event: Event) -> bytes:
    return " ".join(f"{_word(name)}={_quoted(value)}" for name, value in event.items()).encode()


def _word(name: Any) -> str:
    word = "".join("_" if letter in ' ="' or not letter.isprintable() else letter for letter in _name(name))
    return word or "_"


def _quoted(value: Any) -> str:
    shown = text(value)
    return shown if shown.isprintable() and _BARE.fullmatch(shown) else dumps(shown).decode()
