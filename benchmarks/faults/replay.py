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

__all__ = ["main", "udp"]

_ETH_P_IP = 0x0800
_KEPT = 2_000
_PACKET_OUTGOING = 4

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
    began, sent = time.monotonic(), 0
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP)) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as mouth,
    ):
        ear.settimeout(1 / rate)
        while (passed := time.monotonic() - began) < seconds:
            again: list[tuple[Host, Host, bytes]] = []
            try:
                packet, (_, _, kind, *_) = ear.recvfrom(65_535)
                found = udp(packet) if kind != _PACKET_OUTGOING else None
                if found is not None and found[0] in hosts and found[1] in hosts:
                    heard.append(found)
                    again = [(host, *found[1:]) for host in hosts if host not in found[:2]]
            except TimeoutError:
                pass
            if heard and sent < rate * passed:
                _, target, payload = rng.choice(heard)
                again.append((rng.choice([host for host in hosts if host != target]), target, payload))
            for source, target, payload in again:
                mouth.sendto(datagram(source, target, payload), (target[0], 0))
                sent += 1
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1:])
