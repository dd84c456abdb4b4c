"""
The one scrubber for everything that leaves the process: log lines, events, spans, breadcrumbs, URLs, command lines.

Pure Python: it knows neither Django nor Sentry. What has nothing to hide comes back as the very same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from datetime import date, time, timedelta
from operator import is_
from typing import Any, TypeVar

from crm_monitoring.foreign import is_of_value
from crm_monitoring.scrubbing.check_digits import without_numbers
from crm_monitoring.scrubbing.field_names import MAX_CACHED_LETTERS, SENSITIVE_KEYS, SENSITIVE_NAMES, KeyMeaning
from crm_monitoring.scrubbing.path_segments import looks_like_code
from crm_monitoring.scrubbing.spans import FILTERED
from crm_monitoring.scrubbing.text import CUT, MOMENT_OR_ID, TextScrubber, remember

__all__ = ["CUT", "FILTERED", "SENSITIVE_KEYS", "SENSITIVE_NAMES", "TOO_DEEP", "TOO_LARGE", "UNREADABLE", "Scrubber"]

T = TypeVar("T")

TOO_DEEP = "[Filtered: too deep]"
TOO_LARGE = "[Filtered: too large]"
UNREADABLE = "[Filtered: unreadable]"

_MAX_DEPTH = 32
_MAX_ITEMS = 100_000
# Of long texts together: one call must not cost as much as it has texts.
_LONG = 10_000
_MAX_LETTERS = 10_000_000
_FIRST_CARD_NUMBER = 10**12
_PAST_CARD_NUMBERS = 10**19
_CONTAINERS = (dict, list, tuple, set, frozenset)
_ATOMS = frozenset((type(None), bool, float))
_NO_SECRETS = (bool, date, time, timedelta)

_TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_NAME = re.compile(r"[\w.-]+")


class Scrubber(TextScrubber):
    """
    Replaces secrets by "[Filtered]", in text and in trees of containers. It never changes what it is given.

    `Scrubber((*SENSITIVE_KEYS, "customer number"))` adds a key, `Scrubber(("customer number",))` replaces them all.
    One scrubber serves all threads.

    Args:
        other: Shows an object of a type not known here as something that can be searched, or returns it as it is.
        kwargs: As for `TextScrubber`.
    """

    def __init__(self, *args: Any, other: Callable[[Any], Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.other = other
        self.ordinary_keys: set[str] = set()
        self.clean_items: set[tuple[str, str]] = set()
        self.trace_keys: set[str] = set()
        self.searches = {KeyMeaning.URL: self.url, KeyMeaning.QUERY: self.query, KeyMeaning.SOURCE: self.source}

    def scrub(self, value: T, renamed: Callable[[str], str] | None = None) -> T:
        """
        Return `value` without its secrets: the same object where there are none, else a copy.

        `renamed` is asked for each text before that is searched: it takes out what only its caller knows to be secret.

        Dicts, lists, tuples, sets, text and bytes are searched, whatever is in them; anything else stays as it is, unless
        its key is sensitive. Under a sensitive key only None, booleans, dates and empty text stay. Of two items in a list or
        tuple the first is read as a key too. A subclass of a container becomes the plain container, a named tuple stays one.
        Of two keys that both become "[Filtered]" the later one is kept.

        Containers nested more than 32 deep, as in a cycle, become "[Filtered: too deep]", those past 100 000 items and long
        texts past ten million characters "[Filtered: too large]", what cannot be read "[Filtered: unreadable]".
        """
        result: T = _Walk(self, renamed).any(value, 0)
        return result

    def body(self, value: T, renamed: Callable[[str], str] | None = None) -> T:
        """Return the body of a request without its secrets: also `code`, `key` and the like, where the value looks like a credential."""
        result: T = _BodyWalk(self, renamed or str).any(value, 0)
        return result


class _Walk:
    """One pass over one tree: counts the items it has seen."""

    __slots__ = ("_items_left", "_letters_left", "_ordinary", "_renamed", "_scrubber", "_search")

    def __init__(self, scrubber: Scrubber, renamed: Callable[[str], str] | None) -> None:
        self._scrubber = scrubber
        self._renamed = renamed
        # What is known to be clean for all may hold what is secret for this caller.
        self._ordinary: Set[str] = scrubber.ordinary_keys if renamed is None else frozenset()
        self._search: Callable[[str], str] = scrubber.text if renamed is None else self._text
        self._items_left = _MAX_ITEMS
        self._letters_left = _MAX_LETTERS

    def any(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._searched(value)
        if kind is dict:
            return self._container(value, depth + 1)
        if kind in _ATOMS:
            return value
        if kind is int:
            return _number(value)
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth + 1) if kind in _CONTAINERS or _is_readable(value) else UNREADABLE
        if issubclass(kind, str):
            text = str.__str__(value)
            result = self._searched(text)
            return value if result is text else result
        return self._bytes(value) if issubclass(kind, bytes) else self._other(value, depth)

    def _searched(self, value: str) -> str:
        if len(value) < _LONG:
            return self._search(value)
        self._letters_left -= len(value)
        return self._search(value) if self._letters_left >= 0 else TOO_LARGE

    def _text(self, value: str, search: Callable[[str], str] | None = None) -> str:
        if self._renamed is not None:
            value = self._renamed(value)
        return (search or self._scrubber.text)(value)

    def _other(self, value: Any, depth: int) -> Any:
        if self._scrubber.other is None:
            return value
        shown = self._scrubber.other(value)
        if shown is value:
            return value
        return TOO_DEEP if depth > _MAX_DEPTH else self.any(shown, depth + 1)

    def _bytes(self, value: bytes) -> bytes:
        text = value.decode("latin-1")
        result = self._search(text)
        return value if result == text else result.encode("latin-1")

    def _container(self, value: Any, depth: int) -> Any:
        self._items_left -= len(value)
        if depth > _MAX_DEPTH:
            return TOO_DEEP
        if self._items_left < 0:
            return TOO_LARGE
        return self._dict(value, depth) if isinstance(value, dict) else self._sequence(value, depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        # Read by dict itself, at once: Django's MultiValueDict gives something else, and another thread may write.
        items = list(dict.items(value))
        changes = {}
        ordinary, clean, known = self._ordinary, self._scrubber.clean_texts, self._scrubber.clean_items
        traces = self._scrubber.trace_keys if self._renamed is None else ()
        for key, item in items:
            if key in ordinary:
                # What most fields of a line are, without a call for each.
                form = type(item)
                if form is str:
                    if item in clean or MOMENT_OR_ID.fullmatch(item):
                        continue
                elif form in _ATOMS or (form is int and item < _FIRST_CARD_NUMBER):
                    continue
                name, scrubbed = key, self.any(item, depth)
            elif key in traces and type(item) is str and _TRACE_ID.fullmatch(item):
                # Of a transaction each span has three, and no two are the same.
                continue
            elif type(item) is str and self._renamed is None and type(key) is str:
                # Of a line the path: searched otherwise than most, and the same again and again.
                if (key, item) in known:
                    continue
                name, scrubbed = self._item(key, item, depth)
                if name is key and scrubbed is item and len(key) + len(item) <= MAX_CACHED_LETTERS:
                    remember(known, (key, item))
            else:
                name, scrubbed = self._item(key, item, depth)
            if scrubbed is not item or name is not key:
                changes[key] = name, scrubbed
        return dict(changes.get(key, (key, item)) for key, item in items) if changes else value

    def _item(self, key: Any, value: Any, depth: int) -> tuple[Any, Any]:
        name, kind = self.any(key, depth), self._kind(key)
        if name is not key and kind is not KeyMeaning.SENSITIVE:
            kind = self._kind(name)
        if kind is KeyMeaning.SENSITIVE:
            return name, _hidden(value)
        if kind is KeyMeaning.TRACE_ID and _is_a(value, str) and _TRACE_ID.fullmatch(value):
            if name is key and type(key) is str:
                remember(self._scrubber.trace_keys, key)
            return name, value
        search = self._scrubber.searches.get(kind)
        if search is not None and _is_a(value, str):
            return name, self._text(value, search)
        if kind is KeyMeaning.SOURCE and type(value) is list and all(_is_a(line, str) for line in value):
            return name, self._lines(value)
        if kind is KeyMeaning.ORDINARY and name is key and type(key) is str and len(key) <= MAX_CACHED_LETTERS:
            remember(self._scrubber.ordinary_keys, key)
        return name, self.any(value, depth)

    def _lines(self, lines: list[str]) -> list[str]:
        """Search lines at once: a stack has hundreds."""
        text = "\n".join(lines)
        result = self._text(text, self._scrubber.source)
        return lines if result == text else result.split("\n")

    def _kind(self, key: Any) -> KeyMeaning:
        if _is_a(key, bytes):
            key = key.decode("latin-1")
        return self._scrubber.keys.kind(key) if _is_a(key, str) else KeyMeaning.ORDINARY

    def _sequence(self, value: Any, depth: int) -> Any:
        items = list(value)
        if isinstance(value, list | tuple) and self._is_pair(items):
            scrubbed = [self.any(items[0], depth), _hidden(items[1])]
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            scrubbed = [self._item(name, item, depth)[1] for name, item in zip(value._fields, items, strict=True)]
        else:
            scrubbed = [self.any(item, depth) for item in items]
        return value if all(map(is_, items, scrubbed)) else _rebuilt(value, scrubbed)

    def _is_pair(self, items: list[Any]) -> bool:
        if len(items) != 2 or not _is_a(items[0], str, bytes) or len(items[0]) > MAX_CACHED_LETTERS:
            return False
        name = items[0] if _is_a(items[0], str) else items[0].decode("latin-1")
        return _NAME.fullmatch(name) is not None and self._scrubber.is_sensitive(name)


class _BodyWalk(_Walk):
    """A pass over the body of a request."""

    __slots__ = ()

    def _item(self, key: Any, value: Any, depth: int) -> tuple[Any, Any]:
        if _is_a(key, str) and self._scrubber.keys.is_sensitive_in_url(key) and _may_let_in(value):
            return key, FILTERED
        return super()._item(key, value, depth)


def _may_let_in(value: Any) -> bool:
    if _is_a(value, list):
        # A form may hold a field more than once.
        return any(map(_may_let_in, value))
    return type(value) in (str, int) and looks_like_code(str(value))


def _is_a(value: Any, *kinds: type[Any]) -> bool:
    """Whether the value is one of these by its own type: asking a lazy object for its class would evaluate it."""
    return issubclass(type(value), kinds)


def _is_readable(value: Any) -> bool:
    """Whether what a class of somebody else's makes of a container can be read as one."""
    try:
        return len(list(value)) == len(value)
    except BaseException as error:
        if not is_of_value(error):
            raise
        return False


def _number(value: int) -> Any:
    if not _FIRST_CARD_NUMBER <= value < _PAST_CARD_NUMBERS:
        return value
    return value if without_numbers(str(value)) == str(value) else FILTERED


def _hidden(value: Any) -> Any:
    if value is None or issubclass(type(value), _NO_SECRETS) or (issubclass(type(value), str | bytes) and not value):
        return value
    return FILTERED


def _rebuilt(value: Any, items: list[Any]) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple.__new__(type(value), items)
    try:
        return next(kind for kind in _CONTAINERS if isinstance(value, kind))(items)
    except TypeError:
        # What an object in a set is shown as may not be hashable.
        return items
