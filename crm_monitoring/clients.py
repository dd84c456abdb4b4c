"""Who sent a request: the address that can be believed."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import TYPE_CHECKING

from crm_monitoring import conf

if TYPE_CHECKING:
    from django.http import HttpRequest

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_ip(request: HttpRequest) -> str | None:
    """
    Return the client's address: REMOTE_ADDR, or behind TRUSTED_PROXIES the last hop before them in X-Forwarded-For.

    Anybody can send X-Forwarded-For, so it counts only as far as proxies of ours wrote it: read from its end.
    """
    address = request.META.get("REMOTE_ADDR") or None
    if address is None or not _is_trusted(address):
        return address
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if not _is_address(hop.strip()):
            break
        address = hop.strip()
        if not _is_trusted(address):
            break
    return address


def _is_trusted(address: str) -> bool:
    networks = _networks(conf.get().TRUSTED_PROXIES)
    return bool(networks) and _is_address(address) and any(ipaddress.ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@cache
def _networks(names: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(name, strict=False) for name in names)
