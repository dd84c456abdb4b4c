"""Payment cards and IBANs: numbers that their check digits confirm."""

from __future__ import annotations

import re
from collections.abc import Iterator

from crm_monitoring.lazy import pattern
from crm_monitoring.scrubbing.spans import FILTERED, Span, spliced

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
