"""Figures as people read them, in the active language: "1.2 s" in English, "1,2 s" in French."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from django.utils.formats import number_format
from django.utils.translation import gettext

from crm_monitoring.extending import pattern

if TYPE_CHECKING:
    from crm_monitoring.dashboard.store.figures import Change

NOTHING = "–"
"""Stands for a figure that was not measured."""

_LEAST_PERCENT = 0.1
_DIGITS_OF_COMMIT = 10
_COMMIT = pattern("[0-9a-f]{40}|[0-9a-f]{64}")


class Delta(NamedTuple):
    """
    How a figure changed against the window before.

    Attributes:
        text: "+12%", "−3%", "no change"; empty where there is nothing to compare.
        direction: Where it went; empty where there is nothing to compare. Whether that is good depends on the figure.
    """

    text: str
    direction: Literal["up", "down", "same", ""]


def count(number: float | None) -> str:
    """Return a whole number with its thousands apart: "1,234"."""
    return NOTHING if number is None else _number(number, 0)


def milliseconds(ms: float | None) -> str:
    """Return a duration in ms up to a second, in s from there: "3.4 ms", "150 ms", "1.2 s"."""
    if ms is None:
        return NOTHING
    if round(ms) >= 1000:
        return gettext("%(number)s s") % {"number": _number(ms / 1000, 1)}
    return gettext("%(number)s ms") % {"number": _number(ms, 0 if ms == 0 or round(ms, 1) >= 10 else 1)}


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 in percent: "1.2%". What is not nothing, yet rounds to it, is "<0.1%"."""
    if share is None:
        return NOTHING
    value = round(share * 100, 1)
    if share > 0 and value < _LEAST_PERCENT:
        return "<" + _percent(_number(_LEAST_PERCENT, 1))
    return _percent(_number(value, 0 if value in (0, 100) else 1))


def score(apdex: float | None) -> str:
    """Return an Apdex with its two decimals: "0.94"."""
    return NOTHING if apdex is None else _number(apdex, 2)


def release(name: str) -> str:
    """Return a release in short: of a commit its first ten digits."""
    return name[:_DIGITS_OF_COMMIT] if _COMMIT.fullmatch(name) else name


def change(figure: Change) -> Delta:
    """Tell how a figure changed, in percent of what it was before."""
    if figure.now is None or figure.before is None:
        return Delta("", "")
    if figure.now == figure.before:
        return Delta(gettext("no change"), "same")
    direction: Literal["up", "down"] = "up" if figure.now > figure.before else "down"
    if figure.before == 0:
        return Delta(gettext("from 0"), direction)
    return _relative(abs(figure.now / figure.before - 1) * 100, direction)


def _relative(points: float, direction: Literal["up", "down"]) -> Delta:
    if round(points) == 0:
        return Delta(gettext("no change"), "same")
    sign = "+" if direction == "up" else "−"
    return Delta(sign + _percent(_number(points, 0)), direction)


def _percent(number: str) -> str:
    return gettext("%(number)s%%") % {"number": number}


def _number(value: float, decimals: int) -> str:
    return number_format(round(value, decimals), decimals, force_grouping=True)
