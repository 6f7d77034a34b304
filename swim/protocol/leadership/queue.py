"""Which member's turn it is to ask the voters for the lease, as far as this node can tell."""

from __future__ import annotations

import math

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.rule import LeaderRule
from swim.types import MemberState

__all__ = ["Queue"]

_PLACES, _PATIENCE = 3, 2
"""So many ask as well, each after so many lengths of a lease more, when those before them get nowhere."""


class Queue(Part):
    """The lowest id that is not suspected asks, while no holder is known.

    The next ones ask too when that leads to nothing for long, as it may where only some links are cut. A
    holder that is dead in this node's view, or suspected for longer than a lease, does not count; nor do
    members that go by other voters.
    """

    def __init__(self, context: Context, own: OwnRecord, leadership: LeaderRule) -> None:
        super().__init__(context)
        self._own = own
        self._leadership = leadership
        self._leaderless: float | None = None
        self._ahead: tuple[str, ...] | None = None
        self._seen: object = None

    def update(self, now: float) -> None:
        """Follow this node's view."""
        if self._leadership.leader is not None:
            self._leaderless = None
        elif self._leaderless is None:
            self._leaderless = now

    def due(self, length: float) -> float:
        """When this node is to ask: -inf is now, inf never as things are."""
        view = self._table.version, self._leadership.floor, self._leadership.leader, self._own.voters
        if view != self._seen:
            self._seen, self._ahead = view, self._before_me()
        if self._ahead is None:
            return math.inf
        if not self._ahead:
            return -math.inf
        if self._leaderless is None:
            return math.inf
        return self._leaderless + len(self._ahead) * length * _PATIENCE

    @property
    def ahead(self) -> tuple[str, ...]:
        """The members that have their turn before this node."""
        return self._ahead or ()

    def _before_me(self) -> tuple[str, ...] | None:
        """None: it is too far back, or there is a holder."""
        if self._leadership.leader is not None:
            holder = self._table.get(self._leadership.leader.name)
            if holder is not None and holder.state is MemberState.ALIVE and holder.name != self._name:
                return None
        ahead = list[str]()
        for name in self._table.candidates(self._leadership.floor):
            record = self._table.get(name)
            if name == self._name:
                return tuple(ahead)
            if record is None or record.voters != self._own.voters:
                continue
            if record.state is MemberState.ALIVE:
                ahead.append(name)
                if len(ahead) > _PLACES:
                    return None
        return None
