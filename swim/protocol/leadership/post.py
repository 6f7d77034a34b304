"""Claims between processes: each names its sender and its receiver, and counts nowhere else and never again.

Packets can be repeated by anybody on their way, sent back to their sender, or sent on from another
address; with keys nothing of that is noticed where they are opened. So a claim bears a digest of the
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
from swim.wire.messages import Claim, ClaimKind

__all__ = ["Post", "digest_people"]

_DIGEST_SIZE = 8
_TO_ANYBODY = ClaimKind.TRY, ClaimKind.CONFIRM, ClaimKind.WHO, ClaimKind.WHAT, ClaimKind.BEHIND


class Post(Part):
    """Sends and checks claims."""

    def __init__(self, context: Context, own: OwnRecord) -> None:
        super().__init__(context)
        self.process = mint_boot(self._rng).encode()
        """This one. (Not its boot, which is taken anew when its incarnations have been used up.)"""
        self._own = own

    def send(self, claim: Claim, to: Record, process: bytes = b"") -> None:
        """To the process of that name; to whichever there is, if none is given."""
        self._outbox.send(to.address, self.seal(claim, to, process))

    def seal(self, claim: Claim, to: Record, process: bytes) -> Claim:
        place = str(self._own.address) if claim.kind is ClaimKind.HERE else ""
        between = digest_people(self._outbox.codec.label, self._name, self.process, to.name, process, place)
        return replace(claim, process=self.process, between=between)

    def check(self, claim: Claim, sender: Record) -> bool:
        """Is this for this process, and from one that has the sender's name? Otherwise it is counted."""
        if claim.process == self.process or not claim.process:
            self._outbox.drop("claim-reflected")
            return False
        place = str(sender.address) if claim.kind is ClaimKind.HERE else ""
        label, to_anybody = self._outbox.codec.label, claim.kind in _TO_ANYBODY
        for mine in (self.process, b"") if to_anybody else (self.process,):
            people = sender.name, claim.process, self._name, mine, place
            if claim.between == digest_people(label, *people):
                return True
        self._outbox.drop("claim-for-another")
        return False


def digest_people(
    label: bytes, source: str, process: bytes, target: str, other: bytes, place: str = ""
) -> bytes:
    """Of a cluster's label, and of the names and processes of a claim's sender and receiver."""
    people = (label, source, process, target, other, place)
    return blake2b(repr(people).encode(), digest_size=_DIGEST_SIZE).digest()
