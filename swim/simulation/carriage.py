"""How packets get from one simulated host to another, or what becomes of them."""

from __future__ import annotations

from swim.simulation.host import Medium, SimulatedNode
from swim.simulation.network import Fabric, Protocol, Refusal
from swim.simulation.trace import Trace
from swim.types import Address

__all__ = ["Carriage"]

LOOPBACK_DELAY = 0.00002
ADDRESS_INTERVAL = 1.0
"""How often the driver looks whether its address is still its host's."""
_NETWORKS = 126
"""Addresses begin with one of 1 to 126; a host that moves takes the next."""


class Carriage(Medium):
    """The part of `World` that carries packets."""

    fabric: Fabric
    trace: Trace
    muted: bool
    _listeners: dict[Address, SimulatedNode]
    """The node that uses an address, or did last."""

    def move(self, name: str) -> None:
        """The host has another address from now on, the old one is no host's, and the process runs on.

        Its streams end without a word. Within a second it notices, as one that is bound to a wildcard does.
        """
        node = self.nodes[name]
        self._relocate(node)
        self.note(f"move {name} to {node.address}")
        for stream in [*node.kept.values(), *node.accepted]:
            stream.sever()
        if node.running:
            node.after_timer(ADDRESS_INTERVAL, lambda: self._notice(node))

    def _notice(self, node: SimulatedNode) -> None:
        if node.core.address != node.address:
            for stream in [*node.kept.values(), *node.accepted]:
                stream.forget(node)
            node.call(node.core.move, node.address)

    def _relocate(self, node: SimulatedNode) -> None:
        if self._listeners.get(node.address) is node:
            del self._listeners[node.address]
        octets = node.address.host.split(".")
        moved = ".".join([str(int(octets[0]) % _NETWORKS + 1), *octets[1:]])
        node.address = Address(moved, node.address.port)
        if node.running:
            self._listeners[node.address] = node

    def transmit(self, source: SimulatedNode, data: bytes, address: Address) -> None:
        """A node sends a datagram."""
        source.traffic.packets_sent += 1
        source.traffic.bytes_sent += len(data)
        target = self._listeners.get(address)
        if target is None:
            return
        size = len(data)
        for _ in range(self.fabric.copies()):
            delay = self.passage(source, target, Protocol.UDP, size)
            if delay is not None:
                self.schedule.after(delay, self._arrive, source, source.address, target, address, data)
            elif self.fabric.cuts:
                refusal = self.refusal(source, target, Protocol.UDP, size)
                if refusal is not None and not refusal[0].by_router:
                    self.schedule.after(refusal[1], self._unreachable, source, source.lives, address)

    def passage(
        self, source: SimulatedNode, target: SimulatedNode, protocol: Protocol = Protocol.TCP, size: int = 0
    ) -> float | None:
        """How long one packet of so many bytes sent now will take; None if it gets lost."""
        if self.muted or source.host.lost:
            return None
        if source is target:
            return LOOPBACK_DELAY
        fabric = self.fabric
        if not fabric.passes(source.name, target.name, self.schedule.now, protocol, size + protocol.headers):
            return None
        return fabric.delay(source.name, target.name)

    def refusal(
        self, source: SimulatedNode, target: SimulatedNode, protocol: Protocol = Protocol.TCP, size: int = 0
    ) -> tuple[Refusal, float] | None:
        """The host that refuses such a packet, and after how long the sender hears it; None if none does."""
        if self.muted or source is target or source.host.lost or target.host.lost:
            return None
        fabric = self.fabric
        cut = fabric.barrier(source.name, target.name, protocol, size + protocol.headers)
        if cut is None or cut.refusal is None:
            return None
        there = fabric.delay(source.name, target.name)
        if cut.refusal.by_router:
            return cut.refusal, there  # half of the way there, and back
        by_reset = protocol is Protocol.TCP and cut.refusal.resets
        back = self.passage(target, source, protocol if by_reset else Protocol.ICMP)
        return None if back is None else (cut.refusal, there + back)

    def _arrive(
        self, source: SimulatedNode, sent_from: Address, target: SimulatedNode, address: Address, data: bytes
    ) -> None:
        if target.host.lost or target.address != address:
            return
        if target.running:
            self.trace.packet(self.schedule.now, source.index, target.index, data)
            target.receive_datagram(data, sent_from)
        elif (
            self.fabric.network.unreachable
            and (delay := self.passage(target, source, Protocol.ICMP)) is not None
        ):
            self.schedule.after(delay, self._unreachable, source, source.lives, address)

    def _unreachable(self, source: SimulatedNode, lives: int, address: Address) -> None:
        if source.lives == lives and source.running and not source.host.lost:
            source.input(source.call, source.core.receive_refusal, address)
