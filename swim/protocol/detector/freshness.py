"""Which messages are new: each process numbers what it says, and each receiver remembers the last number.

A source address proves nothing, and neither does a seal: what was sealed once can be sent again by anybody
who saw it. So a message that weighs in a decision about a member's life names its author's process, and the
addressee's, and bears a count that rises.
"""

from __future__ import annotations

from dataclasses import dataclass

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import Record
from swim.wire.messages import ObserverMessage, Ping

__all__ = ["Freshness"]

_WINDOW = 64
"""Packets may overtake each other by so many."""
_SPARE = 64
"""Names beyond those in the table whose counts are remembered."""


@dataclass(slots=True)
class _Heard:
    """What one process has said: the highest count, and which of the last ones before it."""

    boot: str
    pings: int = 0
    highest: int = 0
    seen: int = 0

    def take(self, count: int) -> bool:
        """Is this count new?"""
        ahead = count - self.highest
        if ahead > 0:
            self.seen = (self.seen << min(ahead, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
            self.highest = count
            return True
        bit = 1 << -ahead
        if -ahead >= _WINDOW or self.seen & bit:
            return False
        self.seen |= bit
        return True


class Freshness(Part):
    """What this node says is counted; what it hears is told from what it has heard before."""

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self._own = own
        self._heard: dict[str, _Heard] = {}
        self._count = 0

    def next_count(self) -> int:
        """The number of what this process says now."""
        self._count = self._count + 1 & 0xFFFFFFFF
        return self._count

    def ping(self, sender: Record, ping: Ping) -> bool:
        """Does that process ping this node now?

        Not if the ping is older than another of that process. The first that is heard shows nothing: whoever
        has just been started cannot know whether it is old.
        """
        if not sender.own or ping.node != self._name or ping.sender_id != pack_id(sender.id):
            return False
        heard = self._of(sender)
        fresh = 0 < heard.pings < ping.count
        heard.pings = max(heard.pings, ping.count)
        return fresh

    def author(self, message: ObserverMessage) -> Record | None:
        """The member that says this to this process, for the first time; else None, and it is counted."""
        author = self._table.get(message.author)
        if author is None or not author.own or not author.present:
            self._outbox.drop("stranger")
        elif author.name == self._name or message.boot != author.packed_boot:
            self._outbox.drop("observer-author")
        elif message.to != self._own.boot.encode():
            self._outbox.drop("observer-astray")
        elif not self._of(author).take(message.count):
            self._outbox.drop("observer-repeated")
        else:
            return author
        return None

    def _of(self, record: Record) -> _Heard:
        boot = record.boot or ""
        heard = self._heard.get(record.name)
        if heard is None or heard.boot != boot:
            if len(self._heard) > len(self._table) + _SPARE:
                self._heard = {
                    name: old for name, old in self._heard.items() if self._table.get(name) is not None
                }
            heard = self._heard[record.name] = _Heard(boot)
        return heard
