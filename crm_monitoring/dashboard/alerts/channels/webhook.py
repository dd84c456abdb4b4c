"""
Alerts to an address of your own, signed.

A webhook gets the JSON of `messages.Message` by POST, and answers 2xx once it has it. Who receives it checks that it is ours:

    X-Monitoring-Timestamp: Unix seconds; refuse what is older than five minutes
    X-Monitoring-Signature: "sha256=" + hex(HMAC-SHA256(secret, timestamp + "." + body))
    X-Monitoring-Delivery: the same when a message is sent again, which may happen after a failure
"""

from __future__ import annotations

import hmac
from time import time
from typing import TYPE_CHECKING

from crm_monitoring.conf import REQUIRED, key, parsing
from crm_monitoring.dashboard.alerts.channels.channel import Channel, post, web_address

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_HOOK = "https://pager.example.org/hook"
_SECRET = "a text that only you and the receiver know."  # noqa: S105 - what to write, not a secret


class Webhook(Channel):
    """By a signed POST to an address that takes JSON."""

    url: str = key(REQUIRED, web_address(_HOOK), f"the address that takes it, {_HOOK!r}.", secret=True)
    secret: str = key(REQUIRED, parsing.filled(f"Write {_SECRET}"), _SECRET, secret=True)

    def send(self, message: Message, delivery: str) -> None:
        """Post the message, signed."""
        body, moment = message.to_json().encode(), str(int(time()))
        headers = {
            "X-Monitoring-Delivery": delivery,
            "X-Monitoring-Timestamp": moment,
            "X-Monitoring-Signature": signature(self.secret, moment, body),
        }
        post(self.url, body, headers)


def signature(secret: str, moment: str, body: bytes) -> str:
    """Return what X-Monitoring-Signature says of a body sent at a moment."""
    return f"sha256={hmac.new(secret.encode(), f'{moment}.'.encode() + body, 'sha256').hexdigest()}"
