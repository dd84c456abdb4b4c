"""What rules find in what was measured, and what becomes of their alerts."""

from __future__ import annotations

from typing import Any

import pytest

from crm_monitoring.dashboard.alerts import scheduler
from crm_monitoring.dashboard.alerts.evaluation import Step
from crm_monitoring.dashboard.alerts.messages import Message, from_json
from crm_monitoring.dashboard.alerts.rules import Finding, Rule, parse
from crm_monitoring.dashboard.alerts.rules.errors import errors_a_minute
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert, Delivery, Event, Issue
from crm_monitoring.dashboard.store import alerts
from tests.dashboard.happenings import happen, measure

NOW = 1_800_000_030.0
TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}


@pytest.fixture
def configure(monitoring: Any, a_sqlite: str) -> Any:
    """A channel, and these rules only."""

    def configure(rules: dict[str, Any], **keys: Any) -> None:
        off = dict.fromkeys(("new_issue", "error_rate", "slow"), False)
        monitoring(DASHBOARD_DATABASE=a_sqlite, ALERT_CHANNELS=TEAM, ALERTS={**off, **rules}, **keys)

    return configure


def rule(kind: str, **options: Any) -> Rule:
    (found, *_), problems = parse(
        {"new_issue": None, "error_rate": None, "slow": None, "it": {"kind": kind, **options}}, []
    )
    assert problems == ()
    return found


def find(kind: str, **options: Any) -> list[Finding]:
    return list(rule(kind, **options).findings(NOW))


def breaches(kind: str, **options: Any) -> list[tuple[str, str]]:
    return [(found.environment, found.subject) for found in find(kind, **options) if found.is_breach]


def steps(now: float) -> list[Step]:
    return [change.step for change in scheduler.evaluate(now) if change.step]


def sent() -> list[Message]:
    return [from_json(delivery.body) for delivery in reversed(alerts.history())]


# -- what is a breach -----------------------------------------------------------------------------------------------------


def test_the_slowest_five_percent_count_of_the_window_and_the_running_minute(a_sqlite: str) -> None:
    measure(count=90, ms=100, moment=NOW)
    measure(count=10, ms=3000, moment=NOW - 300)
    measure(count=500, ms=100, moment=NOW - 420)

    (found,) = find("slow")

    assert found.is_breach
    assert found.value == pytest.approx(3000, rel=0.02)
    assert found.requests == 100


@pytest.mark.parametrize(("of", "fires"), [("p95", False), ("average", False), ("any", True)])
def test_one_slow_request_is_what_any_finds(a_sqlite: str, of: str, fires: bool) -> None:
    measure(count=99, ms=100, moment=NOW)
    measure(count=1, ms=3000, moment=NOW)

    assert bool(breaches("slow", of=of)) is fires


def test_the_average_is_of_all(a_sqlite: str) -> None:
    measure(count=10, ms=3000, moment=NOW)
    measure(count=10, ms=100, moment=NOW)

    (found,) = find("slow", of="average")

    assert (found.value, found.is_breach) == (1550, True)


def test_too_few_requests_tell_nothing(a_sqlite: str) -> None:
    measure(count=9, ms=3000, moment=NOW)

    (found,) = find("slow")

    assert (found.value, found.is_breach) == (None, False)
    assert breaches("slow", minimum=9) == [("production", "")]


def test_each_environment_is_by_itself_and_those_of_the_rule_count(a_sqlite: str) -> None:
    measure(ms=3000, moment=NOW)
    measure(ms=3000, moment=NOW, environment="staging")

    assert sorted(breaches("slow")) == [("production", ""), ("staging", "")]
    assert breaches("slow", environments=["staging"]) == [("staging", "")]


def test_each_endpoint_of_the_rule_is_by_itself(a_sqlite: str) -> None:
    measure(ms=3000, moment=NOW, name="GET slow/")
    measure(ms=3000, moment=NOW, name="GET report/")
    measure(count=10_000, moment=NOW)

    assert breaches("slow") == []
    assert breaches("slow", endpoints=["GET slow/"]) == [("production", "GET slow/")]


def test_satisfaction_can_be_too_low(a_sqlite: str) -> None:
    measure(count=10, ms=100, moment=NOW)
    measure(count=10, ms=3000, moment=NOW)

    (found,) = find("apdex_below")

    assert (found.value, found.is_breach) == (0.5, True)
    assert breaches("apdex_below", threshold=0.5) == []


def test_failed_requests_count_in_percent(a_sqlite: str) -> None:
    measure(count=100, moment=NOW, failed=6)

    (found,) = find("failed_percent")

    assert (found.value, found.is_breach) == (6.0, True)
    assert breaches("failed_percent", threshold=6) == []


def test_each_operation_is_by_itself(a_sqlite: str) -> None:
    measure("operation", count=1, ms=1500, moment=NOW, name="import")
    measure("operation", count=1, ms=500, moment=NOW, name="export")

    assert breaches("slow_operation") == [("production", "import")]
    assert breaches("slow_operation", endpoints=["export"]) == []


def test_silence_is_a_breach_where_there_was_none_before(a_sqlite: str, monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite, ENVIRONMENT="production")
    before_any = find("no_requests")
    measure(moment=NOW - 11 * 60)
    measure(moment=NOW - 60, name="GET other/")

    assert before_any == []
    assert breaches("no_requests") == []
    assert breaches("no_requests", endpoints=["GET ok/"]) == [("production", "GET ok/")]
    assert find("no_requests", endpoints=["GET nowhere/"], environments=["production"]) == []


def test_errors_count_by_the_minute(a_sqlite: str) -> None:
    measure("error", count=11, moment=NOW, name="a")
    measure("error", count=100, moment=NOW, name="a", environment="staging")
    measure("error", count=100, moment=NOW - 120, name="a")

    (found,) = find("error_rate", environments=["production"])

    assert (found.value, found.is_breach) == (11.0, True)
    assert breaches("error_rate", threshold=11, environments=["production"]) == []


@pytest.mark.parametrize(
    ("minutes", "window", "rate"),
    [
        ({}, 60, 0),
        ({0: 11}, 60, 11),  # the running minute
        ({-1: 11}, 60, 11),  # the one before: what is evaluated late is not missed
        ({-1: 6, 0: 9}, 60, 12),  # a burst around the minute: half of the one before is in the last sixty seconds
        ({-1: 10, -2: 10, -5: 10, 0: 5}, 300, (20 + 5 + 5) / 5),
        ({-5: 20}, 300, 4),
    ],
)
def test_the_rate_is_the_highest_that_the_window_has_seen(minutes: dict[int, int], window: int, rate: float) -> None:
    running_minute = int(NOW) // 60 * 60
    counts = {running_minute + 60 * minute: count for minute, count in minutes.items()}

    assert errors_a_minute(counts, window, running_minute + 30) == pytest.approx(rate)


def test_an_issue_is_busy_by_its_events(a_sqlite: str) -> None:
    busy, calm = happen("busy", NOW), happen("calm", NOW)
    measure("error", count=101, moment=NOW - 1000, name=busy.fingerprint)
    measure("error", count=100, moment=NOW, name=calm.fingerprint)

    assert breaches("busy_issue") == [("", str(busy.pk))]
    assert breaches("busy_issue", environments=["staging"]) == []
    assert breaches("busy_issue", endpoints=["POST buy/"]) == [("", str(busy.pk))]
    assert breaches("busy_issue", endpoints=["GET ok/"]) == []


def test_an_issue_is_busy_by_those_who_met_it_in_the_window(a_sqlite: str) -> None:
    issue = happen(moment=NOW, user="a")
    happen(moment=NOW, user="b")
    happen(moment=NOW - 7200, user="c")

    assert breaches("busy_issue", of="users", threshold=1) == [("", str(issue.pk))]
    assert breaches("busy_issue", of="users", threshold=2) == []


def test_a_user_who_meets_an_issue_again_is_one_and_was_seen_then(a_sqlite: str) -> None:
    issue = happen(moment=NOW - 7200, user="a")
    before = breaches("busy_issue", of="users", threshold=0)

    happen(moment=NOW, user="a")
    happen(moment=NOW - 100, user="a")

    assert before == []
    assert breaches("busy_issue", of="users", threshold=0) == [("", str(issue.pk))]
    assert issue.users.get().last_seen == moment_of(NOW)


# -- one message when it starts, reminders, one when it is over -----------------------------------------------------------


def test_it_begins_once_reminds_after_the_cooldown_and_ends_once(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 600}})
    measure("error", count=11, moment=NOW, name="a")
    assert (steps(NOW), steps(NOW + 20)) == ([Step.START], [])

    measure("error", count=20, moment=NOW + 600, name="a")
    assert (steps(NOW + 599), steps(NOW + 600), steps(NOW + 615)) == ([], [Step.REMINDER], [])

    assert (steps(NOW + 900), steps(NOW + 915)) == ([Step.END], [])
    assert [message.step for message in sent()] == ["start", "reminder", "end"]
    assert {message.headline for message in sent()} == {"More than 10 errors a minute"}
    assert len({message.thread for message in sent()}) == 1


def test_what_is_measured_while_it_fires_is_kept(configure: Any) -> None:
    configure({"error_rate": {"for": 0}})
    measure("error", count=11, moment=NOW, name="a")
    steps(NOW)
    first = alerts.firing()[0].value

    measure("error", count=11, moment=NOW, name="b")
    steps(NOW + 15)

    (alert,) = alerts.firing()
    assert (first, alert.value) == (11.0, 22.0)
    assert alert.since == moment_of(NOW)


def test_it_can_begin_again(configure: Any) -> None:
    configure({"error_rate": {"for": 0, "cooldown": 300}})
    measure("error", count=11, moment=NOW, name="a")
    steps(NOW)
    steps(NOW + 600)

    measure("error", count=11, moment=NOW + 900, name="a")

    assert steps(NOW + 900) == [Step.START]
    assert Alert.objects.using("dashboard").count() == 1


def test_an_alert_whose_rule_is_gone_fires_no_longer(configure: Any) -> None:
    configure({"error_rate": {"for": 0}})
    measure("error", count=11, moment=NOW, name="a")
    steps(NOW)

    configure({"slow": {}})
    steps(NOW + 15)

    assert alerts.firing() == []
    assert len(sent()) == 1


def test_what_is_older_than_what_is_kept_is_deleted(configure: Any) -> None:
    configure({"error_rate": {"for": 0}}, RETENTION_DAYS=7)
    measure("error", count=11, moment=NOW, name="a")
    steps(NOW)
    steps(NOW + 600)

    steps(NOW + 8 * 86_400)

    assert (alerts.history(), Alert.objects.using("dashboard").count()) == ([], 0)


def test_a_rule_tells_its_own_channels(configure: Any, monitoring: Any) -> None:
    channels = {**TEAM, "boss": {"type": "email", "to": ["boss@example.org"]}, "broken": {"type": "email", "to": []}}
    monitoring(
        DASHBOARD_DATABASE="dashboard",
        ALERT_CHANNELS=channels,
        ALERTS={"slow": None, "error_rate": {"for": 0}, "new_issue": {"channels": ["boss"]}},
    )
    happen(moment=NOW)
    measure("error", count=11, moment=NOW, name="a")

    steps(NOW)

    assert sorted((row.alert.rule, row.channel) for row in alerts.history()) == [
        ("error_rate", "boss"),
        ("error_rate", "team"),
        ("new_issue", "boss"),
    ]


# -- issues ---------------------------------------------------------------------------------------------------------------


def test_a_new_issue_is_told_once_with_its_stack_and_address(configure: Any) -> None:
    configure({"new_issue": {}}, SITE_URL="https://crm.example.org/")
    issue = happen(moment=NOW - 5)

    assert (steps(NOW), steps(NOW + 15)) == ([Step.START], [])

    (message,) = sent()
    assert message.headline == "New issue: ValueError: no such category"
    assert message.stack == ("shop/views.py:42 in buy", "and 1 more calls")
    assert message.url == f"https://crm.example.org/monitoring/issues/{issue.pk}/"
    assert message.dashboard_url == "https://crm.example.org/monitoring/"
    assert message.figures == (
        ("Measured", "events: 1"),
        ("Environment", "production"),
        ("Endpoint", "POST buy/"),
        ("Release", "1.0"),
        ("First seen", "2027-01-15T08:00:25+00:00"),
    )
    assert message.links[0][0] == "Mute or acknowledge"
    assert message.links[0][1].startswith("https://crm.example.org/monitoring/alerts/#alert-")
    assert message.status == "Alert"


@pytest.mark.parametrize(("level", "expected"), [("info", []), ("warning", []), ("fatal", [Step.START])])
def test_a_message_that_is_no_error_is_nobodys_alarm(configure: Any, level: str, expected: list[Step]) -> None:
    configure({"new_issue": {}})
    happen(moment=NOW - 5, level=level)

    assert steps(NOW) == expected


def test_an_issue_that_comes_back_is_told_even_before_anybody_noticed_that_it_was_over(configure: Any) -> None:
    configure({"new_issue": {}})
    issue = happen(moment=NOW - 5)
    steps(NOW)

    Issue.objects.using("dashboard").update(status="resolved", resolved_at=moment_of(NOW + 20))
    happen(moment=NOW + 90)
    back = steps(NOW + 100)
    Issue.objects.using("dashboard").update(status="resolved", resolved_at=moment_of(NOW + 150))
    over = steps(NOW + 160)
    happen(moment=NOW + 170)
    again = steps(NOW + 175)

    assert (back, over, again) == ([Step.START], [], [Step.START])
    assert [message.status for message in sent()] == ["Alert", "Back again", "Back again"]
    assert issue.pk == int(alerts.firing()[0].subject)


def test_an_issue_that_was_not_seen_for_the_window_is_over_without_a_word_and_not_new_then(configure: Any) -> None:
    configure({"new_issue": {"window": 3600}})
    happen(moment=NOW)
    steps(NOW)

    early = steps(NOW + 3590), len(alerts.firing())
    over = steps(NOW + 3601), len(alerts.firing())
    happen(moment=NOW + 4000)

    assert (early, over, steps(NOW + 4000)) == (([], 1), ([], 0), [])
    assert len(sent()) == 1


def test_old_issues_are_not_new_to_a_rule_that_is(configure: Any) -> None:
    configure({"new_issue": {}})
    happen("old", moment=NOW - 400)
    happen("just before", moment=NOW - 200)

    steps(NOW)

    assert [message.headline for message in sent()] == ["New issue: ValueError: just before"]


def test_an_issue_without_events_has_no_stack_and_one_without_pages_no_address(configure: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.urls"
    configure({"new_issue": {}}, SITE_URL="https://crm.example.org/")
    happen(moment=NOW)
    Event.objects.using("dashboard").all().delete()

    steps(NOW)

    (message,) = sent()
    assert (message.stack, message.url, message.dashboard_url) == ((), "", "")


def test_an_issue_that_was_deleted_is_over(configure: Any) -> None:
    configure({"new_issue": {}})
    happen(moment=NOW)
    steps(NOW)
    Issue.objects.using("dashboard").all().delete()

    assert (steps(NOW + 15), alerts.firing()) == ([], [])
    assert len(sent()) == 1


def test_where_issues_count_can_be_said(configure: Any) -> None:
    configure({"new_issue": {"environments": ["production"], "endpoints": ["POST buy/"]}})
    happen("here", moment=NOW)
    happen("staging", moment=NOW, environment="staging")
    happen("elsewhere", moment=NOW, endpoint="GET ok/")

    steps(NOW)

    assert [message.headline for message in sent()] == ["New issue: ValueError: here"]


# -- what is said ---------------------------------------------------------------------------------------------------------


def test_no_message_holds_a_secret(configure: Any) -> None:
    configure({"new_issue": {}})
    happen("password=hunter2 of jane@example.org", moment=NOW)

    steps(NOW)

    (delivery,) = Delivery.objects.using("dashboard").all()
    assert "hunter2" not in delivery.body
    assert "jane@example.org" not in delivery.body


def test_messages_are_in_the_language_of_the_site(configure: Any, settings: Any) -> None:
    settings.LANGUAGE_CODE = "fr"
    configure({"error_rate": {"for": 0}})
    measure("error", count=11, moment=NOW, name="a")

    steps(NOW)

    assert sent()[0].headline == "Plus de 10 erreurs par minute"


def test_moments_are_right_without_time_zones_too(configure: Any, settings: Any) -> None:
    settings.USE_TZ = False
    configure({"error_rate": {"for": 0}})
    measure("error", count=11, moment=NOW, name="a")

    steps(NOW)

    assert sent()[0].since == "2027-01-15T08:00:30+00:00"
    assert alerts.firing()[0].since == moment_of(NOW)
