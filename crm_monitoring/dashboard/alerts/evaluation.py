"""
What follows for alerts from what their rules find: a state machine, pure but for what it is given.

An alert is pending while its rule finds a breach, fires once that has held for the rule's `for`, and is over once it has not been
found for as long. Between two messages about the same lie `cooldown` seconds, whatever began meanwhile: figures that swing are
told once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from crm_monitoring.dashboard.alerts.rules import Finding, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert

_ACTIVE = (Alert.State.PENDING, Alert.State.FIRING)


class Step(Enum):
    """What people are told of an alert; the values are those of Delivery.Kind."""

    START = "start"
    REMINDER = "reminder"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    What becomes of an alert.

    Attributes:
        alert: As it was read; one that is not stored where the subject had none.
        finding: What was found of it, None where nothing was.
        becomes: Fields of the alert and their new values.
        step: What people are told, None for nothing.
        why: Why they are told nothing, in words; empty where there is nothing to explain.
        waits: Whether time alone may change that soon, so that somebody has to look again.
    """

    rule: Rule
    alert: Alert
    finding: Finding | None = None
    becomes: Mapping[str, Any] = field(default_factory=dict)
    step: Step | None = None
    why: str = ""
    waits: bool = False


def changes(
    rule: Rule,
    found: Sequence[Finding],
    known: Mapping[tuple[str, str], Alert],
    now: float,
    quiet: Collection[str] = (),
) -> list[Change]:
    """
    Return what becomes of each subject of a rule.

    Args:
        known: The rule's alerts by environment and subject.
        quiet: Environments where something has just gone live.
    """
    by_key = {(finding.environment, finding.subject): finding for finding in found}
    gone = [alert for key, alert in known.items() if key not in by_key and alert.state in _ACTIVE]
    is_muted = _is_muted(known.get(("", "")), now)
    judge = _Judge(rule, now, quiet, is_muted)
    judged = [judge.found(finding, known.get(key) or _new(rule, finding)) for key, finding in by_key.items()]
    return judged + [judge.calm(alert, None) for alert in gone]


def _new(rule: Rule, finding: Finding) -> Alert:
    return Alert(rule=rule.name, environment=finding.environment, subject=finding.subject)


def _is_muted(alert: Alert | None, now: float) -> bool:
    return alert is not None and alert.muted_until is not None and alert.muted_until > moment_of(now)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Decides on one subject after the other."""

    rule: Rule
    now: float
    quiet: Collection[str]
    is_muted: bool

    def found(self, finding: Finding, alert: Alert) -> Change:
        return self._breach(alert, finding) if finding.is_breach else self.calm(alert, finding)

    def calm(self, alert: Alert, finding: Finding | None) -> Change:
        if alert.state == Alert.State.PENDING:
            return self._change(alert, finding, {"state": Alert.State.OK}, why="it held too short")
        if alert.state != Alert.State.FIRING:
            return self._change(alert, finding, {})
        over_for = self._seconds_since(alert.over_since)
        if over_for < self.rule.for_:
            begun = {} if alert.over_since else {"over_since": moment_of(self.now)}
            why = f"it is over for {over_for:.0f} s of {self.rule.for_}"
            return replace(self._change(alert, finding, begun, why=why), waits=True)
        becomes = {"state": Alert.State.RESOLVED, "resolved_at": moment_of(self.now), "over_since": None}
        is_told = _was_told(alert) and not self._is_silenced(alert)
        return self._change(
            alert, finding, becomes, Step.END if is_told else None, "" if is_told else "nobody was told"
        )

    def _breach(self, alert: Alert, finding: Finding) -> Change:
        becomes = dict(self._measured(alert, finding))
        held = self._seconds_since(alert.since) if alert.state in _ACTIVE else 0.0
        if alert.state not in _ACTIVE:
            becomes |= {
                "since": moment_of(self.now),
                "acknowledged_at": None,
                "acknowledged_by": "",
                "resolved_at": None,
            }
        if alert.state != Alert.State.FIRING:
            if held < self.rule.for_:
                becomes["state"] = Alert.State.PENDING
                why = f"it holds for {held:.0f} s of {self.rule.for_}"
                return replace(self._change(alert, finding, becomes, why=why), waits=True)
            becomes["state"] = Alert.State.FIRING
        if alert.over_since:
            becomes["over_since"] = None
        silence = self._silence(alert)
        step = Step.REMINDER if _was_told(alert) else Step.START
        return self._change(alert, finding, becomes, None if silence else step, silence)

    def _measured(self, alert: Alert, finding: Finding) -> Iterator[tuple[str, Any]]:
        # Written where it has changed: most rounds find what the last one found.
        for name, value in (("title", finding.title), ("value", finding.value)):
            if getattr(alert, name) != value:
                yield name, value

    def _silence(self, alert: Alert) -> str:
        if self._is_silenced(alert):
            return "it is muted"
        if alert.acknowledged_at and alert.state == Alert.State.FIRING:
            return f"{alert.acknowledged_by} has acknowledged it"
        if alert.environment in self.quiet and not _was_told(alert):
            return "a release has just gone live"
        waited = self._seconds_since(alert.last_sent)
        if alert.last_sent and waited < self.rule.cooldown:
            return f"the last message was {waited:.0f} s ago, and cooldown is {self.rule.cooldown}"
        return ""

    def _is_silenced(self, alert: Alert) -> bool:
        return self.is_muted or _is_muted(alert, self.now)

    def _seconds_since(self, moment: Any) -> float:
        return max(0.0, self.now - moment.timestamp()) if moment else 0.0

    def _change(
        self, alert: Alert, finding: Finding | None, becomes: Mapping[str, Any], step: Step | None = None, why: str = ""
    ) -> Change:
        return Change(rule=self.rule, alert=alert, finding=finding, becomes=becomes, step=step, why=why)


def _was_told(alert: Alert) -> bool:
    """Whether people know of what fires now, rather than of an earlier time."""
    is_firing = alert.state == Alert.State.FIRING
    return is_firing and alert.last_sent is not None and alert.since is not None and alert.last_sent >= alert.since
