"""How members that were given up, and still live, are found again: they are asked, one after the other.

A member that was given up is pinged by its name, so that another process at its address does not matter:
once a second by every node that it has ever answered, and by all together some 16 times a second at most;
by others ever more seldom (see `Attempts`). When it answers, packets pass both ways: it is told of its
death, which it refutes, and both exchange all that they know. Its own pings find the way back, too: members
that do not count it among their observers give it no turn (see `overlooked`).
"""

from __future__ import annotations

from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.exchange.attempts import Attempts
from swim.protocol.exchange.sync import Sync
from swim.protocol.membership.asking import Asking
from swim.protocol.membership.updates import Membership
from swim.protocol.view.table import Record
from swim.types import MemberState
from swim.wire.messages import Ack

__all__ = ["Search"]

_ROUND_S = 1.0
"""In which each member that was given up is asked once."""
_GAP_S = 0.25
"""Between two pings: a node that has lost very many takes longer for a round."""
_ALL_NODES_PER_S = 16.0
"""How often one member that was given up is asked, by all nodes together."""


class Search(Part):
    """Asks the dead whether they live."""

    def __init__(
        self, context: Context, membership: Membership, sync: Sync, attempts: Attempts, asking: Asking
    ) -> None:
        super().__init__(context)
        self._attempts = attempts
        self._membership = membership
        self._sync = sync
        self._ask = asking.ask
        self._turn: list[str] = []
        """The members that are still to be asked in this round."""
        self._gap = _ROUND_S
        self._version = -1
        self._overlooked: dict[str, None] = {}
        """Members that this node has been overlooked by since its table has this version."""

    def begin(self, now: float) -> None:
        """This node has become a member."""
        self._timers.set("search", now + self._rng.random() * _ROUND_S, self._next)

    def _next(self, now: float) -> None:
        if not self._turn:
            dead = [record for record in self._table.dead() if record.state is MemberState.DEAD]
            self._turn = [record.name for record in dead if self._attempts.worth(record, now)]
            self._rng.shuffle(self._turn)
            round_s = max(_ROUND_S, self._table.present_count / _ALL_NODES_PER_S)
            self._gap = max(_GAP_S, round_s / max(1, len(self._turn)))
        asked = False
        while self._turn and not asked:
            record = self._table.get(self._turn.pop())
            if record is not None and record.state is MemberState.DEAD:
                self._attempts.tried(record.address, now)
                self._ask(record.name, record.address, now, partial(self._found, record), lambda at: None)
                asked = True
        self._timers.set("search", now + self._gap, self._next, slack=0.0 if asked else self._gap / 4)

    def _found(self, asked: Record, ack: Ack, now: float) -> None:
        """It answers after all; or the process that has its name and its address now does."""
        self._attempts.answered(asked.address)
        record = self._table.get(asked.name)
        if record is None or record.state is not MemberState.DEAD or record.address != asked.address:
            return
        if record.solo:
            self._membership.answered_after_all(record.name, now)
        elif ack.boot == record.packed_boot:
            self._outbox.send(record.address, record.as_dead(self._name))
        self._sync.differs(record, now)

    def overlooked(self, name: str, now: float) -> None:
        """A member that this node observes gives it no turn: it does not know this node, or knows it dead.

        They compare all that they know; once, until this node knows something else.
        """
        if self._version != self._table.version:
            self._version = self._table.version
            self._overlooked.clear()
        record = self._table.get(name)
        if record is not None and self._sync.view(now) and name not in self._overlooked:
            self._overlooked[name] = None
            self._sync.differs(record, now)
