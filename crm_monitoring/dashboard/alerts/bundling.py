"""
Alerts of issues: several in one message, one message a minute and channel, and after ten in an hour one an hour.

A deploy that breaks a hundred things is one piece of news. That an issue is over is none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from crm_monitoring.dashboard.alerts.evaluation import Change, Step
from crm_monitoring.dashboard.alerts.rules import HOUR, MINUTE, Finding, Rule
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert
from crm_monitoring.dashboard.store import alerts

MOST_AN_HOUR = 10


def changes_of_issues(rule: Rule, channels: Collection[str], issue_rules: Collection[str], now: float) -> list[Change]:
    """
    Return what would be told of each issue that the rule finds.

    Args:
        channels: Who is told.
        issue_rules: The names of all rules over issues, which share the channels' patience.
    """
    found = [finding for finding in rule.findings(now) if finding.is_breach]
    known = alerts.of_issues(rule.name, (finding.subject for finding in found))
    own = known.get("")
    waiting = _why_to_wait(channels, issue_rules, now)
    return [_change(rule, finding, known.get(finding.subject), own, waiting, now) for finding in found]


def _change(rule: Rule, finding: Finding, alert: Alert | None, own: Alert | None, waiting: str, now: float) -> Change:
    seen = alert or Alert(rule=rule.name, environment="", subject=finding.subject)
    reason = _why_not(rule, finding, alert, own, now)
    why = reason or waiting
    step = None if why else Step.START
    return Change(rule=rule, alert=seen, finding=finding, step=step, why=why, waits=bool(waiting and not reason))


def _why_not(rule: Rule, finding: Finding, alert: Alert | None, own: Alert | None, now: float) -> str:
    moment = moment_of(now)
    if any(one and one.muted_until and one.muted_until > moment for one in (alert, own)):
        return "it is muted"
    if alert is None or alert.last_sent is None:
        return ""
    if finding.since is not None:
        # Where it began, the rule itself knows whether it has told of that.
        return ""
    if alert.acknowledged_at and alert.state == Alert.State.FIRING:
        return f"{alert.acknowledged_by} has acknowledged it"
    waited = now - alert.last_sent.timestamp()
    return f"the last message was {waited:.0f} s ago, and cooldown is {rule.cooldown}" if waited < rule.cooldown else ""


def _why_to_wait(channels: Collection[str], issue_rules: Collection[str], now: float) -> str:
    sent = alerts.sent_of_issues(channels, issue_rules, moment_of(now - HOUR))
    for channel, moments in sent.items():
        age = now - moments[-1].timestamp()
        if len(moments) >= MOST_AN_HOUR:
            return f"{channel} has had {len(moments)} messages within an hour: they come by the hour now"
        if age < MINUTE:
            return f"{channel} had a message {age:.0f} s ago: they come by the minute"
    return ""


def alerts_of(changes: Sequence[Change], now: float) -> list[Alert]:
    """Return the alerts that the issues of a message get, with what was found of them."""
    return [_told(change.alert, change.finding, now) for change in changes if change.finding]


def _told(alert: Alert, finding: Finding, now: float) -> Alert:
    alert.title, alert.value, alert.since = finding.title, finding.value, finding.since or moment_of(now)
    return alert
