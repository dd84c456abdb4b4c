"""Who sent a request: the address that can be believed."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from typing import TYPE_CHECKING

from crm_monitoring import conf

if TYPE_CHECKING:
    from django.http import HttpRequest

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Some proxies write the client's port too: "192.0.2.1:5000", "[2001:db8::1]:5000".
_WITH_PORT = re.compile(r"\[(?P<v6>[^]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


def client_ip(request: HttpRequest) -> str | None:
    """
    Return the client's address: REMOTE_ADDR, or behind TRUSTED_PROXIES the last hop before them in X-Forwarded-For.

    Anybody can send X-Forwarded-For, so it counts only as far as proxies of ours wrote it: read from its end.

    Returns:
        The address, or None where there is none: a socket file, or a server that gives something else.
    """
    peer = request.META.get("REMOTE_ADDR") or ""
    address = _parse(peer)
    if not (_is_trusted(address) if peer else _trusts_sockets()):
        return _text(address)
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        forwarded = _parse(hop.strip())
        if forwarded is None:
            break
        address = forwarded
        if not _is_trusted(address):
            break
    return _text(address)


def _text(address: _Address | None) -> str | None:
    return None if address is None else str(address)


def _trusts_sockets() -> bool:
    return conf.UNIX_SOCKET in conf.get().TRUSTED_PROXIES


def _is_trusted(address: _Address | None) -> bool:
    return address is not None and any(address in network for network in _networks(conf.get().TRUSTED_PROXIES))


def _parse(text: str) -> _Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    if with_port:
        text = with_port["v6"] or with_port["v4"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A server that listens on both families gives "::ffff:192.0.2.1".
    return getattr(address, "ipv4_mapped", None) or address


@cache
def _networks(names: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(name, strict=False) for name in names if name != conf.UNIX_SOCKET)
