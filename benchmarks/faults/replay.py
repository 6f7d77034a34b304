"""Sends all datagrams again that pass a router, in the names of others than their senders; needs root.

    python -m benchmarks.faults.replay RATE SECONDS HOST:PORT ..

Each that one of these sends to another is sent again to where it went, at once from each of the others, and
later, as often as RATE a second allows, from any of them. Prints how many were sent.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence

from benchmarks.faults.forge import header
from benchmarks.tap import Tap

__all__ = ["main", "udp"]

_KEPT = 2_000

Host = tuple[str, int]


def udp(packet: bytes) -> tuple[Host, Host, bytes] | None:
    """From where to where the datagram goes, and what is in it; None for what is none, or part of one."""
    size = (packet[0] & 15) * 4
    if packet[9] != socket.IPPROTO_UDP or struct.unpack("!H", packet[6:8])[0] & 0x3FFF:
        return None
    source, target, length, _ = struct.unpack("!HHHH", packet[size : size + 8])
    ends = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return (ends[0], source), (ends[1], target), packet[size + 8 : size + length]


def datagram(source: Host, target: Host, payload: bytes) -> bytes:
    """The whole packet, without a checksum of its own."""
    size = 8 + len(payload)
    begin = header(source[0], target[0], socket.IPPROTO_UDP, size)
    return begin + struct.pack("!HHHH", source[1], target[1], size, 0) + payload


def main(argv: Sequence[str]) -> None:
    rate, seconds = float(argv[0]), float(argv[1])
    hosts = [(host, int(port)) for host, _, port in (text.rpartition(":") for text in argv[2:])]
    rng = random.Random(1)
    heard: deque[tuple[Host, Host, bytes]] = deque(maxlen=_KEPT)
    began = time.monotonic()
    with Tap(timeout=1 / rate) as tap:
        while (passed := time.monotonic() - began) < seconds:
            again: list[tuple[Host, Host, bytes]] = []
            try:
                packet = tap.receive()
                found = None if packet is None else udp(packet)
                if found is not None and found[0] in hosts and found[1] in hosts:
                    heard.append(found)
                    again = [(host, *found[1:]) for host in hosts if host not in found[:2]]
            except TimeoutError:
                pass
            if heard and tap.sent < rate * passed:
                _, target, payload = rng.choice(heard)
                again.append((rng.choice([host for host in hosts if host != target]), target, payload))
            for one in again:
                tap.send(datagram(*one))
    print(tap.sent)


if __name__ == "__main__":
    main(sys.argv[1:])
