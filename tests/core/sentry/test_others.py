"""Sites that start sentry_sdk themselves, too: in settings.py, in wsgi.py or asgi.py, in another app, between two requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sentry_sdk
from sentry_sdk import Transport
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration

from crm_monitoring import capture_message, checks, init_sentry, process
from crm_monitoring.sentry import status
from crm_monitoring.sentry.sdk import STREAMS_ONLY, EventScrubber
from tests.conftest import MemoryTransport
from tests.e2e.receiver import Receiver

ROOT = Path(__file__).parents[3]

MOMENTS = {
    "in settings.py": ["settings"],
    "in another app": ["setup"],
    "in wsgi.py or asgi.py": ["application"],
    "between requests": ["after fine"],
    "again and again": ["settings", "setup", "application", "after fine"],
}
FAILURES = ("raises", "logs", "logs_and_raises", "captures")


class Site(NamedTuple):
    """What a site answered, and what left it for either server."""

    told: dict[str, Any]
    ours: Receiver
    theirs: Receiver

    def events(self, at: Receiver, name: str) -> list[Any]:
        request_id = self.told["ids"][name]
        return [event for event in at.payloads("event") if event.get("tags", {}).get("request_id") == request_id]


@pytest.fixture
def servers() -> Iterator[tuple[Receiver, Receiver]]:
    with Receiver() as ours, Receiver() as theirs:
        yield ours, theirs


@pytest.fixture
def site(servers: tuple[Receiver, Receiver]) -> Any:
    def run(*, dsn: str, interface: str = "wsgi", by: str = "init", **asked: Any) -> Site:
        ours, theirs = servers
        said = {
            "our_dsn": ours.dsn if dsn in ("ours", "both") else "",
            "their_dsn": theirs.dsn if dsn in ("theirs", "both") else "",
            "interface": interface,
            "by": by,
            **asked,
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.core.sentry.shared_site", json.dumps(said)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return Site(json.loads(done.stdout.splitlines()[-1]), ours, theirs)

    return run


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
@pytest.mark.parametrize("dsn", ["ours", "theirs"])
@pytest.mark.processes
def test_each_failure_is_one_event_wherever_their_init_stands(site: Any, moment: str, interface: str, dsn: str) -> None:
    shared = site(dsn=dsn, interface=interface, moments=MOMENTS[moment])

    assert shared.told["statuses"] == {
        "fine": 200, "raises": 500, "logs": 200, "logs_and_raises": 500, "captures": 200, "floods": 200,
    }  # fmt: skip
    assert shared.told["problems"] == []
    at, other = (shared.ours, shared.theirs) if dsn == "ours" else (shared.theirs, shared.ours)
    assert other.items == []
    for name in FAILURES:
        (event,) = shared.events(at, name)
        assert event["transaction"] == f"GET {name}/"
        assert (event["environment"], event["release"]) == ("theirs", "their-1.0")
    (crash,) = shared.events(at, "raises")
    mechanism = crash["exception"]["values"][-1]["mechanism"]
    assert (mechanism["type"], mechanism["handled"]) == ("django", False)
    assert crash["tags"]["theirs"] == "saw the secret"
    assert len(shared.events(at, "floods")) == 3
    assert "hunter2" not in json.dumps([item.payload for item in at.items])


@pytest.mark.parametrize("moment", ["in settings.py", "in wsgi.py or asgi.py"])
@pytest.mark.processes
def test_without_any_dsn_the_site_works_and_nothing_leaves(site: Any, moment: str) -> None:
    shared = site(dsn="nobodys", moments=MOMENTS[moment])

    assert set(shared.told["statuses"].values()) == {200, 500}
    assert (shared.ours.items, shared.theirs.items, shared.told["problems"]) == ([], [], [])


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
@pytest.mark.parametrize("moment", ["in another app", "between requests"])
@pytest.mark.parametrize("by", ["close", "set_client"])
@pytest.mark.processes
def test_a_client_that_is_closed_or_put_aside_costs_no_crash(site: Any, by: str, moment: str, interface: str) -> None:
    shared = site(dsn="ours", by=by, moments=MOMENTS[moment], interface=interface)

    for name in FAILURES:
        (event,) = shared.events(shared.ours, name)
        assert event["transaction"] == f"GET {name}/"
    assert "hunter2" not in json.dumps([item.payload for item in shared.ours.items])


@pytest.mark.parametrize("moment", ["in settings.py", "in wsgi.py or asgi.py"])
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
@pytest.mark.parametrize("chosen_by", ["them", "the setting"])
@pytest.mark.processes
def test_the_sdks_own_integration_of_django_may_be_named(
    site: Any, moment: str, interface: str, chosen_by: str
) -> None:
    shared = site(dsn="theirs", moments=MOMENTS[moment], interface=interface, django_integration=chosen_by)

    assert set(shared.told["statuses"].values()) == {200, 500}
    for name in FAILURES:
        (event,) = shared.events(shared.theirs, name)
        assert name in event["transaction"]
    transactions = [transaction["transaction"] for transaction in shared.theirs.payloads("transaction")]
    assert len(transactions) == len(set(transactions)) == (0 if STREAMS_ONLY else 6)
    assert "hunter2" not in json.dumps([item.payload for item in shared.theirs.items])


@pytest.mark.parametrize("moment", ["settings", "application"])
@pytest.mark.processes
def test_the_setting_counts_more_than_what_they_say(site: Any, moment: str) -> None:
    setting = {"ENVIRONMENT": "staging", "SENTRY_RELEASE": "our-2.0", "TRACES_SAMPLE_RATE": 0.0}

    shared = site(dsn="both", moments=[moment], setting=setting)

    (event,) = shared.events(shared.ours, "raises")
    assert (event["environment"], event["release"]) == ("staging", "our-2.0")
    assert shared.ours.payloads("transaction") == shared.theirs.items == []


@pytest.mark.parametrize("dsn", ["ours", "theirs"])
@pytest.mark.processes
def test_what_their_client_sends_before_anybody_has_seen_it_is_scrubbed(site: Any, dsn: str) -> None:
    shared = site(dsn=dsn, moments=["application"], is_early=True)

    (early,) = [
        event for event in shared.ours.payloads("event") + shared.theirs.payloads("event") if "early" in str(event)
    ]
    assert "hunter2" not in json.dumps(early)


@pytest.mark.processes
def test_health_says_who_owns_the_client(site: Any) -> None:
    assert site(dsn="ours", moments=[]).told["sentry"]["owner"] == "crm_monitoring"
    assert site(dsn="ours", moments=["setup"]).told["sentry"]["owner"] == (
        "crm_monitoring, with the options of another sentry_sdk.init()"
    )


def their_init(**options: Any) -> None:
    # Without a release the SDK starts git to find one.
    sentry_sdk.init(release="their-1.0", **options)


@pytest.fixture
def elsewhere(monitoring: Any, _client_of_before: None) -> MemoryTransport:
    """Where another start sends to. The setting names nothing."""
    monitoring(ENVIRONMENT="test")
    return MemoryTransport()


@pytest.fixture(autouse=True)
def _client_of_before() -> Iterator[None]:
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    yield
    sentry_sdk.get_client().close()
    scope.set_client(before)


def test_a_check_says_what_to_move_where(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport})
    assert [message.id for message in checks.check_surroundings() if message.id == checks.SECOND_OWNER] == []

    their_init(dsn="http://public@127.0.0.1:9/7", max_breadcrumbs=7)

    (warning,) = [message for message in checks.check_surroundings() if message.id == checks.SECOND_OWNER]
    assert "dsn, integrations, max_breadcrumbs, release" in warning.msg
    assert "SENTRY_OPTIONS" in str(warning.hint)
    assert "9/7" not in f"{warning.msg} {warning.hint}"


def test_a_client_of_a_scope_of_its_own_keeps_its_transport_and_is_scrubbed(
    sentry: MemoryTransport, transport: MemoryTransport
) -> None:
    theirs = MemoryTransport()

    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(sentry_sdk.Client(transport=theirs, release="their-1.0"))
        capture_message("sync password=hunter2")
        assert status().owner == "another sentry_sdk.init()"
    capture_message("ours")

    assert [event["message"] for event in theirs.events] == ["sync password=[Filtered]"]
    assert [event["message"] for event in sentry.events] == ["ours"]


def test_a_folder_that_is_gone_costs_nothing(
    elsewhere: MemoryTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    their_init(transport=elsewhere)
    folder = tmp_path / "release"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    capture_message("hello")

    assert len(elsewhere.events) == 1


def test_a_client_that_was_taken_away_is_started_when_it_is_asked_for(sentry: MemoryTransport) -> None:
    sentry_sdk.get_global_scope().set_client(None)

    assert init_sentry()
    assert status().owner == "crm_monitoring"


def test_their_integrations_are_kept_but_those_that_ours_stand_in_for(elsewhere: MemoryTransport) -> None:
    theirs = ExcepthookIntegration(always_run=True)
    their_init(transport=elsewhere, integrations=[theirs, DjangoIntegration()])

    init_sentry()

    client = sentry_sdk.get_client()
    assert client.get_integration(ExcepthookIntegration) is theirs
    assert client.get_integration(DjangoIntegration) is None


def test_who_reports_while_a_client_starts_waits_for_nobody(monitoring: Any, _client_of_before: None) -> None:
    class Talkative(Transport):
        def __init__(self, options: Any = None) -> None:
            super().__init__(options)
            said.append(capture_message("a transport starts"))

        def capture_envelope(self, envelope: Envelope) -> None:
            said.append(envelope)

    said: list[Any] = []
    monitoring(ENVIRONMENT="test")
    their_init(dsn="http://public@127.0.0.1:9/7", transport=Talkative)

    init_sentry()

    assert len(said) >= 2


def test_the_thread_that_watches_their_queue_ends(elsewhere: MemoryTransport) -> None:
    their_init(transport=elsewhere, enable_backpressure_handling=True)
    theirs = sentry_sdk.get_client()
    assert theirs.monitor is not None
    theirs.monitor.is_healthy()

    init_sentry()

    assert theirs.transport is sentry_sdk.get_client().transport
    their_init(transport=elsewhere, enable_backpressure_handling=False)
    init_sentry()
    assert capture_message("hello") is not None


def test_a_forked_child_waits_for_no_thread_of_its_parent(elsewhere: MemoryTransport) -> None:
    process.start_over()

    their_init(transport=elsewhere)

    assert capture_message("hello") is not None


def test_a_client_that_somebody_takes_away_stays_away(sentry: MemoryTransport) -> None:
    sentry_sdk.get_global_scope().set_client(None)

    assert capture_message("lost") is None
    assert status().owner == "nobody"


def test_another_start_in_a_test_is_taken_over_there(elsewhere: MemoryTransport) -> None:
    their_init(transport=elsewhere)

    capture_message("sync password=hunter2")

    (event,) = elsewhere.events
    assert (event["message"], event["release"], event["environment"]) == (
        "sync password=[Filtered]",
        "their-1.0",
        "test",
    )


def test_two_threads_that_see_another_client_at_once_start_one(elsewhere: MemoryTransport) -> None:
    secret = "hunter" + "2"
    their_init(transport=elsewhere)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: capture_message(f"password={secret} {number}"), range(8)))

    assert len(elsewhere.events) == 8
    assert "hunter2" not in str(elsewhere.events)


def test_what_another_start_says_is_kept_when_the_setting_changes(elsewhere: MemoryTransport, monitoring: Any) -> None:
    their_init(transport=elsewhere)

    monitoring(ENVIRONMENT="other")
    capture_message("hello")

    (event,) = elsewhere.events
    assert event["environment"] == "other"


def test_a_scrubber_and_a_data_collection_of_theirs_stay(sentry: MemoryTransport) -> None:
    scrubber = EventScrubber(denylist=["iban"])
    their_init(transport=MemoryTransport(), event_scrubber=scrubber)
    init_sentry()
    assert sentry_sdk.get_client().options["event_scrubber"] is scrubber

    their_init(transport=MemoryTransport(), data_collection={"user_info": False})
    init_sentry()
    assert sentry_sdk.get_client().options["data_collection"]["user_info"] is False


def test_a_process_that_ends_starts_no_client_any_more(sentry: MemoryTransport) -> None:
    process.end()

    assert capture_message("late") is None
    assert sentry_sdk.get_client().transport is None
    init_sentry()
    assert sentry_sdk.get_client().transport is not None
