"""The rule over errors a minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.utils.translation import gettext as _

from crm_monitoring.conf import key, parsing
from crm_monitoring.dashboard.alerts.rules.rule import MINUTE, Finding, Rule, holding, minutes_between, number, window
from crm_monitoring.dashboard.store import alerts, floor_to


class ErrorRate(Rule):
    """More errors a minute than there should be, in an environment."""

    kind = "error_rate"

    window: int = window(MINUTE)
    for_: int = holding(MINUTE)
    threshold: float = key(10.0, parsing.number(), "Errors a minute.")

    def findings(self, now: float) -> Iterator[Finding]:
        """Judge each environment."""
        for environment, minutes in alerts.errors(floor_to(now, MINUTE) - self.window, now).items():
            if self.counts_in(environment):
                yield self._judged(environment, minutes, now)

    def _judged(self, environment: str, minutes: Mapping[int, int], now: float) -> Finding:
        value = errors_a_minute(minutes, self.window, now)
        requests, is_breach = sum(minutes.values()), value > self.threshold
        return Finding(environment=environment, value=value, requests=requests, is_breach=is_breach)

    def history(self, start: float, end: float) -> Iterator[tuple[float, list[Finding]]]:
        """Find the errors of each minute; what is older than two days is told by the quarter of an hour, and spread over it."""
        counted = alerts.errors(floor_to(start, MINUTE) - self.window, end)
        for moment in minutes_between(start, end):
            kept = range(floor_to(moment, MINUTE) - self.window, moment, MINUTE)
            windows = {
                environment: {minute: minutes[minute] for minute in kept if minute in minutes}
                for environment, minutes in counted.items()
                if self.counts_in(environment)
            }
            yield moment, [self._judged(environment, window, moment) for environment, window in windows.items()]

    def describe(self) -> str:
        """Return what it looks for."""
        return _("More than %(threshold)s errors a minute") % {"threshold": number(self.threshold)}

    def shown(self, value: float) -> str:
        """Return errors a minute."""
        return _("%(value)s errors a minute") % {"value": number(value)}


def errors_a_minute(minutes: Mapping[int, int], window: int, now: float) -> float:
    """
    Return the highest rate that the window has seen: of its whole minutes until the running one, of those with the running
    one, and of exactly the last `window` seconds, where the minute that is partly in it counts by its share.

    Args:
        minutes: Errors by the start of the minute, Unix seconds.
        window: Seconds.
    """
    running = floor_to(now, MINUTE)
    between = sum(count for started, count in minutes.items() if running - window < started < running)
    oldest, newest = minutes.get(running - window, 0), minutes.get(running, 0)
    share = 1 - (now - running) / MINUTE
    return (between + max(oldest, newest, newest + oldest * share)) / (window / MINUTE)
