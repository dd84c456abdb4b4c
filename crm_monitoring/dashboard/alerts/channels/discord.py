"""Alerts to Discord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_monitoring.conf import REQUIRED, key
from crm_monitoring.dashboard.alerts.channels.channel import Channel, cut, post_json, web_address

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_HOOK = "https://discord.com/api/webhooks/..."
_TITLE_LENGTH = 256
_TEXT_LENGTH = 2_000
_NAME_LENGTH = 256
_VALUE_LENGTH = 500
# All texts of an embed together may have 6 000 characters.
_FIELDS = 6
_COLOURS = {"start": 0xC0392B, "reminder": 0xE67E22, "end": 0x27AE60}


class Discord(Channel):
    """By a webhook of a Discord channel."""

    url: str = key(REQUIRED, web_address(_HOOK), f"the address of a webhook, {_HOOK!r}.", secret=True)

    def send(self, message: Message, delivery: str) -> None:
        """Post the message as an embed, which nobody can be mentioned by."""
        post_json(self.url, {"embeds": [discord_embed(message)], "allowed_mentions": {"parse": []}})


def discord_embed(message: Message) -> dict[str, Any]:
    """Return the message as Discord's embed, within its limits."""
    from crm_monitoring.dashboard.alerts.messages import all_links, facts

    fields = [
        {"name": cut(name, _NAME_LENGTH), "value": cut(value or "–", _VALUE_LENGTH), "inline": True}
        for name, value in facts(message)[:_FIELDS]
    ]
    code = "\n".join(message.stack).replace("```", "'''")
    links = " · ".join(f"[{name}]({url})" for name, url in all_links(message))
    parts = [f"```{cut(code, _TEXT_LENGTH - 500)}```" if code else "", cut(links, 400)]
    return {
        "title": cut(f"{message.status}: {message.headline}", _TITLE_LENGTH),
        "description": "\n".join(filter(None, parts)),
        "color": _COLOURS.get(message.step, 0),
        "timestamp": message.moment,
        "fields": fields,
        **({"url": message.url} if message.url else {}),
    }
