"""Messages about leadership: each is from one process to one other, and counts nowhere else and never again.

Packets can be repeated by anybody on their way, sent back to their sender, or sent on from another
address; with keys nothing of that is noticed where they are opened. So a message bears a digest of the
cluster's label, and of the names and processes of its sender and its receiver. Only a question that changes
nothing may be for whatever process has the name: its answer tells which that is.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.identity import mint_boot
from swim.protocol.view.table import Record
from swim.wire.messages import LeaderKind, LeaderMessage

__all__ = ["Post", "digest_people"]

_DIGEST_SIZE = 8
_TO_ANYBODY = (
    LeaderKind.TRY,
    LeaderKind.CONFIRM,
    LeaderKind.WHO,
    LeaderKind.WHAT,
    LeaderKind.BEHIND,
    LeaderKind.VACANT,
)
"""What changes nothing: any process may answer it that has the receiver's name."""


class Post(Part):
    """Sends and checks messages."""

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self.process = mint_boot(self._rng).encode()
        """This one. (Not its boot, which is taken anew when its incarnations have been used up.)"""
        self._own = own

    def send(self, message: LeaderMessage, to: Record, process: bytes = b"") -> None:
        """To the process of that name; to whichever there is, if none is given."""
        self._outbox.send(to.address, self.seal(message, to, process))

    def seal(self, message: LeaderMessage, to: Record, process: bytes) -> LeaderMessage:
        place = str(self._own.address) if message.kind is LeaderKind.HERE else ""
        between = digest_people(self._outbox.codec.label, self._name, self.process, to.name, process, place)
        return replace(message, process=self.process, between=between)

    def check(self, message: LeaderMessage, sender: Record) -> bool:
        """Is this for this process, and from one that has the sender's name? Otherwise it is counted."""
        if message.process == self.process or not message.process:
            self._outbox.drop("leader-reflected")
            return False
        place = str(sender.address) if message.kind is LeaderKind.HERE else ""
        label, to_anybody = self._outbox.codec.label, message.kind in _TO_ANYBODY
        for mine in (self.process, b"") if to_anybody else (self.process,):
            people = sender.name, message.process, self._name, mine, place
            if message.between == digest_people(label, *people):
                return True
        self._outbox.drop("leader-for-another")
        return False


def digest_people(
    label: bytes, source: str, process: bytes, target: str, other: bytes, place: str = ""
) -> bytes:
    """Of a cluster's label, and of the names and processes of a message's sender and receiver."""
    people = (label, source, process, target, other, place)
    return blake2b(repr(people).encode(), digest_size=_DIGEST_SIZE).digest()
