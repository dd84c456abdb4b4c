"""What rules and channels have in common: a dict of them by name, where one that cannot be used costs nobody but itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from crm_monitoring.conf import BAD_CHOICE, WRONG_TYPE, Problem, Unusable
from crm_monitoring.dashboard.models import RULE_LENGTH

BAD_RULE = "crm_monitoring.E015"
"""A rule of `ALERTS` cannot be used and is off. Write it as the hint shows; the other rules hold."""
BAD_CHANNEL = "crm_monitoring.E016"
"""A channel of `ALERT_CHANNELS` cannot be used and is off. Write it as the hint shows; the others hold."""

T = TypeVar("T")


def usable(
    setting: str, check_id: str, given: Mapping[str, Any], parse: Callable[[str, Any], T]
) -> tuple[tuple[T, ...], tuple[Problem, ...]]:
    """Return what `parse` makes of each, and the problems of those of which it makes nothing."""
    made, problems = [], []
    for name, options in given.items():
        try:
            made.append(parse(name, options))
        except Unusable as error:
            problems.append(_problem(setting, check_id, name, error.sentence(), error.hint))
        except Exception as error:
            # A class of the host's may raise anything when it is made, and say secrets.
            problems.append(_problem(setting, check_id, name, f"raises {type(error).__name__}", "Look at its class."))
    return tuple(made), tuple(problems)


def _problem(setting: str, check_id: str, name: str, complaint: str, hint: str) -> Problem:
    where = f"CRM_MONITORING[{setting!r}][{name[:RULE_LENGTH]!r}]"
    said = complaint if complaint.startswith("[") else f" {complaint}"
    return Problem(check_id, f"{where}{said}.", hint, key=setting)


def described(name: str, given: Any, hint: str) -> dict[Any, Any]:
    """
    Return the options of one, a copy.

    Raises:
        Unusable: if it has no usable name, or its options are no dict.
    """
    if not isinstance(given, Mapping):
        # Not its value: it may be the address of a webhook.
        raise Unusable(WRONG_TYPE, f"is of type {type(given).__name__}", hint)
    if not name or len(name) > RULE_LENGTH or not name.isprintable():
        raise Unusable(BAD_CHOICE, "has no usable name", f"Write a name of 1 to {RULE_LENGTH} characters.")
    return dict(given)
