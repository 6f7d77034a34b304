"""A machine of a world: what its kernel does for the program that runs on it, and goes on doing while that
stands still. The ports that are taken, datagrams that wait, connections.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Mapping
from typing import TypeVar

from swim.errors import AddressInUse
from swim.simulation.network import Protocol, Refusal
from swim.simulation.schedule import Clock
from swim.testing.medium import Medium
from swim.testing.station import Readiness, Station, is_loopback
from swim.testing.tcp import Endpoint, Listener
from swim.types import Address

__all__ = ["DatagramSocket", "Machine"]

T = TypeVar("T")

_DATAGRAM_BUFFER = 1 << 20
_DATAGRAM_OVERHEAD = 768
"""What a small datagram takes of a socket's buffer beside its content, as with Linux."""
_REFUSALS_MAX = 64
_EPHEMERAL_PORTS = 32_768, 60_999
_WILDCARDS = ("0.0.0.0", "::")


class Machine(Station):
    """One machine, known by the name of the program that runs on it."""

    def __init__(self, name: str, number: int, address: str, clock: Clock, medium: Medium) -> None:
        super().__init__(name, number, address, clock)
        self.medium = medium
        self._datagrams: dict[Address, DatagramSocket] = {}
        self._listeners: dict[Address, Listener] = {}
        self._half_open: dict[Endpoint, Endpoint] = {}
        self._next_port = _EPHEMERAL_PORTS[0]
        medium.machines[address] = self

    def __repr__(self) -> str:
        return f"<machine {self.name} {self.address}>"

    # --- the ports
    def bind(self, host: str, port: int) -> tuple[DatagramSocket, Listener]:
        """Both sockets of a node. Raises `AddressInUse`, or another OSError."""
        if host not in _WILDCARDS and not self.owns(host):
            raise OSError(
                errno.EADDRNOTAVAIL,
                f"{Address(host, port)} is not an address of this machine, which is {self.address}: bind to "
                "that, to its name or to 0.0.0.0",
            )
        address = Address(host, port or self._free_port())
        if any(_overlap(address, taken) for taken in [*self._datagrams, *self._listeners]):
            raise AddressInUse(
                errno.EADDRINUSE, f"{address} is taken: bind to another port, or to 0 for any that is free"
            )
        datagrams = self._datagrams[address] = DatagramSocket(self, address)
        listener = self._listeners[address] = Listener(self, address)
        return datagrams, listener

    def unbind(self, datagrams: DatagramSocket, listener: Listener) -> None:
        """Close both sockets: connections that nobody has accepted are reset."""
        if self._datagrams.get(datagrams.address) is datagrams:
            del self._datagrams[datagrams.address]
            del self._listeners[listener.address]
        listener.close()

    def _free_port(self) -> int:
        first, last = _EPHEMERAL_PORTS
        taken = {address.port for address in (*self._datagrams, *self._listeners)}
        taken.update(endpoint.local.port for endpoint in self.endpoints)
        while self._next_port in taken:
            self._next_port = self._next_port + 1 if self._next_port < last else first
        port = self._next_port
        self._next_port = port + 1 if port < last else first
        return port

    def connect(self, host: str, target: Address) -> Endpoint:
        """A new connection from this address of the machine; its end, while it is being made."""
        source = self.source_for(host, target)
        if is_loopback(source) != is_loopback(target.host):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        local = Address(source, self._free_port())
        endpoint = self._endpoint(local, target)
        endpoint.connect()
        return endpoint

    def source_for(self, host: str, target: Address) -> str:
        """From which address it sends to a target, if it is bound to `host`."""
        if host not in _WILDCARDS:
            return host
        return target.host if is_loopback(target.host) else self.address

    def _endpoint(self, local: Address, peer: Address) -> Endpoint:
        endpoint = Endpoint(self, self.medium, local, peer)
        self.endpoints[endpoint] = None
        return endpoint

    # --- what arrives
    def receive_datagram(self, data: bytes, source: Address, sender: Station, target: Address) -> None:
        """A datagram, for whoever is bound to the target's port."""
        if not self.owns(target.host):
            return
        socket = _find(self._datagrams, target)
        if socket is not None:
            self.medium.delivered(sender, self, data)
            socket.receive(data, source)
        elif self.medium.fabric.network.unreachable:
            self.medium.send(self, sender, Protocol.ICMP, lambda: sender.receive_refusal(source, target))

    def receive_refusal(self, source: Address, target: Address) -> None:
        """An ICMP error about a datagram from the socket of that address: no process listens there."""
        socket = _find(self._datagrams, source)
        if socket is not None:
            socket.receive_refusal(target)

    def receive_syn(self, client: Endpoint) -> None:
        """Somebody wants to connect."""
        if not self.owns(client.peer.host):
            return
        server = self._half_open.get(client)
        if server is None:
            listener = _find(self._listeners, client.peer)
            if listener is None:
                self.medium.send(self, client.machine, Protocol.TCP, client.receive_reset)
                return
            if listener.full:
                return
            server = self._half_open[client] = self._endpoint(client.peer, client.local)
            server.begin(client, listener)
        server.answer()

    def opened(self, client: Endpoint) -> None:
        """Its connection is made, at both ends."""
        self._half_open.pop(client, None)

    def believe_refusal(self, about: Machine) -> None:
        """What is bound here hears that what it has sent to that machine was refused."""
        for socket in self._datagrams.values():
            for target in about._datagrams:
                socket.receive_refusal(Address(about.address, target.port))

    # --- faults
    def close_sockets(self) -> None:
        """What a kernel does when a process ends, however it does."""
        for listener in self._listeners.values():
            listener.close()
        self._datagrams.clear()
        self._listeners.clear()
        for endpoint in list(self.endpoints):
            endpoint.close()
        self._half_open.clear()

    def lose(self) -> None:
        """It is gone, with its kernel."""
        self.lost = True
        for endpoint in list(self.endpoints):
            endpoint.forget()
        self._datagrams.clear()
        self._listeners.clear()
        self._half_open.clear()

    def move(self, address: str) -> None:
        """It has another address from now on, and the old one is nobody's."""
        if self.medium.machines.get(self.address) is self:
            del self.medium.machines[self.address]
        self.address = address
        self.medium.machines[address] = self


class DatagramSocket:
    """A UDP socket, and what waits in it to be read."""

    def __init__(self, machine: Machine, address: Address) -> None:
        self.address = address
        self.readable = Readiness(machine)
        self.arrived: deque[tuple[bytes, Address]] = deque()
        self.refusals: deque[Address] = deque(maxlen=_REFUSALS_MAX)
        self.overflowed = 0
        self._machine = machine
        self._size = 0

    def send(self, data: bytes, target: Address) -> None:
        """Send a datagram, from this socket's address."""
        machine, medium = self._machine, self._machine.medium
        host = machine.source_for(self.address.host, target)
        other = medium.machine_at(target.host, machine)
        if other is None or not machine.owns(host) or (is_loopback(host) and not is_loopback(target.host)):
            return
        source = Address(host, self.address.port)

        def refused(refusal: Refusal) -> None:
            if not refusal.by_router:  # else it is not the destination that says so, and nobody believes it
                machine.receive_refusal(source, target)

        for _ in range(medium.fabric.copies()):
            medium.send(
                machine,
                other,
                Protocol.UDP,
                lambda: other.receive_datagram(data, source, machine, target),
                size=len(data),
                refused=refused,
            )

    def receive(self, data: bytes, source: Address) -> None:
        """A datagram is there; without room for it, it is lost."""
        if self._size > _DATAGRAM_BUFFER:
            self.overflowed += 1
            return
        self._size += len(data) + _DATAGRAM_OVERHEAD
        self.arrived.append((data, source))
        self.readable.announce()

    def receive_refusal(self, target: Address) -> None:
        """No process listens there."""
        self.refusals.append(target)
        self.readable.announce()

    def take(self) -> tuple[bytes, Address]:
        """The first datagram that waits."""
        datagram = self.arrived.popleft()
        self._size -= len(datagram[0]) + _DATAGRAM_OVERHEAD
        return datagram


def _overlap(one: Address, other: Address) -> bool:
    hosts = {one.host, other.host}
    return one.port == other.port and (len(hosts) == 1 or not hosts.isdisjoint(_WILDCARDS))


def _find(sockets: Mapping[Address, T], target: Address) -> T | None:
    for host in (target.host, *_WILDCARDS):
        found = sockets.get(Address(host, target.port))
        if found is not None:
            return found
    return None
