"""Members with whom packets are exchanged over kept streams as well as by UDP, which may be blocked.

That is, with those whose pings stay unanswered for longer than one lost packet explains; for a while with
those that send over the stream themselves; and with everybody while most of those that this node observes
answer over the stream only.
"""

from __future__ import annotations

from functools import partial

from swim.protocol.context import Context, Part
from swim.protocol.probing import Probing
from swim.protocol.table import Record
from swim.types import Address

__all__ = ["Streamed"]

_STABLE_S = 1.0
_FEW = 16
_ANSWER_S = 5.0
"""Who sends over the stream is answered over it for so long."""


class Streamed(Part):
    """To which addresses, and until when."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.everyone = False
        """UDP does not seem to work at all for this node."""
        self._silent: dict[Address, None] = {}
        self._answered: dict[Address, None] = {}
        self._outbox.streamed = self.covers

    def covers(self, address: Address) -> bool:
        """Does what is sent there go over the stream, too?"""
        if address in self._silent or address in self._answered:
            return True
        if not self.everyone:
            return False
        record = self._table.at(address)
        return record is not None and record.own and record.name != self._name

    def to_keep(self, probing: Probing, now: float) -> tuple[Address, ...]:
        """See `Node.streams_to_keep`."""
        records = probing.observed_for(_STABLE_S, now)
        if self._table.present_count <= _FEW:
            records += [record for record in self._table.present() if self._keeps_to(record, now)]
        addresses = [record.address for record in records if record.own]
        return tuple(dict.fromkeys([*addresses, *self._silent, *self._answered]))

    def _keeps_to(self, record: Record, now: float) -> bool:
        """Of two that do not observe each other, the first by name opens the stream."""
        if record.name <= self._name or now - record.since < _STABLE_S:
            return False
        return self._name not in self._table.rings.subjects(record.name)

    def begin(self, record: Record) -> None:
        """UDP is silent."""
        if record.own:
            self._silent[record.address] = None

    def end(self, address: Address) -> None:
        """UDP answers again, or nobody observes the member from here any more."""
        self._silent.pop(address, None)

    def heard(self, record: Record, now: float) -> None:
        """A packet of this member came over its stream."""
        self._answered[record.address] = None
        self._timers.set(("streamed", record.address), now + _ANSWER_S, partial(self._forget, record.address))

    def _forget(self, address: Address, now: float) -> None:
        self._answered.pop(address, None)
