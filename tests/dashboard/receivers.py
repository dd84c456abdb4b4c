"""The far ends of alerts: a mail server, and a server that takes webhooks as Slack does."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from django import VERSION
from slack_sdk.models.blocks import Block

from tests.e2e.processes import free_port

HANG = 0


@dataclass
class Hook:
    """
    An address that takes webhooks.

    Attributes:
        statuses: What the next posts are answered with, 200 when there is none left; HANG answers nothing until `release` is set.
        retry_after: What Retry-After says with 429.
        strict: Whether it is Slack, which answers 400 to what it cannot show.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    retry_after: str = "120"
    strict: bool = False
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posts]

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == HANG:
            self.release.wait(30)
            return 503, b""
        if status == 200 and self.strict and not _is_shown_by_slack(body):
            return 400, b"invalid_payload"
        if status == 200:
            self.posts.append((headers, body))
        return status, b"ok"


def _is_shown_by_slack(body: bytes) -> bool:
    given = json.loads(body)
    if not given.get("text") or not given.get("blocks") or len(given["blocks"]) > 50:
        return False
    for block in Block.parse_all(given["blocks"]):
        block.validate_json()
    return True


@contextmanager
def a_hook(**given: Any) -> Iterator[Hook]:
    hook = Hook(**given)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, said = hook.answer(dict(self.headers.items()), body)
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", hook.retry_after)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/secret-of-the-hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook
    finally:
        hook.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """What a mail server was given."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


def use_mail_server(settings: Any, port: int) -> None:
    """Let Django send its mail there."""
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": port}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", port


@contextmanager
def a_mail_server() -> Iterator[Mailbox]:
    # It tells every command it gets.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    mailbox = Mailbox(free_port())
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
