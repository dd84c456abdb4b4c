"""Alerts to Slack, or to what understands its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_monitoring.conf import REQUIRED, key
from crm_monitoring.dashboard.alerts.channels.channel import Channel, cut, post_json, web_address

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
    from crm_monitoring.dashboard.alerts.messages import all_links, facts

    fields = [f"*{_escaped(name)}*\n{_escaped(value)}" for name, value in facts(message)[:_FIELDS]]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(cut(f"{message.status}: {message.headline}", _HEADER_LENGTH))},
        {"type": "section", "fields": [_markdown(cut(field, _FIELD_LENGTH)) for field in fields]},
    ]
    if message.stack:
        code = cut(_escaped("\n".join(message.stack)).replace("```", "'''"), _SECTION_LENGTH - 6)
        blocks.append({"type": "section", "text": _markdown(f"```{code}```")})
    linked = " · ".join(f"<{url}|{name}>" for name, url in all_links(message))
    if linked:
        blocks.append({"type": "context", "elements": [_markdown(linked)]})
    return blocks


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
