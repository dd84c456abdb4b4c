"""What follows for alerts from what their rules find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from crm_monitoring.dashboard.alerts.rules import Finding, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert


class Step(Enum):
    """What becomes of an alert; the values are those of Delivery.Kind."""

    START = "start"
    REMINDER = "reminder"
    END = "end"


@dataclass(frozen=True, slots=True)
class Change:
    """
    What an alert has to become.

    Attributes:
        about: The finding that says so, or the alert where nothing is found of its subject any more.
        is_known: Whether the subject had an alert before.
    """

    step: Step
    rule: Rule
    about: Finding | Alert
    is_known: bool

    @property
    def finding(self) -> Finding | None:
        """The finding, if there is one."""
        return self.about if isinstance(self.about, Finding) else None


def changes(rule: Rule, found: Sequence[Finding], known: Mapping[tuple[str, str], Alert], now: float) -> list[Change]:
    """Return what has to change: alerts that begin, that are due for a reminder and that are over."""
    breaches = {(finding.environment, finding.subject): finding for finding in found if finding.is_breach}
    others = {(finding.environment, finding.subject): finding for finding in found if not finding.is_breach}
    steps = [(key, _step(rule, finding, known.get(key), now)) for key, finding in breaches.items()]
    begun = [Change(step, rule, breaches[key], key in known) for key, step in steps if step is not None]
    over = [
        Change(Step.END, rule, others.get(key, alert), True)
        for key, alert in known.items()
        if alert.state == Alert.State.FIRING and key not in breaches
    ]
    return begun + over


def _step(rule: Rule, finding: Finding, alert: Alert | None, now: float) -> Step | None:
    if alert is None or alert.since is None or alert.last_sent is None:
        return Step.START
    if finding.since is not None and finding.since > alert.since:
        # An issue that came back, whether or not anybody noticed that it was over.
        return Step.START
    if alert.state != Alert.State.FIRING:
        # An issue that was not seen for a while is not new when it is seen again.
        return Step.START if finding.since is None else None
    return Step.REMINDER if alert.last_sent <= moment_of(now - rule.cooldown) else None
