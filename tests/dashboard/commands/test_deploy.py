"""`manage.py monitoring deploy`: a marker here, release and deploy at Sentry."""

from __future__ import annotations

import io
import os
import socket
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from crm_monitoring.dashboard import posting
from crm_monitoring.dashboard.commands import sentry_releases
from crm_monitoring.dashboard.models import Deploy
from crm_monitoring.dashboard.store import deploys
from tests.dashboard.api import Api

TOKEN = "sntrys_hunter2"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


@pytest.fixture
def sentry_at(monitoring: Any) -> Any:
    """Set all three keys: `sentry_at(url)`, and more or other ones."""

    def configure(url: str, **keys: Any) -> None:
        account = {"SENTRY_AUTH_TOKEN": TOKEN, "SENTRY_ORG": "acme", "SENTRY_PROJECT": "crm"}
        monitoring(**{"SENTRY_URL": url, "ENVIRONMENT": "production", **account, **keys})

    return configure


def deploy(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", "deploy", *args, stdout=out, no_color=True)
    return out.getvalue()


def failing(*args: str) -> str:
    """Return what the command failed with. Neither that, its output nor its traceback may hold the token."""
    out = io.StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("monitoring", "deploy", *args, stdout=out, no_color=True)
    told = "".join(traceback.format_exception(failure.value)) + out.getvalue()
    assert TOKEN not in told
    return str(failure.value)


def markers() -> list[tuple[str, str, str]]:
    return list(Deploy.objects.values_list("release", "environment", "url"))


# -- the marker -----------------------------------------------------------------------------------------------------------


def test_a_deploy_leaves_a_marker(monitoring: Any) -> None:
    monitoring()

    told = deploy("--release=1.4.2", "--environment=staging", "--url=https://ci.example/jobs/7")

    assert told == "The marker is stored: 1.4.2 (staging).\n"
    assert markers() == [("1.4.2", "staging", "https://ci.example/jobs/7")]
    assert timezone.now() - Deploy.objects.get().moment < timedelta(minutes=1)


def test_release_and_environment_are_those_that_run(monitoring: Any) -> None:
    monitoring(SENTRY_RELEASE="2.0", ENVIRONMENT="north")

    deploy()

    assert markers() == [("2.0", "north", "")]


def test_the_release_may_be_the_platforms(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monitoring()
    monkeypatch.setenv("SOURCE_VERSION", "8f3a2c1")

    deploy()

    assert markers() == [("8f3a2c1", "production", "")]


def test_without_a_release_it_asks_for_one(monitoring: Any, settings: Any, tmp_path: Any) -> None:
    monitoring()
    settings.BASE_DIR = tmp_path

    assert failing() == "Which release? Name it with --release, or set SENTRY_RELEASE."
    assert markers() == []


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--release=", "--release: This field cannot be blank."),
        (f"--release={'1' * 201}", "--release: Ensure this value has at most 200 characters (it has 201)."),
        ("--release=1.4\n", "--release contains characters that cannot be printed."),
        ("--release=1.4\udcff", "--release contains characters that cannot be printed."),
        ("--environment=", "--environment: This field cannot be blank."),
        (f"--environment={'e' * 65}", "--environment: Ensure this value has at most 64 characters (it has 65)."),
        ("--url=javascript:alert(1)", "--url: Enter a valid URL."),
    ],
)
def test_an_argument_that_cannot_be_is_refused(monitoring: Any, argument: str, complaint: str) -> None:
    monitoring(SENTRY_RELEASE="1.4.2")

    assert failing(argument) == complaint
    assert markers() == []


@pytest.mark.parametrize("url", ["https://ci:hunter2@ci.example/jobs/7", "https://ci.example/jobs/7?token=hunter2"])
def test_a_url_with_a_secret_is_refused(monitoring: Any, url: str) -> None:
    monitoring()

    told = failing("--release=1", f"--url={url}")

    assert told == "--url contains a secret, which everybody who sees the dashboard would see: leave it out."
    assert markers() == []


def test_a_job_that_runs_again_moves_its_marker(monitoring: Any) -> None:
    monitoring()
    deploy("--release=1.4.2")
    earlier = timezone.now() - timedelta(minutes=9)
    Deploy.objects.update(moment=earlier)

    assert deploy("--release=1.4.2") == "The marker is stored: 1.4.2 (production), moved to now.\n"

    assert Deploy.objects.get().moment > earlier + timedelta(minutes=8)


@pytest.mark.parametrize(
    "other",
    [["--release=1.4.3"], ["--release=1.4.2", "--environment=b"], ["--release=1.4.2", "--url=https://b.example"]],
)
def test_another_deploy_has_a_marker_of_its_own(monitoring: Any, other: list[str]) -> None:
    monitoring()
    deploy("--release=1.4.2")

    deploy(*other)

    assert Deploy.objects.count() == 2


def test_the_same_release_deployed_again_later_has_a_second_marker(monitoring: Any) -> None:
    monitoring()
    deploy("--release=1.4.2")
    Deploy.objects.update(moment=timezone.now() - deploys.SAME_DEPLOY - timedelta(seconds=1))

    deploy("--release=1.4.2")

    assert Deploy.objects.count() == 2


# -- the database ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def not_migrated() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {Deploy._meta.db_table}")


@pytest.mark.usefixtures("not_migrated")
def test_without_its_table_it_says_what_to_do(monitoring: Any) -> None:
    monitoring()

    told = failing("--release=1.4.2")

    assert told.startswith("The marker was not stored. The database 'default' says: no such table")
    assert told.endswith("Can it be reached and written to, and has `manage.py migrate` been run?")


def test_a_database_that_nobody_knows_is_told(monitoring: Any) -> None:
    monitoring(DASHBOARD_DATABASE="nowhere")

    told = failing("--release=1.4.2")

    assert told.startswith(
        "The marker was not stored. The database 'nowhere' says: The connection 'nowhere' doesn't exist."
    )
    assert told.endswith("has `manage.py migrate --database=nowhere` been run?")


@pytest.mark.usefixtures("not_migrated")
def test_sentry_is_told_without_a_database_too(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)

    assert failing("--release=1.4.2").startswith("The marker was not stored.")
    assert len(api.asked) == 2


# -- Sentry ---------------------------------------------------------------------------------------------------------------


def test_sentry_gets_release_and_deploy(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)

    told = deploy("--release=1.4.2", "--url=https://ci.example/jobs/7")

    release, deployed = api.asked
    assert release.path == "/api/0/organizations/acme/releases/"
    assert release.body == {"version": "1.4.2", "projects": ["crm"]}
    assert deployed.path == "/api/0/organizations/acme/releases/1.4.2/deploys/"
    assert parse_datetime(deployed.body.pop("dateFinished")) == Deploy.objects.get().moment
    assert deployed.body == {"environment": "production", "url": "https://ci.example/jobs/7", "projects": ["crm"]}
    for asked in api.asked:
        assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
        assert asked.headers["Content-Type"] == "application/json"
    assert told == f"The marker is stored: 1.4.2 (production).\nCreated at {api.url}: release and deploy.\n"


def test_sentry_gets_the_moment_in_utc_where_django_has_local_time(sentry_at: Any, api: Api, settings: Any) -> None:
    settings.USE_TZ = False
    sentry_at(api.url)

    deploy("--release=1.4.2")

    sent = parse_datetime(api.asked[1].body["dateFinished"])
    assert sent is not None
    assert abs(sent - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_deploy_without_url_sends_none(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)

    deploy("--release=1.4.2")

    assert "url" not in api.asked[1].body


@pytest.mark.parametrize("status", [200, 208])
def test_a_release_that_sentry_knows_is_fine(sentry_at: Any, api: Api, status: int) -> None:
    sentry_at(api.url)
    api.statuses = [status]

    deploy("--release=1.4.2")

    assert len(api.asked) == 2


def test_names_are_quoted_in_the_address(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url, SENTRY_ORG="a/b")

    deploy("--release=crm@1/2?x#é")

    assert api.asked[1].path == "/api/0/organizations/a%2Fb/releases/crm%401%2F2%3Fx%23%C3%A9/deploys/"


def test_a_server_below_a_path_is_found_there(sentry_at: Any, api: Api) -> None:
    sentry_at(f"{api.url}sentry")

    deploy("--release=1")

    assert api.asked[0].path == "/sentry/api/0/organizations/acme/releases/"


def test_glitchtip_which_knows_no_deploys_gets_the_release(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url, BACKEND="glitchtip")

    assert deploy("--release=1").endswith(f"Created at {api.url}: release.\n")
    assert len(api.asked) == 1


def test_without_keys_of_sentry_nobody_else_is_told(monitoring: Any, api: Api) -> None:
    monitoring(SENTRY_URL=api.url)

    assert "Created" not in deploy("--release=1.4.2")
    assert api.asked == []


@pytest.mark.parametrize("name", [*sentry_releases.KEYS, "SENTRY_URL"])
def test_a_key_that_is_missing_is_named(sentry_at: Any, api: Api, name: str) -> None:
    sentry_at(api.url, **{name: ""})

    assert failing("--release=1") == f"Sentry was not told, because {name} cannot be used or is not set."
    assert len(markers()) == 1
    assert api.asked == []


# -- Sentry, when it cannot be told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "It does not know the token: is SENTRY_AUTH_TOKEN right, and not revoked?"),
        (403, "it needs the scope project:releases or org:ci, and access to SENTRY_PROJECT."),
        (404, "Are SENTRY_ORG, SENTRY_PROJECT and SENTRY_URL right?"),
        (418, "Is SENTRY_URL a Sentry server?"),
        (429, "It accepts no more for now: try again in a few minutes."),
        (500, "The problem is on the server's side: try again later."),
        (503, "The problem is on the server's side: try again later."),
    ],
)
def test_a_refusal_says_what_to_do_and_leaves_the_marker(sentry_at: Any, api: Api, status: int, advice: str) -> None:
    sentry_at(api.url)
    api.statuses = [status]

    told = failing("--release=1.4.2")

    begin = f"Sentry was not told. The release was not created at {api.url}: the server answered {status}."
    assert told.startswith(begin)
    assert told.endswith(advice)
    assert markers() == [("1.4.2", "production", "")]
    assert len(api.asked) == 1


def test_a_refused_deploy_is_told_as_such(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)
    api.statuses = [201, 403]

    assert f"The deploy was not created at {api.url}: the server answered 403." in failing("--release=1.4.2")


def test_a_complaint_of_the_server_is_quoted_without_secrets(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)
    api.statuses = [400]
    api.body = f'{{"projects": ["Invalid project slugs"], "password": "hunter3", "x": "{TOKEN}\x1b[2J"}}'

    told = failing("--release=1.4.2")

    assert 'the server answered 400. It says: {"projects": ["Invalid project slugs"]' in told
    assert "hunter3" not in told
    assert "\x1b" not in told


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_does_not_get_the_token(sentry_at: Any, api: Api, status: int) -> None:
    with Api() as elsewhere:
        sentry_at(api.url)
        api.statuses = [status]
        api.location = f"{elsewhere.url}api/0/?q=1"

        told = failing("--release=1.4.2")

    assert told.endswith(f"It redirects to {elsewhere.url}: use that as SENTRY_URL, if it is right.")
    assert elsewhere.asked == []


def test_a_page_in_place_of_an_answer_is_no_success(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)
    api.content_type = "text/html"

    assert failing("--release=1").endswith("the answer is not JSON. Is SENTRY_URL a Sentry server?")


def test_a_server_that_hangs_is_given_up(sentry_at: Any, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.2)
    sentry_at(api.url)
    api.hangs = True

    assert "no answer within 0.2 s. Try again later" in failing("--release=1.4.2")
    assert len(markers()) == 1


def test_a_server_that_drops_the_connection_is_told_of(sentry_at: Any, api: Api) -> None:
    sentry_at(api.url)
    api.drops = True

    assert "no connection (RemoteDisconnected)" in failing("--release=1.4.2")


def test_a_closed_port_is_told_of(sentry_at: Any) -> None:
    with socket.socket() as closed:
        # Taken without being listened on: nobody else can open it.
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        sentry_at(f"http://127.0.0.1:{port}")

        told = failing("--release=1.4.2")

    assert f"The release was not created at http://127.0.0.1:{port}/: no connection (ConnectionRefusedError: " in told
    assert told.endswith("Is SENTRY_URL right, and is there a firewall or a proxy in between?")
    assert len(markers()) == 1
