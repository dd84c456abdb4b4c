"""`manage.py monitoring alerts`."""

from __future__ import annotations

import io
import socket
import time
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from crm_monitoring.dashboard.alerts import delivery, scheduler
from crm_monitoring.dashboard.commands import alerts as command
from crm_monitoring.dashboard.models import Alert, Lease
from crm_monitoring.dashboard.store import alerts
from tests.dashboard.happenings import happen, measure
from tests.dashboard.receivers import use_mail_server

TEAM = {"team": {"type": "email", "to": ["team@example.org"]}}


@pytest.fixture
def configure(monitoring: Any, a_sqlite: str) -> Any:
    def configure(**keys: Any) -> None:
        monitoring(**{"DASHBOARD_DATABASE": a_sqlite, "ALERT_CHANNELS": TEAM, **keys})

    configure()
    return configure


def manage(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", "alerts", *args, stdout=out, no_color=True)
    return out.getvalue()


def test_it_looks_once_and_sends(configure: Any) -> None:
    happen()

    told = manage()

    assert told == "Alerts: 1 started, 0 still firing, 0 ended.\nSent to team: 1.\n"
    assert [sent.subject for sent in mail.outbox] == ["New issue: ValueError: no such category"]


def test_what_a_channel_does_not_take_is_said(configure: Any, settings: Any) -> None:
    use_mail_server(settings, 1)
    happen()

    assert "Sent to team: 0, then it failed: ConnectionRefusedError.\n" in manage()


def test_where_another_process_has_just_looked_it_says_so(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "EVERY_SECONDS", 0.0)
    Lease.objects.using("dashboard").create(name="alerts", until=time.time() + 4)

    assert manage() == "Another process has just evaluated the rules.\n"


def test_a_dry_run_says_what_would_fire_and_why_and_does_nothing(configure: Any) -> None:
    configure(ALERTS={"quiet": {"kind": "slow_operation"}})
    happen()
    measure(count=20, ms=3000)
    measure("error", count=3, name="a", environment="staging")
    Alert.objects.using("dashboard").create(rule="error_rate", environment="test", state="firing", title="")

    told = manage("--dry-run")

    assert told.splitlines() == [
        "new_issue: New issue",
        "  ValueError: no such category: fires, events: 1; would send: start",
        "error_rate: More than 10 errors a minute",
        "  staging: does not fire, 3 errors a minute",
        "  test: nothing is measured any more; nothing is sent: it is over for 0 s of 60",
        "slow: P95 of requests is over 1000 ms",
        f"  production: fires, {measured_ms(told)} ms; nothing is sent: it holds for 0 s of 300",
        "quiet: An operation took more than 1000 ms",
        "  nothing to report",
    ]
    assert (mail.outbox, alerts.history()) == ([], [])


def test_a_dry_run_says_where_too_little_was_measured(configure: Any) -> None:
    measure(count=9, ms=3000)

    assert "  production: does not fire, not enough data\n" in manage("--dry-run")


def test_a_dry_run_needs_no_channel(monitoring: Any, a_sqlite: str) -> None:
    monitoring(DASHBOARD_DATABASE=a_sqlite)
    measure("error", count=3, name="a")

    told = manage("--dry-run")

    assert "  production: does not fire, 3 errors a minute\n" in told
    assert told.endswith("Nobody would be notified: CRM_MONITORING['ALERT_CHANNELS'] is empty.\n")


def measured_ms(told: str) -> str:
    return told.partition("production: fires, ")[2].partition(" ms")[0]


def test_a_sample_can_be_sent(configure: Any) -> None:
    assert manage("--test", "team") == "The channel 'team' accepted it.\n"
    assert mail.outbox[0].subject == "[production] Test of this channel"


def test_a_sample_that_is_not_taken_is_an_error(configure: Any, settings: Any) -> None:
    use_mail_server(settings, 1)

    with pytest.raises(CommandError, match="The channel 'team' did not accept it: ConnectionRefusedError."):
        manage("--test", "team")


def test_a_mail_server_that_hangs_is_left(configure: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ROUND_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_mail_server(settings, silent.getsockname()[1])

        with pytest.raises(CommandError, match="did not accept it: TimeoutError"):
            manage("--test", "team")


def test_a_channel_that_there_is_not_is_an_error(configure: Any, monitoring: Any) -> None:
    with pytest.raises(CommandError, match="no usable channel 'taem'. Usable channels: team."):
        manage("--test", "taem")


def test_without_a_channel_it_says_what_to_do(monitoring: Any) -> None:
    monitoring()

    with pytest.raises(CommandError, match="ALERT_CHANNELS"):
        manage()


def test_a_database_that_cannot_be_asked_is_an_error(configure: Any) -> None:
    configure(DASHBOARD_DATABASE="nowhere")

    with pytest.raises(CommandError, match="The database 'nowhere' says"):
        manage()


def test_it_watches_until_it_is_interrupted_whatever_the_database_does(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = iter([OperationalError("gone"), scheduler.Round([], []), KeyboardInterrupt()])
    slept: list[float] = []

    def run_round() -> scheduler.Round:
        done = next(rounds)
        if isinstance(done, BaseException):
            raise done
        return done

    monkeypatch.setattr(scheduler, "run_round", run_round)
    monkeypatch.setattr(command, "sleep", slept.append)

    told = manage("--watch")

    assert "The rules could not be evaluated. The database 'dashboard' says: gone" in told
    assert "Alerts: 0 started, 0 still firing, 0 ended." in told
    assert told.endswith("Stopped.\n")
    assert slept == [15.0, 15.0]
