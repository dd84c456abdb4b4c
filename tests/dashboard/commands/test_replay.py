"""`manage.py monitoring alerts --replay`: what rules would have sent."""

from __future__ import annotations

import io
from time import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crm_monitoring.dashboard.alerts.evaluation import Step
from crm_monitoring.dashboard.alerts.replay import replay
from crm_monitoring.dashboard.alerts.rules import Rule, parse
from crm_monitoring.dashboard.models import Alert
from tests.dashboard.databases import ALIAS
from tests.dashboard.happenings import happen, measure

NOW = 1_800_000_000.0
HOUR = 3_600


@pytest.fixture(autouse=True)
def _database(a_sqlite: str, monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite)


def rule(name: str, **options: Any) -> Rule:
    found, problems = parse({name: options}, [])
    assert problems == ()
    return {one.name: one for one in found}[name]


def manage(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", "alerts", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_a_figure_that_swung_would_have_been_two_messages() -> None:
    for minute in range(60):
        measure("error", count=(12, 3, 3)[minute % 3], name="a", moment=NOW + 60 * minute)
        measure("error", count=50, name="a", environment="staging", moment=NOW + 60 * minute)

    sent = replay(rule("error_rate", environments=["production"]), NOW, NOW + HOUR + 600)

    assert sent is not None
    assert [message.step for message in sent] == [Step.START, Step.END]
    assert sent[0].about == "production 12 errors a minute"
    assert Alert.objects.using(ALIAS).count() == 0


def test_new_issues_would_have_shared_messages() -> None:
    for number in range(30):
        happen(f"problem {number}", moment=NOW + 20 * number)
    happen("late", moment=NOW + 3_000)

    sent = replay(rule("new_issue"), NOW, NOW + HOUR + 120)

    assert sent is not None
    assert [message.about for message in sent][-1] == "ValueError: late"
    assert sent[0].about == "3 × New issue"
    assert len(sent) == 11


def test_the_command_replays_every_rule_that_can_be_without_a_channel() -> None:
    measure("error", count=50, name="a", moment=time() - 7_200)
    measure("error", count=50, name="a", moment=time() - 7_140)

    told = manage("--replay", "7d").splitlines()

    assert told[:2] == ["new_issue: New issue", "  0 messages"]
    assert told[2] == "error_rate: More than 10 errors a minute"
    assert "UTC start: production 50" in told[3]
    assert told[-1] == "  cannot be replayed: what it looks at is not kept by the minute"


@pytest.mark.parametrize("text", ["7", "d", "7w", "-7d", ""])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="write a number of hours or days, as 12h or 7d"):
        manage(f"--replay={text}")
