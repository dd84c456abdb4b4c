"""
What a secret looks like inside text: one table of forms, each with the marks without which its pattern need not run.

Every pattern is linear: runs are possessive and begin where a lookbehind allows it, so that no run is read twice, and what
has no end takes all the rest of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing.path_segments import without_random
from crm_monitoring.scrubbing.spans import FILTERED


class Form(NamedTuple):
    """
    One kind of secret.

    Attributes:
        may_apply: Tells at the price of a few substring searches whether the pattern is worth its own.
        replacement: As for `re.sub`: it keeps what tells where the secret stood.
    """

    name: str
    may_apply: Callable[[str], bool]
    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str] = FILTERED


def holds(mark: str) -> Callable[[str], bool]:
    """Return a test whether a text holds `mark`."""
    return lambda text: mark in text


def holds_either(one: str, other: str) -> Callable[[str], bool]:
    """Return a test whether a text holds one of two marks."""
    return lambda text: one in text or other in text


def holds_both(one: str, other: str) -> Callable[[str], bool]:
    """Return a test whether a text holds two marks."""
    return lambda text: one in text and other in text


class Token(NamedTuple):
    """The tokens of one service: what each of them begins with, and how it goes on."""

    service: str
    marks: tuple[str, ...]
    pattern: str


TOKENS = (
    Token("AWS", ("AKIA", "ASIA"), r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    Token("Google", ("AIza",), r"AIza[\w-]{35,}"),
    Token("GitHub", ("gh", "_pat_"), r"gh[oprsu]_[0-9A-Za-z]{20,}|github_pat_\w{20,}"),
    Token("GitLab", ("gl",), r"gl[a-z]{2,5}-[\w-]{20,}"),
    Token("Slack", ("xox", "xapp-"), r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}"),
    Token("Stripe", ("k_", "whsec_"), r"[rs]k_(?:live|test)_\w{10,}|whsec_[\w+/=]{10,}"),
    Token("Sentry", ("sntry",), r"sntry[a-z]_[\w+/=-]{20,}"),
    Token("OpenAI, Anthropic", ("sk-",), r"sk-[\w-]{20,}"),
    Token("SendGrid", ("SG.",), r"SG\.[\w-]{16,}\.[\w-]{16,}"),
    Token("Brevo", ("xkeysib-",), r"xkeysib-[\w-]{20,}"),
)

_SHORTEST_TOKEN = 16
# As quick as to write out one `in` after the other.
_MARK_OF_A_TOKEN = pattern("|".join(re.escape(mark) for token in TOKENS for mark in token.marks))


def _may_hold_token(text: str) -> bool:
    return len(text) >= _SHORTEST_TOKEN and _MARK_OF_A_TOKEN.search(text) is not None


def _may_hold_scheme(text: str) -> bool:
    # Whoever writes a header may write its scheme as he likes.
    lowered = text.lower()
    return "earer" in lowered or "asic" in lowered


_DIGITS_IN_PAIRS = re.compile(r"0[1-9][ .-][0-9]{2}[ .-]")
_START = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2}))"
_REST_OF_LINE = (
    r"(?:[^\n]*?(?=\)(?: already exists| is not present| is still referenced| conflicts with| »|\.?\s*$))|[^\n]*)"
)

FORMS = (
    Form(
        "pem",
        holds("-----BEGIN"),
        pattern(r"-----BEGIN [0-9A-Z ]{1,60}-----(?:.*?-----END [0-9A-Z ]{1,60}-----|.*)", re.DOTALL),
    ),
    Form(
        "postgresql_key",
        holds(")=("),
        pattern(r"(?<=\)=\()" + _REST_OF_LINE, re.MULTILINE),
    ),
    Form(
        "postgresql_row",
        holds_either("row contains (", "contient ("),
        pattern(r"((?:row contains|contient) \()" + _REST_OF_LINE, re.MULTILINE),
        rf"\1{FILTERED}",
    ),
    Form(
        "mysql_entry",
        holds("Duplicate entry '"),
        pattern(r"(Duplicate entry ')(?:[^\n]*?(?=' for key)|[^\n]*)"),
        rf"\1{FILTERED}",
    ),
    Form(
        "url_password",
        holds_both("://", "@"),
        pattern(r"""(://[^\s/?#@:"']*+:)[^\s/"']*@"""),
        rf"\1{FILTERED}@",
    ),
    Form(
        "url_token",
        holds_both("://", "@"),
        pattern(r"""(https?://)[^\s/?#@:"'\[]++@"""),
        rf"\1{FILTERED}@",
    ),
    Form(
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
    Form(
        "jwt",
        holds("eyJ"),
        pattern(r"(?:(?<![\w-])|(?<=%[0-9A-Fa-f]{2}))eyJ[\w-]{5,}+(?:[.:][\w-]++)++", re.ASCII),
    ),
    Form(
        "token",
        _may_hold_token,
        pattern(_START + "(?:" + "|".join(token.pattern for token in TOKENS) + ")", re.ASCII),
    ),
    Form(
        "phone",
        lambda text: "+" in text or ("0" in text and _DIGITS_IN_PAIRS.search(text) is not None),
        # With its country's number, or as France writes them: in pairs.
        pattern(
            r"(?<![\w+.-])(?:\+[1-9](?:[ .()/-]{0,2}\d){7,14}|0[1-9](?:([ .-])\d\d)(?:\1\d\d){3})(?![\w-])", re.ASCII
        ),
    ),
    Form(
        "url_path",
        holds("://"),
        pattern(r"""(?<=://)[^\s?#"'<>]++"""),
        lambda match: without_random(match[0]),
    ),
)

EMAIL = Form(
    "email",
    holds_either("@", "%40"),
    # %2B is a plus sign in the name, any other escape ends what stands before it.
    pattern(
        r"(?:(?<![\w.+%-])|(?<=%[0-9A-Fa-f]{2})(?<!%2[Bb]))"
        r"(?:[\w.+-]|%2[Bb])++(?:@|%40)(?:[\w-]++\.)+[^\W\d_]{2,}+"
    ),
)
