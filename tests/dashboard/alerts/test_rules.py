"""Which rules there are, what they may say, and what is said of a misspelt one."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks as django_checks
from django.utils import translation

from crm_monitoring.conf import key, parsing
from crm_monitoring.dashboard import checks, config
from crm_monitoring.dashboard.alerts import channels, rules
from crm_monitoring.dashboard.alerts.rules import KINDS, Finding, Rule, parse
from crm_monitoring.dashboard.alerts.rules.errors import ErrorRate
from crm_monitoring.dashboard.alerts.rules.silence import NoRequests
from crm_monitoring.dashboard.alerts.rules.timed import ApdexBelow, Slow
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
    assert new_issue.kind == "new_issue"
    assert isinstance(error_rate, ErrorRate)
    assert (error_rate.threshold, error_rate.window) == (10, 60)
    assert isinstance(slow, Slow)
    assert (slow.threshold, slow.window, slow.of) == (1000, 300, "p95")


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
        Slow("slow", threshold=2000, of="average", cooldown=600, minimum=5, channels=("team",)),
        NoRequests("no orders", window=1800, endpoints=("POST buy/",)),
        ApdexBelow("apdex_below", threshold=0.9, environments=("production",)),
    )


@pytest.mark.parametrize(
    ("name", "given", "complaint", "hint"),
    [
        ("eror_rate", {}, "does not name its kind", "Did you mean 'error_rate'?"),
        (
            "busy",
            {"kind": "buzy_issue"},
            "has a kind that is 'buzy_issue', which is unknown",
            "Did you mean 'busy_issue'?",
        ),
        ("x", {"kind": "?"}, "has a kind that is '?', which is unknown", "Use one of new_issue, error_rate"),
        ("slow", True, "is of type bool", "or False"),
        ("slow", {"treshold": 1}, "has an option 'treshold', which slow does not have", "Did you mean 'threshold'?"),
        ("error_rate", {"endpoints": []}, "which error_rate does not have", "Use one of"),
        ("slow", {"threshold": "1 s"}, "['threshold'] is '1 s'; it must be a number", "without quotes"),
        ("slow", {"threshold": float("inf")}, "['threshold'] is inf", "not negative"),
        ("slow", {"threshold": True}, "['threshold'] is True", "Write a number"),
        ("apdex_below", {"threshold": 70}, "['threshold'] is 70; it must be between 0 and 1", "from 0 to 1"),
        (
            "failed_percent",
            {"threshold": 101},
            "['threshold'] is 101; it must be between 0 and 100",
            "from 0 to 100",
        ),
        ("slow", {"window": 90}, "['window'] is 90; it must be a multiple of 60", "60 to 3600"),
        ("slow", {"window": 7200}, "['window'] is 7200; it must be between 60 and 3600", "60 to 3600"),
        ("slow", {"window": 5}, "['window'] is 5; it must be a multiple of 60", "60 to 3600"),
        ("slow", {"cooldown": 1.5}, "['cooldown'] is 1.5; it must be a whole number", "Write a whole number"),
        ("slow", {"minimum": 0}, "['minimum'] is 0; it must be 1 or more", "1 or more"),
        ("slow", {"of": "p59"}, "['of'] is 'p59', which is not a measure of durations", "Did you mean 'p95'?"),
        (
            "slow",
            {"environments": "production"},
            "['environments'] is 'production'; it must be a list of text",
            '["one", "two"]',
        ),
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

    assert found.keys() == {rules.BAD_RULE, channels.BAD_CHANNEL}
    assert found[rules.BAD_RULE].hint == "Did you mean 'slow'?"
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of", ["p95", "average", "any", "events", "users"])
def test_every_rule_can_be_described(kind: str, of: str) -> None:
    found, problems = parse({"it": {"kind": kind, "of": of}}, [])
    if problems:
        found, problems = parse({"it": {"kind": kind}}, [])

    with translation.override("en"):
        described = found[-1].describe(), found[-1].measured(0.5), found[-1].measured(None)

    assert problems == ()
    assert all(said and "%(" not in said and "%%" not in said for said in described)


# -- kinds of your own ----------------------------------------------------------------------------------------------------


class QueueTooLong(Rule):
    """A kind of a project's own."""

    threshold: float = key(50.0, parsing.number(), "Jobs that wait.")

    def findings(self, now: float) -> list[Finding]:
        return [Finding(environment="production", value=70, is_breach=self.threshold < 70)]

    def describe(self) -> str:
        return f"More than {self.threshold:g} jobs wait"


class Raising(QueueTooLong):
    """One that cannot be made."""

    def __init__(self, name: str, **options: Any) -> None:
        raise ValueError("hunter2")


def test_a_kind_of_your_own_is_named_by_its_dotted_path() -> None:
    path = f"{__name__}.QueueTooLong"

    (*_, queue), problems = parse({"queue": {"kind": path, "threshold": 60, "cooldown": 600}}, [])

    assert problems == ()
    assert (queue.kind, queue.cooldown, queue.describe()) == (path, 600, "More than 60 jobs wait")
    assert [(found.value, found.is_breach) for found in queue.findings(0.0)] == [(70, True)]
    assert queue.measured(70) == "70"


@pytest.mark.parametrize(
    ("path", "complaint", "hint"),
    [
        ("tests.nowhere.Kind", "which cannot be imported: ModuleNotFoundError", "Is the dotted path right?"),
        (
            f"{__name__}.TEAM",
            "which is not a class of that kind",
            "a subclass of crm_monitoring.dashboard.alerts.rules",
        ),
        (f"{__name__}.Any", "which is not a class of that kind", "a subclass of"),
        (f"{__name__}.Raising", "raises ValueError", "Look at its class."),
        (7, "has a kind that is 7, which is unknown", "Use one of"),
    ],
)
def test_a_kind_that_cannot_be_had_costs_its_rule_only(path: Any, complaint: str, hint: str) -> None:
    found, (problem,) = parse({"queue": {"kind": path}}, [])

    assert names(found) == ["new_issue", "error_rate", "slow"]
    assert complaint in problem.message
    assert hint in problem.hint
    assert "hunter2" not in problem.message


def test_an_option_of_a_kind_of_your_own_is_checked_as_ours_are() -> None:
    _, (problem,) = parse({"queue": {"kind": f"{__name__}.QueueTooLong", "treshold": 3}}, [])

    assert f"has an option 'treshold', which {__name__}.QueueTooLong does not have" in problem.message
    assert problem.hint == "Did you mean 'threshold'?"
