"""Addresses as bytes and as text."""

from __future__ import annotations

import pytest

from swim.types import Address
from swim.wire import DecodeError, pack_host, parse_address, unpack_address, unpack_host


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (bytes([10, 0, 0, 7]), "10.0.0.7"),
        (bytes(16), "::"),
        (bytes(15) + b"\x01", "::1"),
        (bytes.fromhex("20010db8000000000000000000000001"), "2001:db8::1"),
    ],
)
def test_round_trip(packed: bytes, text: str) -> None:
    assert unpack_host(packed) == text
    assert pack_host(text) == packed


def test_an_ipv4_address_has_one_form() -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 7])
    assert unpack_address(mapped, 7946) == Address("10.0.0.7", 7946)
    assert pack_host("::ffff:10.0.0.7") == bytes([10, 0, 0, 7])
    assert pack_host("2001:0db8:0:0::1") == pack_host("2001:db8::1")


@pytest.mark.parametrize("packed", [b"", b"123", b"12345", bytes(15), bytes(17)])
def test_other_lengths_are_no_addresses(packed: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack_host(packed)


@pytest.mark.parametrize("host", ["", "localhost", "10.0.0", "10.0.0.256", "fe80::1%eth0", "a\0b", "é"])
def test_names_cannot_be_packed(host: str) -> None:
    with pytest.raises(ValueError, match="not a numeric IP address"):
        pack_host(host)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7:7946", ("10.0.0.7", 7946)),
        ("swim.internal:0", ("swim.internal", 0)),
        ("[::1]:7946", ("::1", 7946)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_an_address_is_parsed_as_it_is_printed(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert str(Address(*address)) == text


@pytest.mark.parametrize(
    ("text", "host"),
    [("a.example", "a.example"), ("::1", "::1"), ("[::1]", "::1"), ("10.0.0.7:", "10.0.0.7")],
)
def test_a_port_may_be_left_out(text: str, host: str) -> None:
    assert parse_address(text, 7946) == (host, 7946)


@pytest.mark.parametrize(
    "text",
    ["", ":", ":7946", "host", "host:", "host:http", "host:65536", "host:-1", "::1", "[::1]", "[]:1", "h:²"],
)
def test_what_is_no_address_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        parse_address(text)
