"""Moments with and without USE_TZ: they go into each database and come back as the same moments."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone, translation

from crm_monitoring import hooks
from crm_monitoring.dashboard import flushing
from crm_monitoring.dashboard.alerts import scheduler
from crm_monitoring.dashboard.alerts.evaluation import Step
from crm_monitoring.dashboard.alerts.messages import from_json
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.models import Alert, Delivery, Deploy, Event, Issue, SlowTransaction
from crm_monitoring.dashboard.store import WINDOWS, alerts, deliveries, deploys, figures, issues, leases, upkeep
from tests.dashboard.bodies import Page, hostile_transaction, keep_slow
from tests.dashboard.happenings import happen, measure
from tests.dashboard.measured import request as a_request

TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}
PARIS = ZoneInfo("Europe/Paris")
NOON = datetime(2026, 7, 1, 12, 0, 5, 123456, tzinfo=UTC)

# In Paris the clock shows half past two, and forty minutes later ten past two.
BEFORE_THE_CLOCK_IS_SET_BACK = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
AFTER_IT = BEFORE_THE_CLOCK_IS_SET_BACK + timedelta(minutes=40)


@pytest.fixture
def no_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Paris"


def deployed(alias: str, *moments: datetime) -> None:
    for moment in moments:
        Deploy(release=moment.isoformat(), environment="production", moment=moment).save(using=alias)


def moments(alias: str, **filters: Any) -> list[datetime]:
    return list(Deploy.objects.using(alias).filter(**filters).order_by("moment").values_list("moment", flat=True))


# -- the columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["Europe/Paris", "America/St_Johns", "UTC"])
def test_a_moment_comes_back_as_it_was_written(each_database: str, settings: Any, use_tz: bool, zone: str) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone

    deployed(each_database, NOON)

    assert moments(each_database) == [NOON]
    assert moments(each_database, moment=NOON) == [NOON]
    assert moments(each_database, moment__gt=NOON) == []


@pytest.mark.parametrize("use_tz", [True, False])
def test_rows_stay_right_when_a_project_changes_its_settings(each_database: str, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Paris"
    deployed(each_database, NOON)

    settings.USE_TZ, settings.TIME_ZONE = not use_tz, "Asia/Tokyo"

    assert moments(each_database) == [NOON]


@pytest.mark.parametrize("use_tz", [True, False])
def test_the_hour_that_autumn_repeats_is_two_hours(each_database: str, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Paris"
    deployed(each_database, AFTER_IT, BEFORE_THE_CLOCK_IS_SET_BACK)

    earlier, later = moments(each_database)

    assert (earlier, later) == (BEFORE_THE_CLOCK_IS_SET_BACK, AFTER_IT)
    assert later - earlier == timedelta(minutes=40)
    assert moments(each_database, moment__gt=earlier) == [later]


@pytest.mark.usefixtures("no_time_zones")
def test_a_moment_shows_local_time(each_database: str) -> None:
    deployed(each_database, NOON, BEFORE_THE_CLOCK_IS_SET_BACK, AFTER_IT)

    assert [f"{moment:%H:%M}" for moment in moments(each_database)] == ["14:00", "02:30", "02:10"]


@pytest.mark.usefixtures("no_time_zones")
def test_the_time_zone_of_a_request_changes_no_moment(each_database: str) -> None:
    with timezone.override("Asia/Tokyo"):
        deployed(each_database, NOON)

        assert moments(each_database) == [NOON]


@pytest.mark.usefixtures("no_time_zones")
def test_a_naive_moment_is_local(each_database: str) -> None:
    deployed(each_database, NOON)
    local = NOON.astimezone(PARIS).replace(tzinfo=None)

    assert moments(each_database, moment=local) == [NOON]
    assert moments(each_database, moment__lt=str(local)) == []


def test_migrations_know_the_columns_of_django(db: None) -> None:
    told = io.StringIO()

    call_command("makemigrations", "crm_monitoring_dashboard", dry_run=True, check_changes=True, stdout=told)

    assert "No changes detected" in told.getvalue()


# -- the stores -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_time_zones")
def test_an_issue_is_counted_resolved_and_comes_back(each_database: str) -> None:
    start = time.time() - 60
    for ago in (0, 20, -20):
        issue = happen(moment=start + ago, user="ada")
    issues.set_status([issue.pk], Issue.Status.RESOLVED)

    late = happen(moment=start)
    again = happen(moment=time.time() + 5)

    assert (issue.first_seen, issue.last_seen) == (moment_of(start - 20), moment_of(start + 20))
    assert (late.status, again.status) == ("resolved", "open")
    assert late.resolved_at is not None
    assert abs(late.resolved_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert again.regressed_at == again.last_seen


@pytest.mark.usefixtures("no_time_zones")
def test_an_issue_of_the_repeated_hour_was_last_seen_at_its_end(each_database: str) -> None:
    happen(moment=BEFORE_THE_CLOCK_IS_SET_BACK.timestamp())

    issue = happen(moment=AFTER_IT.timestamp())

    assert (issue.first_seen, issue.last_seen) == (BEFORE_THE_CLOCK_IS_SET_BACK, AFTER_IT)
    event = issues.event(issue)
    assert (event.event.moment, event.next) == (AFTER_IT, None)
    assert event.previous is not None


@pytest.mark.usefixtures("no_time_zones")
def test_a_deploy_is_marked_once_within_ten_minutes(each_database: str) -> None:
    now = datetime.now(UTC)

    for minutes in (30, 9, 0):
        deploys.mark(Deploy(release="1", environment="production", moment=now - timedelta(minutes=minutes)))

    assert moments(each_database) == [now - timedelta(minutes=30), now]


@pytest.mark.usefixtures("no_time_zones")
def test_what_the_collector_counts_is_in_the_figures(each_database: str) -> None:
    hooks.emit(a_request(user_id="1", status=500))
    deployed(each_database, datetime.now(UTC))
    happen()

    assert flushing.flush()

    read = figures.read(WINDOWS["1h"])
    assert (read.requests.now, read.failed.now, read.active_users.now) == (1, 1, 1)
    assert (len(read.deploys), len(read.issues)) == (1, 1)
    assert read.source.newest is not None
    assert abs(read.source.newest - read.until) < timedelta(minutes=2)


@pytest.mark.usefixtures("no_time_zones")
def test_what_is_older_than_the_retention_is_deleted(each_database: str, monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE=each_database, RETENTION_DAYS=1)
    day = 86_400
    happen("old", moment=time.time() - day - 60)
    happen("new", moment=time.time() - day + 60)

    pruned = upkeep.prune()

    assert (pruned.events, pruned.issues) == (1, 1)
    assert [issue.title for issue in Issue.objects.using(each_database).all()] == ["ValueError: new"]


@pytest.mark.usefixtures("no_time_zones")
def test_a_lease_is_taken_once(each_database: str) -> None:
    assert leases.take("it", 60)
    assert not leases.take("it", 60)

    leases.give_back("it")

    assert leases.take("it", 60)


# -- alerts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rules(monitoring: Any, each_database: str, no_time_zones: None) -> None:
    monitoring(
        DASHBOARD_DATABASE=each_database,
        ALERT_CHANNELS=TEAM,
        ALERTS={"slow": False, "error_rate": {"for": 0}},
    )


def evaluated(now: float) -> list[Step]:
    return [change.step for change in scheduler.evaluate(now) if change.step]


@pytest.mark.usefixtures("rules")
# One hour of the three is that which autumn repeats.
@pytest.mark.parametrize("start", [NOON, BEFORE_THE_CLOCK_IS_SET_BACK])
def test_an_alert_begins_reminds_and_ends(start: datetime) -> None:
    now = start.timestamp()
    for hours in (0, 1):
        measure("error", count=11, moment=now + hours * 3_600, name="a")

    steps = [evaluated(now), evaluated(now + 30), evaluated(now + 3_600), evaluated(now + 7_200)]

    assert steps == [[Step.START], [], [Step.REMINDER], [Step.END]]
    told = [from_json(delivery.body) for delivery in reversed(alerts.history())]
    assert {message.since for message in told} == {start.isoformat(timespec="seconds")}
    (alert,) = alerts.of("error_rate").values()
    assert (alert.since, alert.resolved_at) == (start, start + timedelta(hours=2))


@pytest.mark.usefixtures("rules")
def test_an_issue_that_comes_back_in_the_repeated_hour_is_told_of(each_database: str) -> None:
    before, after = BEFORE_THE_CLOCK_IS_SET_BACK.timestamp(), AFTER_IT.timestamp()
    evaluated(before - 60)
    issue = happen(moment=before)
    assert evaluated(before) == [Step.START]
    Issue.objects.using(each_database).filter(pk=issue.pk).update(
        status=Issue.Status.RESOLVED, resolved_at=moment_of(before + 60)
    )

    happen(moment=after)

    assert evaluated(after) == [Step.START]


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("start", [NOON, BEFORE_THE_CLOCK_IS_SET_BACK + timedelta(seconds=1_790)])
def test_a_message_that_failed_waits_and_is_claimed_once(start: datetime) -> None:
    now = start.timestamp()
    measure("error", count=11, moment=now, name="a")
    evaluated(now)

    delivery = deliveries.claim("team", now)

    assert delivery is not None
    assert deliveries.claim("team", now) is None
    deliveries.note_failed(delivery, "HTTP 500", now)
    assert not deliveries.is_waiting(now + deliveries.pause(1) - 1)
    assert deliveries.is_waiting(now + deliveries.pause(1))
    assert deliveries.failing() == [("team", "HTTP 500")]
    deliveries.note_sent(delivery, now + 60)
    (sent,) = alerts.history()
    assert (sent.created, sent.sent_at, sent.due) == (start, start + timedelta(seconds=60), None)


# -- pages ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(db: None, no_time_zones: None, monitoring: Any) -> Iterator[dict[str, str]]:
    """The addresses of all pages, with something on each."""
    monitoring(ALERT_CHANNELS=TEAM)
    now = datetime.now(UTC)
    Deploy.objects.create(release="1.4.2", environment="production", moment=now)
    measure(moment=now.timestamp())
    issue, slow = happen(moment=now.timestamp()), keep_slow(hostile_transaction(), moment=NOON.timestamp())
    alert = Alert.objects.create(rule="error_rate", environment="production", state=Alert.State.FIRING, since=now)
    Delivery.objects.create(alert=alert, channel="team", kind=Delivery.Kind.START, created=NOON, sent_at=NOON)
    addresses = {
        "overview": "",
        "figures": "figures.json",
        "issues": "issues/",
        "issue": f"issues/{issue.pk}/",
        "event": f"issues/{issue.pk}/events/{Event.objects.get().event_id}/",
        "text": f"issues/{issue.pk}/events/{Event.objects.get().event_id}/?format=text",
        "alerts": "alerts/",
        "transactions": "transactions/",
        "transaction": f"transactions/{slow.event_id}/",
    }
    with translation.override("en"):
        yield {name: f"/monitoring/{address}" for name, address in addresses.items()}


@pytest.fixture
def root(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_every_page_is_shown(root: Client, shown: dict[str, str]) -> None:
    for address in shown.values():
        assert root.get(address).status_code == 200


def test_pages_have_local_time_and_name_the_moment(root: Client, shown: dict[str, str]) -> None:
    deploy = Deploy.objects.get()
    overview = root.get(shown["overview"]).text

    assert "Times are in the time zone Europe/Paris." in overview
    assert f'<time datetime="{deploy.moment.astimezone(UTC).isoformat(timespec="seconds")}">' in overview
    for name in ("transactions", "transaction", "alerts"):
        assert "07/01/2026 2 p.m." in Page(root.get(shown[name]).text).text


def test_the_clock_of_the_overview_is_local(root: Client, shown: dict[str, str]) -> None:
    told = Page(root.get(shown["overview"]).text).text

    local = datetime.now(PARIS)
    assert any(f"Updated {local - timedelta(seconds=ago):%H:%M:%S} ." in told for ago in range(60))


def test_figures_for_programs_are_in_utc(root: Client, shown: dict[str, str]) -> None:
    told = root.get(shown["figures"]).json()

    moment = Deploy.objects.get().moment.astimezone(UTC)
    assert told["deploys"][0]["moment"] == f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def test_issues_are_new_for_a_day_and_can_be_resolved(root: Client, shown: dict[str, str]) -> None:
    issue = Issue.objects.get()
    assert "just now" in Page(root.get(shown["issues"]).text).text

    root.post("/monitoring/issues/act/", {"issue": issue.pk, "status": "resolved"})

    issue.refresh_from_db()
    assert issue.resolved_at is not None
    assert root.get(shown["issue"]).status_code == 200


@pytest.mark.parametrize("model", [Issue, Event, SlowTransaction, Deploy, Alert, Delivery])
def test_the_admin_lists_and_filters(root: Client, shown: dict[str, str], model: type[Any]) -> None:
    address = f"/admin/crm_monitoring_dashboard/{model.__name__.lower()}/"
    moment = {Issue: "last_seen", Delivery: "created"}.get(model, "moment")

    assert root.get(address).status_code == 200
    assert root.get(f"{address}{model.objects.get().pk}/change/").status_code == 200
    if model in (Issue, Event, SlowTransaction, Delivery):
        assert root.get(f"{address}?{moment}__gte=2026-07-01 00:00:00").status_code == 200


@pytest.mark.parametrize("table", ["slowtransaction", "delivery"])
def test_the_admin_has_local_time(root: Client, shown: dict[str, str], table: str) -> None:
    assert "July 1, 2026, 2 p.m." in root.get(f"/admin/crm_monitoring_dashboard/{table}/").text


def test_the_commands_have_something_to_say(shown: dict[str, str]) -> None:
    told = io.StringIO()

    call_command("monitoring", "deploy", "--release=1.4.2", stdout=told)
    call_command("monitoring", "status", stdout=told, no_color=True)

    assert "The marker is stored: 1.4.2" in told.getvalue()
    assert f"{Issue.objects.get().last_seen.astimezone(PARIS):%m/%d/%Y}" in told.getvalue()
