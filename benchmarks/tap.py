"""A tap on this host: the packets that pass it or reach it, and others sent in anybody's name. Needs root."""

from __future__ import annotations

import socket
from contextlib import ExitStack

__all__ = ["Tap"]

_ETHERTYPE_IPV4 = 0x0800
_SIZE_MAX = 65_535
_TARGET = slice(16, 20)


class Tap:
    """IPv4 packets, whole. `sent` counts those that were sent here."""

    def __init__(self, timeout: float | None = None) -> None:
        self.sent = 0
        with ExitStack() as opening:
            ethertype = socket.htons(_ETHERTYPE_IPV4)
            self._ear = opening.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, ethertype))
            self._mouth = opening.enter_context(
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            )
            self._ear.settimeout(timeout)
            self._open = opening.pop_all()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def receive(self) -> bytes | None:
        """The next packet; None for one on its way out, as it is seen twice. Raises TimeoutError."""
        packet, (_, _, kind, *_) = self._ear.recvfrom(_SIZE_MAX)
        return packet if kind == socket.PACKET_HOST else None

    def send(self, packet: bytes) -> None:
        self._mouth.sendto(packet, (socket.inet_ntoa(packet[_TARGET]), 0))
        self.sent += 1
