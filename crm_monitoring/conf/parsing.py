"""
The one parser of what people write: of CRM_MONITORING, of alert rules and of channels.

A parser takes a value and returns it in its final type, or raises `Unusable`, which knows the sentence, what to write instead and
which value is wrong. Only who tells of it knows whether the key is a secret, so the value is put into the sentence last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

Parser = Callable[[Any], Any]

WRONG_TYPE = "crm_monitoring.E002"
"""A value is of the wrong type. Write it as the hint shows."""
BAD_CHOICE = "crm_monitoring.E007"
"""A value is not one of those to choose from. Write one that the hint lists."""
BAD_NUMBER = "crm_monitoring.E009"
"""A number is out of its range. Write one within the range that the hint gives."""

MASK = "********"
INFINITE = float("inf")

_USERINFO = re.compile(r"[^\s/]+@")
_MAX_SHOWN = 100


class Unusable(Exception):
    """
    A value that cannot be used.

    Attributes:
        id: Of the check that says so.
        complaint: The sentence after the key's name; "{}" stands where it repeats the value.
        hint: What to write instead.
        value: What is wrong, where the sentence repeats it.
        place: Where in the value it is, before the complaint: "has an item that ".
    """

    def __init__(self, check_id: str, complaint: str, hint: str, value: Any = None, place: str = "") -> None:
        super().__init__(complaint)
        self.id = check_id
        self.complaint = complaint
        self.hint = hint
        self.value = value
        self.place = place

    def inside(self, place: str) -> Unusable:
        """Return the same of a value that is part of another."""
        return Unusable(self.id, self.complaint, self.hint, self.value, f"{place}{self.place}")

    def sentence(self, *, secret: bool = False) -> str:
        """Return the rest of the sentence after the key's name; of a secret value it tells the type only."""
        said = f"is of type {type(self.value).__name__}" if secret else shown(self.value)
        return self.place + self.complaint.replace("{}", said)


def shown(value: Any) -> str:
    """Return what a sentence may repeat of a value: what could be the user and password of a URL is masked."""
    if value is None or isinstance(value, bool | int | float):
        return f"is {value!r}"
    if isinstance(value, str):
        return f"is {without_userinfo(value)!r}"
    return f"is of type {type(value).__name__}"


def without_userinfo(text: str) -> str:
    """Return the beginning of `text` without what could be the user and password of a URL."""
    return _USERINFO.sub(f"{MASK}@", text)[:_MAX_SHOWN]


def did_you_mean(given: Any, known: Collection[str], otherwise: str = "Use one of {}.") -> str:
    """Return the hint for a name that nobody knows: the one that was meant, or all there are."""
    # Without regard to case: keys are written in capitals, options are not.
    folded = {name.lower(): name for name in known}
    close = get_close_matches(str(given).lower(), folded, n=1)
    return f"Did you mean {folded[close[0]]!r}?" if close else otherwise.format(", ".join(known))


# -- text -----------------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """Parse text: blanks around it do not count."""
    if not isinstance(value, str):
        raise Unusable(WRONG_TYPE, "{}; it must be text", "Write it in quotes.", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable(WRONG_TYPE, "{}, which is not UTF-8", "Write it in UTF-8.", value) from None
    # A slice of a lazy string, or of a member of an enum, is plain text.
    return str(value[:].strip())


def filled(hint: str) -> Parser:
    """Return a parser of text that is not empty."""

    def parse(value: Any) -> str:
        found = text(value)
        if not found:
            raise Unusable(BAD_CHOICE, "is empty", hint)
        return found

    return parse


def choice(known: Collection[str], what: str, *, check_id: str = BAD_CHOICE, upper: bool = False) -> Parser:
    """
    Return a parser of one of the names in `known`.

    Args:
        what: What such a name is, with its article: "a log level".
        upper: Whether "info" means "INFO".
    """

    def parse(value: Any) -> str:
        name = text(value).upper() if upper and isinstance(value, str) else value
        if not isinstance(name, str) or name not in known:
            hint = did_you_mean(value, known, "Choose one of {}.")
            raise Unusable(check_id, f"{{}}, which is not {what}", hint, value)
        return text(name)

    return parse


def url(value: Any, example: str = "https://www.example.org/") -> str:
    """Parse the http or https URL of a place: it may have a path and a query, but neither user nor password."""
    found = text(value)
    complaint = _complaint_of_url(found)
    if complaint:
        raise Unusable(BAD_CHOICE, f"{{}}, which {complaint}", f"For example {example!r}.", value)
    return found


def _complaint_of_url(found: str) -> str | None:
    try:
        parts = urlsplit(found)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "does not parse as a URL"
    if not found.isascii() or len(found.split()) > 1:
        return "holds characters that a URL cannot have"
    if parts.scheme not in ("http", "https") or not host:
        return "is not an http or https URL"
    return None


def site(value: Any) -> str:
    """Parse the address of a site: an http or https URL of a host and perhaps a path, with a slash at its end."""
    found = url(value)
    parts = urlsplit(found)
    if parts.username is not None or parts.query or parts.fragment:
        hint = 'For example "https://www.example.org/".'
        raise Unusable(BAD_CHOICE, "{}, which has more than a host and a path", hint, value)
    return found.rstrip("/") + "/"


# -- numbers --------------------------------------------------------------------------------------------------------------


def flag(value: Any) -> bool:
    """Parse True or False."""
    if not isinstance(value, bool):
        raise Unusable(WRONG_TYPE, "{}; it must be True or False", "Write True or False, without quotes.", value)
    return value


def number(least: float = 0, most: float = INFINITE) -> Parser:
    """Return a parser of finite numbers from `least` to `most`."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unusable(WRONG_TYPE, "{}; it must be a number", "Write a number, without quotes.", value)
        if not least <= value <= most or value == INFINITE:
            raise Unusable(BAD_NUMBER, *_bounds(least, most), value)
        return value

    return parse


def whole(least: int = 0, most: float = INFINITE, *, step: int = 1) -> Parser:
    """Return a parser of whole numbers from `least` to `most`, multiples of `step`."""
    within = number(least, most)

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            hint = "Write a whole number, without quotes."
            raise Unusable(WRONG_TYPE, "{}; it must be a whole number", hint, value)
        if value % step:
            raise Unusable(BAD_NUMBER, f"{{}}; it must be a multiple of {step}", _bounds(least, most)[1], value)
        return int(within(value))

    return parse


def _bounds(least: float, most: float) -> tuple[str, str]:
    if most == INFINITE:
        hint = "Write a number that is not negative." if least == 0 else f"Write {least:g} or more."
        return f"{{}}; it must be {least:g} or more", hint
    return f"{{}}; it must be between {least:g} and {most:g}", f"Write a number from {least:g} to {most:g}."


# -- several --------------------------------------------------------------------------------------------------------------


def names(value: Any) -> tuple[str, ...]:
    """Parse a list of text."""
    hint = 'For example ["one", "two"].'
    if not isinstance(value, list | tuple):
        raise Unusable(WRONG_TYPE, "{}; it must be a list of text", hint, value)
    for item in value:
        if not isinstance(item, str):
            raise Unusable(WRONG_TYPE, "{}; it must be a list of text", hint, item, "has an item that ")
    return tuple(map(text, value))


def each(parse: Parser, values: Iterable[Any]) -> tuple[Any, ...]:
    """Parse items, each by `parse`."""
    return tuple(_item(parse, value) for value in values)


def _item(parse: Parser, value: Any) -> Any:
    try:
        return parse(value)
    except Unusable as error:
        raise error.inside("has an item that ") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """Parse a dict whose keys are text."""
    hint = 'For example {"key": "value"}.'
    if not isinstance(value, Mapping):
        raise Unusable(WRONG_TYPE, "{}; it must be a dict", hint, value)
    for name in value:
        if not isinstance(name, str):
            raise Unusable(WRONG_TYPE, "{}; keys must be text", hint, name, "has a key that ")
    return value
