"""How news travels: at once along the hash rings, and a few more times on pings and acks.

On first receipt a member holds news for a few milliseconds, then sends all that it holds to its
successors on the first `fanout` rings. Each ring gives every member an in-degree of exactly one,
so the flood reaches everybody in about log(n) hops where random gossip of the same cost misses some
(DETECTOR.md, table F). What a flood misses, piggyback and the view hash repair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice

from swim.protocol.context import Context, Part
from swim.types import Address
from swim.wire.messages import Message

__all__ = ["Dissemination"]

_PART_OVERHEAD = 2  # of each part in a compound (WIRE section 1)
_COMPOUND_OVERHEAD = 2
_PARTS_MAX = 127  # memberlist 0.2.2 breaks on more (WIRE section 7a)
_PIGGYBACK_PARTS = 8
_RIDING_MAX = 256
_INTRODUCE_S = 2.0
_BEHIND_SUSPECTED = 3
_SOME_LOSS, _MUCH_LOSS = 0.02, 0.1


class Dissemination(Part):
    """The news that this node still has to pass on; at most one piece about each member."""

    def __init__(self, context: Context, suspected: Callable[[str], bool], loss: Callable[[], float]) -> None:
        super().__init__(context)
        self._suspected = suspected
        self._loss = loss
        self._introduce_until = -math.inf
        self._held: dict[str, bytes] = {}
        self._riding: dict[str, tuple[bytes, int]] = {}

    def introduce(self, now: float) -> None:
        """This node has just joined."""
        self._introduce_until = now + _INTRODUCE_S

    def news(self, about: str, message: Message, now: float) -> None:
        """Pass on news of a member; it replaces older news of the same one."""
        part = self._outbox.codec.part(message)
        self._held[about] = part
        self._riding.pop(about, None)  # to the end: the newest rides last, when it has been flooded
        self._riding[about] = (part, self._config.piggyback_limit)
        if len(self._riding) > _RIDING_MAX:
            del self._riding[next(iter(self._riding))]  # it was flooded, and the view hash repairs
        delay = self._config.flood_delay * self._rng.uniform(0.5, 1.5)
        self._timers.set_if_unset("flood", now + delay, self.flood)

    def flood(self, now: float) -> None:
        """Send what is held to the ring successors."""
        self._timers.cancel("flood")
        if not self._held:
            return
        if now < self._introduce_until and (record := self._table.get(self._name)) is not None:
            # Not everybody knows this node yet, and a stranger's news has to begin with itself.
            mine = self._outbox.codec.part(record.as_alive())
            self._held = {self._name: mine} | self._held
        packets = list(self._pack(self._held.values()))
        self._held = {}
        for address in self._successors():
            for packet in packets:
                self._outbox.datagrams.append((packet, address))

    def send(self, address: Address, message: Message) -> None:
        """A message of its own, with as much news as fits beside it."""
        codec = self._outbox.codec
        parts = [codec.part(message)]
        if self._riding:
            parts += self._take(self._room() - len(parts[0]) - _PART_OVERHEAD)
        self._outbox.datagrams.append((codec.packet(parts), address))

    def _room(self) -> int:
        return self._config.packet_size_max - self._outbox.codec.packet_overhead - _COMPOUND_OVERHEAD

    def _take(self, room: int) -> list[bytes]:
        taken: list[bytes] = []
        for about in list(islice(self._riding, _PIGGYBACK_PARTS)):
            part, left = self._riding.pop(about)
            room -= len(part) + _PART_OVERHEAD
            if room < 0:
                self._riding[about] = (part, left)
                break
            taken.append(part)
            if left > 1:
                self._riding[about] = (part, left - 1)  # behind what was sent less often
        return taken

    def _pack(self, parts: Iterable[bytes]) -> Iterable[bytes]:
        codec, room = self._outbox.codec, self._room()
        batch: list[bytes] = []
        size = 0
        for part in parts:
            if batch and (size + len(part) + _PART_OVERHEAD > room or len(batch) == _PARTS_MAX):
                yield codec.packet(batch)
                batch, size = [], 0
            batch.append(part)
            size += len(part) + _PART_OVERHEAD
        if batch:
            yield codec.packet(batch)

    def _fanout(self) -> int:
        """More rings where packets get lost (DETECTOR.md, table F)."""
        loss, fanout = self._loss(), self._config.fanout
        extra = 0 if loss < _SOME_LOSS else fanout // 2 if loss < _MUCH_LOSS else fanout
        return min(fanout + extra, self._config.rings)

    def _successors(self) -> list[Address]:
        """The first own successor of each flood ring, and the foreign members before it.

        Where a successor is suspected the next three get the news too, so that the flood does not end at
        a dead member: they may be dead as well, and this node does not know it of members that it does
        not observe.
        """
        rings, found = self._table.rings, dict[str, None]()
        for ring in range(self._fanout()):
            for name in rings.foreign_successors(self._name, ring):
                found[name] = None
            left = 1
            for name in rings.successors(self._name, ring):
                found[name] = None
                left = _BEHIND_SUSPECTED if self._suspected(name) else left - 1
                if left == 0:
                    break
        return [record.address for record in map(self._table.get, found) if record is not None]

    def statistics(self) -> dict[str, int]:
        return {"held": len(self._held), "riding": len(self._riding)}
