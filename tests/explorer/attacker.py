"""Somebody on the network without the key: it repeats and reflects what was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from swim.types import Address

if TYPE_CHECKING:
    from swim.simulation import SimulatedNode
    from tests.explorer.arena import Arena

__all__ = ["Attacker", "Packet"]

_KEPT = 4_000
_EPISODE_S = 8.0


class Packet(NamedTuple):
    """A datagram as it was seen on the network, or the question of a stream."""

    at: float
    source: Address
    target: Address
    data: Any
    stream: bool = False


class Attacker:
    """Sees every packet, keeps a sample of all that ever was, and can send any of them from any address."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._rng: Random = arena.random("attacker")
        self._seen = 0
        self.kept: list[Packet] = []
        """A sample of all, not only of the latest."""
        self.taps: list[Callable[[Packet], None]] = []
        """Called with each packet as it is sent."""

    def see(self, packet: Packet) -> None:
        self._seen += 1
        if len(self.kept) < _KEPT:
            self.kept.append(packet)
        else:
            self.kept[self._rng.randrange(_KEPT)] = packet
        for tap in list(self.taps):
            tap(packet)

    # --- means
    def send(self, packet: Packet, source: Address, target: Address, delay: float = 0.0) -> None:
        """Whatever the partitions: the attacker is on both sides of them."""
        self._arena.schedule.after(
            delay + self._rng.expovariate(1_000.0), self._arrive, packet, source, target
        )

    def _arrive(self, packet: Packet, source: Address, target: Address) -> None:
        node = self._arena.listener(target)
        if node is None or not node.running or node.host.lost:
            return
        if packet.stream:
            node.input(self._ask, node, packet, source)
        else:
            node.receive_datagram(packet.data, source)

    def _ask(self, node: SimulatedNode, packet: Packet, source: Address) -> None:
        if node.running:
            node.core.receive_request(packet.data.content, source, node.now())
            node.flush()

    def reflect(self, victims: Sequence[Address], copies: int = 1) -> Callable[[Packet], None]:
        """What these send comes back to them, from the one that it was meant for, and from others as well."""

        def tap(packet: Packet) -> None:
            if packet.source in victims and not packet.stream:
                self.send(packet, packet.target, packet.source)
                for other in self._others(packet.source, copies - 1):
                    self.send(packet, other, packet.source)

        self.taps.append(tap)
        return tap

    def multiply(self, victims: Sequence[Address], copies: int = 2) -> Callable[[Packet], None]:
        """What these receive, they receive from others too."""

        def tap(packet: Packet) -> None:
            if packet.target in victims and not packet.stream:
                for other in self._others(packet.target, copies):
                    self.send(packet, other, packet.target)

        self.taps.append(tap)
        return tap

    def stop(self, tap: Callable[[Packet], None] | None = None) -> None:
        """No more of that, or of anything."""
        self.taps = [each for each in self.taps if tap is not None and each is not tap]

    def _others(self, address: Address, count: int) -> list[Address]:
        others = [node.address for node in self._arena.nodes.values() if node.address != address]
        return self._rng.sample(others, min(count, len(others)))

    # --- at random
    def strike(self) -> None:
        """One thing of many."""
        if self.kept:
            self._rng.choice(
                [self._once, self._once, self._once, self._mirror, self._multiply, self._repeat]
            )()

    def _any(self) -> Packet:
        latest = self._rng.random() < 0.5
        return self._rng.choice(self.kept[-60:] if latest else self.kept)

    def _address(self) -> Address:
        return self._rng.choice(list(self._arena.nodes.values())).address

    def _once(self) -> None:
        packet = self._any()
        source, target = self._rng.choice(
            [
                (packet.source, packet.target),
                (packet.source, packet.target),
                (packet.target, packet.source),
                (packet.source, self._address()),
                (self._address(), packet.target),
                (self._address(), self._address()),
            ]
        )
        self.send(packet, source, target)

    def _episode(self, tap: Callable[[Packet], None]) -> None:
        self._arena.after(self._rng.uniform(0.0, _EPISODE_S), self.stop, tap)

    def _mirror(self) -> None:
        self._episode(self.reflect([self._address()], self._rng.randint(1, 3)))

    def _multiply(self) -> None:
        self._episode(self.multiply([self._address()], self._rng.randint(1, 3)))

    def _repeat(self) -> None:
        """The same packet again and again."""
        packet = self._any()
        interval = self._rng.uniform(0.02, 0.5)
        for number in range(int(self._rng.uniform(0.0, _EPISODE_S) / interval)):
            self.send(packet, packet.source, packet.target, number * interval)
