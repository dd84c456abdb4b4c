"""Alerts to Microsoft Teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_monitoring.conf import REQUIRED, key
from crm_monitoring.dashboard.alerts.channels.channel import Channel, cut, post_json, web_address

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_HOOK = "https://prod-00.westeurope.logic.azure.com/workflows/..."
# A message may have 28 kB, and a character up to four bytes and an escape.
_HEADLINE_LENGTH = 300
_VALUE_LENGTH = 300
_CODE_LENGTH = 2_000
_FACTS = 10
_LINKS = 5
_URL_LENGTH = 1_000


class Teams(Channel):
    """By a workflow of Teams, "Post to a channel when a webhook request is received"."""

    url: str = key(REQUIRED, web_address(_HOOK), f"the address of a workflow, {_HOOK!r}.", secret=True)

    def send(self, message: Message, delivery: str) -> None:
        """Post the message as an adaptive card."""
        card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": teams_card(message)}
        post_json(self.url, {"type": "message", "attachments": [card]})


def teams_card(message: Message) -> dict[str, Any]:
    """Return the message as an adaptive card."""
    from crm_monitoring.dashboard.alerts.messages import all_links, facts

    title = cut(f"{message.status}: {message.headline}", _HEADLINE_LENGTH)
    colour = "good" if message.step == "end" else "attention"
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": title, "weight": "bolder", "size": "medium", "color": colour, "wrap": True},
        {
            "type": "FactSet",
            "facts": [
                {"title": cut(name, _VALUE_LENGTH), "value": cut(value, _VALUE_LENGTH)}
                for name, value in facts(message)[:_FACTS]
            ],
        },
    ]
    if message.stack:
        code = cut("\n\n".join(message.stack), _CODE_LENGTH)
        body.append({"type": "TextBlock", "text": code, "fontType": "monospace", "wrap": True})
    links = [(name, url) for name, url in all_links(message) if len(url) <= _URL_LENGTH]
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": name, "url": url} for name, url in links[:_LINKS]],
    }
