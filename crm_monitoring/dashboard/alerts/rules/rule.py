"""What a rule is: for the kinds that come with the dashboard and for your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from crm_monitoring.conf import Keys, key, parsing

MINUTE = 60
HOUR = 3_600
DAY = 86_400


def window(default: int, longest: int = HOUR) -> Any:
    """Declare how many seconds a kind of rule looks at."""
    return key(default, parsing.whole(MINUTE, longest, step=MINUTE), "Seconds to look back, in whole minutes.")


def holding(default: int) -> Any:
    """Declare how long something has to be true, and then untrue, before anybody is notified."""
    return key(
        default,
        parsing.whole(),
        "Seconds for which it holds before anybody is notified, and then for which it does not.",
    )


def at_least(default: int) -> Any:
    """Declare how many requests there have to be."""
    return key(default, parsing.whole(1), "With fewer requests in the window the rule does not fire.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    What a rule found of one subject.

    Attributes:
        environment: Empty for an issue, which may be in many.
        subject: An endpoint or operation, the key of an issue; empty for the environment as a whole.
        title: The subject as people read it, empty for the environment as a whole.
        value: What was measured, in the unit of the rule's threshold; None where too little was.
        requests: How many requests, operations or errors it is about.
        since: When it began; None for now.
    """

    environment: str
    subject: str = ""
    title: str = ""
    value: float | None
    requests: int | None = None
    is_breach: bool
    since: datetime | None = None


class Rule(Keys, ABC):
    """
    When somebody is told of what. A subclass is a kind of rule: its keys are the options that ALERTS may give.

    Attributes:
        kind: What the setting calls the kind; of one of your own its dotted path.
        is_about_issues: Whether subjects are keys of issues: they begin, and nobody is told that they are over.
        name: As ALERTS names the rule.
    """

    kind: ClassVar[str] = ""
    is_about_issues: ClassVar[bool] = False

    name: str
    window: int = window(5 * MINUTE)
    environments: tuple[str, ...] = key((), parsing.names, "Where the rule applies. Default: everywhere.")
    channels: tuple[str, ...] = key((), parsing.names, "Who is notified. Default: every channel.")
    for_: int = holding(0)
    cooldown: int = key(HOUR, parsing.whole(MINUTE), "Seconds between two messages about the same.")

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options, name=name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = vars(cls).get("kind") or f"{cls.__module__}.{cls.__qualname__}"

    @abstractmethod
    def findings(self, now: float) -> Iterable[Finding]:
        """
        Return what the rule finds of each of its subjects, breaches and others.

        Args:
            now: Unix seconds.

        Raises:
            django.db.Error: if the database cannot be read.
        """

    def history(self, start: float, end: float) -> Iterator[tuple[float, Sequence[Finding]]] | None:
        """
        Return what the rule would have found at the end of each minute between two moments, in Unix seconds.

        Returns:
            Moments with findings; None where what it looks at is not kept for so long.
        """
        return None

    @abstractmethod
    def describe(self) -> str:
        """Return what the rule looks for, in words and in the current language."""

    def shown(self, value: float) -> str:
        """Return a value with its unit, in the current language."""
        return number(value)

    def measured(self, value: float | None) -> str:
        """Return what was measured, with its unit and in the current language."""
        return _("not enough data") if value is None else self.shown(value)

    def counts_in(self, environment: str) -> bool:
        """Whether the rule is about this environment."""
        return not self.environments or environment in self.environments


def minutes_between(start: float, end: float) -> range:
    """Return the last second of each minute between two moments, Unix seconds."""
    first = int(start) // MINUTE * MINUTE + MINUTE - 1
    return range(first, int(end) + 1, MINUTE)


def number(value: float) -> str:
    """Return a number with at most two digits behind the point."""
    return f"{round(value, 2):g}" if value < 1e6 else str(int(value))
