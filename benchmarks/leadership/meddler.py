"""A box on the way that has no key: what it sees it sends once more, from another address. Needs root.

    python -m benchmarks.leadership.meddler reflect VICTIM           # on the router
    python -m benchmarks.leadership.meddler multiply VICTIM OTHER ..

reflect: each datagram that the victim sends comes back to it, from the address that it was meant for.
multiply: each datagram that reaches the victim reaches it from these other addresses as well.

It prints a line when it has begun, and how many datagrams it has sent when it is ended by SIGTERM.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator, Sequence

from benchmarks.tap import Tap

__all__ = ["main", "repeated"]

_HEADER_SIZE = 20
_SOURCE, _TARGET = slice(12, 16), slice(16, 20)


def repeated(packet: bytes, how: str, victim: bytes, others: Sequence[bytes]) -> Iterator[bytes]:
    """The packets to send upon this one. Addresses have four bytes."""
    if packet[:1] != b"\x45" or packet[9] != socket.IPPROTO_UDP:
        return
    source, target = packet[_SOURCE], packet[_TARGET]
    if how == "reflect" and source == victim:
        yield _readdressed(packet, target, source, swap=True)
    elif how == "multiply" and target == victim:
        for other in others:
            if other != source:
                yield _readdressed(packet, other, target)


def _readdressed(packet: bytes, source: bytes, target: bytes, *, swap: bool = False) -> bytes:
    """The same datagram between these two. Without a checksum: the kernel fills in that of the header."""
    ports = packet[_HEADER_SIZE : _HEADER_SIZE + 4]
    ports = ports[2:] + ports[:2] if swap else ports
    size, content = packet[_HEADER_SIZE + 4 : _HEADER_SIZE + 6], packet[_HEADER_SIZE + 8 :]
    return packet[:10] + b"\0\0" + source + target + ports + size + b"\0\0" + content


def main(argv: Sequence[str]) -> None:
    how, victim, *others = argv
    addresses = [socket.inet_aton(other) for other in others]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Tap() as tap:
        try:
            print("begun", flush=True)
            while True:
                packet = tap.receive()
                if packet is not None:
                    for copy in repeated(packet, how, socket.inet_aton(victim), addresses):
                        tap.send(copy)
        finally:
            print(tap.sent, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
