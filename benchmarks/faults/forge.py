"""Sends forged ICMP messages "port unreachable" about datagrams that it has never seen; needs a raw socket.

    python -m benchmarks.faults.forge RATE SECONDS HOST:PORT ..

To each of these, in turn, in the name of each other: a datagram that it had sent there was refused, says the
message, which quotes the 28 bytes of one as they can be guessed, 56 bytes in all.
"""

from __future__ import annotations

import itertools
import socket
import struct
import sys
import time
from collections.abc import Sequence

__all__ = ["forged", "header", "main"]


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(source: str, target: str, protocol: int, size: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    begin = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, 0, 64, protocol)
    return begin + struct.pack("!H", _checksum(begin + b"\0\0" + addresses)) + addresses


def forged(told: tuple[str, int], about: tuple[str, int]) -> bytes:
    """The whole packet: to one, in the name of the other, about a datagram between their ports."""
    datagram = struct.pack("!HHHH", told[1], about[1], 8 + 50, 0)
    quoted = header(told[0], about[0], socket.IPPROTO_UDP, 8 + 50) + datagram
    body = struct.pack("!BBHI", 3, 3, 0, 0) + quoted
    message = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    return header(about[0], told[0], socket.IPPROTO_ICMP, len(message)) + message


def main(argv: Sequence[str]) -> None:
    rate, seconds = float(argv[0]), float(argv[1])
    hosts = [(host, int(port)) for host, _, port in (text.rpartition(":") for text in argv[2:])]
    pairs = itertools.cycle(list(itertools.permutations(hosts, 2)))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            told, about = next(pairs)
            raw.sendto(forged(told, about), (told[0], 0))


if __name__ == "__main__":
    main(sys.argv[1:])
