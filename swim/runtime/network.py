"""What a node needs of the machine that it runs on: datagrams, connections, addresses, time, random bytes.

There are two of each: `swim.runtime.sockets`, and the machines of `swim.testing`, where a program finds its
own in `simulated_host`. Nothing else of a node knows which it has.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

from swim.types import Address

__all__ = ["Connection", "Connections", "Host", "Traffic", "Transport", "simulated_host"]


@dataclass(slots=True)
class Traffic:
    """Running totals. Packets are counted by their UDP payload."""

    tx_packets: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    rx_bytes: int = 0
    stream_tx_bytes: int = 0
    stream_rx_bytes: int = 0
    streams: int = 0
    """Connections open now."""
    dropped: Counter[str] = field(default_factory=Counter)


class Connection(Protocol):
    """One end of a TCP connection. What goes over it is counted."""

    @property
    def peer(self) -> Address:
        """Where the other end is."""

    async def read(self) -> bytes:
        """What has arrived; nothing at the end. Raises `trio.BrokenResourceError`."""

    async def write(self, data: bytes) -> None:
        """Raises `trio.BrokenResourceError`."""

    def write_at_once(self, data: bytes) -> int:
        """Write without waiting; how many of these bytes there was room for. Raises OSError."""

    async def send_eof(self) -> None:
        """Write no more; the other side reads the end. Raises `trio.BrokenResourceError`."""

    def close(self) -> None:
        """Close it, without waiting; again does nothing."""

    def may_stay(self) -> bool:
        """Can what it takes of the system be spared for long?"""

    def keep_alive(self, *, opener: bool) -> None:
        """Let the kernel notice by itself, some day, that the other one is gone."""

    def all_acknowledged(self) -> bool:
        """Has the other kernel acknowledged all that was written? False where ours cannot tell."""

    def acknowledged_bytes(self) -> int:
        """How much of what was ever written the other kernel has acknowledged. 0 where ours cannot tell."""


class Transport(Protocol):
    """What a node is bound to: one address and port, for datagrams and for connections."""

    traffic: Traffic
    address: Address
    """Where it is bound; the host may be a wildcard."""

    @property
    def family(self) -> socket.AddressFamily:
        """The addresses that can be reached from here; AF_UNSPEC for both IPv4 and IPv6."""

    def close(self) -> None:
        """Be bound no more; again does nothing."""

    def send(self, data: bytes, address: Address, now: float) -> None:
        """Send a datagram, or count why that was not possible. A lost datagram is not an error."""

    async def wait_readable(self) -> None:
        """Until there is a datagram or a refusal."""

    def receive(self, limit: int, *, readable: bool = True) -> list[tuple[bytes, Address]]:
        """The datagrams that have arrived, at most so many. `readable`: `wait_readable` has said so."""

    def refusals(self, limit: int, now: float) -> Iterator[Address]:
        """The addresses whose hosts say that no process listens there."""

    async def connect(self, address: Address, *, to_keep: bool = False) -> Connection:
        """Raises OSError; EMFILE also when nothing can be spared for a connection that is to be kept."""

    async def accept(self) -> list[Connection]:
        """Connections that others have opened; waits for the first. Raises OSError when one came to nothing.

        All that are there, up to a bound: under a flood of packets the loop comes round so seldom that
        the kernel would refuse most of them if each took a round.
        """

    def reaches(self, address: Address) -> bool:
        """Whether it is of a family that can be reached from here."""

    def route_source(self, target: Address) -> str | None:
        """The local address from which packets to this one would leave. Sends nothing."""

    def is_local(self, host: str) -> bool:
        """Whether this machine has the address."""


class Host(Protocol):
    """The machine, before a node is bound to it."""

    def open_transport(self, host: str, port: int) -> Transport:
        """Bind to a numeric host; with port 0 to a port that is free.

        Raises `AddressInUse`, or another OSError that says what to change.
        """

    def wall(self) -> float:
        """Seconds since the epoch."""

    def suspended(self) -> float:
        """Seconds for which this machine has slept since it was started."""

    def random_bytes(self, count: int) -> bytes:
        """Random bytes that cannot be guessed."""

    def opened(self, cluster: object) -> None:
        """Told of each `Cluster` that a program on this machine opens."""


simulated_host: trio.lowlevel.RunVar[Host | None] = trio.lowlevel.RunVar("swim host", default=None)
"""Set for programs in a world of `swim.testing`."""


class Connections:
    """The connections of a node: made, counted while they are open, and what came to nothing."""

    def __init__(self, transport: Transport) -> None:
        self.connect = transport.connect
        self._traffic = transport.traffic

    @asynccontextmanager
    async def open(self, stream: Connection) -> AsyncIterator[Connection]:
        """Count it until the end of the block, which closes it."""
        self._traffic.streams += 1
        try:
            yield stream
        finally:
            self._traffic.streams -= 1
            # Not `aclose`, a checkpoint in the way of a cancellation; closing does not wait.
            stream.close()

    def drop(self, reason: str, count: int = 1) -> None:
        """Count something that came to nothing."""
        self._traffic.dropped[reason] += count
