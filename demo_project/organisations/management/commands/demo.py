from __future__ import annotations

import errno
import os
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connection

from crm_monitoring import conf
from demo_project.organisations import rehearsal, seed

HOST = "127.0.0.1"
PAUSE_S = 1.0

INVITATION = """
The demo is ready. Open:

  http://{host}:{port}/                    everything, and ways to break it
  http://{host}:{port}/monitoring/         the dashboard of what was sent so far
  http://{host}:{port}/alerts/             alerts, their mails, and a button to set one off
  http://{host}:{port}/health/monitoring   does the monitoring work?
  http://{host}:{port}/api/v1/kpis         slow on purpose

Log in as {username} / {password}. The log lines of what was sent so far are in {log}.
"""


class QuietHandler(WSGIRequestHandler):
    # A response goes out in two writes; Nagle's algorithm would hold the second one back for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: each request has its line already."""


class Command(BaseCommand):
    help = "Fill a small CRM with invented data, send it requests of every kind, then serve it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port_number, default=8000, help="Where to serve (default: 8000).")
        parser.add_argument(
            "--requests", type=int, default=300, help="How many requests to send to itself (default: 300)."
        )
        parser.add_argument("--no-serve", action="store_true", help="Stop when the requests are sent.")
        parser.add_argument(
            "--traffic", action="store_true", help="Go on sending a request a second, to see the dashboard move."
        )

    def handle(self, *, port: int, requests: int, no_serve: bool, traffic: bool, **options: Any) -> None:
        try:
            # The port is taken before any work is done, and kept: nobody can take it in the meantime.
            with bind(port) as server:
                set_site_url(server.server_port)
                self.prepare()
                with running(server) as thread, closing(rehearsal.rehearse(server.server_port)) as statuses:
                    self.rehearse(statuses, requests)
                    if not no_serve:
                        self.invite(server.server_port)
                        self.keep_going(statuses if traffic else ())
                        thread.join()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def prepare(self) -> None:
        self.stdout.write(f"Preparing {database()} ...")
        call_command("migrate", verbosity=0, interactive=False)
        seed.create_users()
        rehearsal.clean_up()
        self.stdout.write(f"  {seed.create_organisations()} organisations created")

    def rehearse(self, statuses: Iterator[int], requests: int) -> None:
        self.stdout.write(f"Sending {requests} requests to itself, some of them failing or slow ...")
        answers: Counter[int] = Counter()
        with log_lines_in(log_file()) as terminal:
            show = Progress(OutputWrapper(terminal), requests)
            for status in islice(statuses, requests):
                answers[status] += 1
                show(answers.total())
        for status, count in sorted(answers.items()):
            self.stdout.write(f"  {count:4} x {status} {HTTPStatus(status).phrase}")

    def invite(self, port: int) -> None:
        self.stdout.write(
            INVITATION.format(host=HOST, port=port, username=seed.USERNAME, password=seed.PASSWORD, log=log_file())
        )
        self.stdout.write("Log lines follow. Stop with Ctrl+C.\n")
        self.stdout.flush()

    def keep_going(self, statuses: Iterable[int]) -> None:
        for _ in statuses:
            time.sleep(PAUSE_S)


class Progress:
    """One line that is written over on a terminal, a line now and then elsewhere."""

    def __init__(self, output: OutputWrapper, total: int) -> None:
        self.output = output
        self.total = total

    def __call__(self, done: int) -> None:
        last = done == self.total
        if self.output.isatty():
            self.output.write(f"\r  {done}/{self.total}", ending="\n" if last else "")
        elif last or done % 100 == 0:
            self.output.write(f"  {done}/{self.total}")
        self.output.flush()


def port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port; use a number from 0 (any free port) to 65535")
    return int(text)


def bind(port: int) -> ThreadedWSGIServer:
    try:
        server = ThreadedWSGIServer((HOST, port), QuietHandler)
    except OSError as error:
        reason = "is taken. Stop what listens there" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
        other = 8001 if port != 8001 else 8002
        raise CommandError(f"Port {port} {reason}, or choose another one: manage.py demo --port {other}") from error
    server.set_app(WSGIHandler())
    return server


def set_site_url(port: int) -> None:
    """Let the links in alerts lead to this server."""
    settings.CRM_MONITORING = {**settings.CRM_MONITORING, "SITE_URL": f"http://{HOST}:{port}/"}
    conf.reset()


@contextmanager
def running(server: ThreadedWSGIServer) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.shutdown()


def database() -> Path:
    return Path(connection.settings_dict["NAME"])


def log_file() -> Path:
    return database().with_name(f"{database().name}.log")


@contextmanager
def log_lines_in(path: Path) -> Iterator[TextIO]:
    """Send standard output to a file, so that log lines do not hide the progress, and hand out the terminal."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as terminal:
        with path.open("w") as lines:
            os.dup2(lines.fileno(), 1)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            os.dup2(terminal.fileno(), 1)
