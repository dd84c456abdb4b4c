from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.modules import ModulesIntegration

from crm_monitoring import capture_exception, capture_message, faults, get_traces_sample_rate, init_sentry, release
from crm_monitoring.sentry import destination, status
from crm_monitoring.sentry.sampling import sample_rate
from tests.clients import ASGIClient, WSGIClient
from tests.conftest import MemoryTransport

COMMIT = "4be3caa0" * 5
DSN = "http://public@127.0.0.1:9/7"


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)


@pytest.fixture(autouse=True)
def no_platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in release.RELEASE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def raises(*args: Any) -> Any:
    raise ValueError("of the project")


# -- the rule -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "request_", "rate"),
    [
        ({"/api/": 0.5}, {"path": "/api/v1/", "route": "api/v1/"}, 0.5),
        ({"/api/": 0.5}, {"path": "/other/", "route": "other/"}, 0.1),
        ({"organisations/{pk}/": 0.5}, {"method": "GET", "route": "organisations/{pk}/"}, 0.5),
        ({"GET organisations/{pk}/": 0.5}, {"method": "GET", "route": "organisations/{pk}/"}, 0.5),
        ({"GET organisations/{pk}/": 0.5}, {"method": "POST", "route": "organisations/{pk}/"}, 0.1),
        ({"/api/v1/": 0.0, "/api/": 1.0}, {"path": "/api/v1/", "route": None}, 0.0),
        ({"organisations/{pk}/": 0.5}, {"method": "GET", "path": "/nowhere/", "route": None}, 0.1),
        ({"": 0.5}, {"method": "GET", "path": "/", "route": ""}, 0.5),
        ({"/": 0.5}, {}, 0.1),
        ({"/": 0.5}, {"path": "/", "parent_sampled": True}, 1.0),
        ({"/": 0.5}, {"path": "/", "parent_sampled": False}, 0.0),
    ],
)
def test_the_first_rule_that_fits_counts(rules: dict[str, float], request_: dict[str, Any], rate: float) -> None:
    assert sample_rate(rules, 0.1, request_) == rate


def test_an_override_by_route_samples_that_route_only(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(
        TRACES_SAMPLE_RATE=0.0,
        TRACES_SAMPLE_RATE_OVERRIDES={"GET organisations/{pk}/": 1.0},
        SENTRY_OPTIONS={"transport": transport},
    )

    for path in ("/organisations/1/", "/ok/", "/nowhere/"):
        server.get(path)

    assert [made["transaction"] for made in transport.transactions] == ["GET organisations/{pk}/"]


def test_an_override_by_path_silences_what_lies_below(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(
        TRACES_SAMPLE_RATE=1.0,
        TRACES_SAMPLE_RATE_OVERRIDES={"/organisations/": 0.0},
        SENTRY_OPTIONS={"transport": transport},
    )

    for path in ("/organisations/1/", "/ok/"):
        server.get(path)

    assert [made["transaction"] for made in transport.transactions] == ["GET ok/"]


@pytest.mark.parametrize("path", ["/health/live", "/health/monitoring/", "/healthz", "/quiet/"])
def test_health_paths_and_unmonitored_views_are_never_sampled(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport, path: str
) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "traces_sampler": lambda about: 1.0})

    server.get(path)

    assert transport.transactions == []


# -- a sampler of the project ---------------------------------------------------------------------------------------------


def test_the_projects_sampler_is_given_the_route(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    seen: list[dict[str, Any]] = []

    monitoring(SENTRY_OPTIONS={"transport": transport, "traces_sampler": lambda about: seen.append(about) or 0})
    server.get("/organisations/1/")

    (about,) = seen
    assert (about["method"], about["path"], about["route"]) == ("GET", "/organisations/1/", "organisations/{pk}/")
    assert ("asgi_scope" in about, "wsgi_environ" in about) == (
        isinstance(server, ASGIClient),
        not isinstance(server, ASGIClient),
    )


def test_the_projects_sampler_sees_no_route_where_none_matched(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    seen: list[dict[str, Any]] = []

    monitoring(SENTRY_OPTIONS={"transport": transport, "traces_sampler": lambda about: seen.append(about) or 0})
    server.get("/nowhere/")

    assert [(about["path"], about["route"]) for about in seen] == [("/nowhere/", None)]


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("sampler", [raises, lambda about: None])
def test_a_sampler_that_fails_changes_no_response_and_shows_in_health(
    server: WSGIClient, monitoring: Any, transport: MemoryTransport, sampler: Any
) -> None:
    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS={"transport": transport, "traces_sampler": sampler})

    answer = server.get("/ok/")

    (problem,) = server.get("/health/monitoring").json()["monitoring"]["problems"]
    assert answer.status == 200
    assert problem.startswith("The traces_sampler of SENTRY_OPTIONS failed")
    assert "of the project" not in problem
    assert [made["transaction"] for made in transport.transactions] == ["GET ok/"]


# -- options --------------------------------------------------------------------------------------------------------------


def test_the_defaults_send_no_more_than_needed(monitoring: Any) -> None:
    monitoring(SENTRY_DSN=DSN)

    options = sentry_sdk.get_client().options
    assert (options["send_default_pii"], options["data_collection"]["provided_by_user"]) == (None, False)
    assert options["max_request_body_size"] == "small"
    assert options["environment"] == "production"


def test_events_carry_no_arguments_and_no_list_of_modules(sentry: MemoryTransport) -> None:
    capture_message("hello")

    (event,) = sentry.events
    assert "modules" not in event
    assert "sys.argv" not in event.get("extra", {})
    assert (event["environment"], event["release"]) == ("test", "1.0")


def test_an_option_of_the_project_wins(monitoring: Any) -> None:
    monitoring(SENTRY_DSN=DSN, SENTRY_OPTIONS={"max_request_body_size": "never", "server_name": "crm-1"})

    options = sentry_sdk.get_client().options
    assert (options["max_request_body_size"], options["server_name"]) == ("never", "crm-1")


def test_an_integration_that_the_project_names_is_not_turned_off(monitoring: Any, transport: MemoryTransport) -> None:
    named = [ModulesIntegration()]

    monitoring(SENTRY_OPTIONS={"transport": transport, "integrations": named})

    client = sentry_sdk.get_client()
    assert client.get_integration(ModulesIntegration) in (
        *named,
        None,
    )  # an earlier test may have settled that it is left out
    assert client.get_integration(ArgvIntegration) is None


def test_what_the_project_turns_off_is_off_besides_what_we_do(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "disabled_integrations": [DedupeIntegration]})

    client = sentry_sdk.get_client()
    assert DedupeIntegration in client.options["disabled_integrations"]
    assert client.get_integration(DedupeIntegration) is client.get_integration(ArgvIntegration) is None


def test_before_send_of_the_project_runs_before_ours(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(
        SENTRY_OPTIONS={
            "transport": transport,
            "release": None,
            "before_send": lambda event, hint: {**event, "server_name": "seen", "release": ""},
        }
    )

    capture_message("hello")

    (event,) = transport.events
    assert event["server_name"] == "seen"
    assert "release" not in event


def test_before_send_of_the_project_may_drop_an_event(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "before_send": lambda event, hint: None})

    assert capture_message("hello") is None
    assert transport.events == []


def test_before_send_transaction_of_the_project_is_kept(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(
        TRACES_SAMPLE_RATE=1.0,
        SENTRY_OPTIONS={"transport": transport, "before_send_transaction": lambda event, hint: None},
    )

    wsgi.get("/ok/")

    assert transport.transactions == []


@pytest.mark.usefixtures("production")
def test_an_event_that_before_send_fails_on_is_not_sent_and_health_says_so(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport
) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "before_send": raises})

    capture_message("unscrubbed")

    assert transport.events == []
    assert "The before_send of SENTRY_OPTIONS failed 1 time, last with ValueError." in faults.sentences()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dbug", True),
        ("max_request_body_size", "huge"),
        ("before_send", "project.before_send"),
        ("traces_sampler", 0.5),
        ("traces_sample_rate", "all"),
        ("traces_sample_rate", 2),
        ("integrations", 3),
    ],
)
def test_an_option_that_sentry_refuses_does_not_cost_the_others(
    wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, name: str, value: Any
) -> None:
    monitoring(SENTRY_OPTIONS={name: value, "transport": transport, "server_name": "crm-1"})

    answer = wsgi.get("/fails/")

    (event,) = transport.events
    (refusal,) = status().refusals
    assert (answer.status, event["server_name"]) == (500, "crm-1")
    assert repr(name) in refusal
    assert wsgi.get("/health/monitoring").json()["monitoring"]["problems"] == [refusal]


def test_a_dsn_that_sentry_refuses_leaves_the_one_of_the_setting(monitoring: Any) -> None:
    monitoring(SENTRY_DSN=DSN, SENTRY_OPTIONS={"dsn": "https://SECRET@/"})

    (refusal,) = status().refusals
    assert "SECRET" not in refusal
    assert destination() == "http://127.0.0.1:9/7"


# -- on or off ------------------------------------------------------------------------------------------------------------


def test_without_a_dsn_everything_works_and_nothing_is_sent(server: WSGIClient, monitoring: Any) -> None:
    monitoring()

    answer = server.get("/fails/")

    assert answer.status == 500
    assert capture_exception(ValueError("x")) is None
    assert capture_message("x") is None
    assert (status().enabled, status().dsn_configured, destination()) == (False, False, None)


def test_init_sentry_twice_starts_one_client(sentry: MemoryTransport) -> None:
    first = sentry_sdk.get_client()

    assert init_sentry() is True
    assert sentry_sdk.get_client() is first


def test_without_a_dsn_no_span_is_made(monitoring: Any) -> None:
    monitoring(SENTRY_OPTIONS={"traces_sample_rate": 1.0, "traces_sampler": raises})

    options = sentry_sdk.get_client().options
    assert (options["traces_sample_rate"], options["traces_sampler"]) == (None, None)
    assert get_traces_sample_rate() == 1.0


def test_the_sdk_may_not_look_for_a_dsn_itself(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_DSN", DSN)

    monitoring(SENTRY_DSN="", SENTRY_OPTIONS={"dsn": None})

    assert not status().enabled


@pytest.mark.parametrize("keys", [{"SENTRY_DSN": DSN}, {"SENTRY_OPTIONS": {"dsn": DSN}}])
def test_the_destination_is_told_without_the_key(monitoring: Any, keys: dict[str, Any]) -> None:
    monitoring(**keys)

    assert destination() == "http://127.0.0.1:9/7"
    assert (status().enabled, status().dsn_configured, status().healthy) == (True, True, True)


# -- the release ----------------------------------------------------------------------------------------------------------


def test_a_platforms_variable_is_the_release(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEROKU_BUILD_COMMIT", " ")
    monkeypatch.setenv("SOURCE_VERSION", "abc123 ")

    monitoring()

    assert status().release == "abc123"


def test_the_setting_wins_over_what_is_detected(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_VERSION", "abc123")

    monitoring(SENTRY_RELEASE="2.1")

    assert status().release == "2.1"


def _branch(folder: Path) -> None:
    write(folder / ".git/HEAD", "ref: refs/heads/main")
    write(folder / ".git/refs/heads/main", COMMIT)


def _packed(folder: Path) -> None:
    write(folder / ".git/HEAD", "ref: refs/heads/main")
    write(
        folder / ".git/packed-refs", f"# pack-refs with: peeled\n{'0' * 40} refs/heads/other\n{COMMIT} refs/heads/main"
    )


def _detached(folder: Path) -> None:
    write(folder / ".git/HEAD", COMMIT)


def _worktree(folder: Path) -> None:
    write(folder / ".git", f"gitdir: {folder}/main/.git/worktrees/one")
    write(folder / "main/.git/worktrees/one/HEAD", "ref: refs/heads/one")
    write(folder / "main/.git/worktrees/one/commondir", "../..")
    write(folder / "main/.git/refs/heads/one", COMMIT)


def _packed_worktree(folder: Path) -> None:
    _worktree(folder)
    (folder / "main/.git/refs/heads/one").unlink()
    write(folder / "main/.git/packed-refs", f"{COMMIT} refs/heads/one")


def _submodule(folder: Path) -> None:
    write(folder / "sub/.git", "gitdir: ../.git/modules/sub")
    write(folder / ".git/modules/sub/HEAD", COMMIT)


@pytest.mark.parametrize("repository", [_branch, _packed, _detached, _worktree, _packed_worktree, _submodule])
def test_the_commit_is_read_without_starting_git(settings: Any, tmp_path: Path, repository: Any) -> None:
    repository(tmp_path)
    settings.BASE_DIR = str(tmp_path / "sub" if repository is _submodule else tmp_path / "src" / "project")

    assert release.detect_release() == COMMIT


@pytest.mark.parametrize(
    "contents",
    [{}, {"HEAD": "ref: refs/heads/main"}, {"HEAD": "garbage"}, {"HEAD": ""}],
)
def test_a_repository_without_a_commit_gives_no_release(
    settings: Any, tmp_path: Path, contents: dict[str, str]
) -> None:
    (tmp_path / ".git").mkdir()
    for name, text in contents.items():
        write(tmp_path / ".git" / name, text)
    settings.BASE_DIR = tmp_path

    assert release.detect_release() == ""


def test_without_a_base_dir_the_current_folder_counts(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings.BASE_DIR
    _detached(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert release.detect_release() == COMMIT


def test_a_current_folder_that_is_gone_gives_no_release(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings.BASE_DIR
    monkeypatch.chdir(tmp_path)
    os.rmdir(tmp_path)

    assert release.detect_release() == ""


def test_without_a_release_events_and_transactions_have_no_such_key(
    settings: Any, wsgi: WSGIClient, monitoring: Any, transport: MemoryTransport, tmp_path: Path
) -> None:
    settings.BASE_DIR = tmp_path

    monitoring(TRACES_SAMPLE_RATE=1.0, SENTRY_OPTIONS={"transport": transport})
    wsgi.get("/fails/")

    assert len(transport.events + transport.transactions) == 2
    assert not any("release" in sent for sent in transport.events + transport.transactions)
    assert transport.payloads("sessions") == []
