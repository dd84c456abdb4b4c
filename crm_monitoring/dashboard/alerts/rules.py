"""
The rules of alerts, parsed from ALERTS: pure but for reading the setting.

    "ALERTS": {
        "slow": {"threshold": 2000, "of": "average", "channels": ["team"]},
        "no orders": {"kind": "no_requests", "window": 1800, "endpoints": ["POST orders/"]},
        "error_rate": False,
    }

A rule that is named as a kind is of that kind. Those of `DEFAULTS` are there without being named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from typing import Any, NamedTuple

from crm_monitoring.conf import Problem
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts import BAD_RULE
from crm_monitoring.dashboard.models import RULE_LENGTH

MINUTE = 60
HOUR = 3_600
DAY = 86_400
DEFAULTS = ("new_issue", "error_rate", "slow")
"""The rules that are on unless they are turned off."""


class Kind(Enum):
    """What a rule looks for; the value is what the setting says."""

    NEW_ISSUE = "new_issue"
    ERROR_RATE = "error_rate"
    SLOW = "slow"
    APDEX_BELOW = "apdex_below"
    FAILED_PERCENT = "failed_percent"
    NO_REQUESTS = "no_requests"
    SLOW_OPERATION = "slow_operation"
    BUSY_ISSUE = "busy_issue"


class Rule(NamedTuple):
    """
    When somebody is told of what.

    Attributes:
        threshold: Errors a minute, milliseconds, Apdex, percent of requests, events or users; nothing to NEW_ISSUE and NO_REQUESTS.
        window: Seconds that are looked at, whole minutes; for NEW_ISSUE how long it is not seen until it is over.
        of: "p95", "average" or "any" of durations; "events" or "users" of an issue; else empty.
        environments: Where it counts; empty for everywhere.
        endpoints: Of what, each by itself; empty for all together, and for every operation.
        channels: Who is told; empty for every channel.
        cooldown: Seconds until those who were told are reminded.
        minimum: Fewer requests in the window tell nothing.
    """

    name: str
    kind: Kind
    threshold: float = 0.0
    window: int = 5 * MINUTE
    of: str = ""
    environments: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    cooldown: int = HOUR
    minimum: int = 0


class _Spec(NamedTuple):
    """What the rules of a kind may say, and what they are where they do not: the options beside those of every rule."""

    options: tuple[str, ...]
    defaults: Mapping[str, Any]
    longest: int = HOUR
    choices: tuple[str, ...] = ()


_COMMON = ("kind", "window", "environments", "channels", "cooldown")
_DURATIONS = ("p95", "average", "any")
_SPECS = {
    Kind.NEW_ISSUE: _Spec(options=("endpoints",), defaults={"window": DAY, "cooldown": DAY}, longest=7 * DAY),
    Kind.ERROR_RATE: _Spec(options=("threshold",), defaults={"threshold": 10.0, "window": MINUTE}),
    Kind.SLOW: _Spec(
        options=("threshold", "of", "endpoints", "minimum"),
        defaults={"threshold": 1000.0, "of": "p95", "minimum": 10},
        choices=_DURATIONS,
    ),
    Kind.APDEX_BELOW: _Spec(options=("threshold", "endpoints", "minimum"), defaults={"threshold": 0.7, "minimum": 10}),
    Kind.FAILED_PERCENT: _Spec(
        options=("threshold", "endpoints", "minimum"), defaults={"threshold": 5.0, "minimum": 10}
    ),
    Kind.NO_REQUESTS: _Spec(options=("endpoints",), defaults={"window": 10 * MINUTE}, longest=DAY),
    Kind.SLOW_OPERATION: _Spec(
        options=("threshold", "of", "endpoints", "minimum"),
        defaults={"threshold": 1000.0, "of": "any", "minimum": 1},
        choices=_DURATIONS,
    ),
    Kind.BUSY_ISSUE: _Spec(
        options=("threshold", "of", "endpoints"),
        defaults={"threshold": 100.0, "of": "events", "window": HOUR, "cooldown": DAY},
        longest=DAY,
        choices=("events", "users"),
    ),
}


class _Wrong(Exception):
    """The rest of the sentence about an option, and what to write."""

    def __init__(self, complaint: str, hint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.hint = hint


def active() -> tuple[Rule, ...]:
    """Return the rules that are looked at: none where there is no channel."""
    given = config.get()
    return parse(given.ALERTS, tuple(given.ALERT_CHANNELS))[0] if given.ALERT_CHANNELS else ()


def problems() -> tuple[Problem, ...]:
    """Return what of ALERTS cannot be used."""
    given = config.get()
    return parse(given.ALERTS, tuple(given.ALERT_CHANNELS))[1]


def parse(alerts: Mapping[str, Any], channels: Sequence[str]) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """
    Return the rules that `alerts` describes, the defaults among them, and what of it cannot be used: that rule is left out.

    Args:
        channels: The names of those there are.
    """
    rules, found = [], []
    for name, given in {**{name: {} for name in DEFAULTS}, **alerts}.items():
        if given is None or given is False:
            continue
        try:
            rules.append(_rule(name, given, channels))
        except _Wrong as wrong:
            message = f"CRM_MONITORING['ALERTS'][{name[:RULE_LENGTH]!r}] {wrong.complaint}."
            found.append(Problem(BAD_RULE, message, wrong.hint, key="ALERTS"))
    return tuple(rules), tuple(found)


def _rule(name: str, given: Any, channels: Sequence[str]) -> Rule:
    if not isinstance(given, Mapping):
        raise _Wrong(f"is of type {type(given).__name__}", 'Write a dict of options, {"threshold": 10}, or False.')
    if not name or len(name) > RULE_LENGTH or not name.isprintable():
        raise _Wrong("has no usable name", f"Write a name of 1 to {RULE_LENGTH} characters.")
    kind = _kind(name, given)
    spec = _SPECS[kind]
    known = (*_COMMON, *spec.options)
    for option in given:
        if option not in known:
            raise _Wrong(f"has an option {str(option)[:50]!r}, which {kind.value} does not have", _meant(option, known))
    options = {**spec.defaults, **{option: value for option, value in given.items() if value is not None}}
    options.pop("kind", None)
    parsers = _parsers(kind, spec, channels)
    return Rule(name=name, kind=kind, **{option: parsers[option](value) for option, value in options.items()})


def _kind(name: str, given: Mapping[str, Any]) -> Kind:
    kinds = [kind.value for kind in Kind]
    wanted = given.get("kind", name)
    if wanted not in kinds:
        said = (
            f"is of the kind {str(wanted)[:50]!r}, which does not exist"
            if "kind" in given
            else "does not name its kind"
        )
        raise _Wrong(said, _meant(wanted, kinds))
    return Kind(wanted)


def _meant(given: Any, known: Sequence[str]) -> str:
    close = get_close_matches(str(given).lower(), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Use one of {', '.join(known)}."


# -- the options ----------------------------------------------------------------------------------------------------------


def _parsers(kind: Kind, spec: _Spec, channels: Sequence[str]) -> Mapping[str, Callable[[Any], Any]]:
    return {
        "threshold": lambda value: _threshold(value, kind),
        "window": lambda value: _window(value, spec.longest),
        "of": lambda value: _choice(value, spec.choices),
        "environments": lambda value: _texts(value, "environments"),
        "endpoints": lambda value: _texts(value, "endpoints"),
        "channels": lambda value: _channels(value, channels),
        "cooldown": lambda value: _whole(value, "cooldown", MINUTE),
        "minimum": lambda value: _whole(value, "minimum", 1),
    }


def _threshold(value: Any, kind: Kind) -> float:
    highest = {Kind.APDEX_BELOW: 1.0, Kind.FAILED_PERCENT: 100.0}.get(kind, float("inf"))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= highest
        or value == float("inf")
    ):
        upto = "0 or more" if highest == float("inf") else f"from 0 to {highest:g}"
        raise _Wrong("has a threshold that cannot be used", f"Write a number, {upto}.")
    return float(value)


def _window(value: Any, longest: int) -> int:
    seconds = _whole(value, "window", MINUTE)
    if seconds % MINUTE or seconds > longest:
        raise _Wrong(f"has a window of {seconds} seconds", f"Write whole minutes, in seconds: {MINUTE} to {longest}.")
    return seconds


def _whole(value: Any, option: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _Wrong(f"has a {option} that cannot be used", f"Write a whole number, {least} or more.")
    return value


def _choice(value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise _Wrong(f'has an "of" that is {str(value)[:50]!r}', _meant(value, choices))
    return str(value)


def _texts(value: Any, option: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _Wrong(f"has {option} that are not a list of text", 'For example ["one", "two"].')
    return tuple(value)


def _channels(value: Any, known: Sequence[str]) -> tuple[str, ...]:
    names = _texts(value, "channels")
    for name in names:
        if name not in known:
            hint = _meant(name, known) if known else "Add it to CRM_MONITORING['ALERT_CHANNELS']."
            raise _Wrong(f"names the channel {name[:50]!r}, which is not in ALERT_CHANNELS", hint)
    return names
