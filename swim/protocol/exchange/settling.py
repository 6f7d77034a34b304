"""Do all members know the newest of this node? Each is told it in one packet with a ping: an ack says yes."""

from __future__ import annotations

from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.wire.messages import Ack

__all__ = ["Settling"]

_ASKED_MAX = 64


class Settling(Part):
    """What each of the others has acknowledged to know of this node. Asks only while that is wanted."""

    def __init__(self, context: Context, own: OwnRecord, asking: Asking) -> None:
        super().__init__(context)
        self._own = own
        self._ask = asking.ask
        self._known: dict[str, tuple[str | None, int]] = {}
        """By name: which process knows up to which incarnation."""
        self._asked: dict[str, None] = {}

    @property
    def newest(self) -> int:
        """The incarnation in which this node has its newest tags."""
        return self._own.incarnation

    def look(self, incarnation: int, now: float) -> bool:
        """Does every present member know this node in this incarnation? Asks those that have not said so."""
        mine = self._own.record
        others = [record for record in self._table.present() if record.name != self._name]
        missing = [record for record in others if not self._knows(record, incarnation)]
        if mine is None or self._own.held_off or mine.incarnation < incarnation:
            return False  # what others cannot know yet
        for record in missing:
            if record.name not in self._asked and len(self._asked) < _ASKED_MAX:
                self._tell(record, mine, now)
        if not missing:
            self._known.clear()
        return not missing

    def _knows(self, record: Record, incarnation: int) -> bool:
        process, known = self._known.get(record.name, (None, -1))
        return process == record.boot and known >= incarnation

    def _tell(self, record: Record, mine: Record, now: float) -> None:
        answered = partial(self._answered, record, mine.incarnation)
        silent = partial(self._silent, record.name)
        if self._ask(record.name, record.address, now, answered, silent, news=mine.as_alive()):
            self._asked[record.name] = None

    def _answered(self, record: Record, incarnation: int, ack: Ack, now: float) -> None:
        self._asked.pop(record.name, None)
        if ack.boot == record.packed_boot:
            self._known[record.name] = (record.boot, incarnation)

    def _silent(self, name: str, now: float) -> None:
        self._asked.pop(name, None)
