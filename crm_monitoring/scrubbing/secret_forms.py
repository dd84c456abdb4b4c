"""
What a secret looks like inside text: one table of rules, each with a cheap gate in front of its pattern.

Every pattern is linear: runs are possessive and begin where a lookbehind allows it, so that no run is read twice, and what
has no end takes all the rest of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from crm_monitoring.lazy import pattern

FILTERED = "[Filtered]"

Span = tuple[int, int]
"""Where in a text something to be replaced begins and ends."""


class Rule(NamedTuple):
    """
    One kind of secret.

    Attributes:
        may_apply: Tells at the price of a few substring searches whether the pattern is worth its own.
        replacement: As for `re.sub`: it keeps what tells where the secret stood.
    """

    name: str
    may_apply: Callable[[str], bool]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]


def spliced(text: str, spans: Iterator[Span]) -> str:
    """Return `text` with each span replaced. Spans come in order and do not overlap."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += text[done:start], FILTERED
        done = end
    return "".join([*parts, text[done:]]) if parts else text


# -- numbers with check digits --------------------------------------------------------------------------------------------

# Not next to a letter, a digit or a dash with one behind it: ids of traces and UUIDs pass Luhn one time in ten.
_CARD = pattern(
    r"(?<![0-9A-Za-z_])(?<!\w-)(?<!\d\.)"
    r"(?=([3-6]\d{12,18}|2[2-7]\d{14}|[2-6]\d{3}[ -]\d{4}[ -]\d{4}[ -]\d{1,7}|3\d{3}[ -]\d{6}[ -]\d{4,5})(?![0-9A-Za-z_])(?!-\w))",
    re.ASCII,
)
_IBAN = pattern(
    r"(?<![0-9A-Za-z])[A-Z]{2}\d\d(?:[ -]?[0-9A-Z]{4}){2,7}(?:[ -]?[0-9A-Z]{1,3})?(?![0-9A-Za-z])", re.ASCII
)
_MANY_DIGITS = re.compile(r"[0-9]{4}[ -]?[0-9]{4}")
_SEPARATOR = re.compile(r"[ -]")
_DOUBLED = str.maketrans("0123456789", "0246813579")


def passes_luhn(number: str) -> bool:
    """Tell whether the digits of `number` are those of a payment card; spaces and dashes do not count."""
    digits = _SEPARATOR.sub("", number)[::-1]
    return sum(map(int, digits[::2] + digits[1::2].translate(_DOUBLED))) % 10 == 0


def passes_mod_97(number: str) -> bool:
    """Tell whether `number` has the check digits of an IBAN; spaces and dashes do not count."""
    compact = _SEPARATOR.sub("", number)
    return len(compact) >= 15 and int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97 == 1


def _cards(text: str) -> Iterator[Span]:
    done = 0
    for match in _CARD.finditer(text):
        if match.start() >= done and passes_luhn(match[1]):
            done = match.end(1)
            yield match.span(1)


def _without_iban(match: re.Match[str]) -> str:
    number, rest = match[0], ""
    while number and not passes_mod_97(number):
        # A word in capitals after the number reads like its last group.
        number, space, group = number.rpartition(" ")
        rest = space + group + rest
    return FILTERED + rest if number else rest


def without_numbers(text: str) -> str:
    """Replace payment cards and IBANs that their check digits confirm."""
    if len(text) < 13 or not _MANY_DIGITS.search(text):
        return text
    return _IBAN.sub(_without_iban, spliced(text, _cards(text)))


# -- credentials that can be told by their form ----------------------------------------------------------------------------

_DIGITS_IN_PAIRS = re.compile(r"0[1-9][ .-][0-9]{2}[ .-]")
_START = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2}))"
_REST_OF_LINE = (
    r"(?:[^\n]*?(?=\)(?: already exists| is not present| is still referenced| conflicts with| »|\.?\s*$))|[^\n]*)"
)

_TOKEN = pattern(
    _START
    + r"(?:"
    + "|".join(
        (
            r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",  # AWS
            r"AIza[\w-]{35,}",  # Google
            r"gh[oprsu]_[0-9A-Za-z]{20,}|github_pat_\w{20,}",  # GitHub
            r"gl[a-z]{2,5}-[\w-]{20,}",  # GitLab
            r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}",  # Slack
            r"[rs]k_(?:live|test)_\w{10,}|whsec_[\w+/=]{10,}",  # Stripe
            r"sntry[a-z]_[\w+/=-]{20,}",  # Sentry
            r"sk-[\w-]{20,}",  # OpenAI, Anthropic
            r"SG\.[\w-]{16,}\.[\w-]{16,}",  # SendGrid
            r"xkeysib-[\w-]{20,}",  # Brevo
        )
    )
    + r")",
    re.ASCII,
)


def _may_hold_token(text: str) -> bool:
    # Written out: a loop over the same signs takes three times as long, and every line pays for it.
    return len(text) >= 16 and (
        "k_" in text
        or "k-" in text
        or "gh" in text
        or "_pat_" in text
        or "gl" in text
        or "xox" in text
        or "xapp-" in text
        or "xkey" in text
        or "whsec_" in text
        or "sntry" in text
        or "AKIA" in text
        or "ASIA" in text
        or "AIza" in text
        or "SG." in text
    )


def _may_hold_scheme(text: str) -> bool:
    return "earer" in text or "asic" in text or "EARER" in text or "ASIC" in text


RULES = (
    Rule(
        "pem",
        lambda text: "-----BEGIN" in text,
        pattern(r"-----BEGIN [0-9A-Z ]{1,60}-----(?:.*?-----END [0-9A-Z ]{1,60}-----|.*)", re.DOTALL),
        FILTERED,
    ),
    Rule(
        "postgresql_key",
        lambda text: ")=(" in text,
        pattern(r"(?<=\)=\()" + _REST_OF_LINE, re.MULTILINE),
        FILTERED,
    ),
    Rule(
        "postgresql_row",
        lambda text: "row contains (" in text or "contient (" in text,
        pattern(r"((?:row contains|contient) \()" + _REST_OF_LINE, re.MULTILINE),
        rf"\1{FILTERED}",
    ),
    Rule(
        "mysql_entry",
        lambda text: "Duplicate entry '" in text,
        pattern(r"(Duplicate entry ')(?:[^\n]*?(?=' for key)|[^\n]*)"),
        rf"\1{FILTERED}",
    ),
    Rule(
        "url_password",
        lambda text: "://" in text and "@" in text,
        pattern(r"""(://[^\s/?#@:"']*+:)[^\s/"']*@"""),
        rf"\1{FILTERED}@",
    ),
    Rule(
        "url_token",
        lambda text: "@" in text and ("http://" in text or "https://" in text),
        pattern(r"""(https?://)[^\s/?#@:"'\[]++@"""),
        rf"\1{FILTERED}@",
    ),
    Rule(
        "scheme",
        _may_hold_scheme,
        # "Bearer token" and "Basic authentication" are prose: one plain word is no credential.
        pattern(
            _START + r"((?i:bearer|basic)(?:[ \t]++|%20))"
            r"(?!(?:[A-Za-z]?[a-z]{0,15}|[A-Z]{0,15})(?![\w~+/=-]))[\w.~+/=-]{3,}+",
            re.ASCII,
        ),
        rf"\1{FILTERED}",
    ),
    Rule(
        "jwt",
        lambda text: "eyJ" in text,
        pattern(r"(?:(?<![\w-])|(?<=%[0-9A-Fa-f]{2}))eyJ[\w-]{5,}+(?:[.:][\w-]++)++", re.ASCII),
        FILTERED,
    ),
    Rule("token", _may_hold_token, _TOKEN, FILTERED),
    Rule(
        "phone",
        lambda text: "+" in text or ("0" in text and _DIGITS_IN_PAIRS.search(text) is not None),
        # With its country's number, or as France writes them: in pairs.
        pattern(
            r"(?<![\w+.-])(?:\+[1-9](?:[ .()/-]{0,2}\d){7,14}|0[1-9](?:([ .-])\d\d)(?:\1\d\d){3})(?![\w-])", re.ASCII
        ),
        FILTERED,
    ),
    Rule(
        "url_path",
        lambda text: "://" in text,
        pattern(r"""(?<=://)[^\s?#"'<>]++"""),
        lambda match: without_random(match[0]),
    ),
)

EMAIL = Rule(
    "email",
    lambda text: "@" in text or "%40" in text,
    # %2B is a plus sign in the name, any other escape ends what stands before it.
    pattern(
        r"(?:(?<![\w.+%-])|(?<=%[0-9A-Fa-f]{2})(?<!%2[Bb]))"
        r"(?:[\w.+-]|%2[Bb])++(?:@|%40)(?:[\w-]++\.)+[^\W\d_]{2,}+"
    ),
    FILTERED,
)


# -- pairs of a key and a value --------------------------------------------------------------------------------------------

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


# -- source code ------------------------------------------------------------------------------------------------------------

_LITERAL = pattern(
    r"""(?<![\w-])(?P<key>[\w-]++)["']?+\]?+[ \t]{0,8}+(?::[ \t]{0,8}+[\w.\[\], |]{1,64}+=(?!=)|={1,2}|:)[ \t]{0,8}+"""
    r"""[bBrRuUfF]{0,2}+(?P<quote>["'])(?P<value>(?:(?!(?P=quote))[^\\\n]|\\.)++)"""
)


def literals(text: str, is_sensitive: Callable[[str], bool]) -> Iterator[Span]:
    """Yield where in source code the literals stand that a sensitive name is given."""
    for match in _LITERAL.finditer(text):
        if is_sensitive(match["key"]):
            yield match.span("value")


# -- segments of a path ----------------------------------------------------------------------------------------------------

_SEGMENT = pattern(r"[^/?#]+")
_UUID = pattern(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LONG_HEX = pattern(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}+(?![0-9A-Za-z])")
_LONG_RUN = pattern(r"[\w=-]{20,}+", re.ASCII)
_CHUNK = pattern(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LETTERS_OF_A_WORD = 3
_SHORTEST_RANDOM = 20


def looks_random(segment: str) -> bool:
    """Tell whether a segment of a path has a run that no one would write: 32 hex digits, or 20 signs in no order."""
    if len(segment) < _SHORTEST_RANDOM or _UUID.fullmatch(segment):
        return False
    return _LONG_HEX.search(segment) is not None or any(map(_has_no_words, _LONG_RUN.findall(segment)))


def _has_no_words(run: str) -> bool:
    chunks = _CHUNK.findall(run)
    letters = sum(map(len, chunks))
    return _SHORTEST_RANDOM <= letters < _LETTERS_OF_A_WORD * len(chunks)


def without_random(path: str) -> str:
    """Return a path or a URL with the segments replaced that look like a credential."""
    return path if len(path) < _SHORTEST_RANDOM else _SEGMENT.sub(_without_random, path)


def _without_random(match: re.Match[str]) -> str:
    return FILTERED if looks_random(match[0]) else match[0]
