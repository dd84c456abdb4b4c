"""Alerts to Slack, or to what understands its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from crm_monitoring.conf import REQUIRED, key
from crm_monitoring.dashboard.alerts.channels.channel import Channel, post_json, web_address

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_HOOK = "https://hooks.slack.com/services/..."
_HEADER_LENGTH = 150
_FIELD_LENGTH = 2_000
_SECTION_LENGTH = 3_000
_FIELDS = 10


class Slack(Channel):
    """By an incoming webhook."""

    url: str = key(REQUIRED, web_address(_HOOK), f"the address of an incoming webhook, {_HOOK!r}.", secret=True)

    def send(self, message: Message, delivery: str) -> None:
        """Post the message as blocks, and as text for notifications."""
        post_json(self.url, {"text": f"{message.status}: {message.headline}", "blocks": slack_blocks(message)})


def slack_blocks(message: Message) -> list[dict[str, Any]]:
    """Return the message as Slack's blocks, within its limits."""
    from crm_monitoring.dashboard.alerts.messages import facts

    fields = [f"*{_escaped(name)}*\n{_escaped(value)}" for name, value in facts(message)[:_FIELDS]]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(_cut(f"{message.status}: {message.headline}", _HEADER_LENGTH))},
        {"type": "section", "fields": [_markdown(_cut(field, _FIELD_LENGTH)) for field in fields]},
    ]
    if message.stack:
        code = _cut(_escaped("\n".join(message.stack)).replace("```", "'''"), _SECTION_LENGTH - 6)
        blocks.append({"type": "section", "text": _markdown(f"```{code}```")})
    with translation.override(settings.LANGUAGE_CODE):
        links = [(_("Details"), message.url), (_("Dashboard"), message.dashboard_url)]
    linked = " · ".join(f"<{url}|{name}>" for name, url in links if url)
    if linked:
        blocks.append({"type": "context", "elements": [_markdown(linked)]})
    return blocks


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
