"""What really goes over the loopback interface, as a third party sees it (needs CAP_NET_RAW)."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

__all__ = ["Capture", "Packet", "can_capture", "capturing"]

_ALL_PROTOCOLS = 3
_OUTGOING = 4
_UDP, _TCP = 17, 6
_RECEIVE_BUFFER = 32 << 20
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True, slots=True)
class Packet:
    """The payload of one IPv4 packet."""

    transport: str
    source: int
    target: int
    payload: bytes


@dataclass(slots=True)
class Capture:
    """What was sent from or to some ports, in order."""

    ports: set[int]
    packets: list[Packet] = field(default_factory=list)

    def datagrams(self) -> list[bytes]:
        return [packet.payload for packet in self.packets if packet.transport == "udp"]

    def streams(self) -> dict[tuple[int, int], bytes]:
        """The bytes of each direction of each connection, by its ports."""
        flows: dict[tuple[int, int], bytes] = {}
        for packet in self.packets:
            if packet.transport == "tcp":
                flow = (packet.source, packet.target)
                flows[flow] = flows.get(flow, b"") + packet.payload
        return flows


def _opened() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        sock.bind(("lo", _ALL_PROTOCOLS))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def can_capture() -> bool:
    """Packets cannot be captured without CAP_NET_RAW on Linux."""
    try:
        _opened().close()
    except (PermissionError, AttributeError):
        return False
    return True


@asynccontextmanager
async def capturing(ports: Collection[int]) -> AsyncIterator[Capture]:
    """Record what goes from or to these ports (`Capture.ports` may be added to) during the block."""
    capture = Capture(set(ports))
    with _opened() as sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_record, sock, capture)
            yield capture
            _drain(sock, capture)
            nursery.cancel_scope.cancel()


async def _record(sock: socket.socket, capture: Capture) -> None:
    while True:
        await trio.lowlevel.wait_readable(sock)
        _drain(sock, capture)


def _drain(sock: socket.socket, capture: Capture) -> None:
    while True:
        try:
            data, address = sock.recvfrom(65_536)
        except BlockingIOError:
            return
        if address[2] != _OUTGOING:  # everything on loopback is seen twice
            continue
        packet = _parsed(data)
        if packet is not None and packet.payload and {packet.source, packet.target} & capture.ports:
            capture.packets.append(packet)


def _parsed(data: bytes) -> Packet | None:
    if len(data) < 20 or data[0] >> 4 != 4 or data[9] not in (_UDP, _TCP):
        return None
    size = struct.unpack_from("!H", data, 2)[0]
    segment = data[(data[0] & 15) * 4 : size]
    source, target = struct.unpack_from("!HH", segment)
    if data[9] == _UDP:
        return Packet("udp", source, target, segment[8:])
    return Packet("tcp", source, target, segment[(segment[12] >> 4) * 4 :])
