"""A machine as the network and its connections know it; `swim.testing.kernel` has the rest of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import trio

from swim.simulation.schedule import Clock
from swim.testing.process import Process
from swim.types import Address

__all__ = ["Readiness", "Station", "is_loopback"]


class Station(ABC):
    """The machine at one address."""

    def __init__(self, name: str, number: int, address: str, clock: Clock) -> None:
        self.name = name
        self.number = number
        self.address = address
        self.clock = clock
        self.lost = False
        """Nothing reaches it, and nothing leaves it."""
        self.process: Process | None = None
        self.endpoints: dict[Any, None] = {}
        """Its ends of connections."""

    def owns(self, host: str) -> bool:
        """Whether the address is one of this machine's now."""
        return not self.lost and (host == self.address or is_loopback(host))

    @abstractmethod
    def receive_datagram(self, data: bytes, source: Address, sender: Station, target: Address) -> None:
        """A datagram, for whoever is bound to the target's port."""

    @abstractmethod
    def receive_refusal(self, source: Address, target: Address) -> None:
        """An ICMP error about a datagram from the socket of that address: no process listens there."""

    @abstractmethod
    def receive_syn(self, client: Any) -> None:
        """Somebody, an `Endpoint`, wants to connect."""

    @abstractmethod
    def opened(self, client: Any) -> None:
        """The connection of that `Endpoint` is made, at both ends."""


class Readiness:
    """That a socket can be read from, or written to: tasks of the program that runs on a machine wait for it,
    and its kernel announces it.

    It is never that of a later program: an old one's connections may outlast it.
    """

    def __init__(self, station: Station) -> None:
        self._process = station.process
        self._waiting = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        """Until it is announced."""
        await self._waiting.park()

    def announce(self) -> None:
        """Wake the tasks that wait now."""
        if self._waiting and self._process is not None:
            self._process.tell(self._waiting.unpark_all)


def is_loopback(host: str) -> bool:
    """Whether the address is that of each machine itself."""
    return host.startswith("127.") or host == "::1"
