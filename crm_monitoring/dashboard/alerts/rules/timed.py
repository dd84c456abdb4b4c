"""Rules over requests and operations: how long they take, how many fail."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

from django.utils.translation import gettext as _

from crm_monitoring.conf import key, parsing
from crm_monitoring.dashboard.alerts.rules.rule import MINUTE, Finding, Rule, at_least, holding, number
from crm_monitoring.dashboard.metrics import Counters, Metric
from crm_monitoring.dashboard.store import alerts, floor_to

PERCENT = 100.0


class Timed(Rule):
    """What is measured of a window, of all requests together or of each endpoint by itself."""

    counted: ClassVar[Metric] = Metric.REQUEST

    for_: int = holding(5 * MINUTE)
    threshold: float
    endpoints: tuple[str, ...] = key(
        (), parsing.names, "Endpoints or operations, each judged by itself. Default: all together."
    )
    minimum: int = at_least(10)

    def findings(self, now: float) -> Iterator[Finding]:
        """Judge each subject of each environment."""
        start = floor_to(now, MINUTE) - self.window
        for environment, names in alerts.tallies(self.counted, start, now).items():
            if self.counts_in(environment):
                for subject, counters in self._subjects(names):
                    yield self._judged(environment, subject, counters)

    def _subjects(self, names: Mapping[str, Counters]) -> Iterator[tuple[str, Counters]]:
        if self.endpoints or self.counted is Metric.OPERATION:
            yield from (
                (name, counters) for name, counters in names.items() if not self.endpoints or name in self.endpoints
            )
            return
        total = Counters()
        for counters in names.values():
            total.add(counters)
        yield "", total

    def _judged(self, environment: str, subject: str, counters: Counters) -> Finding:
        value = self.figure(counters) if counters.count >= self.minimum else None
        return Finding(
            environment=environment,
            subject=subject,
            title=subject,
            value=value,
            requests=counters.count,
            is_breach=value is not None and self.breaks(value),
        )

    @abstractmethod
    def figure(self, counters: Counters) -> float | None:
        """Return what is compared with the threshold, of at least one request."""

    def breaks(self, value: float) -> bool:
        """Whether a value is a breach."""
        return value > self.threshold


class Slow(Timed):
    """Requests that take long."""

    kind = "slow"

    threshold: float = key(1000.0, parsing.number(), "Milliseconds.")
    of: str = key("p95", parsing.choice(("p95", "average", "any"), "a measure of durations"), "p95, average or any.")

    def figure(self, counters: Counters) -> float | None:
        """Return milliseconds."""
        if self.of == "p95":
            return counters.sketch.quantile(0.95)
        return counters.slowest_ms if self.of == "any" else counters.duration_ms / counters.count

    def describe(self) -> str:
        """Return what it looks for."""
        return {
            "p95": _("P95 of requests is over %(threshold)s ms"),
            "average": _("Requests take more than %(threshold)s ms on average"),
            "any": _("A request took more than %(threshold)s ms"),
        }[self.of] % {"threshold": number(self.threshold)}

    def shown(self, value: float) -> str:
        """Return milliseconds."""
        return _("%(value)s ms") % {"value": number(value)}


class SlowOperation(Slow):
    """Operations that take long, each by itself."""

    kind = "slow_operation"
    counted = Metric.OPERATION

    for_: int = holding(0)
    of: str = key("any", parsing.choice(("p95", "average", "any"), "a measure of durations"), "p95, average or any.")
    minimum: int = at_least(1)

    def describe(self) -> str:
        """Return what it looks for."""
        return {
            "p95": _("P95 of operations is over %(threshold)s ms"),
            "average": _("Operations take more than %(threshold)s ms on average"),
            "any": _("An operation took more than %(threshold)s ms"),
        }[self.of] % {"threshold": number(self.threshold)}


class ApdexBelow(Timed):
    """Users who are not content."""

    kind = "apdex_below"

    threshold: float = key(0.7, parsing.number(0, 1), "Apdex, from 0 to 1.")

    def figure(self, counters: Counters) -> float | None:
        """Return the Apdex."""
        return counters.apdex

    def breaks(self, value: float) -> bool:
        """Whether it is too low."""
        return value < self.threshold

    def describe(self) -> str:
        """Return what it looks for."""
        return _("Apdex below %(threshold)s") % {"threshold": number(self.threshold)}

    def shown(self, value: float) -> str:
        """Return the Apdex."""
        return _("Apdex %(value)s") % {"value": number(value)}


class FailedPercent(Timed):
    """Requests that fail."""

    kind = "failed_percent"

    threshold: float = key(5.0, parsing.number(0, 100), "Percent of requests.")

    def figure(self, counters: Counters) -> float | None:
        """Return percent."""
        return PERCENT * counters.failed / counters.count

    def describe(self) -> str:
        """Return what it looks for."""
        return _("More than %(threshold)s %% of requests failed") % {"threshold": number(self.threshold)}

    def shown(self, value: float) -> str:
        """Return percent."""
        return _("%(value)s %% failed") % {"value": number(value)}
