"""What a rule would have sent in the past: minute by minute, through the same decisions as now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from crm_monitoring.dashboard.alerts.bundling import MOST_AN_HOUR
from crm_monitoring.dashboard.alerts.evaluation import Step, changes
from crm_monitoring.dashboard.alerts.rules import HOUR, MINUTE, Finding, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert


class Sent(NamedTuple):
    """A message that would have gone out; `moment` is Unix seconds."""

    moment: float
    step: Step
    about: str


def replay(rule: Rule, start: float, end: float) -> list[Sent] | None:
    """Return what `rule` would have sent between two moments, None where nobody keeps what it looks at for so long."""
    history = rule.history(start, end)
    if history is None:
        return None
    return list(_of_issues(rule, history) if rule.is_about_issues else _of_figures(rule, history))


def _of_figures(rule: Rule, history: Iterator[tuple[float, Sequence[Finding]]]) -> Iterator[Sent]:
    known: dict[tuple[str, str], Alert] = {}
    for moment, found in history:
        for change in changes(rule, found, known, moment):
            alert = known[change.alert.environment, change.alert.subject] = change.alert
            for name, value in change.becomes.items():
                setattr(alert, name, value)
            if change.step:
                alert.last_sent = moment_of(moment)
                yield Sent(moment, change.step, f"{alert.environment} {rule.measured(alert.value)}")


def _of_issues(rule: Rule, history: Iterator[tuple[float, Sequence[Finding]]]) -> Iterator[Sent]:
    waiting: list[Finding] = []
    sent: list[float] = []
    for moment, found in history:
        waiting += found
        lately = [earlier for earlier in sent if earlier > moment - HOUR]
        if waiting and len(lately) < MOST_AN_HOUR and (not lately or moment - lately[-1] >= MINUTE):
            about = waiting[0].title if len(waiting) == 1 else f"{len(waiting)} × {rule.describe()}"
            yield Sent(moment, Step.START, about)
            waiting = []
            sent.append(moment)
