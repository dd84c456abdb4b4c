"""
Any value as plain data and as text, whatever it is.

orjson does nearly all of it in one call. What it cannot take (an integer past 64 bits, a lone surrogate, a cycle) goes the
slow road through `plain`, which returns something for any value there is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from crm_monitoring.foreign import is_of_value

Event = dict[Any, Any]

# Keys that are no text make every line more expensive, and are rare.
_OPTIONS = (orjson.OPT_UTC_Z, orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
_MAX_DEPTH = 12
_MAX_ITEMS = 10_000
_INT64 = 1 << 63
# Python refuses to write integers of more than some 14 000 bits in decimal digits.
_DECIMAL_BITS = 10_000
# They are numbers and moments in whatever form.
_WITHOUT_TEXT = (int, float, date, time, timedelta, Decimal, UUID)


def dumps(value: Any) -> bytes:
    """Return `value` as JSON, whatever it is."""
    for options in _OPTIONS:
        try:
            return orjson.dumps(value, default=simple, option=options)
        except (TypeError, ValueError, RecursionError) as error:
            # orjson wraps what the value's own code raises, an interrupt too.
            if error.__cause__ is not None and not is_of_value(error.__cause__):
                raise error.__cause__ from None
    return orjson.dumps(plain(value), option=orjson.OPT_NON_STR_KEYS)


def text(value: Any) -> str:
    """Return `value` as it reads best in a sentence: text as it is, the rest as JSON. Any encoding of Unicode takes it."""
    # By its own type: asking a lazy object for its class would evaluate it.
    if issubclass(type(value), str):
        return _encodable(value)
    dumped = dumps(value)
    return str(orjson.loads(dumped)) if dumped.startswith(b'"') else dumped.decode()


def simple(value: Any) -> Any:
    """Return something JSON knows for a value it does not know. Never runs a query."""
    try:
        return _simple(value)
    except BaseException as error:
        return _unprintable(value, error)


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
    kind = type(value)
    if issubclass(kind, LazyObject):
        return simple(value)
    if issubclass(kind, _WITHOUT_TEXT):
        return value
    try:
        return _fields_of(value) or simple(value)
    except BaseException as error:
        return _unprintable(value, error)


def _fields_of(value: Any) -> Event | None:
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return None
    return {spec.name: getattr(value, spec.name, None) for spec in dataclasses.fields(value)}


def _unprintable(value: Any, error: BaseException) -> str:
    if not is_of_value(error):
        raise error
    return f"<unprintable {type(value).__name__}>"


def plain(value: Any) -> Any:
    """
    Return `value` as a tree of dict, list, str, int, float, bool and None that any renderer takes.

    At most 12 levels and 10 000 items (of each field, where `value` is a dict) are kept, and what is left out is marked.
    """
    if type(value) is dict:
        return {name_of(name): _Tree().of(item) for name, item in value.items()}
    return _Tree().of(value)


class _Tree:
    """Walks one value, and counts what it meets, for a value may refer to the same things over and over."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def of(self, value: Any, inside: tuple[int, ...] = ()) -> Any:
        try:
            return self._of(value, inside)
        except BaseException as error:
            return _unprintable(value, error)

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
            tree[name_of(name)] = self.of(item, inside)
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


def name_of(name: Any) -> str:
    """Return the name of a field as text."""
    return _encodable(name) if isinstance(name, str) else str(_Tree().of(name))


def _encodable(value: str) -> str:
    # By text's own method: a subclass may have another.
    return str.encode(value, "utf-8", "backslashreplace").decode()


def _number(value: int) -> int | str:
    if -_INT64 <= value < 2 * _INT64:
        return int(value)
    return str(int(value)) if value.bit_length() < _DECIMAL_BITS else hex(value)
