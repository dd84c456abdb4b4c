"""What an alert says: what, since when, figures, the top of the stack and where to look, without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

STACK_FRAMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    One message, as all channels say it and as webhooks get it.

    Attributes:
        step: "start", "reminder" or "end".
        kind: Of the rule: "error_rate".
        headline: What it is about, the same in all messages of an alert.
        status: What `step` means, in words.
        since: When it began, ISO 8601 in UTC; `moment` is when this message was made.
        figures: Names and values in words.
        stack: Of an issue, the innermost calls first.
        url: Where exactly that can be looked at; empty without SITE_URL.
        links: What else can be done, with the address for it: "Mute or acknowledge".
        thread: The same in all messages of a rule and subject.
    """

    step: str
    rule: str
    kind: str
    environment: str
    headline: str
    status: str
    since: str
    moment: str
    figures: tuple[tuple[str, str], ...] = ()
    stack: tuple[str, ...] = ()
    url: str = ""
    dashboard_url: str = ""
    thread: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Return the message as it is stored and as webhooks get it."""
        return orjson.dumps(asdict(self)).decode()


def from_json(text: str) -> Message:
    """Return the message that `to_json` gave."""
    given: dict[str, Any] = orjson.loads(text)
    pairs = {name: tuple(map(tuple, given.get(name, ()))) for name in ("figures", "links")}
    return Message(**{**given, **pairs, "stack": tuple(given["stack"])})


def as_text(message: Message) -> str:
    """Return the message for those who read plain text."""
    parts = [
        f"{message.status}: {message.headline}",
        "\n".join(f"{name}: {value}" for name, value in facts(message)),
        "\n".join(message.stack),
        "\n".join(f"{name}: {url}" for name, url in all_links(message)),
    ]
    return "\n\n".join(part for part in parts if part)


def all_links(message: Message) -> list[tuple[str, str]]:
    """Return where to go from a message, each with its name, in the site's language."""
    with translation.override(settings.LANGUAGE_CODE):
        links = [(_("Details"), message.url), *message.links, (_("Dashboard"), message.dashboard_url)]
        return [(name, url) for name, url in links if url]


def facts(message: Message) -> list[tuple[str, str]]:
    """Return where, since when and the figures, each with its name, in the site's language."""
    with translation.override(settings.LANGUAGE_CODE):
        where = [(_("Environment"), message.environment)] if message.environment else []
        since = datetime.fromisoformat(message.since)
        return [*where, (_("Since"), _moment(since)), *message.figures, (_("Rule"), message.rule)]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
