"""A small app that builds on `crm_monitoring.extending` alone, as one of somebody else's would."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage, Warning
from django.core.management import call_command

from crm_monitoring import (
    RequestRecord,
    capture_message,
    check_monitoring_health,
    conf,
    extending,
    faults,
    process,
)
from crm_monitoring.conf import parsing
from tests.clients import WSGIClient

# The dashboard looks for its tables.
pytestmark = pytest.mark.django_db


class LedgerKeys(extending.Keys):
    LEDGER_SIZE: int = extending.key(10, parsing.whole(), "Ledger: how many records it keeps.")


class Ledger:
    """Keeps what it is given, and says so."""

    def __init__(self) -> None:
        self.records: list[extending.Record] = []
        self.envelopes: list[extending.Envelope] = []
        self.told: list[str] = []

    def keep(self, record: extending.Record) -> None:
        if len(self.records) < extending.read_keys(LedgerKeys).LEDGER_SIZE:
            self.records.append(record)

    def receive(self, envelope: extending.Envelope) -> None:
        self.envelopes.append(envelope)

    def section(self) -> dict[str, Any]:
        return {"records": len(self.records)}

    def problems(self) -> list[str]:
        return ["The ledger is full."] if len(self.records) == extending.read_keys(LedgerKeys).LEDGER_SIZE else []

    def ended(self) -> None:
        self.told.append("ended")

    def paused(self) -> None:
        self.told.append("paused")

    def start_over(self) -> None:
        self.told.append("forked")


@extending.subcommand
class Count(extending.Subcommand):
    """Counts what the ledger has."""

    name = "ledger"
    help = "Count the records of the ledger."

    def run(self, **options: Any) -> None:
        self.stdout.write("12 records")


@extending.also_goes_to
def destination() -> str:
    return "the ledger" if "LEDGER_SIZE" in conf.known_keys() else ""


@extending.also_complains
def complaints() -> list[CheckMessage]:
    full = [Warning("The ledger is full.", hint="Empty it.", id="ledger.W001")]
    return full if "LEDGER_SIZE" in conf.known_keys() else []


@pytest.fixture
def ledger(monitoring: Any) -> Iterator[Ledger]:
    """The app, ready."""
    ledger = Ledger()
    extending.register_keys(LedgerKeys)
    extending.register_hook(ledger.keep)
    extending.register_receiver(ledger.receive)
    extending.register_section("ledger", ledger.section)
    extending.register_problems(ledger.problems)
    extending.register_ending(ledger.ended)
    extending.register_pause(ledger.paused)
    monitoring(LEDGER_SIZE=2)
    yield ledger
    extending.unregister_hook(ledger.keep)
    extending.unregister_receiver(ledger.receive)
    extending.unregister_section("ledger")
    extending.unregister_problems(ledger.problems)
    extending.unregister_ending(ledger.ended)
    extending.unregister_pause(ledger.paused)
    extending.unregister_keys(LedgerKeys)


def manage(*arguments: str) -> str:
    out = io.StringIO()
    call_command("monitoring", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def test_it_gets_every_record(ledger: Ledger, server: WSGIClient) -> None:
    server.get("/ok/")

    (record,) = ledger.records
    assert isinstance(record, RequestRecord)
    assert record.endpoint == "GET ok/"


def test_it_gets_every_envelope_without_a_dsn(ledger: Ledger) -> None:
    capture_message("password=hunter2")

    (event,) = [item.get_event() for envelope in ledger.envelopes for item in envelope.items]
    assert event is not None
    assert event["message"] == "password=[Filtered]"
    assert extending.sentry_status().local


def test_it_has_a_section_and_problems_in_the_health(ledger: Ledger, server: WSGIClient) -> None:
    before = check_monitoring_health()
    server.get("/ok/")
    server.get("/ok/")
    health = check_monitoring_health()

    assert (before["ledger"], before["problems"]) == ({"records": 0}, [])
    assert (health["ledger"], health["problems"]) == ({"records": 2}, ["The ledger is full."])


def test_it_has_keys_of_its_own(ledger: Ledger, monitoring: Any) -> None:
    monitoring(LEDGER_SIZE="many")

    assert extending.read_keys(LedgerKeys).LEDGER_SIZE == 10
    assert "LEDGER_SIZE cannot be used as it is set." in check_monitoring_health()["problems"][0]


def test_it_adds_a_subcommand(ledger: Ledger) -> None:
    assert manage("ledger") == "12 records\n"


def test_it_says_where_events_go_beside_sentry(ledger: Ledger, monitoring: Any) -> None:
    monitoring(SENTRY_DSN="https://key@sentry.example/7")

    assert "https://sentry.example/7 and the ledger\n" in manage("check")


def test_it_is_told_of_the_end_of_a_task_of_a_command_and_of_the_process(ledger: Ledger) -> None:
    call_command("check", verbosity=0)
    process.end()

    assert ledger.told == ["ended", "ended"]


def test_it_starts_over_in_a_child(ledger: Ledger) -> None:
    extending.after_fork(ledger.start_over)

    process.start_over()

    assert ledger.told == ["forked"]


def test_what_fails_in_it_is_told_and_costs_nobody_anything(
    ledger: Ledger, server: WSGIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    monkeypatch.setattr(ledger, "records", None)

    answer = server.get("/ok/")

    health = check_monitoring_health()
    assert (answer.status, health["ledger"]) == (200, None)
    assert any("Ledger.keep failed 1 time" in problem for problem in health["problems"])


def test_what_it_shows_of_others_has_no_secrets() -> None:
    assert extending.scrub_text("Bearer abcdefghijklmnopqrstuvwxyz0123") == f"Bearer {extending.FILTERED}"


@pytest.mark.parametrize("name", extending.__all__)
def test_all_it_may_use_is_there(name: str) -> None:
    assert getattr(extending, name) is not None


def test_what_only_it_knows_is_told_by_the_check(ledger: Ledger) -> None:
    assert "  ledger.W001: The ledger is full.\n    Empty it.\n" in manage("check")
