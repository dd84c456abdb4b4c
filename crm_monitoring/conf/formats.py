"""Parsers of values that one key alone has: DSN, token, header, networks, statuses, rates."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from crm_monitoring.conf.parsing import (
    BAD_CHOICE,
    BAD_NUMBER,
    WRONG_TYPE,
    Unusable,
    each,
    mapping,
    names,
    text,
    without_userinfo,
)

BAD_RATE = "crm_monitoring.E003"
"""A rate is outside 0 to 1. Write 10 % as 0.1."""
BAD_DSN = "crm_monitoring.E004"
"""`SENTRY_DSN` does not parse. Copy it from your project once more."""
BAD_ENVIRONMENT = "crm_monitoring.E006"
"""`ENVIRONMENT` is empty or is not text. Write for example "production"."""
BAD_NETWORK = "crm_monitoring.E008"
"""`TRUSTED_PROXIES` has an item that is not a network. Write for example "10.0.0.0/8"."""

UNIX_SOCKET = "unix"
"""In TRUSTED_PROXIES: whoever connects by a socket file, which has no address."""

_HEADER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


def header(value: Any) -> str:
    """Parse the name of an HTTP header."""
    name = text(value)
    if not _HEADER.fullmatch(name):
        complaint = "{}; it must be the name of an HTTP header"
        raise Unusable(BAD_CHOICE, complaint, 'For example "X-Request-ID".', value)
    return name


def methods(value: Any) -> tuple[str, ...]:
    """Parse HTTP methods."""
    return tuple(name.upper() for name in names(value))


def statuses(value: Any) -> frozenset[int]:
    """Parse HTTP statuses."""
    if not isinstance(value, list | tuple | set | frozenset | range):
        raise Unusable(WRONG_TYPE, "{}; it must be a list of HTTP statuses", _STATUSES, value)
    return frozenset(each(_status, value))


_STATUSES = "For example [403, 404]."


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unusable(WRONG_TYPE, "{}; it must be an HTTP status", _STATUSES, value)
    if not 100 <= value <= 599:
        raise Unusable(BAD_NUMBER, "{}; HTTP statuses are 100 to 599", _STATUSES, value)
    return value


def networks(value: Any) -> tuple[str, ...]:
    """Parse addresses and networks, and `UNIX_SOCKET`."""
    return each(_network, names(value))


def _network(name: str) -> str:
    if name == UNIX_SOCKET:
        return name
    try:
        ipaddress.ip_network(name, strict=False)
    except ValueError:
        hint = 'For example ["10.0.0.0/8", "127.0.0.1"], or ["unix"] for a proxy that connects by a socket file.'
        raise Unusable(BAD_NETWORK, "{}, which is neither an address nor a network", hint, name) from None
    return name


def rate(value: Any) -> float:
    """Parse a share, from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(WRONG_TYPE, "{}; it must be a number between 0 and 1", "10 % is written 0.1.", value)
    if not 0 <= value <= 1:
        raise Unusable(BAD_RATE, "{}; it must be between 0 and 1", "10 % is written 0.1.", value)
    return float(value)


def rates(value: Any) -> Mapping[str, float]:
    """Parse shares by name."""
    return {name: _rate_of(name, given) for name, given in mapping(value).items()}


def _rate_of(name: str, value: Any) -> float:
    try:
        return rate(value)
    except Unusable as error:
        raise error.inside(f"has a rate for {without_userinfo(name)!r} that ") from None


def rate_or_table(value: Any) -> float | Mapping[str, float]:
    """Parse a share, or shares by environment."""
    return rates(value) if isinstance(value, Mapping) else rate(value)


def environment(value: Any) -> str:
    """Parse the name of a deployment."""
    hint = 'For example "production".'
    try:
        name = text(value)
    except Unusable as error:
        raise Unusable(BAD_ENVIRONMENT, error.complaint, hint, value) from None
    if not name:
        raise Unusable(BAD_ENVIRONMENT, "is empty; it must be text", hint)
    return name


def dsn(value: Any) -> str:
    """Parse where Sentry takes events; empty for nowhere."""
    complaint = _complaint_of_dsn(value.strip()) if isinstance(value, str) else "is not text"
    if complaint:
        raise Unusable(BAD_DSN, complaint, "Copy it from your Sentry project: https://<key>@<host>/<number>.")
    return text(value)


def _complaint_of_dsn(given: str) -> str | None:
    if not given:
        return None
    try:
        parts = urlsplit(given)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "does not parse as a URL"
    if not given.isascii() or len(given.split()) > 1:
        return "holds characters that a URL cannot have"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not parts.username:
        return "has no public key before the @"
    if not host:
        return "has no host"
    if not parts.path.rstrip("/").rpartition("/")[2].isdigit():
        return "does not end with the number of the project"
    return None


def token(value: Any) -> str:
    """Parse a token that a server gave."""
    if not isinstance(value, str):
        raise Unusable(WRONG_TYPE, "is not text", "Copy it once more.")
    found = value.strip()
    if not found.isascii() or not found.isprintable() or " " in found:
        raise Unusable(BAD_CHOICE, "holds characters that a token cannot have", "Copy it once more.")
    return found
