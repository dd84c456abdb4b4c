"""
The one scrubber for everything that leaves the process: log lines, events, spans, breadcrumbs, URLs, command lines.

Pure Python: it knows neither Django nor Sentry. What has nothing to hide comes back as the very same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, time, timedelta
from functools import lru_cache
from operator import is_
from typing import Any, TypeVar
from urllib.parse import quote

from crm_monitoring.scrubbing.field_names import MAX_CACHED_LETTERS, SENSITIVE_KEYS, SENSITIVE_NAMES, Keys, Kind
from crm_monitoring.scrubbing.secret_forms import (
    EMAIL,
    FILTERED,
    RULES,
    literals,
    may_hold_pair,
    pairs,
    spliced,
    without_numbers,
    without_random,
)

__all__ = ["CUT", "FILTERED", "SENSITIVE_KEYS", "SENSITIVE_NAMES", "TOO_DEEP", "TOO_LARGE", "Scrubber"]

T = TypeVar("T")

TOO_DEEP = "[Filtered: too deep]"
TOO_LARGE = "[Filtered: too large]"
CUT = "...[cut]"

_MAX_CACHED = 4096
_MAX_CACHED_SOURCES = 512
_MAX_CACHED_SOURCE = 2048
_MAX_DEPTH = 32
_MAX_ITEMS = 100_000
_MAX_TEXT = 65_536
_FIRST_CARD_NUMBER = 10**12
_PAST_CARD_NUMBERS = 10**19
_CONTAINERS = (dict, list, tuple, set, frozenset)
_ATOMS = frozenset((type(None), bool, float))
_NO_SECRETS = (bool, date, time, timedelta)

# On every line, and the only common text with enough digits to be searched for card numbers.
_MOMENT_OR_ID = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?|[0-9a-f]{32}"
)
_TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_NAME = re.compile(r"[\w.-]+")


class Scrubber:
    """
    Replaces secrets by "[Filtered]", in text and in trees of containers. It never changes what it is given.

    `Scrubber((*SENSITIVE_KEYS, "customer number"))` adds a key, `Scrubber(("customer number",))` replaces them all.
    One scrubber serves all threads.

    Args:
        keys: Names, in words, of what is sensitive anywhere in a key.
        names: Names of what is sensitive as a whole key.
        emails: Whether e-mail addresses are replaced too.
        max_text: Longer text is cut to at most so many characters, between two words, and marked "...[cut]".
        other: Shows an object of a type not known here as something that can be searched, or returns it as it is.
    """

    def __init__(
        self,
        keys: Iterable[str] = SENSITIVE_KEYS,
        *,
        names: Iterable[str] = SENSITIVE_NAMES,
        emails: bool = True,
        max_text: int = _MAX_TEXT,
        other: Callable[[Any], Any] | None = None,
    ) -> None:
        self.keys = Keys(keys, names)
        self.other = other
        self._rules = (*RULES, EMAIL) if emails else RULES
        self._max_text = max_text
        self.ordinary_keys: set[str] = set()
        self.clean_texts: set[str] = set()
        self.clean_items: set[tuple[str, str]] = set()
        self._known_source = lru_cache(_MAX_CACHED_SOURCES)(self._settled_source)
        self.searches = {Kind.URL: self.url, Kind.QUERY: self.query, Kind.SOURCE: self.source}

    def is_sensitive(self, key: str) -> bool:
        """Tell whether the values of `key` are secrets."""
        return self.keys.kind(key) is Kind.SENSITIVE

    def scrub(self, value: T, renamed: Callable[[str], str] | None = None) -> T:
        """
        Return `value` without its secrets: the same object where there are none, else a copy.

        `renamed` is asked for each text before that is searched: it takes out what only its caller knows to be secret.

        Dicts, lists, tuples, sets, text and bytes are searched, whatever is in them; anything else stays as it is, unless
        its key is sensitive. Under a sensitive key only None, booleans, dates and empty text stay. Of two items in a list or
        tuple the first is read as a key too. A subclass of a container becomes the plain container, a named tuple stays one.
        Of two keys that both become "[Filtered]" the later one is kept.

        Containers nested more than 32 deep, as in a cycle, become "[Filtered: too deep]", those past 100 000 items
        "[Filtered: too large]".
        """
        result: T = _Walk(self, renamed).any(value, 0)
        return result

    def text(self, text: str) -> str:
        """
        Return `text` without its secrets: what has the form of one, and the values of sensitive keys in it.

        Found are `key=value`, `"key": "value"`, `--key value`, URLs with a password, the rows that PostgreSQL and MySQL quote
        in errors, cards, IBANs, e-mail addresses, PEM blocks, JWTs and the tokens of well-known services.
        """
        if text in self.clean_texts or _MOMENT_OR_ID.fullmatch(text):
            return text
        if len(text) > self._max_text:
            return self._settled(self._head(text)) + CUT
        result = self._settled(text)
        if result != text:
            return result
        if len(text) <= MAX_CACHED_LETTERS:
            remember(self.clean_texts, text)
        return text

    def _settled(self, text: str) -> str:
        result = self._replaced(text)
        # What one rule replaces can uncover something for a rule before it.
        return text if result == text else self._replaced(self._replaced(result))

    def _replaced(self, text: str) -> str:
        for rule in self._rules:
            if rule.may_apply(text):
                text = rule.pattern.sub(rule.replacement, text)
        if may_hold_pair(text):
            text = spliced(text, pairs(text, self._is_sensitive_in_text))
        return without_numbers(text)

    def source(self, text: str) -> str:
        """
        Return lines of source code without their secrets: what has the form of one, and literals of sensitive keys.

        `password: str` and `login(password=password)` stay, since names are no secrets and people have to read the code.
        """
        # The same lines of the same places, in one event after the other.
        return self._known_source(text) if len(text) <= _MAX_CACHED_SOURCE else self._settled_source(text)

    def _settled_source(self, text: str) -> str:
        result = self._source(text)
        return text if result == text else self._source(result)

    def _source(self, text: str) -> str:
        for rule in self._rules:
            if rule.may_apply(text):
                text = rule.pattern.sub(rule.replacement, text)
        return without_numbers(spliced(text, literals(text, self.is_sensitive)))

    def _is_sensitive_in_text(self, key: str, before: str) -> bool:
        return self.keys.is_sensitive_in_url(key) if before in ("?", "&") else self.is_sensitive(key)

    def _head(self, text: str) -> str:
        """Return the beginning of `text`, up to where no secret is cut in two."""
        head = text[: self._max_text - len(CUT)]
        return head[: max(head.rfind(sign) for sign in " \n,;&") + 1]

    def query(self, query: str) -> str:
        """Return a query string without its secrets; more names are sensitive in it than elsewhere: `code`, `key`, `sig`."""
        result = self.text(f"?{query}")[1:]
        return query if result == query else result

    def url(self, url: str) -> str:
        """
        Return a URL or a path without its secrets: passwords, query values, and segments that look like a credential.

        A segment looks like one if it holds a long run of random letters and digits. A UUID with its dashes does not.
        """
        path, sign, rest = url.partition("?")
        result = self.text(without_random(path) + sign + rest)
        return url if result == url else result

    def is_url_secret(self, name: str, value: Any) -> bool:
        """Tell whether a route's parameter is a secret, by its name or by what it looks like."""
        if value in (None, ""):
            return False
        return self.keys.is_sensitive_in_url(name) or self.url(str(value)) != str(value)

    def route(self, path: str, captured: Mapping[str, Any]) -> str:
        """
        Return `path` with the values of a route's secret parameters replaced by their names: "/login/{token}/".

        Args:
            captured: The parameters by name, as `ResolverMatch.kwargs` has them.
        """
        names = {
            form: f"{{{name}}}"
            for name, value in captured.items()
            if self.is_url_secret(name, value)
            for form in (str(value), quote(str(value)))
        }
        if not names:
            return path
        patterns = [_delimited(form, path) for form in sorted(names, key=len, reverse=True)]
        return re.sub("|".join(patterns), lambda match: names[match[0]], path)

    def argv(self, argv: Sequence[str]) -> list[str]:
        """
        Return a command line without its secrets: `--password=x`, `--password x`, `PASSWORD=x`.

        The value of a short option stays: `-p` is a port more often than a password.
        """
        result, hide = [], False
        for argument in argv:
            is_option = argument.startswith("-")
            result.append(FILTERED if hide and not is_option else self.text(argument))
            hide = argument.startswith("--") and "=" not in argument and self.is_sensitive(argument)
        return result


def _delimited(form: str, path: str) -> str:
    """Return a pattern for `form` as a word of its own, so that "1" does not match in "/v12/", or else anywhere."""
    pattern = rf"(?<!\w){re.escape(form)}(?!\w)"
    return pattern if re.search(pattern, path) else re.escape(form)


def remember(known: set[T], item: T) -> None:
    """Add `item` to a bounded set."""
    if len(known) >= _MAX_CACHED:
        known.clear()
    known.add(item)


class _Walk:
    """One pass over one tree: counts the items it has seen."""

    __slots__ = ("_items_left", "_ordinary", "_renamed", "_scrubber", "_search")

    def __init__(self, scrubber: Scrubber, renamed: Callable[[str], str] | None) -> None:
        self._scrubber = scrubber
        self._renamed = renamed
        # What is known to be clean for all may hold what is secret for this caller.
        self._ordinary: Set[str] = scrubber.ordinary_keys if renamed is None else frozenset()
        self._search: Callable[[str], str] = scrubber.text if renamed is None else self._text
        self._items_left = _MAX_ITEMS

    def any(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._search(value)
        if kind is dict:
            return self._container(value, depth + 1)
        if kind in _ATOMS:
            return value
        if kind is int:
            return _number(value)
        # By its own type: asking a lazy object for its class would evaluate it.
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth + 1)
        if issubclass(kind, str):
            return self._search(value)
        return self._bytes(value) if issubclass(kind, bytes) else self._other(value, depth)

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
        for key, item in items:
            if key in ordinary:
                # What most fields of a line are, without a call for each.
                form = type(item)
                if form is str:
                    if item in clean or _MOMENT_OR_ID.fullmatch(item):
                        continue
                elif form in _ATOMS or (form is int and item < _FIRST_CARD_NUMBER):
                    continue
                name, scrubbed = key, self.any(item, depth)
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
        if name is not key and kind is not Kind.SENSITIVE:
            kind = self._kind(name)
        if kind is Kind.SENSITIVE:
            return name, _hidden(value)
        if kind is Kind.TRACE_ID and isinstance(value, str) and _TRACE_ID.fullmatch(value):
            return name, value
        search = self._scrubber.searches.get(kind)
        if search is not None and isinstance(value, str):
            return name, self._text(value, search)
        if kind is Kind.SOURCE and type(value) is list and all(isinstance(line, str) for line in value):
            return name, self._lines(value)
        if kind is Kind.ORDINARY and name is key and type(key) is str and len(key) <= MAX_CACHED_LETTERS:
            remember(self._scrubber.ordinary_keys, key)
        return name, self.any(value, depth)

    def _lines(self, lines: list[str]) -> list[str]:
        """Search lines at once: a stack has hundreds."""
        text = "\n".join(lines)
        result = self._text(text, self._scrubber.source)
        return lines if result == text else result.split("\n")

    def _kind(self, key: Any) -> Kind:
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        return self._scrubber.keys.kind(key) if isinstance(key, str) else Kind.ORDINARY

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
        if len(items) != 2 or not isinstance(items[0], str | bytes) or len(items[0]) > MAX_CACHED_LETTERS:
            return False
        name = items[0] if isinstance(items[0], str) else items[0].decode("latin-1")
        return _NAME.fullmatch(name) is not None and self._scrubber.is_sensitive(name)


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
