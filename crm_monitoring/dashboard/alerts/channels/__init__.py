"""
Where alerts go, parsed from ALERT_CHANNELS, and how each takes a message.

    "ALERT_CHANNELS": {
        "team": {"type": "email", "to": ["team@example.org"]},   # without "to": ADMINS
        "slack": {"type": "slack", "url": "https://hooks.slack.com/services/..."},
        "pager": {"type": "webhook", "url": "https://pager.example.org/hook", "secret": "..."},
        "phone": {"type": "project.alerts.Phone", "number": "..."},   # a subclass of Channel of your own
    }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crm_monitoring.conf import Problem, parse_options
from crm_monitoring.dashboard import config
from crm_monitoring.dashboard.alerts.channels.channel import Channel, NotSent
from crm_monitoring.dashboard.alerts.channels.discord import Discord
from crm_monitoring.dashboard.alerts.channels.email import Email
from crm_monitoring.dashboard.alerts.channels.slack import Slack
from crm_monitoring.dashboard.alerts.channels.teams import Teams
from crm_monitoring.dashboard.alerts.channels.webhook import Webhook, signature
from crm_monitoring.dashboard.alerts.named import BAD_CHANNEL, described, usable
from crm_monitoring.dashboard.loading import class_named

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

__all__ = ["BAD_CHANNEL", "TYPES", "Channel", "NotSent", "active", "parse", "problems", "send", "signature"]

TYPES: Mapping[str, type[Channel]] = {
    "email": Email,
    "slack": Slack,
    "discord": Discord,
    "teams": Teams,
    "webhook": Webhook,
}


def active() -> tuple[Channel, ...]:
    """Return the channels that can be used."""
    return parse(config.get().ALERT_CHANNELS)[0]


def problems() -> tuple[Problem, ...]:
    """Return what of ALERT_CHANNELS cannot be used. No address or secret is in it."""
    return parse(config.get().ALERT_CHANNELS)[1]


def parse(given: Mapping[str, Any]) -> tuple[tuple[Channel, ...], tuple[Problem, ...]]:
    """Return the channels that the setting describes, and what of it cannot be used: that channel is left out."""
    return usable("ALERT_CHANNELS", BAD_CHANNEL, given, _channel)


def send(channel: Channel, message: Message, delivery: str) -> None:
    """
    Send a message by a channel, whosever it is.

    Raises:
        NotSent: if the channel does not take it.
    """
    try:
        channel.send(message, delivery)
    except NotSent:
        raise
    except Exception as error:
        # A back end for mail or a channel of the host's may raise anything; what it says may hold addresses.
        raise NotSent(type(error).__name__) from None


def _channel(name: str, given: Any) -> Channel:
    options = described(name, given, 'Write a dict: {"type": "email"}.')
    declared = class_named(options.pop("type", None), TYPES, Channel, "type")
    return declared(name, **parse_options(declared.declared, options, declared.__name__.lower()))
