"""
Where alerts go, parsed from ALERT_CHANNELS, and how each takes a message.

    "ALERT_CHANNELS": {
        "team": {"type": "email", "to": ["team@example.org"]},   # without "to": ADMINS
        "slack": {"type": "slack", "url": "https://hooks.slack.com/services/..."},   # pip install "crm-monitoring[slack]"
        "pager": {"type": "webhook", "url": "https://pager.example.org/hook", "secret": "..."},
    }

A webhook gets the JSON of `messages.Message` by POST, and answers 2xx once it has it. Who receives it checks that it is ours:

    X-Monitoring-Timestamp: Unix seconds; refuse what is older than five minutes
    X-Monitoring-Signature: "sha256=" + hex(HMAC-SHA256(secret, timestamp + "." + body))
    X-Monitoring-Delivery: the same when a message is sent again, which may happen after a failure
"""

from __future__ import annotations

import hmac
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from email.utils import parseaddr
from http.client import HTTPException
from importlib.util import find_spec
from time import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from crm_monitoring.conf import Problem
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts import BAD_CHANNEL
from crm_monitoring.dashboard.models import RULE_LENGTH

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

TIMEOUT_SECONDS = 10.0

_HEADER_LENGTH = 150
_SECTION_LENGTH = 3_000
_FIELDS = 10
_MAX_RETRY_AFTER = 3_600.0
# slack_sdk tells its logger the webhook's address.
_silent = logging.Logger("crm_monitoring.slack", logging.CRITICAL + 1)  # noqa: LOG001 - out of reach of LOGGING


class NotSent(Exception):
    """
    A message that a channel did not take.

    Attributes:
        reason: Class of the exception or status of the answer, and nothing that the channel said.
        retry_after: Seconds it asked to wait.
    """

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class _Unusable(Exception):
    def __init__(self, complaint: str, hint: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Channel(ABC):
    """One way to tell people. Addresses that are secrets are in no `repr`."""

    type: ClassVar[str]
    options: ClassVar[tuple[str, ...]]

    name: str

    @classmethod
    @abstractmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> Channel:
        """Return the channel that its options describe, or raise `_Unusable`."""

    @abstractmethod
    def send(self, message: Message, delivery: str) -> None:
        """
        Send a message.

        Args:
            delivery: Id of the delivery, the same when it is sent again.

        Raises:
            NotSent: if the channel does not take it.
        """


# -- e-mail ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Email(Channel):
    """By Django's mail, whatever its back end; EMAIL_TIMEOUT bounds one that hangs."""

    type = "email"
    options = ("to",)

    to: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> Email:
        """Take the addresses of "to", else ADMINS."""
        to = given.get("to")
        if to is None:
            to = [admin if isinstance(admin, str) else admin[1] for admin in settings.ADMINS]
        hint = 'Write "to": ["team@example.org"], or set ADMINS.'
        if not isinstance(to, list | tuple) or not to:
            raise _Unusable("has no addresses", hint)
        if not all(map(_is_address, to)):
            raise _Unusable("has an address that is not valid", hint)
        return cls(name, tuple(to))

    def send(self, message: Message, delivery: str) -> None:
        """Send one e-mail to all, text and HTML; those of one rule and subject make a thread."""
        # Imported here and below, for `manage.py check` parses channels and makes no message.
        from crm_monitoring.dashboard.alerts.messages import as_text, facts

        mail = EmailMultiAlternatives(
            subject=_subject(message),
            body=f"{as_text(message)}\n\n-- \n{self._leaving()}\n",
            from_email=settings.SERVER_EMAIL,
            to=list(self.to),
            headers=_headers(message, delivery),
        )
        context = {"message": message, "facts": facts(message), "leaving": self._leaving()}
        mail.attach_alternative(render_to_string("crm_monitoring/dashboard/alert_mail.html", context), "text/html")
        try:
            mail.send()
        except Exception as error:
            # A back end of the host's may raise anything; what it says may hold addresses.
            raise NotSent(type(error).__name__) from None

    def _leaving(self) -> str:
        with translation.override(settings.LANGUAGE_CODE):
            return _(
                "You are receiving this because your address is in the channel “%(channel)s” of CRM_MONITORING['ALERT_CHANNELS'], or in "
                "ADMINS. To stop, reply to this message and ask to be removed."
            ) % {"channel": self.name}


def _is_address(value: Any) -> bool:
    try:
        validate_email(parseaddr(value)[1] if isinstance(value, str) else "")
    except ValidationError:
        return False
    return True


def _subject(message: Message) -> str:
    where = f"[{message.environment}] " if message.environment else ""
    answers = "" if message.step == "start" else "Re: "
    return " ".join(f"{answers}{where}{message.headline}".split())[:200]


def _headers(message: Message, delivery: str) -> dict[str, str]:
    sender = parseaddr(settings.SERVER_EMAIL)[1]
    domain = sender.rpartition("@")[2] or "localhost"
    thread = f"<{message.thread}@{domain}>"
    return {
        "Message-ID": f"<{message.thread}.{delivery}@{domain}>",
        "In-Reply-To": thread,
        "References": thread,
        "Auto-Submitted": "auto-generated",
        "List-Unsubscribe": f"<mailto:{sender}?subject=unsubscribe>",
    }


# -- HTTP -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slack(Channel):
    """By an incoming webhook of Slack's, or of what understands its messages."""

    type = "slack"
    options = ("url",)

    url: str = field(repr=False)

    @classmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> Slack:
        """Take the address of the incoming webhook."""
        if find_spec("slack_sdk") is None:
            raise _Unusable("needs slack_sdk, which is not installed", 'Run `pip install "crm-monitoring[slack]"`.')
        return cls(name, _url(given, "https://hooks.slack.com/services/..."))

    def send(self, message: Message, delivery: str) -> None:
        """Post the message as blocks, and as text for notifications."""
        # Imported here, for it is an extra.
        from slack_sdk.webhook import WebhookClient

        client = WebhookClient(self.url, timeout=int(TIMEOUT_SECONDS), logger=_silent, retry_handlers=[])
        try:
            answer = client.send(text=f"{message.status}: {message.headline}", blocks=slack_blocks(message))
        except Exception as error:
            # Its errors derive from nothing in common; what they say may hold the address.
            raise NotSent(type(error).__name__) from None
        if answer.status_code != 200:
            raise NotSent(f"HTTP {answer.status_code}", _seconds(answer.headers.get("Retry-After")))


def slack_blocks(message: Message) -> list[dict[str, Any]]:
    """
    Return the message as Slack's blocks, checked against the limits that slack_sdk knows.

    Raises:
        slack_sdk.errors.SlackObjectFormationError: never, unless a limit has changed.
    """
    from slack_sdk.models.blocks import (
        Block,
        ContextBlock,
        HeaderBlock,
        MarkdownTextObject,
        PlainTextObject,
        SectionBlock,
    )

    from crm_monitoring.dashboard.alerts.messages import facts

    fields = [f"*{_escaped(name)}*\n{_escaped(value)}" for name, value in facts(message)[:_FIELDS]]
    with translation.override(settings.LANGUAGE_CODE):
        links = [(_("Details"), message.url), (_("Dashboard"), message.dashboard_url)]
    linked = " · ".join(f"<{url}|{name}>" for name, url in links if url)
    blocks: list[Block] = [
        HeaderBlock(text=PlainTextObject(text=_cut(f"{message.status}: {message.headline}", _HEADER_LENGTH))),
        SectionBlock(fields=[MarkdownTextObject(text=_cut(field, 2_000)) for field in fields]),
    ]
    if message.stack:
        code = _cut(_escaped("\n".join(message.stack)).replace("```", "'''"), _SECTION_LENGTH - 6)
        blocks.append(SectionBlock(text=MarkdownTextObject(text=f"```{code}```")))
    if linked:
        blocks.append(ContextBlock(elements=[MarkdownTextObject(text=linked)]))
    return [block.to_dict() for block in blocks]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


@dataclass(frozen=True, slots=True)
class Webhook(Channel):
    """By a signed POST to an address that takes JSON."""

    type = "webhook"
    options = ("url", "secret")

    url: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> Webhook:
        """Take the address and the secret that signs."""
        secret = given.get("secret")
        if not isinstance(secret, str) or not secret:
            raise _Unusable("has no secret", 'Write "secret": a text that only you and the receiver know.')
        return cls(name, _url(given, "https://pager.example.org/hook"), secret)

    def send(self, message: Message, delivery: str) -> None:
        """Post the message, signed."""
        body, moment = message.to_json().encode(), str(int(time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "crm-monitoring",
            "X-Monitoring-Delivery": delivery,
            "X-Monitoring-Timestamp": moment,
            "X-Monitoring-Signature": signature(self.secret, moment, body),
        }
        request = Request(self.url, body, headers, method="POST")  # noqa: S310 - http or https, see _url
        try:
            build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS).close()
        except HTTPError as error:
            with error:
                raise NotSent(f"HTTP {error.code}", _seconds(error.headers.get("Retry-After"))) from None
        except (OSError, HTTPException) as error:
            raise NotSent(type(error).__name__) from None


def signature(secret: str, moment: str, body: bytes) -> str:
    """Return what X-Monitoring-Signature says of a body sent at a moment."""
    return f"sha256={hmac.new(secret.encode(), f'{moment}.'.encode() + body, 'sha256').hexdigest()}"


class _NoRedirects(HTTPRedirectHandler):
    # A redirect would take the message along, wherever it leads.
    def redirect_request(self, *args: Any) -> None:
        return None


def _seconds(header: Any) -> float:
    text = str(header or "")
    return min(float(text), _MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0


def _url(given: Mapping[str, Any], example: str) -> str:
    url, hint = given.get("url"), f'Write "url": "{example}".'
    if not isinstance(url, str) or not url.strip():
        raise _Unusable("has no url", hint)
    try:
        parts = urlsplit(url.strip())
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise _Unusable("has a url that does not parse", hint) from None
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or len(url.split()) != 1:
        raise _Unusable("has a url that is not an http or https URL", hint)
    return url.strip()


# -- the setting ----------------------------------------------------------------------------------------------------------

TYPES: Mapping[str, type[Channel]] = {declared.type: declared for declared in (Email, Slack, Webhook)}


def active() -> tuple[Channel, ...]:
    """Return the channels that can be used."""
    return parse(config.get().ALERT_CHANNELS)[0]


def problems() -> tuple[Problem, ...]:
    """Return what of ALERT_CHANNELS cannot be used. No address or secret is in it."""
    return parse(config.get().ALERT_CHANNELS)[1]


def parse(given: Mapping[str, Any]) -> tuple[tuple[Channel, ...], tuple[Problem, ...]]:
    """Return the channels that the setting describes, and what of it cannot be used: that channel is left out."""
    channels, found = [], []
    for name, options in given.items():
        try:
            channels.append(_channel(name, options))
        except _Unusable as wrong:
            message = f"CRM_MONITORING['ALERT_CHANNELS'][{name[:RULE_LENGTH]!r}] {wrong.complaint}."
            found.append(Problem(BAD_CHANNEL, message, wrong.hint, key="ALERT_CHANNELS"))
    return tuple(channels), tuple(found)


def _channel(name: str, given: Any) -> Channel:
    if not isinstance(given, Mapping):
        raise _Unusable(f"is of type {type(given).__name__}", 'Write a dict: {"type": "email"}.')
    if not name or len(name) > RULE_LENGTH or not name.isprintable():
        raise _Unusable("has no usable name", f"Write a name of 1 to {RULE_LENGTH} characters.")
    declared = TYPES.get(given["type"]) if isinstance(given.get("type"), str) else None
    if declared is None:
        raise _Unusable(
            "has an unknown type" if "type" in given else "has no type", _meant(given.get("type", ""), tuple(TYPES))
        )
    for option in given:
        if option not in ("type", *declared.options):
            hint = _meant(option, declared.options)
            raise _Unusable(f"has an option {str(option)[:50]!r}, which {declared.type} does not have", hint)
    return declared.parse(name, given)


def _meant(given: Any, known: Sequence[str]) -> str:
    close = get_close_matches(str(given).lower(), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Use one of {', '.join(known)}."
