"""
Secrets in a text, a URL, a query string, a path, lines of source code or a command line.

What has nothing to hide comes back as the very same object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from crm_monitoring.scrubbing.check_digits import without_numbers
from crm_monitoring.scrubbing.field_names import (
    MAX_CACHED_LETTERS,
    SENSITIVE_KEYS,
    SENSITIVE_NAMES,
    URL_NAMES,
    KeyMeaning,
    Keys,
)
from crm_monitoring.scrubbing.key_values import literals, may_hold_pair, pairs
from crm_monitoring.scrubbing.path_segments import without_random
from crm_monitoring.scrubbing.secret_forms import EMAIL, FORMS
from crm_monitoring.scrubbing.spans import FILTERED, spliced

T = TypeVar("T")

CUT = "...[cut]"

_MAX_CACHED = 4096
_MAX_CACHED_SOURCES = 512
_MAX_CACHED_SOURCE = 2048
_MAX_TEXT = 65_536

# On every line, and the only common text with enough digits to be searched for card numbers.
MOMENT_OR_ID = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?|[0-9a-f]{32}"
)


class TextScrubber:
    """
    Replaces secrets in text by "[Filtered]".

    Args:
        keys: Names, in words, of what is sensitive anywhere in a key.
        names: Names of what is sensitive as a whole key.
        url_names: Names of what is sensitive as a whole key in URLs and bodies.
        readable: Names of what is never sensitive by its name.
        emails: Whether e-mail addresses are replaced too.
        max_text: Longer text is cut to at most so many characters, between two words, and marked "...[cut]".
    """

    def __init__(
        self,
        keys: Iterable[str] = SENSITIVE_KEYS,
        *,
        names: Iterable[str] = SENSITIVE_NAMES,
        url_names: Iterable[str] = URL_NAMES,
        readable: Iterable[str] = (),
        emails: bool = True,
        max_text: int = _MAX_TEXT,
    ) -> None:
        self.keys = Keys(keys, names, url_names, readable)
        self._forms = (*FORMS, EMAIL) if emails else FORMS
        self._max_text = max_text
        self.clean_texts: set[str] = set()
        self._known_source = lru_cache(_MAX_CACHED_SOURCES)(self._settled_source)

    def is_sensitive(self, key: str) -> bool:
        """Tell whether the values of `key` are secrets."""
        return self.keys.kind(key) is KeyMeaning.SENSITIVE

    def text(self, text: str) -> str:
        """
        Return `text` without its secrets: what has the form of one, and the values of sensitive keys in it.

        Found are `key=value`, `"key": "value"`, `--key value`, URLs with a password, the rows that PostgreSQL and MySQL quote
        in errors, cards, IBANs, e-mail addresses, PEM blocks, JWTs and the tokens of well-known services.
        """
        if text in self.clean_texts or MOMENT_OR_ID.fullmatch(text):
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
        for form in self._forms:
            if form.may_apply(text):
                text = form.pattern.sub(form.replacement, text)
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
        for form in self._forms:
            if form.may_apply(text):
                text = form.pattern.sub(form.replacement, text)
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
        """
        Tell whether a route's parameter is a secret, by its name or by what it looks like.

        What `<int:ticket>` and `<uuid:ticket>` capture names a row: it is a secret only by a name that is one anywhere, as "token".
        """
        if value in (None, ""):
            return False
        if isinstance(value, int | UUID):
            return self.is_sensitive(name)
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
