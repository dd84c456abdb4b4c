"""Which rules there are, what they may say, and what is said of a misspelt one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks as django_checks
from django.utils import translation

from crm_monitoring.dashboard import checks, config
from crm_monitoring.dashboard.alerts import messages, rules
from crm_monitoring.dashboard.alerts.rules import Kind, Rule, parse
from crm_monitoring.management.commands.monitoring import effective_setting

TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}


def names(found: tuple[Rule, ...]) -> list[str]:
    return [rule.name for rule in found]


def test_the_guides_three_are_on_once_there_is_a_channel(monitoring: Any) -> None:
    monitoring()
    before = rules.active()

    monitoring(ALERT_CHANNELS=TEAM)

    assert before == ()
    new_issue, error_rate, slow = rules.active()
    assert new_issue.kind is Kind.NEW_ISSUE
    assert (error_rate.kind, error_rate.threshold, error_rate.window) == (Kind.ERROR_RATE, 10, 60)
    assert (slow.kind, slow.threshold, slow.window, slow.of) == (Kind.SLOW, 1000, 300, "p95")


@pytest.mark.parametrize("off", [None, False])
def test_a_default_can_be_turned_off(off: Any) -> None:
    found, problems = parse({"slow": off}, [])

    assert (names(found), problems) == (["new_issue", "error_rate"], ())


def test_a_default_can_be_changed_and_others_added() -> None:
    found, problems = parse(
        {
            "slow": {"threshold": 2000, "of": "average", "cooldown": 600, "minimum": 5, "channels": ["team"]},
            "no orders": {"kind": "no_requests", "window": 1800, "endpoints": ["POST buy/"]},
            "apdex_below": {"threshold": 0.9, "environments": ["production"], "window": None},
        },
        ["team"],
    )

    assert problems == ()
    assert found[2:] == (
        Rule(
            name="slow",
            kind=Kind.SLOW,
            threshold=2000.0,
            of="average",
            cooldown=600,
            minimum=5,
            channels=("team",),
        ),
        Rule(name="no orders", kind=Kind.NO_REQUESTS, window=1800, endpoints=("POST buy/",)),
        Rule(name="apdex_below", kind=Kind.APDEX_BELOW, threshold=0.9, environments=("production",), minimum=10),
    )


@pytest.mark.parametrize(
    ("name", "given", "complaint", "hint"),
    [
        ("eror_rate", {}, "does not name its kind", "Did you mean 'error_rate'?"),
        ("busy", {"kind": "buzy_issue"}, "of the kind 'buzy_issue'", "Did you mean 'busy_issue'?"),
        ("x", {"kind": "?"}, "of the kind '?'", "Use one of new_issue, error_rate"),
        ("slow", True, "is of type bool", "or False"),
        ("slow", {"treshold": 1}, "has an option 'treshold', which slow does not have", "Did you mean 'threshold'?"),
        ("error_rate", {"endpoints": []}, "which error_rate does not have", "Use one of"),
        ("slow", {"threshold": "1 s"}, "has a threshold", "Write a number, 0 or more."),
        ("slow", {"threshold": float("inf")}, "has a threshold", "0 or more"),
        ("slow", {"threshold": True}, "has a threshold", "0 or more"),
        ("apdex_below", {"threshold": 70}, "has a threshold", "from 0 to 1"),
        ("failed_percent", {"threshold": 101}, "has a threshold", "from 0 to 100"),
        ("slow", {"window": 90}, "has a window of 90 seconds", "60 to 3600"),
        ("slow", {"window": 7200}, "has a window of 7200 seconds", "60 to 3600"),
        ("slow", {"window": 5}, "has a window that", "60 or more"),
        ("slow", {"cooldown": 1.5}, "has a cooldown that", "60 or more"),
        ("slow", {"minimum": 0}, "has a minimum that", "1 or more"),
        ("slow", {"of": "p59"}, "has an \"of\" that is 'p59'", "Did you mean 'p95'?"),
        ("slow", {"environments": "production"}, "has environments that are not a list", '["one", "two"]'),
        ("slow", {"channels": ["taem"]}, "names the channel 'taem'", "Did you mean 'team'?"),
        ("", {}, "has no usable name", "1 to 64"),
        ("a\nb", {"kind": "slow"}, "has no usable name", "1 to 64"),
    ],
)
def test_a_rule_that_cannot_be_used_is_left_out_and_says_why(name: str, given: Any, complaint: str, hint: str) -> None:
    found, (problem,) = parse({name: given}, ["team"])

    assert name not in names(found)
    assert problem.id == rules.BAD_RULE
    assert complaint in problem.message
    assert hint in problem.hint


def test_a_rule_for_a_channel_needs_one() -> None:
    _, (problem,) = parse({"slow": {"channels": ["team"]}}, [])

    assert problem.hint == "Add it to CRM_MONITORING['ALERT_CHANNELS']."


def test_the_check_tells_of_rules_and_channels(monitoring: Any) -> None:
    monitoring(ALERTS={"slwo": {}}, ALERT_CHANNELS={"team": {"type": "mail"}})

    found = {message.id: message for message in checks.check_dashboard()}

    assert found.keys() == {checks.BAD_RULE, checks.BAD_CHANNEL}
    assert found[checks.BAD_RULE].hint == "Did you mean 'slow'?"
    assert all(message.level == django_checks.ERROR for message in found.values())


def test_the_check_tells_when_nobody_would_be_told(monitoring: Any) -> None:
    monitoring(ALERTS={"slow": {}})

    assert [message.id for message in checks.check_dashboard()] == [checks.NOBODY_TOLD]


def test_the_command_shows_no_address_of_a_channel(monitoring: Any) -> None:
    monitoring(ALERT_CHANNELS={"slack": {"type": "slack", "url": "https://hooks.slack.com/services/secret"}})

    assert effective_setting()["ALERT_CHANNELS"] == {"slack": "********"}


@pytest.mark.parametrize(("given", "effective"), [("https://crm.example.org", "https://crm.example.org/"), ("crm", "")])
def test_the_address_of_the_site_is_a_url(monitoring: Any, given: str, effective: str) -> None:
    monitoring(SITE_URL=given)

    assert effective == config.get().SITE_URL


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("of", ["p95", "average", "any", "events", "users"])
def test_every_rule_can_be_described(kind: Kind, of: str) -> None:
    found, problems = parse({"it": {"kind": kind.value, "of": of}}, [])
    if problems:
        found, problems = parse({"it": {"kind": kind.value}}, [])

    with translation.override("en"):
        described = messages.describe(found[-1])

    assert problems == ()
    assert "%(" not in described
    assert "%%" not in described
