"""IP addresses as text and as the 4 or 16 bytes of the wire."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from swim.types import Address
from swim.wire.errors import DecodeError

__all__ = [
    "DEFAULT_PORT",
    "pack_addresses",
    "pack_host",
    "pack_places",
    "parse_address",
    "unpack_address",
    "unpack_addresses",
    "unpack_host",
    "unpack_places",
]

DEFAULT_PORT = 7946
"""Memberlist's, and Serf's."""

# What a dual-stack socket reports for an IPv4 peer, and what Go's net.IP holds for any IPv4 address.
_MAPPED = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=1_024)
def unpack_host(packed: bytes) -> str:
    """The text of an address; an IPv4 address mapped into IPv6 comes out as plain IPv4."""
    if len(packed) == 4:
        return inet_ntop(AF_INET, packed)
    if len(packed) != 16:
        raise DecodeError("body", f"an address of {len(packed)} bytes")
    return inet_ntop(AF_INET, packed[12:]) if packed.startswith(_MAPPED) else inet_ntop(AF_INET6, packed)


@lru_cache(maxsize=1_024)
def pack_host(host: str) -> bytes:
    """The 4 or 16 bytes of a numeric address, mapped addresses as 4; ValueError for anything else."""
    try:
        packed = inet_pton(AF_INET6 if ":" in host else AF_INET, host)
    except (OSError, ValueError):
        raise ValueError(f"{host!r} is not a numeric IP address") from None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def unpack_address(packed: bytes, port: int) -> Address:
    """The address in its one text form, so that addresses can be compared."""
    return Address(unpack_host(packed), port)


def pack_addresses(addresses: Iterable[Address]) -> bytes:
    """Several addresses in one byte string: of each the size, the address, and the port."""
    packed = [pack_host(host) + port.to_bytes(2, "big") for host, port in addresses]
    return b"".join(bytes((len(each),)) + each for each in packed)


def unpack_addresses(data: bytes) -> list[Address]:
    """The addresses that `pack_addresses` packed, up to the first that is none."""
    found: list[Address] = []
    while data and data[0] in (6, 18) and len(data) > data[0]:
        each, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        found.append(unpack_address(each[:-2], int.from_bytes(each[-2:], "big")))
    return found


def pack_places(places: Iterable[tuple[str, Address]], size_max: int) -> bytes:
    """Names and where they are, in one byte string, as many as fit: of each the sizes, name and address."""
    packed = b""
    for name, address in places:
        text = name.encode()
        more = bytes((len(text),)) + text + pack_addresses([address])
        if len(packed) + len(more) > size_max:
            break
        packed += more
    return packed


def unpack_places(data: bytes) -> list[tuple[str, Address]]:
    """What `pack_places` packed, up to the first that is none."""
    found: list[tuple[str, Address]] = []
    while data:
        name, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        size = 1 + data[0] if data else 0
        address = unpack_addresses(data[:size])
        if not name or not address:
            break
        found.append((name.decode(errors="replace"), address[0]))
        data = data[size:]
    return found


def parse_address(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[v6]:port``; the host may be a name.

    With a `default_port` the port may be left out, and so may the brackets then.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or text.endswith("]") or (":" in host and not bracketed):
        host, port = text, ""  # no port in it
        bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not port and default_port is not None and host:
        return host, default_port
    if not (host and port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise ValueError(f"{text!r} is not an address: write host:port or [IPv6 address]:port")
    return host, int(port)
