"""Looks for seeds that are not in this cluster, so that clusters which were founded apart become one.

A small ping goes to each of them again and again; when it is answered, everything is exchanged: as soon as
one packet comes through. All members do it, so each of many does it seldom: what reaches a seed is about the
same at every size of the cluster. Where UDP does not pass, TCP does the same, less often unless this node
knows that UDP is blocked, and there it looks for members that were given up as well.

A subject that answers neither pings nor over its stream is called over TCP, too. One that takes this node for
dead, or another process for this one, keeps no stream with it; but it answers whoever calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from swim.protocol.base.calling import Calling
from swim.protocol.base.context import Context, Part
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.subjects import Subjects
from swim.protocol.exchange.attempts import Attempts
from swim.protocol.exchange.sync import Sync
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking
from swim.protocol.view.table import Record
from swim.types import Address, MemberState
from swim.wire.messages import Ack

__all__ = ["Reunion"]

_TICK_S = 0.5
"""Between two turns of pinging seeds."""
_PATIENCE_S = 1.0
"""While nothing is lost, a turn waits for so long for another timer, so that it wakes nobody by itself."""
_SHARED_BY = 4
"""So many members ping at every turn; of more, each does so much more seldom."""
_AT_ONCE = 8
"""Seeds that are pinged in one turn; with more, they take turns."""
_EAGER_S = 30.0
"""For so long after this node has joined it calls over TCP as often as where UDP is blocked."""
_EXCHANGE_S = 1.0
"""Between two exchanges with one seed."""
_CALL_S = 1.0
"""Between two turns of calling over TCP."""
_SILENT_S = 1.0
"""Subjects that have been silent for so long are called over TCP."""


class Reunion(Part):
    """Pings seeds that are lost; an answer leads to an exchange."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        sync: Sync,
        calling: Calling,
        attempts: Attempts,
        asking: Asking,
        subjects: Subjects,
        streamed: Streamed,
        answered: Callable[[str, float], None],
    ) -> None:
        """`answered`: a member has, that this node alone may have given up."""
        super().__init__(context)
        self._answered_after_all = answered
        self._subjects = subjects
        self._streamed = streamed
        self._attempts = attempts
        self._own = own
        self._sync = sync
        self._calling = calling
        self._ask = asking.ask
        self._eager_until = 0.0
        self._next = 0.0
        self._turn = 0
        self._inside: dict[Address, float] = {}
        """Seeds at which a member of this cluster has answered, under another address than its own, and until
        when that is believed: whoever sends this node its own ping back makes it look like that.
        """
        self._exchanged: dict[Address, float] = {}

    def begin(self, now: float) -> None:
        """This node has become a member."""
        self._eager_until = now + _EAGER_S
        self._next = now + _CALL_S
        self._timers.set("reunion", now + self._rng.random() * _TICK_S, self._look)
        self._timers.set("call", now + _CALL_S, self._call)

    def _look(self, now: float) -> None:
        self._inside = {seed: until for seed, until in self._inside.items() if now < until}
        self._exchanged = {at: when for at, when in self._exchanged.items() if now - when < _EXCHANGE_S}
        lost = [seed for seed in self._sync.seeds if not self._is_member(seed)]
        slack = _PATIENCE_S if all(seed in self._inside for seed in lost) else 0.0
        self._timers.set("reunion", now + _TICK_S, self._look, slack=slack)
        share = min(1.0, _SHARED_BY / self._table.present_count)
        for place in range(min(len(lost), _AT_ONCE)):
            seed = lost[(self._turn + place) % len(lost)]
            if self._rng.random() < share:
                self._ask("", seed, now, partial(self._answered, seed), lambda at: None)
        self._turn += _AT_ONCE

    def _is_member(self, address: Address) -> bool:
        record = self._table.at(address)
        return address == self._own.address or (record is not None and record.present)

    def _is_inside(self, address: Address) -> bool:
        return address in self._inside or self._is_member(address)

    def _answered(self, seed: Address, ack: Ack, now: float) -> None:
        if any(record.own and record.packed_boot == ack.boot for record in self._table.present()):
            self._inside[seed] = now + self._config.reconnect_interval
        elif seed not in self._exchanged:
            self._exchanged[seed] = now
            self._sync.ask(seed, now)

    # --- where UDP does not pass

    def _call(self, now: float) -> None:
        silent = self._subjects.silent_for(_SILENT_S, self._attention(now))
        urgent = silent or self._streamed.everyone
        self._timers.set("call", now + _CALL_S, self._call, slack=0.0 if urgent else _PATIENCE_S)
        self._call_one(_places(record for record in map(self._table.get, silent) if record is not None), now)
        if now >= self._next or now < self._eager_until or self._streamed.everyone:
            self._next = now + self._config.reconnect_interval
            self._reconnect(now)

    def _call_one(self, places: Sequence[tuple[str, Address]], now: float) -> None:
        """One of these is called by its name."""
        if places:
            name, address = self._rng.choice(places)
            self._attempts.tried(address, now)
            self._calling.call(name, address, partial(self._called, name, address))

    def _reconnect(self, now: float) -> None:
        attempts, leads = self._attempts, self._sync.leads
        for place in [it for it in leads if self._is_inside(it[1]) or not attempts.hopeful(it[1], now)]:
            del leads[place]
        lost = [seed for seed in self._sync.seeds if not self._is_inside(seed)]
        if lost:
            address = self._rng.choice(lost)
            attempts.tried(address, now)
            self._sync.ask(address, now)
        dead = [record for record in self._table.dead() if record.state is MemberState.DEAD]
        self._call_one(_places(record for record in dead if attempts.worth(record, now)), now)
        self._call_one([place for place in leads if attempts.due(place[1], now)], now)

    def _called(self, name: str, address: Address, ack: Ack | None, now: float) -> None:
        if ack is not None:
            self._attempts.answered(address)
            if self._table.at(address) is self._table.get(name):
                self._answered_after_all(name, now)
            self._sync.ask(address, now, to=name)


def _places(records: Iterable[Record]) -> list[tuple[str, Address]]:
    return [(record.name, record.address) for record in records]
