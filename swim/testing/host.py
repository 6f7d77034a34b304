"""The machine of a world as the program on it sees it: see `swim.runtime.network`, which this implements."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from random import Random
from typing import Any, NoReturn, TypeVar

import trio

from swim.cluster import Cluster
from swim.runtime.network import Connection, Traffic, Transport
from swim.testing.kernel import DatagramSocket, Machine
from swim.testing.process import WorldError
from swim.testing.station import is_loopback
from swim.testing.tcp import Endpoint, Listener
from swim.types import Address

__all__ = ["NoSockets", "Resolver", "SimulatedHost"]

A = TypeVar("A")
T = TypeVar("T")

_CHUNK_SIZE = 65_536
_USER_TIMEOUT_S = 3.0
"""As the sockets of a node have it."""


class SimulatedConnection:
    """See `Connection`."""

    def __init__(self, endpoint: Endpoint, traffic: Traffic) -> None:
        self.peer = endpoint.peer
        self._endpoint = endpoint
        self._traffic = traffic
        self._closed = False

    async def read(self) -> bytes:
        """See `Connection`."""
        await trio.lowlevel.checkpoint()
        while (data := self._attempt(self._endpoint.read, _CHUNK_SIZE)) is None:
            await self._endpoint.readable.wait()
        self._traffic.stream_rx_bytes += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """See `Connection`."""
        await trio.lowlevel.checkpoint()
        left = memoryview(data)
        while left:
            left = left[self._attempt(self._endpoint.write, bytes(left)) :]
            if left:
                await self._endpoint.writable.wait()
        self._traffic.stream_tx_bytes += len(data)

    def write_at_once(self, data: bytes) -> int:
        """See `Connection`."""
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        written = self._endpoint.write(data)
        self._traffic.stream_tx_bytes += written
        return written

    async def send_eof(self) -> None:
        """See `Connection`."""
        await trio.lowlevel.checkpoint()
        self._endpoint.finish()

    def close(self) -> None:
        """See `Connection`."""
        if not self._closed:
            self._closed = True
            self._endpoint.close()
            self._endpoint.readable.announce()
            self._endpoint.writable.announce()

    def may_stay(self) -> bool:
        """See `Connection`."""
        return True

    def keep_alive(self, *, opener: bool) -> None:
        """See `Connection`."""
        self._endpoint.user_timeout = _USER_TIMEOUT_S

    def all_acknowledged(self) -> bool:
        """See `Connection`."""
        return self._endpoint.all_acknowledged

    def acknowledged_bytes(self) -> int:
        """See `Connection`."""
        return self._endpoint.acknowledged

    def _attempt(self, what: Callable[[A], T], argument: A) -> T:
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed")
        try:
            return what(argument)
        except OSError as error:
            raise trio.BrokenResourceError(f"connection broken: {error}") from error


class SimulatedTransport:
    """See `Transport`."""

    def __init__(self, machine: Machine, datagrams: DatagramSocket, listener: Listener) -> None:
        self.traffic = Traffic()
        self.address = datagrams.address
        self.family = socket.AF_INET
        self._machine = machine
        self._datagrams = datagrams
        self._listener = listener
        self._closed = False

    def close(self) -> None:
        """See `Transport`."""
        if not self._closed:
            self._closed = True
            self._machine.unbind(self._datagrams, self._listener)

    def send(self, data: bytes, address: Address, now: float) -> None:
        """See `Transport`."""
        if not self.reaches(address):
            self.traffic.dropped["send-family"] += 1
            return
        self.traffic.tx_packets += 1
        self.traffic.tx_bytes += len(data)
        self._datagrams.send(data, address)

    async def wait_readable(self) -> None:
        """See `Transport`."""
        await trio.lowlevel.checkpoint()
        while not (self._datagrams.arrived or self._datagrams.refusals):
            await self._datagrams.readable.wait()

    def receive(self, limit: int, *, readable: bool = True) -> list[tuple[bytes, Address]]:
        """See `Transport`."""
        arrived = [self._datagrams.take() for _ in range(min(limit, len(self._datagrams.arrived)))]
        self.traffic.rx_packets += len(arrived)
        self.traffic.rx_bytes += sum(len(data) for data, _ in arrived)
        return arrived

    def refusals(self, limit: int, now: float) -> Iterator[Address]:
        """See `Transport`."""
        for _ in range(min(limit, len(self._datagrams.refusals))):
            yield self._datagrams.refusals.popleft()

    async def connect(self, address: Address, *, to_keep: bool = False) -> Connection:
        """See `Transport`."""
        await trio.lowlevel.checkpoint()
        endpoint = self._machine.connect(self.address.host, address)
        try:
            while True:
                endpoint.take_error()
                if endpoint.connected:
                    return SimulatedConnection(endpoint, self.traffic)
                await endpoint.writable.wait()
        except BaseException:
            endpoint.close()
            raise

    async def accept(self) -> list[Connection]:
        """See `Transport`."""
        await trio.lowlevel.checkpoint()
        while not (endpoints := self._listener.take()):
            if self._closed:
                raise trio.ClosedResourceError("bound no more")
            await self._listener.acceptable.wait()
        return [SimulatedConnection(endpoint, self.traffic) for endpoint in endpoints]

    def reaches(self, address: Address) -> bool:
        """See `Transport`."""
        return ":" not in address.host

    def route_source(self, target: Address) -> str | None:
        """See `Transport`."""
        return "127.0.0.1" if is_loopback(target.host) else self._machine.address

    def is_local(self, host: str) -> bool:
        """See `Transport`."""
        return host in ("0.0.0.0", "::") or self._machine.owns(host)


class SimulatedHost:
    """See `Host`. Its random bytes follow from the world's seed."""

    def __init__(self, machine: Machine, chance: Random) -> None:
        self.clusters: list[Cluster] = []
        """Those that the program has opened, the newest last."""
        self._machine = machine
        self._chance = chance

    def open_transport(self, host: str, port: int) -> Transport:
        """See `Host`."""
        return SimulatedTransport(self._machine, *self._machine.bind(host, port))

    def wall(self) -> float:
        """See `Host`."""
        clock = self._machine.clock
        return clock.wall(clock.local(self._machine.medium.schedule.now))

    def suspended(self) -> float:
        """See `Host`."""
        return 0.0

    def random_bytes(self, count: int) -> bytes:
        """See `Host`."""
        return self._chance.randbytes(count)

    def opened(self, cluster: object) -> None:
        """See `Host`."""
        assert isinstance(cluster, Cluster)
        self.clusters.append(cluster)


class Resolver(trio.abc.HostnameResolver):
    """The names of a world; `look_up` gives the addresses of one, none if it has no such name."""

    def __init__(self, look_up: Callable[[str], Sequence[str]]) -> None:
        self._look_up = look_up

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """As `socket.getaddrinfo`."""
        await trio.lowlevel.checkpoint()
        name = "127.0.0.1" if host is None else host.decode("ascii")
        found = ["127.0.0.1"] if name == "localhost" else self._look_up(name)
        if not found or family == socket.AF_INET6:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = type or socket.SOCK_STREAM
        return [(socket.AF_INET, kind, proto, "", (address, int(port or 0))) for address in found]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`, without names."""
        await trio.lowlevel.checkpoint()
        return str(ip_address(sockaddr[0])), str(sockaddr[1])


class NoSockets(trio.abc.SocketFactory):
    """A program in a world has no sockets of its own: nobody would be at the other end."""

    def __init__(self, name: str) -> None:
        self._name = name

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> NoReturn:
        """Raises `WorldError`."""
        raise WorldError(
            f"{self._name} asks for a socket: in a world only swim has a network. Keep what listens or "
            "connects by itself out of the program that you test here, or hand it in from outside"
        )
