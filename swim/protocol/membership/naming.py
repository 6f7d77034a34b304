"""Two live processes under one name: each asks the other at its address, and by one rule one gives way.

Which of two stays, both compute from what they say of themselves (`Standing`):

- The one that has been a member for longer stays: no process takes a name from a member by joining elsewhere.
- But a process that was let in because the cluster had given up the earlier one stays in its place: it is in
  all views, and the operator who started it meant it as the successor. So a member that wakes up after it was
  declared dead, and finds its name taken meanwhile, is the one that ends.

Hearsay ends nothing. News of a rival makes this node call it over TCP, where it says to be; a rival that is
not there, or does not answer to the name, is outbid. This node ends only when the one that stays has in turn
called it at its own address: in its answer it repeats the token that it was given there. Anything less is
told (`NameDisputed`) and lived with. An answer that was long on its way (this process stood still meanwhile)
says what once was, and is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from swim.errors import NameConflict, SwimError
from swim.events import NameDisputed
from swim.protocol.base.calling import Calling
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.view.identity import from_the_future, is_minted, pack_id, unpack_id
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire.addresses import pack_addresses, unpack_addresses
from swim.wire.messages import Ack, Ping, Standing

__all__ = ["Naming"]

_RIVALS_MAX = 16
"""Addresses at which a process of this name is said to be."""
_CALLS_PER_S, _CALLS_BURST = 2.0, 8
"""To all of them together."""
_PAUSE_MIN, _PAUSE_MAX = 0.1, 60.0
"""Between two calls of one rival; twice as long each time."""
_CALLS_MAX = 12
"""Of one rival: no stranger's word makes this node call an address again and again."""
_AT_ONCE_MAX = 4
"""Calls of one rival because it has called this node; further ones wait for their time."""
_PATIENCE_S = 5.0
"""Seconds after which a rival that answers, and is still there, is told of."""
_FORGET_S = 600.0
"""After so long nothing is known of a rival any more."""


@dataclass(slots=True)
class _Rival:
    """Another process that is said to have this node's name, by its address."""

    address: Address
    since: float
    incarnation: int = 0
    """Of the news about it; and its id there: what has to be outbid if there is no such process."""
    id: str | None = None
    calls: int = 0
    called: float = 0.0
    calling: bool = False
    told: bool = False
    boot: bytes = b""
    token: bytes = b""
    """What this process was given there."""


class Naming(Part):
    """Watches over this node's name. `permits`: can a member be at this address?"""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        calling: Calling,
        permits: Callable[[Address], bool],
        failed: Callable[[SwimError, float], None],
    ) -> None:
        super().__init__(context)
        self._own = own
        self._calling = calling
        self._permits = permits
        self._failed = failed
        self._rivals: dict[Address, _Rival] = {}
        self._bucket = TokenBucket(_CALLS_PER_S, _CALLS_BURST)
        self._secret = context.rng.randbytes(16)

    # --- what is said of a rival

    def claimed(self, other: Record, now: float) -> None:
        """News of another process under this node's name, at another address."""
        rival = self._rival(other.address, now)
        if rival is not None:
            rival.incarnation = max(rival.incarnation, other.incarnation)
            rival.id = max(rival.id or "", other.id or "")
            if not rival.calls:
                self._call(rival, now)

    def ask(self, address: Address, now: float) -> None:
        """This node would join; is a process alive there under its name?"""
        rival = self._rival(address, now)
        if rival is not None:
            self._call(rival, now)

    def answer(self, ping: Ping, now: float) -> Ack:
        """To a ping by name over TCP."""
        theirs = ping.standing
        if theirs is None:
            return Ack(ping.seq)
        rival = ping.source_node == self._name and theirs.boot != self._own.boot.encode()
        if rival and self._own.record is not None:
            self._called(theirs, now)
        return Ack(ping.seq, standing=self._standing(theirs.boot if rival else b""))

    def _called(self, theirs: Standing, now: float) -> None:
        """Another process of this name has reached this one: it is to be called where it says to be."""
        for address in unpack_addresses(theirs.address)[:1]:
            rival = self._rival(address, now)
            if rival is not None and rival.calls < _AT_ONCE_MAX:
                self._call(rival, now)

    def _rival(self, address: Address, now: float) -> _Rival | None:
        rival = self._rivals.get(address)
        if rival is None:
            if address == self._own.address or not self._permits(address):
                return None
            if len(self._rivals) >= _RIVALS_MAX:
                self._outbox.drop("rivals-max")
                return None
            rival = self._rivals[address] = _Rival(address, now)
            self._timers.set(("rival", address), now + _FORGET_S, lambda at: self._forget(rival))
        return rival

    def _forget(self, rival: _Rival) -> None:
        self._timers.cancel(("rival", rival.address))
        self._rivals.pop(rival.address, None)

    # --- calling it

    def _call(self, rival: _Rival, now: float) -> None:
        if rival.calling:
            return
        if not self._bucket.take(now):
            self._again(rival, now + self._bucket.wait(now))
            return
        rival.calling = self._calling.call(
            self._name, rival.address, partial(self._answered, rival), standing=self._standing()
        )
        rival.calls += 1
        rival.called = now
        if not rival.calling:
            self._again(rival, now + _PAUSE_MAX)

    def _again(self, rival: _Rival, when: float) -> None:
        self._timers.set(("rival", rival.address), when, lambda at: self._call(rival, at))

    def _answered(self, rival: _Rival, ack: Ack | None, now: float) -> None:
        rival.calling = False
        boot = b"" if ack is None or ack.standing is None else ack.standing.boot
        if ack is None or boot == self._own.boot.encode():
            self._nobody(rival, now)  # or this node itself, at another of its addresses
        elif now - rival.called > self._config.rtt_max and rival.calls < _CALLS_MAX:
            self._call(rival, now)
        elif self._own.record is None:
            self._give_way(rival, "", now)
        elif ack.standing is None or self._settle(rival, ack.standing, now):
            self._wait_and_see(rival, now)

    def _nobody(self, rival: _Rival, now: float) -> None:
        """The process that had the name there is gone: what is said of it is outbid."""
        self._forget(rival)
        if rival.incarnation:
            self._own.refute(rival.incarnation, now, rival.id)

    def _settle(self, rival: _Rival, theirs: Standing, now: float) -> bool:
        """Both have answered for themselves. Whether this is still open."""
        since, id = unpack_id(theirs.since) or "", unpack_id(theirs.id)
        if not is_minted(since):
            self._nobody(rival, now)  # no member: it joins, and finds out itself, or leaves
            return False
        rival.boot, rival.token = theirs.boot, theirs.token
        if self._stays(since, theirs):
            mine = self._own.id
            later = id is not None and mine is not None and is_minted(id) and id > mine
            if later and not from_the_future(id or "", self._wall(now)):
                self._own.refute(rival.incarnation, now, id)  # or its records would be preferred
        elif theirs.echo and theirs.echo == self._token(theirs.boot):
            heir = self._own.since <= (unpack_id(theirs.heir) or "")
            self._give_way(rival, ", which took it when this one was given up" if heir else "", now)
            return False
        return True

    def _stays(self, since: str, theirs: Standing) -> bool:
        """The rule, the same at both: is it this node that stays?"""
        mine = self._own
        if (mine.since, mine.boot.encode()) < (since, theirs.boot):
            heir = unpack_id(theirs.heir) or ""
            return not mine.since <= heir < since
        return since <= mine.heir < mine.since

    def _give_way(self, rival: _Rival, why: str, now: float) -> None:
        self._failed(
            NameConflict(
                f"the name {self._name!r} is taken by a live member at {rival.address}{why}: "
                "give this node another name, or stop that one"
            ),
            now,
        )

    def _wait_and_see(self, rival: _Rival, now: float) -> None:
        """It answers, and it is not proven yet which of the two has to go; or it does not go."""
        if now - rival.since >= _PATIENCE_S and not rival.told:
            rival.told = True
            record = self._own.record
            assert record is not None
            self._outbox.events.append(NameDisputed(record.member, rival.address))
        if rival.calls < _CALLS_MAX:
            self._again(rival, now + min(_PAUSE_MIN * 2 ** (rival.calls - 1), _PAUSE_MAX))
        else:
            self._timers.set(("rival", rival.address), now + _FORGET_S, lambda at: self._forget(rival))

    # --- what this node says of itself

    def _standing(self, rival: bytes = b"") -> Standing:
        """To the process of this boot, if it has the same name."""
        mine = self._own
        member = mine.record is not None and not mine.leaving
        tokens = [each.token for each in self._rivals.values() if rival and each.boot == rival]
        return Standing(
            mine.boot.encode(),
            pack_id(mine.since) if member else b"",
            pack_id(mine.heir),
            pack_id(mine.id),
            pack_addresses([mine.address]),
            self._token(rival) if rival else b"",
            tokens[-1] if tokens else b"",
        )

    def _token(self, boot: bytes) -> bytes:
        """What a process of this boot is given here; no other process can know it."""
        return blake2b(boot, key=self._secret, digest_size=8).digest()
