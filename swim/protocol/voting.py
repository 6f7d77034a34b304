"""A voter: whom it has granted the lease, and until when. One per process, and nothing on disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from swim.protocol.identity import is_minted, pack_id, unpack_id
from swim.wire.messages import Claim, ClaimKind, Refusal

__all__ = ["Voter", "digest_voters", "voters_tag"]


def digest_voters(voters: Sequence[str]) -> bytes:
    """Equal for the same names, in whatever order."""
    return blake2b(repr(sorted(voters)).encode(), digest_size=4).digest()


def voters_tag(voters: Sequence[str], length: float) -> str:
    """How a member shows which voters it is configured with, and the length of the lease in milliseconds."""
    return f"{digest_voters(voters).hex()}.{round(length * 1000)}" if voters else ""


class Voter:
    """Grants the lease to one process at a time.

    A grant holds for `length` seconds from *after* the question was received. An earlier process of
    this voter may have granted one just before it died, so a new one grants nothing for as long.
    """

    def __init__(self, voters: Sequence[str], length: float) -> None:
        self._digest = digest_voters(voters)
        self._length = length
        self._ready = math.inf
        self._holder = b""
        self._round = 0
        self._until = -math.inf
        self._token = ""
        """The highest token of a term that this voter has granted."""
        self._owner = b""
        """Whose that is."""

    def start(self, now: float) -> None:
        """The process begins."""
        self._ready = now + self._length

    def answer(self, ask: Claim, floor: str, now: float) -> Claim | None:
        """To ASK; None to one that has been overtaken. `floor`: the highest id of a leader heard of."""
        reason, left = self._objection(ask, floor, now)
        if reason is not Refusal.NONE:
            left_ms = max(1, math.ceil(left * 1000))
            return Claim(ClaimKind.REFUSE, ask.round, left_ms=left_ms, reason=reason)
        if ask.process == self._holder and ask.round < self._round + (now >= self._until):
            return None
        self._holder, self._round, self._until = ask.process, ask.round, now + self._length
        seen = self._token if self._owner != ask.process else ""
        token = unpack_id(ask.token) or ""
        if token > self._token:
            self._token, self._owner = token, ask.process
        return Claim(ClaimKind.GRANT, ask.round, token=pack_id(seen))

    def _objection(self, ask: Claim, floor: str, now: float) -> tuple[Refusal, float]:
        if ask.voters != self._digest:
            return Refusal.VOTERS, self._length
        if ask.length_ms != round(self._length * 1000):
            return Refusal.LENGTH, self._length
        if now < self._ready:
            return Refusal.STARTING, self._ready - now
        if now < self._until and ask.process != self._holder:
            return Refusal.GRANTED, self._until - now
        id = unpack_id(ask.id) or ""
        if is_minted(id) and id < floor:
            return Refusal.FLOOR, self._length / 3
        return Refusal.NONE, 0.0

    def release(self, claim: Claim) -> None:
        """Frees what was granted in rounds up to this one."""
        if claim.process == self._holder and self._round <= claim.round:
            self._round, self._until = claim.round, -math.inf
