"""Pairs of a key and a value in running text, and literals in source code. Every pattern is linear, as in `secret_forms`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing.spans import Span

_PAIR = pattern(
    r"""(?<![\w-])(?:
        (?P<flag>--[A-Za-z][\w-]*+)[ \t]++(?![-=:\s])
        | (?P<key>[\w-]++)\\{0,127}+["'`]?\]?[ \t]{0,8}+(?:=>|:=|=|:(?!//|:)|%3[Dd])[ \t]{0,8}+
    )""",
    re.VERBOSE,
)
_COLON = re.compile(r":(?!//|[0-9]{2}(?![0-9]))")
_SCHEME = pattern(r"(?i:bearer|basic|digest|token|negotiate|apikey)(?:[ \t]++|%20)(?=\S)")
# What no one can log in with, and the placeholders of SQL and of %-formatting.
_HARMLESS = pattern(
    r"(?:(?i:none|null|true|false|undefined)|%s|%\(\w+\)s|\$\d{1,5}|\?)(?![^\s,;:&)\]}\"'\\])|datetime\.\w+\("
)
_QUOTED = pattern(
    r"""[bBrRuUfF]{0,2}(?:(?P<plain>["'`])(?P<text>(?:(?!(?P=plain))[^\\]|\\.)*+)(?P=plain)"""
    r"""|(?P<escaped>\\{1,127}["'])(?P<inner>.*?)(?P=escaped))""",
    re.DOTALL,
)
_OPEN_QUOTE = pattern(r"""[bBrRuUfF]{0,2}\\{0,127}["'`]""")
# A closing sign with a word behind it belongs to the value, unless that word is the next key.
_BARE = pattern(r"""(?:[^\s"'`,;&()\[\]{}\\]|\\(?!["'])|[\\"'`,;)\]}](?=\w)(?![\w-]++["']?[ \t]{0,8}+[=:]))++""")
_LINE = pattern(r"""[^\r\n"']*""")
_BRACKET = pattern(r"[()\[\]{}]")


def may_hold_pair(text: str) -> bool:
    """Tell whether `text` can hold a key with a value; the colons of a time of day and of a URL are none."""
    return "=" in text or "%3" in text or "--" in text or (":" in text and _COLON.search(text) is not None)


def pairs(text: str, is_sensitive: Callable[[str, str], bool]) -> Iterator[Span]:
    """
    Yield where the values stand that have a sensitive key.

    Args:
        is_sensitive: Gets the key, and the sign in front of it ("" at the beginning).
    """
    done = 0
    for match in _PAIR.finditer(text):
        key = match["key"] or match["flag"]
        if match.start() >= done and is_sensitive(key, text[match.start() - 1 : match.start()]):
            start, end = _value(text, match.end(), key)
            done = end
            if start < end:
                yield start, end


def _value(text: str, start: int, key: str) -> Span:
    if _HARMLESS.match(text, start):
        return start, start
    if quoted := _QUOTED.match(text, start):
        inside = quoted.span("text" if quoted["plain"] else "inner")
        if _bare_end(text, quoted.end()) == quoted.end():
            return _after_scheme(text, *inside)
        return start, _bare_end(text, quoted.end())
    if _OPEN_QUOTE.match(text, start):
        return start, len(text)
    if "cookie" in key.lower() or "authorization" in key.lower():
        line = _LINE.match(text, start)
        return _after_scheme(text, start, line.end() if line else start)
    start, _ = _after_scheme(text, start, len(text))
    return start, _bare_end(text, start)


def _after_scheme(text: str, start: int, end: int) -> Span:
    scheme = _SCHEME.match(text, start, end)
    return (scheme.end() if scheme else start), end


def _bare_end(text: str, start: int) -> int:
    end = start
    while True:
        if bare := _BARE.match(text, end):
            end = bare.end()
        elif text[end : end + 1] in ("(", "[", "{"):
            end = _closed(text, end)
        else:
            return end


def _closed(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed, or the end of the text."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "([{" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


_LITERAL = pattern(
    r"""(?<![\w-])(?P<key>[\w-]++)["']?+\]?+[ \t]{0,8}+(?::[ \t]{0,8}+[\w.\[\], |]{1,64}+=(?!=)|={1,2}|:)[ \t]{0,8}+"""
    r"""[bBrRuUfF]{0,2}+(?P<quote>["'])(?P<value>(?:(?!(?P=quote))[^\\\n]|\\.)++)"""
)


def literals(text: str, is_sensitive: Callable[[str], bool]) -> Iterator[Span]:
    """Yield where in source code the literals stand that a sensitive name is given."""
    for match in _LITERAL.finditer(text):
        if is_sensitive(match["key"]):
            yield match.span("value")
