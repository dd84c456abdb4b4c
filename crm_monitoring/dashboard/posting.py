"""
Posts to other people's servers, by the urllib3 that sentry-sdk brings: the alerts' webhooks and Sentry's API.

Addresses and headers may hold secrets, so no error of urllib3's leaves this module, and its log lines about our posts do not either.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProxyError, TimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS = 10.0
MAX_BODY = 500
"""Bytes of an answer that are read."""

_is_ours: ContextVar[bool] = ContextVar("crm_monitoring_posts", default=False)


class Answer(NamedTuple):
    """What a server answered; of its body the first `MAX_BODY` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """
    A server that did not answer.

    Attributes:
        reason: Class of what went wrong, "TimeoutError" or "ConnectionRefusedError", and nothing of the address.
        detail: What the operating system says about it, without secrets but perhaps with the name of the host.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """
    Post `body`, through the proxy that the environment names, if any. A redirect is an answer like others: it is not followed,
    for it would take secrets along, wherever it leads.

    Raises:
        NoAnswer: if there is none within `TIMEOUT_SECONDS`.
    """
    try:
        with _silence(), _manager(url) as manager:
            answer = manager.request(
                "POST",
                url,
                body=body,
                headers={"User-Agent": "crm-monitoring", **headers},
                timeout=TIMEOUT_SECONDS,
                retries=False,
                preload_content=False,
            )
            try:
                return Answer(answer.status, answer.headers, answer.read(MAX_BODY))
            finally:
                answer.close()
    except (HTTPError, OSError, ValueError) as error:
        raise _no_answer(error) from None


def _manager(url: str) -> urllib3.PoolManager:
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager()
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    user = f"{unquote(address.username)}:{unquote(address.password or '')}" if address.username else None
    return urllib3.ProxyManager(
        f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
        proxy_headers=urllib3.make_headers(proxy_basic_auth=user) if user else None,
    )


def _no_answer(error: Exception) -> NoAnswer:
    if isinstance(error, ProxyError):
        error = error.original_error
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return NoAnswer("TimeoutError")
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError):
        return NoAnswer(type(cause).__name__, cause.strerror or "")
    return NoAnswer(type(error).__name__)


@contextmanager
def _silence() -> Iterator[None]:
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


# At DEBUG it writes the path of each request, which is the secret of an incoming webhook.
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _is_ours.get())
