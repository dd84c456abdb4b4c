"""Exactly one process begins an alert, every message arrives, and a channel that fails holds nobody up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import OperationalError, connections

from crm_monitoring import check_monitoring_health, faults
from crm_monitoring.dashboard import config, flushing, posting
from crm_monitoring.dashboard.alerts import channels, delivery, problems, scheduler
from crm_monitoring.dashboard.fields import moment_of
from crm_monitoring.dashboard.metrics import collector
from crm_monitoring.dashboard.models import Delivery, Issue, Lease
from crm_monitoring.dashboard.store import alerts, deliveries
from crm_monitoring.dashboard.store import clock as store_clock
from tests.conftest import MemoryTransport
from tests.dashboard.databases import ALIAS
from tests.dashboard.happenings import happen, measure
from tests.dashboard.measured import Clock
from tests.dashboard.receivers import HANG, Hook, a_hook
from tests.e2e.processes import READY, ROOT, environment, go_together
from tests.e2e.waiting import wait_for

AT_ONCE = {"error_rate": {"for": 0}, "slow": {"for": 0}}
SECRET = "the-secret-of-the-webhook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with a_hook() as hook:
        yield hook


@pytest.fixture
def second() -> Iterator[Hook]:
    with a_hook() as hook:
        yield hook


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which messages are due."""
    clock = Clock(time.time())
    for module in (delivery, scheduler):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(store_clock, "now", clock)
    return clock


@pytest.fixture
def configure(monitoring: Any) -> Any:
    def configure(*hooks: Hook, **keys: Any) -> None:
        monitoring(**{"DASHBOARD_DATABASE": ALIAS, "ALERT_CHANNELS": setting(*hooks), "ALERTS": AT_ONCE, **keys})

    yield configure
    delivery.reset()


def setting(*hooks: Hook) -> dict[str, dict[str, str]]:
    return {f"hook {n}": {"type": "webhook", "url": hook.url, "secret": SECRET} for n, hook in enumerate(hooks)}


def steps(hook: Hook) -> list[str]:
    return [body["step"] for body in hook.bodies()]


def unsent() -> list[Delivery]:
    return [row for row in alerts.history() if row.sent_at is None]


# -- one message ----------------------------------------------------------------------------------------------------------


def test_of_many_threads_that_find_the_same_breach_one_begins_it(
    each_database: str, configure: Any, hook: Hook
) -> None:
    configure(hook)
    happen()
    measure("error", count=11, name="a")
    now = time.time()
    barrier, made = threading.Barrier(8), []

    def evaluate() -> None:
        connections[each_database].ensure_connection()
        barrier.wait()
        for _ in range(3):
            try:
                made.extend(scheduler.evaluate(now))
                break
            except OperationalError:
                # SQLite, and MariaDB where two wait for each other: a later round.
                time.sleep(0.1)
        connections[each_database].close()

    connections[each_database].close()
    threads = [threading.Thread(target=evaluate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scheduler.run_round()

    assert sorted(change.rule.name for change in made) == ["error_rate", "new_issue"]
    assert sorted(body["rule"] for body in hook.bodies()) == ["error_rate", "new_issue"]


@pytest.mark.processes
def test_of_eight_processes_at_once_one_sends(each_database: str, configure: Any, hook: Hook) -> None:
    configure(hook)
    happen()
    measure("error", count=11, name="a")

    racing = [process(RACE, hooks=[hook]) for _ in range(8)]
    go_together(racing)
    said = [one.communicate(timeout=60) for one in racing]

    assert [err for _, err in said if b"Traceback" in err] == []
    assert sorted(body["rule"] for body in hook.bodies()) == ["error_rate", "new_issue"]
    assert unsent() == []


def process(code: str, *, hooks: list[Hook]) -> subprocess.Popen[bytes]:
    settings = connections.settings[ALIAS]
    database = {name: settings[name] for name in ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME")}
    given = {"ALERT_CHANNELS": setting(*hooks), "ALERTS": AT_ONCE, "LOG_LEVEL": "CRITICAL"}
    keys = json.dumps(given)
    variables = environment(DJANGO_SETTINGS_MODULE="tests.e2e.counted", E2E_DATABASE=json.dumps(database), KEYS=keys)
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


BEGIN = """
import json, os, sys, time
if "mysql" in os.environ["E2E_DATABASE"]:
    import pymysql
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
import django
from django.conf import settings
settings.CRM_MONITORING = json.loads(os.environ["KEYS"])
django.setup()
from django.db import Error, connection
from crm_monitoring.dashboard.alerts import delivery
from crm_monitoring.dashboard.alerts import scheduler
from crm_monitoring.dashboard.store import alerts
connection.ensure_connection()
"""
RACE = f"""
{READY}
for _ in range(5):
    try:
        scheduler.evaluate(time.time())
        break
    except Error:
        time.sleep(0.2)
delivery.deliver()
"""


@pytest.mark.processes
def test_a_message_of_a_process_that_was_killed_while_it_sent_is_sent_by_another(
    a_sqlite: str, configure: Any, hook: Hook, clock: Clock
) -> None:
    configure(hook)
    hook.statuses = [HANG]
    happen()
    scheduler.evaluate(clock.now)
    killed = process("delivery.deliver()", hooks=[hook])
    wait_for(lambda: not hook.statuses, "message on its way")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    at_once = scheduler.run_round()
    clock.now += deliveries.pause(1) + 15
    later = scheduler.run_round()

    assert (at_once.outcomes, [outcome.sent for outcome in later.outcomes]) == ([], [1])
    assert steps(hook) == ["start"]


# -- channels that fail ---------------------------------------------------------------------------------------------------


def test_a_channel_that_fails_is_tried_again_ever_later_and_stops_no_other(
    a_sqlite: str, configure: Any, hook: Hook, second: Hook, clock: Clock
) -> None:
    configure(hook, second)
    hook.statuses = [500, 500]
    happen()

    scheduler.run_round()
    (failed,) = unsent()
    first = (failed.attempts, failed.error, failed.due)
    health = check_monitoring_health()["problems"]
    clock.now += 30
    delivery.deliver()
    (failed,) = unsent()
    clock.now += 59
    delivery.deliver()
    early = steps(hook)
    clock.now += 1
    delivery.deliver()

    assert first == (1, "HTTP 500", moment_of(clock.now - 90 + 30))
    assert health == ["Alerts are waiting for the channel 'hook 0', which last failed with HTTP 500."]
    assert (failed.attempts, early, steps(hook), steps(second)) == (2, [], ["start"], ["start"])
    assert check_monitoring_health()["problems"] == []
    assert faults.sentences() == []


def test_a_channel_that_asks_to_wait_is_waited_for_with_all_its_messages(
    a_sqlite: str, configure: Any, hook: Hook, clock: Clock
) -> None:
    configure(hook)
    hook.statuses = [429]
    happen("one")
    measure("error", count=11, name="a", moment=clock.now)
    scheduler.run_round()

    clock.now += 119
    delivery.deliver()
    early = steps(hook)
    clock.now += 1
    delivery.deliver()

    assert (early, steps(hook)) == ([], ["start", "start"])


def test_that_it_is_over_is_not_told_before_that_it_began(
    a_sqlite: str, configure: Any, hook: Hook, clock: Clock
) -> None:
    configure(hook, ALERTS={"new_issue": None, "error_rate": {"for": 0}})
    hook.statuses = [500, 500, 500]
    measure("error", count=11, name="a", moment=clock.now)
    scheduler.run_round()
    clock.now += 400
    for _ in range(3):
        scheduler.evaluate(clock.now)
        delivery.deliver()
        clock.now += 500

    delivery.deliver()

    assert steps(hook) == ["start", "end"]


def test_a_message_that_cannot_be_sent_for_a_day_is_given_up(
    a_sqlite: str, configure: Any, hook: Hook, clock: Clock
) -> None:
    configure(hook, ALERTS={"new_issue": {"window": 7 * 86_400}})
    hook.statuses = [500, 500]
    happen()
    scheduler.run_round()

    clock.now += 86_401
    scheduler.run_round()

    (given_up,) = [row for row in unsent() if row.kind == "start"]
    assert (given_up.due, given_up.error) == (None, "HTTP 500")


def test_one_that_hangs_costs_a_round_its_time_and_no_more(
    a_sqlite: str, configure: Any, hook: Hook, second: Hook, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ROUND_SECONDS", 2.0)
    configure(hook, second)
    hook.statuses = [HANG]
    happen()
    scheduler.evaluate(clock.now)
    began = time.monotonic()

    first = delivery.deliver()
    again = delivery.deliver()

    took = time.monotonic() - began
    assert [(outcome.sent, outcome.error) for outcome in first] == [(0, "TimeoutError"), (1, "")]
    assert again[0].error == "TimeoutError"
    assert took < 8
    assert [thread.name for thread in threading.enumerate()].count("crm_monitoring-alerts-hook 0") == 1
    assert deliveries.failing() == [("hook 0", "TimeoutError")]
    hook.release.set()
    for thread in threading.enumerate():
        if thread.name == "crm_monitoring-alerts-hook 0":
            thread.join()


def test_a_failure_inside_of_alerting_makes_no_event_and_so_no_alert(
    a_sqlite: str, monitoring: Any, transport: MemoryTransport, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    broken = {"type": "webhook", "url": "http://127.0.0.1:1/", "secret": SECRET}
    monitoring(
        DASHBOARD_DATABASE=ALIAS,
        ALERT_CHANNELS={**setting(hook), "slack": {"type": "slack", "url": "http://127.0.0.1:1/"}, "broken": broken},
        SENTRY_OPTIONS={"transport": transport},
        INBOX=True,
    )
    send = channels.Webhook.send

    def fail(self: channels.Webhook, *args: Any) -> None:
        if self.name == "broken":
            raise ZeroDivisionError
        send(self, *args)

    monkeypatch.setattr(channels.Webhook, "send", fail)
    hook.statuses = [500]
    happen()

    scheduler.run_round()
    flushing.flush()

    assert transport.events == []
    assert [issue.title for issue in Issue.objects.using(ALIAS).all()] == ["ValueError: no such category"]
    assert check_monitoring_health()["problems"] == [
        "Alerts are waiting for the channel 'broken', which last failed with ZeroDivisionError.",
        "Alerts are waiting for the channel 'hook 0', which last failed with HTTP 500.",
        "Alerts are waiting for the channel 'slack', which last failed with ConnectionRefusedError.",
    ]


def test_nobody_claims_what_another_has_claimed(each_database: str, configure: Any, hook: Hook) -> None:
    configure(hook)
    happen()
    now = time.time()
    scheduler.evaluate(now)

    claimed = [deliveries.claim("hook 0", now + 1), deliveries.claim("hook 0", now + 1)]

    assert [one is None for one in claimed] == [False, True]


def test_a_claim_that_another_was_faster_with_is_left(
    a_sqlite: str, configure: Any, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(hook)
    happen()
    now = time.time()
    scheduler.evaluate(now)
    pause = deliveries.pause

    def slow_to_claim(attempts: int) -> int:
        Delivery.objects.using(ALIAS).update(attempts=1)
        return pause(attempts)

    monkeypatch.setattr(deliveries, "pause", slow_to_claim)

    assert deliveries.claim("hook 0", now + 1) is None


def test_pauses_grow_to_half_an_hour() -> None:
    assert [deliveries.pause(attempts) for attempts in (1, 2, 3, 7, 50)] == [30, 60, 120, 1800, 1800]


def test_a_reminder_or_an_end_that_another_was_faster_with_is_not_told_twice(
    each_database: str, configure: Any, hook: Hook
) -> None:
    configure(hook, ALERTS={"new_issue": None, "error_rate": {"for": 0}})
    now = time.time()
    measure("error", count=11, name="a", moment=now)
    scheduler.evaluate(now)
    ((_, (ending,)),) = [one for one in scheduler.look(now + 600) if one[1]]

    made = [scheduler._make(ending, now + 600), scheduler._make(ending, now + 600)]

    assert made == [True, False]
    assert [row.kind for row in alerts.history()] == ["end", "start"]


# -- when -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that is no test."""
    monkeypatch.setattr(config, "is_test_run", lambda: False)


def wait_for_thread() -> None:
    for thread in threading.enumerate():
        if thread.name == "crm_monitoring-alerts":
            thread.join(30)


def test_after_a_flush_with_news_somebody_is_told_from_a_thread_that_ends(
    a_sqlite: str, configure: Any, hook: Hook, live: None
) -> None:
    configure(hook)
    happen()
    collector.count_error("a")

    assert flushing.flush()
    wait_for_thread()

    assert steps(hook) == ["start"]
    assert "crm_monitoring" not in " ".join(thread.name for thread in threading.enumerate())


def test_in_the_tests_of_a_host_and_without_a_channel_there_is_no_thread(
    a_sqlite: str, configure: Any, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(hook)
    collector.count_error("a")
    flushing.flush()
    tested = scheduler._running.thread
    monkeypatch.setattr(config, "is_test_run", lambda: False)
    configure()
    collector.count_error("a")

    flushing.flush()
    request_finished.send(None)

    assert (tested, scheduler._running.thread) == (None, None)


def test_news_that_come_while_a_round_runs_are_anothers(
    a_sqlite: str, configure: Any, hook: Hook, live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "EVERY_SECONDS", 0.5)
    configure(hook)
    happen("one")
    arrived, go_on = threading.Event(), threading.Event()
    deliver = delivery.deliver

    def slowly() -> Any:
        arrived.set()
        go_on.wait(10)
        return deliver()

    monkeypatch.setattr(delivery, "deliver", slowly)
    scheduler.after_flush()
    arrived.wait(10)

    measure("error", count=11, name="a")
    scheduler.after_flush()
    scheduler.after_flush()
    go_on.set()
    deadline = time.monotonic() + 10
    while len(hook.posts) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    wait_for_thread()

    assert steps(hook) == ["start", "start"]


def test_all_processes_together_look_once_in_fifteen_seconds(
    a_sqlite: str, configure: Any, hook: Hook, monkeypatch: pytest.MonkeyPatch, live: None
) -> None:
    configure(hook)
    ticking = Clock(0.0)
    monkeypatch.setattr(scheduler, "monotonic", ticking)
    monkeypatch.setattr(scheduler, "sleep", lambda seconds: setattr(ticking, "now", ticking.now + seconds))
    happen()
    Lease.objects.using(ALIAS).create(name="alerts", until=time.time() + 18)

    done = scheduler.run_round()
    scheduler.after_flush()
    wait_for_thread()

    assert (done.changes, done.outcomes, steps(hook)) == (None, [], [])
    assert ticking.now >= 15


def test_a_database_that_is_gone_ends_the_round_quietly(configure: Any, hook: Hook, a_sqlite: str, live: None) -> None:
    configure(hook)
    with connections[a_sqlite].cursor() as cursor:
        cursor.execute("ALTER TABLE crm_monitoring_dashboard_lease RENAME TO gone")
        cursor.execute("ALTER TABLE crm_monitoring_dashboard_delivery RENAME TO gone_too")

    scheduler.after_flush()
    wait_for_thread()
    found = problems()

    with connections[a_sqlite].cursor() as cursor:
        cursor.execute("ALTER TABLE gone RENAME TO crm_monitoring_dashboard_lease")
        cursor.execute("ALTER TABLE gone_too RENAME TO crm_monitoring_dashboard_delivery")
    assert (found, faults.sentences()) == ([], [])


def test_an_interpreter_that_ends_starts_no_thread(
    a_sqlite: str, configure: Any, hook: Hook, live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(hook)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    scheduler.after_flush()

    assert not scheduler._running.thread.is_alive()


def test_a_rule_or_channel_that_cannot_be_used_is_a_problem(monitoring: Any, a_sqlite: str) -> None:
    monitoring()
    assert problems() == []

    monitoring(DASHBOARD_DATABASE=a_sqlite, ALERTS={"slwo": {}, "slw": {}})

    assert problems() == ["crm_monitoring.E015: ALERTS cannot be used as it is set."]


def test_channels_of_all_kinds_have_a_deadline() -> None:
    assert delivery.ROUND_SECONDS + scheduler.EVERY_SECONDS < 30
    assert posting.TIMEOUT_SECONDS == 10
