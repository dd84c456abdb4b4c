"""Alerts that a person can live with: figures that swing, floods of issues, what is muted, taken on or just deployed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from crm_monitoring.dashboard.alerts import scheduler
from crm_monitoring.dashboard.alerts.messages import Message, from_json
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert, Delivery, Deploy, Issue
from crm_monitoring.dashboard.store import alerts
from crm_monitoring.dashboard.store.alerts import Queued
from tests.dashboard.databases import ALIAS
from tests.dashboard.happenings import happen, measure

NOW = 1_800_000_000.0
CHANNELS = {"team": {"type": "email", "to": ["team@example.org"]}, "boss": {"type": "email", "to": ["b@example.org"]}}
OFF = dict.fromkeys(("new_issue", "error_rate", "slow"), False)


@pytest.fixture
def configure(monitoring: Any, a_sqlite: str) -> Any:
    """One channel, and these rules only."""

    def configure(rules: dict[str, Any], **keys: Any) -> None:
        team = {"team": CHANNELS["team"]}
        monitoring(**{"DASHBOARD_DATABASE": a_sqlite, "ALERT_CHANNELS": team, "ALERTS": {**OFF, **rules}, **keys})

    return configure


def run(start: float, seconds: float, every: float = 15) -> None:
    """Let rounds follow each other as they do."""
    for offset in range(0, int(seconds), int(every)):
        scheduler.evaluate(start + offset)


def sent() -> list[Message]:
    return [from_json(delivery.body) for delivery in reversed(alerts.history(1_000))]


def told() -> list[tuple[str, str]]:
    return [(message.step, message.headline) for message in sent()]


def errors(per_minute: list[int], start: float = NOW) -> None:
    for minute, count in enumerate(per_minute):
        if count:
            measure("error", count=count, name="a", moment=start + 60 * minute)


# -- figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_figure_that_swings_for_an_hour_is_two_messages(configure: Any) -> None:
    configure({"error_rate": {}})
    errors([12, 3, 3] * 20)

    run(NOW, 3_600)
    within = [step for step, _ in told()]
    run(NOW + 3_600, 300)

    assert (within, [step for step, _ in told()]) == (["start"], ["start", "end"])


@pytest.mark.slow
@pytest.mark.parametrize("late", [1, 7, 14])
@pytest.mark.parametrize("held", [0, 30, 60])
def test_however_it_swings_it_is_two_messages_an_hour(configure: Any, late: int, held: int) -> None:
    configure({"error_rate": {"for": held}})
    errors([12, 0, 0, 0] * 15)

    run(NOW + late, 3_500)

    assert len(sent()) == 2


def test_what_holds_for_a_moment_is_nobodys_alarm(configure: Any) -> None:
    configure({"slow": {"for": 300}})
    measure(ms=3_000, moment=NOW)

    run(NOW, 250)

    assert (told(), [alert.state for alert in Alert.objects.using(ALIAS)]) == ([], ["pending"])


def test_what_was_pending_and_is_over_was_nothing(configure: Any) -> None:
    configure({"error_rate": {"for": 300}})
    errors([12])

    run(NOW, 600)

    assert (told(), [alert.state for alert in Alert.objects.using(ALIAS)]) == ([], ["ok"])


def test_it_is_told_once_it_has_held_and_over_once_it_has_been_over(configure: Any) -> None:
    configure({"error_rate": {"for": 120}})
    errors([12, 12, 12, 12])

    run(NOW, 115)
    before = told()
    run(NOW + 120, 15)
    begun = [step for step, _ in told()]
    run(NOW + 135, 270)
    still = [step for step, _ in told()]
    run(NOW + 405, 60)

    assert (before, begun, still) == ([], ["start"], ["start"])
    assert [step for step, _ in told()] == ["start", "end"]


def test_what_comes_back_before_it_is_over_goes_on_firing(configure: Any) -> None:
    configure({"error_rate": {"for": 180}})
    errors([12, 12, 12, 12, 12, 0, 0, 12, 12, 12, 12])

    run(NOW, 660)

    assert [step for step, _ in told()] == ["start"]
    assert Alert.objects.using(ALIAS).get().over_since is None


def test_what_began_within_the_cooldown_is_told_when_that_is_over_and_it_still_fires(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 600}})
    errors([12, 0, 0, *[12] * 20])

    run(NOW, 900)

    assert [step for step, _ in told()] == ["start", "end", "start"]


def test_what_nobody_was_told_of_is_over_without_a_word(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 3_600}})
    errors([12, 0, 0, 12, 0, 0, 0])

    run(NOW, 420)

    assert [step for step, _ in told()] == ["start", "end"]


def test_a_release_that_has_just_gone_live_is_given_time(configure: Any) -> None:
    configure({"error_rate": {"for": 0}}, DEPLOY_QUIET_SECONDS=300)
    for environment in ("production", "staging"):
        for minute in range(8):
            measure("error", count=12, name="a", environment=environment, moment=NOW + 60 * minute)
    Deploy.objects.using(ALIAS).create(release="1.4.2", environment="production", moment=moment_of(NOW - 5))

    run(NOW, 60)
    first = [message.environment for message in sent()]
    run(NOW + 300, 15)

    assert first == ["staging"]
    assert [message.environment for message in sent()] == ["staging", "production"]
    assert ("Release", "1.4.2") in sent()[1].figures


def test_a_muted_alert_is_silent_until_then(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 60}})
    errors([12] * 10)
    scheduler.evaluate(NOW)
    alerts.mute(Alert.objects.using(ALIAS).get().pk, moment_of(NOW + 300))

    run(NOW + 60, 200)
    silent = len(sent())
    run(NOW + 300, 15)

    assert (silent, [step for step, _ in told()]) == (1, ["start", "reminder"])


def test_a_muted_rule_is_silent_about_everything(configure: Any) -> None:
    configure({"error_rate": {"for": 0}, "new_issue": {}})
    alerts.mute_rule("error_rate", moment_of(NOW + 300))
    alerts.mute_rule("new_issue", moment_of(NOW + 300))
    errors([12] * 10)
    happen(moment=NOW)

    run(NOW, 200)
    silent = told()
    alerts.mute_rule("error_rate", None)
    scheduler.evaluate(NOW + 240)

    assert (silent, [step for step, _ in told()]) == ([], ["start"])


def test_what_somebody_has_taken_on_is_repeated_to_nobody_until_it_is_over(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 60}})
    errors([12] * 4)
    scheduler.evaluate(NOW)
    assert alerts.acknowledge(Alert.objects.using(ALIAS).get().pk, "camille", NOW + 10) == 1

    run(NOW + 60, 420)

    assert [step for step, _ in told()] == ["start", "end"]
    assert ("Acknowledged by", "camille") in sent()[1].figures


def test_what_begins_anew_is_nobodys_any_more(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 60}})
    errors([12, 0, 0, 0, 12])
    scheduler.evaluate(NOW)
    alerts.acknowledge(Alert.objects.using(ALIAS).get().pk, "camille", NOW + 10)

    run(NOW + 120, 180)

    assert [step for step, _ in told()] == ["start", "end", "start"]
    assert Alert.objects.using(ALIAS).get().acknowledged_by == ""


# -- issues ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_many_new_issues_are_one_message_with_the_worst_first(configure: Any) -> None:
    configure({"new_issue": {}}, SITE_URL="https://crm.example.org/")
    for number in range(149):
        happen(f"problem {number}", moment=NOW)
    for _ in range(3):
        happen("the worst", moment=NOW)

    scheduler.evaluate(NOW + 5)

    (message,) = sent()
    assert message.headline == "150 × New issue"
    assert message.stack[0] == "3 × ValueError: the worst"
    assert len(message.stack) == 11
    assert message.stack[-1] == "and 140 more"
    assert message.url == "https://crm.example.org/monitoring/issues/?sort=first_seen"
    assert len(alerts.firing()) == 150


def test_a_channel_has_one_message_of_issues_a_minute(configure: Any) -> None:
    configure({"new_issue": {}, "again": {"kind": "new_issue", "environments": ["production"]}})
    for second in range(0, 120, 10):
        happen(f"problem {second}", moment=NOW + second)
        scheduler.evaluate(NOW + second)

    moments = sorted(delivery.created for delivery in alerts.history())

    assert all(later - earlier >= timedelta(seconds=60) for earlier, later in zip(moments, moments[1:], strict=False))
    assert len(moments) == 2


@pytest.mark.slow
def test_after_ten_messages_within_an_hour_they_come_as_digests(configure: Any) -> None:
    configure({"new_issue": {}})
    for minute in range(120):
        happen(f"problem {minute}", moment=NOW + 60 * minute)
        scheduler.evaluate(NOW + 60 * minute)

    messages = sent()
    assert len(messages) <= 20
    assert int(messages[10].headline.partition(" × ")[0]) > 40
    assert len(alerts.told_issues("new_issue", moment_of(NOW))) > 60


@pytest.mark.slow
def test_with_more_than_a_thousand_issues_none_is_told_to_be_over(configure: Any) -> None:
    configure({"new_issue": {}})
    Issue.objects.using(ALIAS).bulk_create(
        Issue(
            fingerprint=str(number),
            title=f"problem {number}",
            level="error",
            count=1,
            first_seen=moment_of(NOW),
            last_seen=moment_of(NOW),
        )
        for number in range(2_500)
    )

    run(NOW + 5, 600)

    assert {step for step, _ in told()} == {"start"}
    assert len(sent()) <= 10
    assert Alert.objects.using(ALIAS).filter(state="firing").count() == 2_500


def test_what_people_have_done_with_an_issue_is_no_news(configure: Any) -> None:
    configure({"new_issue": {}})
    resolved, ignored = happen("one", moment=NOW), happen("two", moment=NOW)
    scheduler.evaluate(NOW + 5)
    Issue.objects.using(ALIAS).filter(pk=resolved.pk).update(status="resolved", resolved_at=moment_of(NOW + 60))
    Issue.objects.using(ALIAS).filter(pk=ignored.pk).update(status="ignored")

    run(NOW + 90, 120)

    assert (len(sent()), alerts.firing()) == (1, [])


def test_a_busy_issue_is_told_again_after_its_cooldown_only(configure: Any) -> None:
    configure({"busy_issue": {"threshold": 10, "cooldown": 600}})
    issue = happen(moment=NOW)
    measure("error", count=11, name=issue.fingerprint, moment=NOW)

    run(NOW, 590)
    first = len(sent())
    run(NOW + 600, 15)
    second = len(sent())
    alerts.acknowledge(Alert.objects.using(ALIAS).exclude(subject="").get().pk, "camille", NOW + 700)
    run(NOW + 1_260, 15)

    assert (first, second, len(sent())) == (1, 2, 2)


def test_of_two_that_find_the_same_issue_one_tells(configure: Any) -> None:
    configure({"new_issue": {}})
    issue = happen(moment=NOW)
    queued = Queued(kind=Delivery.Kind.START, channels=["team"], body=lambda alert: alert.title)

    def tell(now: float) -> bool:
        read = Alert(rule="new_issue", subject=str(issue.pk), title="no such category", since=issue.first_seen)
        return alerts.tell_of_issues("new_issue", [read], queued, now)

    assert (tell(NOW), tell(NOW + 1), len(alerts.history())) == (True, False, 1)


def test_a_round_costs_the_same_with_many_old_issues(configure: Any, django_assert_max_num_queries: Any) -> None:
    configure({"new_issue": {}, "busy_issue": {}})
    for number in range(30):
        happen(f"problem {number}", moment=NOW - 9_000)
    scheduler.evaluate(NOW)

    with django_assert_max_num_queries(30, using=ALIAS):
        scheduler.evaluate(NOW + 15)

    assert Delivery.objects.using(ALIAS).count() == 0
