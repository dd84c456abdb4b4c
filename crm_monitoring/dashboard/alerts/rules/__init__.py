"""
The rules of alerts, parsed from ALERTS.

    "ALERTS": {
        "slow": {"threshold": 2000, "of": "average", "channels": ["team"]},
        "no orders": {"kind": "no_requests", "window": 1800, "endpoints": ["POST orders/"]},
        "queue": {"kind": "project.alerts.QueueTooLong", "threshold": 50},   # a subclass of Rule of your own
        "error_rate": False,
    }

A rule that is named as a kind is of that kind. Those of `DEFAULTS` are there without being named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from crm_monitoring.conf import BAD_CHOICE, Problem, Unusable, did_you_mean, parse_options
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts.named import BAD_RULE, described, usable
from crm_monitoring.dashboard.alerts.rules.errors import ErrorRate
from crm_monitoring.dashboard.alerts.rules.issues import BusyIssue, NewIssue
from crm_monitoring.dashboard.alerts.rules.rule import DAY, HOUR, MINUTE, Finding, Rule
from crm_monitoring.dashboard.alerts.rules.silence import NoRequests
from crm_monitoring.dashboard.alerts.rules.timed import ApdexBelow, FailedPercent, Slow, SlowOperation
from crm_monitoring.dashboard.loading import class_named

__all__ = ["BAD_RULE", "DAY", "DEFAULTS", "HOUR", "KINDS", "MINUTE", "Finding", "Rule", "active", "parse", "problems"]

DEFAULTS = ("new_issue", "error_rate", "slow")
"""The rules that are on unless they are turned off."""

KINDS: Mapping[str, type[Rule]] = {
    kind.kind: kind
    for kind in (NewIssue, ErrorRate, Slow, ApdexBelow, FailedPercent, NoRequests, SlowOperation, BusyIssue)
}
"""The kinds that have a short name."""


def active() -> tuple[Rule, ...]:
    """Return the rules that are looked at: none where there is no channel."""
    given = config.get()
    return parse(given.ALERTS, given.ALERT_CHANNELS)[0] if given.ALERT_CHANNELS else ()


def problems() -> tuple[Problem, ...]:
    """Return what of ALERTS cannot be used."""
    given = config.get()
    return parse(given.ALERTS, given.ALERT_CHANNELS)[1]


def parse(alerts: Mapping[str, Any], channels: Collection[str]) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """
    Return the rules that `alerts` describes, the defaults among them, and what of it cannot be used: that rule is left out.

    Args:
        channels: The names of those there are.
    """
    given: dict[str, Any] = {**{name: {} for name in DEFAULTS}, **alerts}
    wanted = {name: options for name, options in given.items() if options is not None and options is not False}
    return usable("ALERTS", BAD_RULE, wanted, lambda name, options: _rule(name, options, channels))


def _rule(name: str, given: Any, channels: Collection[str]) -> Rule:
    options = described(name, given, 'Write a dict of options, {"threshold": 10}, or False.')
    kind = _kind(name, options)
    rule = kind(name, **parse_options(kind.declared, options, kind.kind))
    for channel in rule.channels:
        if channel not in channels:
            hint = did_you_mean(channel, channels) if channels else "Add it to CRM_MONITORING['ALERT_CHANNELS']."
            raise Unusable(BAD_CHOICE, f"names the channel {channel[:50]!r}, which is not in ALERT_CHANNELS", hint)
    return rule


def _kind(name: str, options: dict[Any, Any]) -> type[Rule]:
    if "kind" not in options and name not in KINDS:
        raise Unusable(BAD_CHOICE, "does not name its kind", did_you_mean(name, KINDS))
    return class_named(options.pop("kind", name), KINDS, Rule, "kind")
