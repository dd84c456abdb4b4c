from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest

from crm_monitoring.requests.client_ip import client_ip
from crm_monitoring.requests.request_id import request_id_of


def request(**meta: str) -> HttpRequest:
    made = HttpRequest()
    made.META = meta
    return made


def behind(address: str, forwarded: str) -> HttpRequest:
    return request(REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR=forwarded)


def test_the_peer_is_the_client_where_no_proxy_is_trusted() -> None:
    assert client_ip(behind("192.0.2.1", "198.51.100.9")) == "192.0.2.1"


def test_the_header_of_a_stranger_is_not_believed(monitoring: Any) -> None:
    monitoring(TRUSTED_PROXIES=["10.0.0.0/8"])

    assert client_ip(behind("192.0.2.1", "198.51.100.9")) == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("8.8.8.8, 198.51.100.9", "198.51.100.9"),
        ("8.8.8.8, 198.51.100.9, 10.0.0.7", "198.51.100.9"),
        ("10.0.0.8, 10.0.0.7", "10.0.0.8"),
        ("198.51.100.9:5000", "198.51.100.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("198.51.100.9, unknown", "10.0.0.1"),
        ("198.51.100.9, unknown, 10.0.0.7", "10.0.0.7"),
        ("<script>", "10.0.0.1"),
        ("1.2.3.4.5:6", "10.0.0.1"),
        ("", "10.0.0.1"),
        (",", "10.0.0.1"),
    ],
)
def test_the_header_of_a_trusted_proxy_is_read_from_its_end(monitoring: Any, forwarded: str, client: str) -> None:
    monitoring(TRUSTED_PROXIES=["10.0.0.0/8"])

    assert client_ip(behind("10.0.0.1", forwarded)) == client


def test_a_trusted_proxy_without_the_header_is_the_client(monitoring: Any) -> None:
    monitoring(TRUSTED_PROXIES=["10.0.0.0/8"])

    assert client_ip(request(REMOTE_ADDR="10.0.0.1")) == "10.0.0.1"


@pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "fd00::1"])
def test_networks_of_both_families_are_trusted(monitoring: Any, peer: str) -> None:
    monitoring(TRUSTED_PROXIES=["10.0.0.0/8", "fd00::/8"])

    assert client_ip(behind(peer, "198.51.100.9")) == "198.51.100.9"


@pytest.mark.parametrize("meta", [{}, {"REMOTE_ADDR": ""}])
@pytest.mark.parametrize(("trusted", "client"), [([], None), (["10.0.0.0/8"], None), (["unix"], "198.51.100.9")])
def test_a_socket_file_is_trusted_only_by_its_name(
    monitoring: Any, meta: dict[str, str], trusted: list[str], client: str | None
) -> None:
    monitoring(TRUSTED_PROXIES=trusted)

    assert client_ip(request(**meta, HTTP_X_FORWARDED_FOR="198.51.100.9")) == client


def test_a_socket_file_without_the_header_has_no_client(monitoring: Any) -> None:
    monitoring(TRUSTED_PROXIES=["unix"])

    assert client_ip(request(REMOTE_ADDR="")) is None


def test_a_peer_that_is_no_address_is_nobody(monitoring: Any) -> None:
    monitoring(TRUSTED_PROXIES=["10.0.0.0/8", "unix"])

    assert client_ip(behind("garbage", "198.51.100.9")) is None


def test_an_id_is_generated_where_callers_are_not_trusted(monitoring: Any) -> None:
    monitoring(TRUST_REQUEST_ID=False)

    made = request_id_of(request(HTTP_X_REQUEST_ID="given"))

    assert made != "given"
    assert len(made) == 32


def test_the_id_comes_in_by_the_header_of_the_setting(monitoring: Any) -> None:
    monitoring(REQUEST_ID_HEADER="X-Correlation-ID")

    assert request_id_of(request(HTTP_X_CORRELATION_ID="given", HTTP_X_REQUEST_ID="other")) == "given"


@pytest.mark.parametrize("given", ["a b", "a\n", "", "é", "x" * 129])
def test_a_harmful_id_is_replaced(given: str) -> None:
    assert len(request_id_of(request(HTTP_X_REQUEST_ID=given))) == 32
