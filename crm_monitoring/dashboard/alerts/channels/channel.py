"""What a channel is: for those that come with the dashboard and for your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from crm_monitoring.conf import BAD_CHOICE, Keys, Unusable, parsing
from crm_monitoring.dashboard import posting

if TYPE_CHECKING:
    from crm_monitoring.dashboard.alerts.messages import Message

_MAX_RETRY_AFTER = 3_600.0


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


class Channel(Keys, ABC):
    """
    One way to tell people. A subclass declares its options as keys: secret ones are in no `repr` and in no message.

    Attributes:
        name: As ALERT_CHANNELS names it.
    """

    name: str

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options, name=name)

    @abstractmethod
    def send(self, message: Message, delivery: str) -> None:
        """
        Send a message.

        Args:
            delivery: Id of the delivery, the same when it is sent again.

        Raises:
            NotSent: if the channel does not take it.
        """


def web_address(example: str) -> parsing.Parser:
    """Return a parser of addresses to post to."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise Unusable(BAD_CHOICE, "is empty", f"Write {example!r}.")
        return parsing.url(value, example)

    return parse


def post_json(url: str, given: Any) -> None:
    """
    Post JSON.

    Raises:
        NotSent: unless the answer is 2xx.
    """
    post(url, orjson.dumps(given), {})


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """
    Post a body of JSON.

    Raises:
        NotSent: unless the answer is 2xx.
    """
    try:
        answer = posting.post(url, body, {"Content-Type": "application/json", **headers})
    except posting.NoAnswer as error:
        raise NotSent(error.reason) from None
    if not 200 <= answer.status < 300:
        raise NotSent(f"HTTP {answer.status}", _seconds(answer.headers.get("Retry-After")))


def _seconds(header: str | None) -> float:
    text = header or ""
    return min(float(text), _MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0


def cut(text: str, length: int) -> str:
    """Return `text` in at most so many characters, with a mark where something is missing."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
