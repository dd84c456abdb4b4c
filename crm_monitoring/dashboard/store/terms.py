"""
What people type to find something: words, and filters such as `is:open -endpoint:"GET x" tenant:north`. Pure.

A name that is no filter's is that of a tag. What cannot be read as a filter is a word: nothing that is typed is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_TERMS = 20
_MOST_LETTERS = 500
_TERM = re.compile(
    r"""(?P<minus>-?) (?: (?P<name>[\w.-]+) : (?: "(?P<quoted>[^"]*)" | (?P<bare>[^\s"]+) ) | "(?P<phrase>[^"]*)" ) (?= \s | $ ) | (?P<word>\S+)""",
    re.VERBOSE,
)
_SPAN = re.compile(r"(\d{1,4})([mhd])")
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_PLAIN = re.compile(r"[^\s\"]+")
_FILTER = re.compile(r"-?[\w.-]+:.+")

FILTERS = ("is", "level", "release", "env", "user", "last", "endpoint")
"""Names of filters; any other is that of a tag."""


class Filter(NamedTuple):
    """One condition: what `name` is, or is not."""

    name: str
    value: str
    is_not: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.is_not else ''}{self.name}:{_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What was typed."""

    words: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()

    def __str__(self) -> str:
        return " ".join([*map(_word, self.words), *map(str, self.filters)])

    @property
    def all(self) -> list[str | Filter]:
        """Everything that was typed, the words first."""
        return [*self.words, *self.filters]

    def without(self, term: str | Filter) -> Terms:
        """Return the others."""
        return Terms(
            tuple(word for word in self.words if word != term), tuple(one for one in self.filters if one != term)
        )

    @property
    def only_word(self) -> str:
        """The one word that was typed, empty where there is more or less."""
        return self.words[0] if len(self.words) == 1 and not self.filters else ""


def parse(text: str) -> Terms:
    """Return the terms of a text: at most twenty, of its first 500 characters."""
    words: list[str] = []
    filters: list[Filter] = []
    for match in _TERM.finditer(text[:_MOST_LETTERS].replace("\0", " ")):
        found = match["quoted"] if match["quoted"] is not None else match["bare"]
        if match["name"] and found:
            filters.append(Filter(match["name"], found, match["minus"] == "-"))
        elif word := (match["phrase"] or match["word"] or "").replace('"', "").strip():
            words.append(word)
    return Terms(tuple(_once(words)[:MOST_TERMS]), tuple(_once(filters)[:MOST_TERMS]))


def seconds_of(value: str) -> int | None:
    """Return a stretch of time in seconds: "15m", "1h", "7d"; None for anything else."""
    match = _SPAN.fullmatch(value)
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _once(found: Iterable[str | Filter]) -> list[Any]:
    return list(dict.fromkeys(found))


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def _word(word: str) -> str:
    """Return a word as it is typed, so that it is read as one again."""
    return word if _PLAIN.fullmatch(word) and not _FILTER.fullmatch(word) else f'"{word}"'
