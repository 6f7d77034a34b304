"""The datagrams that have arrived and wait to be read, those of members before those of strangers.

All of a node runs on one loop, so they are read for a few milliseconds at a time: see `Driver`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from swim.runtime.network import Transport
from swim.types import Address

__all__ = ["Intake"]

_READ_MAX = 2_048
"""Datagrams that are taken from the kernel at once: that is quick, so nothing useful is lost there."""
_STALL_S, _WAIT_TURNS_MAX = 0.05, 20
"""A verdict that is later than this waits for packets of members, for so many turns at most."""
_FEW = 16
"""So many are not worth sorting."""
_OF_MEMBER_MAX = 256
"""Packets of one address that wait before those of strangers; any more wait among them."""
_WAITING_MAX, _WAITING_SIZE_MAX = 2_048, 2 * 1024 * 1024


class _Queue:
    """Packets that wait, bounded in number and bytes."""

    def __init__(self) -> None:
        self.packets: deque[tuple[bytes, Address]] = deque()
        self.size = 0

    def put(self, packet: tuple[bytes, Address]) -> bool:
        if len(self.packets) >= _WAITING_MAX or self.size > _WAITING_SIZE_MAX:
            return False
        self.packets.append(packet)
        self.size += len(packet[0])
        return True


class Intake:
    """The datagrams that have arrived. `knows`: is this a member's address?

    Addresses can be forged, so this decides which packets wait, and nothing else.
    """

    def __init__(self, transport: Transport, knows: Callable[[Address], bool]) -> None:
        self._transport = transport
        self._knows = knows
        self._members, self._strangers = _Queue(), _Queue()
        self._counts: dict[Address, int] = {}
        self._waited = 0
        self.waiting = 0
        """So many can be taken."""

    def precedes(self, late: float) -> bool:
        """Does something have to be taken before a verdict that is late by so many seconds?

        After a stall, the answers of members, which are all there; but not without end.
        """
        waits = late > _STALL_S and bool(self._members.packets) and self._waited < _WAIT_TURNS_MAX
        self._waited = self._waited + 1 if waits else 0
        return waits

    def fill(self, *, readable: bool) -> None:
        """Read what has arrived. What finds no room is dropped, and counted."""
        arrived = self._transport.receive(_READ_MAX, readable=readable)
        if len(arrived) <= _FEW and not self.waiting:
            self._members.packets.extend(arrived)
            self._members.size = sum([len(data) for data, _ in arrived])
            self.waiting = len(arrived)
            return
        for packet in arrived:
            source = packet[1]
            count = self._counts.get(source, 0)
            first = count < _OF_MEMBER_MAX and self._knows(source)
            if first:
                self._counts[source] = count + 1
            if (self._members if first else self._strangers).put(packet):
                self.waiting += 1
            else:
                self._transport.traffic.dropped["flood-member" if first else "flood"] += 1

    def take(self) -> tuple[bytes, Address]:
        """The next packet: of a member if there is one."""
        queue = self._members if self._members.packets else self._strangers
        packet = queue.packets.popleft()
        queue.size -= len(packet[0])
        self.waiting -= 1
        if self._counts and not self._members.packets:
            self._counts.clear()
        return packet
