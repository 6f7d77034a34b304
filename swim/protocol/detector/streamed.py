"""Members with whom packets are exchanged over kept streams as well as by UDP, which may be blocked.

These are the members that leave pings unanswered for longer than one lost packet explains; for a while those
that send over the stream themselves; and all members while most of those that this node observes answer over
the stream only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.detector.subjects import Subjects
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.messages import Message, Nack, Ping

__all__ = ["Streamed"]

_FEW = 16
"""Up to so many members all keep streams with all."""
_STABLE_S, _STORM_S = 1.0, 3.0
"""In larger clusters: while many join, most of those that a node observes are others' a moment later."""
_CALM_S = 0.5
"""Many are joining where one has come or gone since then."""
_ANSWER_S = 10.0
"""A member that needs the stream is answered over it for so long."""
_MOST = 0.5
"""When more than this share of the subjects answers over streams only, UDP is taken for blocked."""


class Streamed(Part):
    """To which addresses, and until when."""

    def __init__(self, context: Context, subjects: Subjects) -> None:
        super().__init__(context)
        self._subjects = subjects
        self.everyone = False
        """UDP does not seem to work at all for this node: see `weigh`."""
        self._silent: dict[Address, str] = {}
        """Members that may not hear UDP, by where they are."""
        self._answered: dict[Address, None] = {}
        self._said: dict[Address, None] = {}
        self._rings_version = -1
        self._outbox.stream_where(self.covers)

    @property
    def keep_to_all(self) -> bool:
        """The members are so few that each keeps streams with all, and not only with those it observes."""
        return self._table.present_count <= _FEW

    def follow(self) -> None:
        """In a small cluster the death of a newcomer is to be noticed from the beginning."""
        if self._rings_version != self._table.rings.version:
            self._rings_version = self._table.rings.version
            if self.keep_to_all:
                self._outbox.look_at_streams()

    def doubts(self, record: Record) -> bool:
        """Does this node itself know of something against the member?"""
        watch, ended = self._subjects.get(record.name), self._subjects.ended.get(record.name, ("",))
        return ended[0] == record.boot or (watch is not None and watch.doubtful)

    def covers(self, address: Address) -> bool:
        """Does what is sent there go over the stream, too?"""
        if address in self._silent or address in self._answered:
            return True
        if not self.everyone:
            return False
        record = self._table.at(address)
        if record is None or not record.own or record.name == self._name:
            return False
        if address not in self._said:
            # It may not observe this node: let it know that it has to answer over the stream.
            self._said[address] = None
            codec = self._outbox.codec
            self._outbox.stream_packets.append((codec.packet([codec.part(Nack(0))]), address))
        return True

    def _say_again(self, now: float) -> None:
        """Those that were told that this node needs the stream forget it after a while."""
        self._said.clear()
        if self.everyone:
            self._timers.set("say-again", now + _ANSWER_S / 2, self._say_again)

    def to_keep(self, now: float) -> tuple[Address, ...]:
        """See `Node.streams_to_keep`."""
        for address, name in list(self._silent.items()):
            record = self._table.get(name)
            if record is None or record.address != address:
                del self._silent[address]  # the member has moved, or was started again elsewhere
        calm = now - self._table.changed_at >= _CALM_S
        stable = 0.0 if self.keep_to_all else _STABLE_S if calm else _STORM_S
        observed = map(self._table.get, self._subjects.observed_for(stable, now))
        records = [record for record in observed if record is not None]
        if self.keep_to_all:
            records += filter(self._keeps_to, self._table.present())
        addresses = [record.address for record in records if record.own]
        return tuple(dict.fromkeys([*addresses, *self._silent, *self._answered]))

    def _keeps_to(self, record: Record) -> bool:
        """Of two that do not observe each other, the first by name opens the stream."""
        return record.name > self._name and self._name not in self._table.rings.subjects(record.name)

    def weigh(self, now: float) -> None:
        """Does UDP work for this node at all, or do most of its subjects answer over the stream only?

        Where there is none left, nothing has changed.
        """
        if not self._subjects:
            return
        silent = len(self._subjects.stream_only())
        before, self.everyone = self.everyone, silent > _MOST * len(self._subjects)
        if self.everyone and not before:
            self._say_again(now)

    def begin(self, record: Record) -> None:
        """UDP is silent."""
        if record.own:
            self._silent[record.address] = record.name

    def end(self, address: Address) -> None:
        """UDP answers again, or this node does not observe the member any more."""
        self._silent.pop(address, None)

    def received(self, messages: Iterable[Message], record: Record | None, now: float) -> None:
        """A packet of this member came over its stream: does it need that, or only answer this way?"""
        if record is None or not any(isinstance(message, Ping | Nack) for message in messages):
            return
        self._answered[record.address] = None
        self._timers.set(("streamed", record.address), now + _ANSWER_S, partial(self._forget, record.address))

    def _forget(self, address: Address, now: float) -> None:
        self._answered.pop(address, None)
