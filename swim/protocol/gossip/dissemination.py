"""How news travels: at once along the hash rings, and a few more times on pings and acks.

On first receipt a member sends news to its successors on the first `fanout` rings: at once, or, where
it has just done so, a few milliseconds later together with all that came in the meantime. Each ring
gives every member an in-degree of exactly one, so the flood reaches all members in about log(n) hops
where random gossip of the same cost misses some. What a flood misses, piggyback and the view hash repair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.base.outbox import Way
from swim.protocol.view.table import Record
from swim.types import Address, value
from swim.wire.messages import Message

__all__ = ["Dissemination"]

_PART_OVERHEAD = 2  # of each part in a compound
_COMPOUND_OVERHEAD = 2
_PING_SIZE = 150  # with long names more; but acks, which carry news too, are smaller
_LARGE_SIZE_MAX = 1_400
"""memberlist sends packets of that size, whatever ours may have."""
_PARTS_MAX = 127  # memberlist 0.2.2 breaks on more
_PIGGYBACK_PARTS = 8
"""That ride on one ping or ack."""
_RIDING_MAX = 256
"""Pieces of news that wait to go on pings and acks."""
_FLOOD_MIN, _FLOOD_MAX = 16, 2_048
"""News that goes at once: so much to each one, in all."""
_INTRODUCE_S = 2.0
"""For so long after it has joined, a node tells of itself before all other news."""
_BEHIND_SUSPECTED = 3
"""Successors that are told the news as well behind one that is suspected."""
_SOME_LOSS, _MUCH_LOSS = 0.02, 0.1
"""Shares of lost packets from which news goes along more rings."""


@value
class _News:
    """A part of a packet; `ours` is not for foreign members."""

    part: bytes
    ours: bool


class _Riding:
    """News that goes a few more times, on pings and acks: first what went least often."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._news: dict[str | bytes, tuple[_News, int]] = {}

    def __len__(self) -> int:
        return len(self._news)

    def add(self, about: str | bytes, news: _News, size_max: int) -> None:
        self._news.pop(about, None)  # to the end: the newest rides last, when it has been flooded
        if len(news.part) > size_max:
            return  # what never fits would wait for ever
        self._news[about] = (news, self._times)
        keep_latest(self._news, _RIDING_MAX)  # it was flooded, and the view hash repairs

    def clear(self) -> None:
        self._news.clear()

    def take(self, room: int, count: int, *, own: bool) -> list[bytes]:
        """Up to so many parts that fit into so many bytes, for an own or a foreign member."""
        taken: list[bytes] = []
        for about in list(islice(self._news, count)):
            news, left = self._news[about]
            if news.ours and not own:
                continue
            del self._news[about]
            room -= len(news.part) + _PART_OVERHEAD
            if room < 0:
                self._news[about] = (news, left)
                break
            taken.append(news.part)
            if left > 1:
                self._news[about] = (news, left - 1)  # behind what was sent less often
        return taken


class Dissemination(Part):
    """The news that this node still has to pass on; at most one piece about each member.

    Broadcasts and the like are news about themselves; they ride behind that of members.
    """

    def __init__(self, context: Context, suspected: Callable[[str], bool], loss: Callable[[], float]) -> None:
        super().__init__(context)
        self._suspected = suspected
        self._loss = loss
        self._introduce_until = -math.inf
        self._quiet_until = -math.inf
        self._pending: dict[str | bytes, _News] = {}
        self._riding = _Riding(self._config.piggyback_limit)
        self._riding_behind = _Riding(self._config.piggyback_limit)

    def introduce(self, now: float) -> None:
        """This node has just joined."""
        self._introduce_until = now + _INTRODUCE_S

    def news(self, about: str | bytes, message: Message, now: float, *, ours: bool = False) -> None:
        """Pass on news of a member; it replaces older news of the same one.

        Or a broadcast, which is itself what it is about. `ours` is for own members only.
        """
        news = self._pending[about] = _News(self._outbox.codec.part(message), ours)
        riding = self._riding if isinstance(about, str) else self._riding_behind
        riding.add(about, news, self._rider_max)
        self._timers.set_if_unset("flood", max(now, self._quiet_until), self.flood)

    def flood(self, now: float) -> None:
        """Send what is pending to the ring successors."""
        self._timers.cancel("flood")
        if not self._pending:
            return
        successors = self._successors()
        if now < self._introduce_until and (record := self._table.get(self._name)) is not None:
            # Not all members know this node yet, and a stranger's news has to begin with itself.
            mine = self._outbox.codec.part(record.as_alive())
            newest = self._pending.pop(self._name, _News(mine, False))
            taken = [newest, *self._take_pending(len(successors))]
        else:
            taken = self._take_pending(len(successors))
        self._quiet_until = now + self._config.flood_delay * self._rng.uniform(0.5, 1.5)
        if self._pending:
            self._timers.set("flood", self._quiet_until, self.flood)
        for_all = [news.part for news in taken if not news.ours]
        packets = list(self._pack(news.part for news in taken))
        foreign_packets = packets if len(for_all) == len(taken) else list(self._pack(for_all))
        for record in successors:
            for packet in packets if record.own else foreign_packets:
                self._outbox.put(packet, record.address)

    def _take_pending(self, successors: int) -> list[_News]:
        """As much as goes at once: a node that has heard of thousands has other things to do as well."""
        taken = list(islice(self._pending, max(_FLOOD_MIN, _FLOOD_MAX // max(1, successors))))
        return [self._pending.pop(about) for about in taken]

    def send(self, address: Address, message: Message, way: Way | None = None) -> None:
        """A message of its own, with as much news as fits beside it. `way`: as of `Outbox.put`."""
        codec = self._outbox.codec
        parts = [codec.part(message)]
        if self._riding or self._riding_behind:
            parts += self._take(self._room() - len(parts[0]) - _PART_OVERHEAD, address)
        self._outbox.put(codec.packet(parts), address, way)

    def _room(self) -> int:
        return self._config.packet_size_max - self._outbox.codec.packet_overhead - _COMPOUND_OVERHEAD

    @property
    def _rider_max(self) -> int:
        """How large a part may be that is to ride on a ping."""
        return self._room() - _PING_SIZE - 2 * _PART_OVERHEAD

    @property
    def part_max(self) -> int:
        """How large a part may be that another began and we pass on: a large one goes alone, in a flood."""
        return max(self._config.packet_size_max, _LARGE_SIZE_MAX) - self._outbox.codec.packet_overhead

    def _take(self, room: int, address: Address) -> list[bytes]:
        record = self._table.at(address)
        own = record is not None and record.own
        taken = self._riding.take(room, _PIGGYBACK_PARTS, own=own)
        left = room - sum(len(part) + _PART_OVERHEAD for part in taken)
        return taken + self._riding_behind.take(left, _PIGGYBACK_PARTS - len(taken), own=own)

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
        """More rings where packets get lost."""
        loss, fanout = self._loss(), self._config.fanout
        extra = 0 if loss < _SOME_LOSS else fanout // 2 if loss < _MUCH_LOSS else fanout
        return min(fanout + extra, self._config.rings)

    def _successors(self) -> list[Record]:
        """The first own successor of each flood ring, and the nearest foreign members before it.

        Where a successor is suspected the next three get the news too, so that the flood does not end at
        a dead member: they may be dead as well, and this node does not know it of members that it does
        not observe.
        """
        rings, found = self._table.rings, dict[str, None]()
        for ring in range(self._fanout()):
            found |= dict.fromkeys(rings.foreign_successors(self._name, ring))
            left = 1
            for name in rings.successors(self._name, ring):
                found[name] = None
                left = _BEHIND_SUSPECTED if self._suspected(name) else left - 1
                if left == 0:
                    break
        return [record for record in map(self._table.get, found) if record is not None]
