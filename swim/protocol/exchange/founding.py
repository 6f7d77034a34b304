"""Whether a node that is joining may found a cluster, as no member answers, and when.

Only a node that is itself one of the seeds does: at once if its address is the lowest of them, else after
`Config.founding_silence`. It is one of the seeds if its own list has it, or if another node that is joining
has found it at one of *its* seeds. A look shows the latter only to a node that then asks the looker itself,
as anybody can send an old look again.

It does not found while a node with a lower address is joining, too, and would found: it hears of that by its
own look or by the other's. So of nodes that start together only the lowest founds, and the others join it,
whichever seeds are silent. Nor does it found beside a cluster that it has found but cannot join.
"""

from __future__ import annotations

from dataclasses import replace

from swim.protocol.base.context import Context, Part
from swim.protocol.exchange.seeds import Outcome, SeedAnswers
from swim.protocol.exchange.sync import Sync, answer_to
from swim.protocol.gossip.own_record import OwnRecord
from swim.types import Address
from swim.wire import pack_host
from swim.wire.addresses import pack_addresses, unpack_addresses
from swim.wire.messages import PushPull, PushPullHead, StreamMessage

__all__ = ["Founding"]

_JOINING_S = 3.0
"""A lower seed that said that it is joining is waited for so long, unless it says so again."""
_CALLERS_MAX = 64
"""Nodes that have looked at this one: they wait to be asked, or are being asked."""
_CALLERS_S = 0.25
"""They are asked after so long: by then they know which process has answered their look."""


class Founding(Part):
    """What a joining node knows of its own place among the seeds, and of others that would found."""

    def __init__(self, context: Context, own: OwnRecord, sync: Sync, seeds: SeedAnswers) -> None:
        super().__init__(context)
        self._own = own
        self._sync = sync
        self._seeds = seeds
        self._started = 0.0
        self._named = False
        self._lower: dict[Address, float] = {}
        """Lower seeds that are joining and may found a cluster; when they said so last."""
        self._callers: dict[Address, None] = {}
        """Where other joining nodes have looked at this one from; they are asked whether that is so."""
        self._calls: set[int] = set()

    def begin(self, now: float) -> None:
        self._started = now

    def note_named(self) -> None:
        """A list of seeds, another node's or this one's by another address, has this node in it."""
        self._named = True

    def is_seed(self) -> bool:
        self._named = self._named or self._own.address in self._sync.seeds
        return self._named

    def due(self, now: float) -> float | None:
        """From when on this node may found a cluster, as things are; None if it may not."""
        if not self.is_seed() or self._seeds.any_is(Outcome.UNFIT, Outcome.WAITING):
            return None  # in the latter case there is a cluster: it is joined, or nothing is
        lowest = min([self._own.address, *self._seeds.others()], key=_order) == self._own.address
        patience = self._config.join_retry_interval if lowest else self._config.founding_silence
        settled = lowest and self._seeds.all_have_answered()
        due = self._started + (0.0 if settled else patience)
        return max([due, *(heard + _JOINING_S for heard in self._lower.values())])

    # --- other nodes that are joining

    def head(self, now: float) -> PushPullHead:
        """What this node, which is joining, says of itself: also where it is if it would found."""
        founder = pack_addresses([self._own.address]) if self.is_seed() else b""
        return replace(self._sync.head(now, joining=True), founder=founder)

    def answer(self, head: PushPullHead | None, host: str, now: float) -> PushPull:
        """To another node's push/pull: that node may be joining, and have this one among its seeds."""
        other = head is not None and head.joining and head.boot != self._own.boot.encode()
        if head is None or not other or not self._sync.is_fresh(head, now):
            return answer_to(head, PushPull((), head=self.head(now)))
        for address in unpack_addresses(head.founder)[:1]:
            if address in self._sync.seeds:  # anybody could say so
                self._wait_for(address, now)
        if not self.is_seed() and head.port and len(self._callers) + len(self._calls) < _CALLERS_MAX:
            self._callers[Address(host, head.port)] = None
            self._timers.set_if_unset("callers", now + _CALLERS_S, self._ask_callers)
        found = self._seeds.has_found(head.boot)
        return answer_to(head, PushPull((), head=replace(self.head(now), seed=found)))

    def hear(self, head: PushPullHead, now: float) -> None:
        """What a seed that is joining itself has answered."""
        self._named = self._named or head.seed
        for founder in unpack_addresses(head.founder)[:1]:
            self._wait_for(founder, now)

    def lost(self, seed: Address) -> None:
        """There is no answer from there any more: it is not waited for."""
        self._lower.pop(seed, None)

    def _wait_for(self, address: Address, now: float) -> None:
        """A node that would found a cluster is joining there. If its address is lower, it goes first."""
        if _order(address) < _order(self._own.address):
            self._lower[address] = now

    def _ask_callers(self, now: float) -> None:
        callers, self._callers = self._callers, {}
        for address in () if self.is_seed() else callers:
            self._calls.add(self._outbox.request(address, PushPull((), head=self.head(now))))

    def asked(self, token: int) -> bool:
        """Was this request a question to a node that had looked at this one?"""
        return token in self._calls

    def receive(self, token: int, answer: StreamMessage | Exception | None) -> bool:
        """The answer to `asked`. The other lives, then: has it found this node at one of its seeds?"""
        self._calls.remove(token)
        head = answer.head if isinstance(answer, PushPull) else None
        named = head is not None and head.joining and head.seed
        self._named = self._named or named
        return named

    def stop(self) -> None:
        self._timers.cancel("callers")


def _order(address: Address) -> tuple[int, bytes, int]:
    packed = pack_host(address.host)
    return len(packed), packed, address.port
