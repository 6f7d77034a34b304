"""A voter: to which process it has granted the lease, and until when. One per process, nothing on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from swim.protocol.leadership.configuration import Configuration
from swim.protocol.view.identity import is_minted, pack_id, unpack_id
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.dialect import U32
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal

__all__ = ["Grantee", "Voter"]


@dataclass(frozen=True, slots=True)
class Grantee:
    """The process to which a voter has granted the lease, and as which member it is known."""

    process: bytes
    name: str
    boot: str | None
    address: Address


@dataclass(frozen=True, slots=True)
class _Token:
    """The highest token that was granted, and its owner; `led`: it is known that there was such a term."""

    text: str = ""
    owner: bytes = b""
    led: bool = False


class Voter:
    """Grants the lease to one process at a time.

    A grant holds for `Configuration.promised` from *after* the question was received. An earlier process of
    this voter may have granted one just before it died, so a new one grants nothing for as long.

    The time from one grant's end to the next one's is a `turn`, and a question counts only in the turn for
    which it was asked: what is repeated later, however often, is out of date. In its turn a round that was
    granted already is answered as before, and prolongs nothing.
    """

    def __init__(self, rng: Random, *, moved: bool = False) -> None:
        self.moved = moved
        """An earlier process of this name, at another address, may still vote."""
        self.holder: Grantee | None = None
        self.until = -math.inf
        self._turn = rng.getrandbits(32)
        self._started = math.inf
        self._granted = self._earlier = math.inf
        """When it granted the lease last, at all and in an earlier turn; an earlier process may have, too."""
        self._round = 0
        self._token = _Token()
        self._before = _Token()
        """The highest token before the present holder's."""

    def start(self, now: float) -> None:
        """The process begins."""
        self._started = self._granted = self._earlier = now

    def answer(
        self, ask: LeaderMessage, asker: Record, configuration: Configuration, floor: str, now: float
    ) -> LeaderMessage | None:
        """To ASK or TRY; None to a round that has been overtaken. `floor`: the highest id of a leader."""
        self._expire(now)
        reason, left = self._objection(ask, configuration, floor, now)
        if reason is not Refusal.NONE:
            return LeaderMessage(
                LeaderKind.REFUSE,
                ask.round,
                turn=self._turn,
                id=pack_id(floor) if reason is Refusal.FLOOR else b"",
                left_ms=max(1, math.ceil(left * 1000)),
                reason=reason,
            )
        seen = self._token if self._token.owner != ask.process else _Token()
        if ask.kind is LeaderKind.ASK:
            if self.holder is not None and ask.round < self._round:
                return None
            if self.holder is None or ask.round > self._round:
                self._grant(ask, asker, now + configuration.promised)
                self._granted = now
        kind = LeaderKind.GRANT if ask.kind is LeaderKind.ASK else LeaderKind.WOULD
        answer = LeaderMessage(kind, ask.round, turn=self._turn, token=pack_id(seen.text), led=seen.led)
        quiet_ms = min(U32, int(max(0.0, now - self._earlier) * 1000))
        return replace(answer, quiet_ms=quiet_ms) if kind is LeaderKind.GRANT else answer

    def _objection(
        self, ask: LeaderMessage, configuration: Configuration, floor: str, now: float
    ) -> tuple[Refusal, float]:
        if ask.configuration != configuration.digest:
            return Refusal.VOTERS, configuration.length
        if self.moved:
            return Refusal.MOVED, configuration.length
        if now < self._started + configuration.promised:
            return Refusal.STARTING, self._started + configuration.promised - now
        if self.holder is not None and ask.process != self.holder.process:
            return Refusal.GRANTED, self.until - now
        if ask.kind is LeaderKind.ASK:
            return (Refusal.STALE if ask.turn != self._turn else Refusal.NONE), 0.0
        id = unpack_id(ask.id) or ""
        if is_minted(id) and id < floor:
            return Refusal.FLOOR, configuration.length / 3
        return Refusal.NONE, 0.0

    def open_to(self, ask: LeaderMessage, configuration: Configuration, now: float) -> bool:
        """Would this voter grant what is asked, but for the configuration?"""
        self._expire(now)
        asked = replace(ask, configuration=configuration.digest)
        return self._objection(asked, configuration, "", now)[0] is Refusal.NONE

    def _expire(self, now: float) -> None:
        if self.holder is not None and now >= self.until:
            self.free()

    def _grant(self, ask: LeaderMessage, asker: Record, until: float) -> None:
        self.holder = Grantee(ask.process, asker.name, asker.boot, asker.address)
        self._round, self.until = ask.round, until
        token = unpack_id(ask.token) or ""
        if token > self._token.text:
            if self._token.led or self._token.owner != ask.process:
                self._before = self._token
            self._token = _Token(token, ask.process)
        if ask.led and self._token.owner == ask.process:
            self._token = replace(self._token, led=True)

    def release(self, message: LeaderMessage) -> None:
        """Frees what was granted in this turn, in rounds up to this one.

        It names the last token with which its process led: what that was granted above it became no term. The
        one named may be news, if this voter heard no renewal and no earlier release.
        """
        holder = self.holder
        mine = holder is None or (holder.process == message.process and self._round <= message.round)
        if message.turn != self._turn or not mine:
            return
        if self._token.owner == message.process and not self._token.led:
            last = _Token(unpack_id(message.token) or "", message.process, led=True)
            self._token = max(self._before, last, key=lambda each: each.text)
        self.free()

    def free(self) -> None:
        """What was granted is over, and so is all that was asked before."""
        self.holder, self.until, self._round, self._earlier = None, -math.inf, 0, self._granted
        self._turn = (self._turn + 1) & U32
