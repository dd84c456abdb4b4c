from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from django.core.management import CommandError, ManagementUtility, call_command
from sentry_sdk.envelope import Envelope

from crm_monitoring import faults
from crm_monitoring.conf import MASK
from crm_monitoring.management.commands import monitoring as command
from crm_monitoring.management.commands.monitoring import Subcommand, subcommand
from tests.conftest import MemoryTransport

ROOT = Path(__file__).parents[2]
# What the dashboard has to say of its tables.
pytestmark = pytest.mark.django_db

IDS = re.compile(r"^(?:Message|Exception): +([0-9a-f]{32})$", re.MULTILINE)


def manage(*args: str) -> str:
    out = io.StringIO()
    call_command("monitoring", *args, stdout=out, no_color=True)
    return out.getvalue()


def failing(*args: str) -> tuple[str, str]:
    """Return what the command printed, and what it failed with."""
    out = io.StringIO()
    with pytest.raises(CommandError) as failure:
        call_command("monitoring", *args, stdout=out, no_color=True)
    assert failure.value.returncode == 1
    return out.getvalue(), str(failure.value)


class Receiver(ThreadingHTTPServer):
    """A server that keeps what it is sent, and answers as it is told."""

    daemon_threads = True

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.status = status
        self.statuses: list[int] = []
        self.may_answer = threading.Event()
        self.received: list[str | None] = []

    @property
    def dsn(self) -> str:
        return f"http://public@127.0.0.1:{self.server_port}/7"


class Receiving(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.may_answer.wait(10)
        self.server.received.append(Envelope.deserialize(gzip.decompress(body)).headers.get("event_id"))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def serve(monitoring: Any) -> Iterator[Callable[..., Receiver]]:
    servers: list[Receiver] = []

    def start(status: int, *, hangs: bool = False) -> Receiver:
        server = Receiver(status)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        if not hangs:
            server.may_answer.set()
        servers.append(server)
        monitoring(SENTRY_DSN=server.dsn)
        return server

    yield start
    for server in servers:
        server.may_answer.set()
        sentry_sdk.flush(2)
        server.shutdown()
        server.server_close()
    sentry_sdk.get_client().close(timeout=0)


@pytest.fixture(autouse=True)
def _with_the_pages(settings: Any, _core_urls: None) -> None:
    """The dashboard is installed, so its pages have their addresses."""
    settings.ROOT_URLCONF = "demo_project.urls"


# -- the command by itself ------------------------------------------------------------------------------------------------


def test_alone_it_says_what_there_is() -> None:
    told = manage()

    assert "check      Print what is on" in told
    assert "test       Send a message" in told


@pytest.mark.parametrize("arguments", [["--no-color", "check"], ["check", "--no-color", "-v", "2", "--traceback"]])
def test_djangos_options_stand_before_or_behind_the_subcommand(arguments: list[str], monitoring: Any) -> None:
    monitoring()
    out = io.StringIO()

    with contextlib.redirect_stdout(out):
        ManagementUtility(["manage.py", "monitoring", *arguments]).execute()

    assert "Where events go\n" in out.getvalue()


@pytest.mark.processes
@pytest.mark.parametrize(
    "place", [["--settings", "demo_project.settings", "check"], ["check", "--settings", "demo_project.settings"]]
)
def test_the_settings_may_be_named_behind_the_subcommand(place: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}

    done = subprocess.run(
        [sys.executable, "-m", "django", "monitoring", *place, "--all"],
        cwd=ROOT,
        env={**environment, "DEMO_DATABASE": ":memory:"},
        capture_output=True,
        text=True,
    )

    assert "  JSON_PATHS: ('/api/',)\n" in done.stdout


@pytest.mark.processes
def test_a_reader_that_has_read_enough_ends_it_quietly() -> None:
    command = f"{shlex.quote(sys.executable)} manage.py monitoring check --all | head -n 1"

    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, shell=True, capture_output=True, text=True
    )

    assert done.stdout == "Where events go\n"
    assert "BrokenPipe" not in done.stderr


# -- monitoring check -----------------------------------------------------------------------------------------------------


def test_check_tells_what_is_on_where_events_go_and_the_setting(monitoring: Any) -> None:
    monitoring(
        SENTRY_DSN="https://public:private@o1.ingest.example:9000/2",
        LOG_LEVEL="ERROR",
        FAILED_REQUEST_STATUS_CODES=[404, 403],
        SENTRY_OPTIONS={"http_proxy": "http://user:hunter2@proxy"},
        SENTRY_AUTH_TOKEN="sntrys_hunter3",
    )

    told = manage("check")

    for line in (
        "  https://o1.ingest.example:9000/2\n",
        "  sentry.enabled: True\n",
        "  logging.level: ERROR\n",
        f"  SENTRY_DSN: {MASK}\n",
        f"  SENTRY_OPTIONS: {{'http_proxy': '{MASK}'}}\n",
        f"  SENTRY_AUTH_TOKEN: {MASK}\n",
        "  FAILED_REQUEST_STATUS_CODES: [403, 404]\n",
        "Problems\n  none\n",
    ):
        assert line in told
    assert not any(secret in told for secret in ("public", "private", "hunter2", "hunter3"))


def test_check_warns_of_what_is_no_error(monitoring: Any) -> None:
    monitoring()

    told = manage("check")

    assert "  nowhere: SENTRY_DSN is not set\n" in told
    assert "crm_monitoring.W008: SENTRY_DSN is not set" in told


def test_check_shows_what_is_set_and_the_rest_when_asked(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_RELEASE", "1.4.2")
    monitoring(LOG_LEVEL="ERROR")

    told, every = manage("check"), manage("check", "--all")

    assert "Setting\n  SENTRY_RELEASE: 1.4.2\n  LOG_LEVEL: ERROR\nLost" in told
    assert "  SLOW_QUERY_MS: 500\n" in every


def test_check_shows_nothing_of_a_setting_that_is_no_dict(settings: Any) -> None:
    settings.CRM_MONITORING = ["LOG_LEVEL"]

    assert "Setting\n  none\n" in failing("check")[0]


def test_check_leaves_deployments_out_with_debug(settings: Any, monitoring: Any) -> None:
    settings.DEBUG = True
    monitoring()

    assert "crm_monitoring.W008" not in manage("check")


def test_check_leaves_out_what_the_project_silenced(settings: Any, monitoring: Any) -> None:
    settings.SILENCED_SYSTEM_CHECKS = ["crm_monitoring.W008"]
    monitoring()

    assert "Problems\n  none\n" in manage("check")


def test_check_fails_with_every_error_and_its_remedy(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="LOUD", TRACES_SAMPLE_RATE=10)

    told, failure = failing("check")

    assert "crm_monitoring.E005: CRM_MONITORING['LOG_LEVEL'] is 'LOUD', which is not a log level.\n" in told
    assert "    10 % is written 0.1.\n" in told
    assert failure == "2 errors in the setting; see above."


def test_check_tells_what_failed_and_what_was_lost(sentry: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    faults.record("A hook", ValueError("hunter2"))
    faults.lose("log_lines", 3)

    told = manage("check")

    assert "  a transport of SENTRY_OPTIONS\n" in told
    assert "  A hook failed 1 time, last with ValueError.\n" in told
    assert "  log_lines: 3\n" in told


@pytest.mark.parametrize("keys", [{}, {"FAILED_REQUEST_STATUS_CODES": [404]}, {"SENTRY_OPTIONS": {"ca_certs": b"x"}}])
def test_check_prints_json(monitoring: Any, keys: dict[str, Any]) -> None:
    monitoring(**keys)

    report = json.loads(manage("check", "--json"))

    assert report["destination"] == "nowhere: SENTRY_DSN is not set"
    assert report["setting"]["LOG_LEVEL"] == "INFO"
    assert set(report) == {"destination", "setting", "sentry", "logging", "lost", "problems", "messages"}


def test_check_prints_json_with_errors_too(monitoring: Any) -> None:
    monitoring(LOG_LEVEL="LOUD", SENTRY_DSN="https://hunter2@")

    told, failure = failing("check", "--json")

    messages = json.loads(told)["messages"]
    assert {message["id"] for message in messages} >= {"crm_monitoring.E004", "crm_monitoring.E005"}
    assert all(message["hint"] for message in messages)
    assert "hunter2" not in told + failure


# -- monitoring test ------------------------------------------------------------------------------------------------------


def test_a_test_that_arrives_gives_the_ids_that_arrived(serve: Any) -> None:
    server = serve(200)

    told = manage("test")

    assert IDS.findall(told) == server.received
    assert len(server.received) == 2
    assert told.endswith("Both arrived.\n")


def test_a_server_that_takes_its_time_is_waited_for(serve: Any) -> None:
    server = serve(200, hangs=True)
    threading.Timer(0.3, server.may_answer.set).start()

    assert manage("test").endswith("Both arrived.\n")


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (403, "the server answered 403. Is the key in the DSN right, and the project active?"),
        (404, "the server answered 404. Are the host and the project number in the DSN right?"),
        (418, "the server answered 418. Is it a Sentry server?"),
        (500, "the server answered 500. The problem is on the server's side: try again later."),
    ],
)
def test_a_server_that_refuses_is_quoted(serve: Any, status: int, failure: str) -> None:
    serve(status)

    assert failing("test")[1] == f"They did not arrive: {failure}"


def test_a_server_that_takes_no_more_is_told_of(serve: Any) -> None:
    serve(429)

    told, failure = failing("test")

    assert failure.startswith("They did not arrive: the server answered 429. It accepts no more for now")
    assert len(IDS.findall(told)) == 2


def test_one_that_is_lost_is_told_of_as_one(serve: Any) -> None:
    server = serve(200)
    server.statuses = [500]

    assert failing("test")[1].startswith("One of them did not arrive: the server answered 500.")


def test_a_server_that_hangs_is_given_up(serve: Any) -> None:
    serve(200, hangs=True)

    assert failing("test", "--timeout=0.2")[1].startswith("No answer within 0.2 s: they did not arrive in time.")


def test_a_closed_port_is_told_of(monitoring: Any) -> None:
    with socket.socket() as closed:
        # Taken without being listened on: nobody else can open it.
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monitoring(SENTRY_DSN=f"http://hunter2@127.0.0.1:{port}/7")

        told, failure = failing("test")
        # What is on its way still would be a failure of the next test's.
        sentry_sdk.get_client().close(timeout=5)

    assert failure.startswith("They did not arrive: no connection. Is the address right")
    assert f"Waiting for http://127.0.0.1:{port}/7, at most 10 s ..." in told
    assert "hunter2" not in told + failure


def test_an_earlier_loss_does_not_count(serve: Any) -> None:
    faults.lose("sentry_delivery_network", 5)
    serve(200)

    assert manage("test").endswith("Both arrived.\n")


def test_without_a_destination_nothing_is_sent(monitoring: Any) -> None:
    monitoring()

    assert failing("test")[1].startswith("Nothing was sent, because there is nowhere to send it. Set SENTRY_DSN")


def test_what_the_project_drops_is_told_of(monitoring: Any, transport: MemoryTransport) -> None:
    monitoring(SENTRY_OPTIONS={"transport": transport, "before_send": lambda event, hint: None})

    assert failing("test")[1].startswith("Nothing was sent, because SENTRY_OPTIONS dropped it")


def test_a_transport_of_the_project_is_taken_at_its_word(sentry: MemoryTransport) -> None:
    told = manage("test")

    assert IDS.findall(told) == [event["event_id"] for event in sentry.events]
    assert told.endswith("Both were handed to the transport of SENTRY_OPTIONS.\n")


# -- subcommands ----------------------------------------------------------------------------------------------------------


def test_another_app_can_add_a_subcommand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.subcommands, "greet", Subcommand)

    @subcommand
    class Greet(Subcommand):
        name = "greet"
        help = "Greet."

        def run(self, **options: Any) -> None:
            self.stdout.write("Hello.")

    assert manage("greet") == "Hello.\n"


def test_a_subcommand_has_to_do_something() -> None:
    with pytest.raises(NotImplementedError):
        Subcommand(command.Command()).run()


def test_a_wrong_subcommand_is_refused_with_the_right_ones() -> None:
    with pytest.raises(CommandError, match="check"):
        manage("dance")
