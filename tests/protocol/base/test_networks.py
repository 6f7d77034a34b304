"""Which addresses a node deals with."""

from __future__ import annotations

import ipaddress

import pytest

from swim.protocol.base.networks import Networks


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1", "192.168.1.5", "::1", "fe80::1", "2001:db8::7"])
def test_without_networks_every_host_is_permitted(host: str) -> None:
    assert Networks(()).permits_host(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "localhost", "", "10.0.0"]
)
def test_what_is_not_a_host_never_is(host: str) -> None:
    assert not Networks(()).permits_host(host)
    assert not Networks(["0.0.0.0/0", "::/0"]).permits_host(host)


def test_broadcast_is_not_a_host() -> None:
    assert not Networks(()).permits_host("255.255.255.255")


def test_only_what_is_inside_is_permitted() -> None:
    networks = Networks(["10.0.0.0/8", "2001:db8::/32"])
    assert networks.permits_host("10.255.1.2")
    assert networks.permits_host("2001:db8:1::2")
    assert not networks.permits_host("11.0.0.1")
    assert not networks.permits_host("2001:db9::1")
    assert not networks.permits_host("::1")


def test_a_network_may_be_written_with_host_bits() -> None:
    assert Networks(["192.168.1.77/24"]).permits_host("192.168.1.1")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "local", "10.0.0.1/24/8"])
def test_other_text_raises(text: str) -> None:
    with pytest.raises(ValueError, match="network"):
        Networks([text])


def test_remembers_only_so_many() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(10_000):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        assert networks.permits_host(host)
    assert len(networks._known) <= 4_096
    assert networks.permits_host("10.0.0.1")
    assert not networks.permits_host("11.0.0.1")


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "127.0.0.1", "223.255.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1", "0.0.0.0", "0.0.0.1"],
)
def test_of_ipv4_it_judges_as_the_standard_library_does(host: str) -> None:
    address = ipaddress.ip_address(host)
    assert Networks([]).permits_host(host) is not (address.is_multicast or address.is_unspecified)


@pytest.mark.parametrize("host", ["10.0.0", "10.0.0.01", "10.0.0.256", "10.0.0.1 ", "10.0.0.1\0", "1", ""])
def test_what_is_no_ipv4_address_is_no_host(host: str) -> None:
    assert not Networks([]).permits_host(host)
