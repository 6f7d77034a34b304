"""Which member's turn it is to ask the voters for the lease, as far as this node can tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.view.identity import pack_id, unpack_id
from swim.protocol.view.table import Record
from swim.types import MemberState
from swim.wire.messages import LeaderKind, LeaderMessage

__all__ = ["Queue"]

_PLACES, _PATIENCE = 3, 2
"""So many ask as well, each after so many lengths of a lease more, when those before them get nowhere."""
_STEP = 1 / 3
"""Of a lease: a holder renews it so often; and a vote that stays free is told to the next member after it."""


class Queue(Part):
    """The lowest id that is not suspected asks, while no holder is known.

    The next ones ask too when that leads to nothing for long, as it may where only some links are cut. A
    holder that is dead in this node's view, or suspected for longer than a lease, does not count; nor do
    members that go by other voters.

    Nor does one whose lease has run out, though it is not suspected yet, or not at this node: a voter that
    was not asked again in time says so (VACANT) to the member whose turn it is, and to the next if that one
    does not ask. It only lets that member ask whether it would get the lease, so it is of no consequence for
    a leader that renews it with a majority of the voters.
    """

    def __init__(
        self, context: Context, own: OwnRecord, leadership: LeaderRule, electorate: Electorate, post: Post
    ) -> None:
        super().__init__(context)
        self._own = own
        self._leadership = leadership
        self._electorate = electorate
        self._post = post
        self._leaderless: float | None = None
        self._ahead: tuple[str, ...] | None = None
        self._seen: object = None
        self._watched = ""
        """The token of the leader that was followed when this node last looked whether its vote is free."""
        self._told = list[str]()
        """The members to which it has said since that it is."""
        self._lapsed, self._lapsed_until = "", -math.inf
        """The token of a term that is over, by a voter's word; and for how long that counts."""

    def update(self, now: float) -> None:
        """Follow this node's view."""
        if self._leadership.leader is not None:
            self._leaderless = None
        elif self._leaderless is None:
            self._leaderless = now
        if self._timers.when("vote") is None and self._name in self._electorate.configuration.names:
            self._timers.set("vote", now + self._length, self._look_at_vote)

    def due(self, now: float) -> float:
        """When this node is to ask: -inf is now, inf never as things are."""
        lapsed = self.lapsed(now)
        view = self._table.version, self._leadership.floor, self._leadership.leader, self._own.voters, lapsed
        if view != self._seen:
            self._seen, self._ahead = view, self._before_me(lapsed)
        if self._ahead is None:
            return math.inf
        if not self._ahead:
            return -math.inf
        if self._leaderless is None:
            return -math.inf if lapsed else math.inf
        return self._leaderless + len(self._ahead) * self._length * _PATIENCE

    @property
    def ahead(self) -> tuple[str, ...]:
        """The members that have their turn before this node."""
        return self._ahead or ()

    @property
    def _length(self) -> float:
        return self._electorate.configuration.length

    def _before_me(self, lapsed: bool) -> tuple[str, ...] | None:
        """None: it is too far back, or there is a holder."""
        if self._leadership.leader is not None and not lapsed:
            holder = self._table.get(self._leadership.leader.name)
            if holder is not None and holder.state is MemberState.ALIVE and holder.name != self._name:
                return None
        first = [*islice(self._in_turn(lapsed), _PLACES + 1)]
        return tuple(first[: first.index(self._name)]) if self._name in first else None

    def _in_turn(self, lapsed: bool) -> Iterator[str]:
        """Those that may ask, the first one first."""
        leader = self._leadership.leader
        for name in self._table.candidates(self._leadership.floor):
            record = self._table.get(name)
            if name == self._name:
                yield name
            elif record is None or record.voters != self._own.voters or record.state is not MemberState.ALIVE:
                continue
            elif not lapsed or leader is None or name != leader.name:
                yield name

    # --- votes that are free although there is a leader

    def lapsed(self, now: float) -> bool:
        """Has a voter just said that the leader which is followed has not renewed its lease?"""
        return now < self._lapsed_until and self._lapsed == self._leadership.token

    def _look_at_vote(self, now: float) -> None:
        """Does the leader still renew what this node has granted?"""
        voter, token = self._electorate.voter, self._leadership.token or ""
        held = now < voter.until
        self._timers.set("vote", voter.until if held else now + _STEP * self._length, self._look_at_vote)
        if held or token != self._watched:  # one that has just begun, or was not heard, is about to ask
            self._watched, self._told = token, []
            return
        if not token or self._own.shows_token or voter.moved or len(self._told) >= _PLACES:
            return
        waiting = self._in_turn(True)
        name = next(
            (each for each in waiting if each not in self._told or each == self._electorate.asker), ""
        )
        record = self._table.get(name)
        self._told.append(name)
        if name == self._name:
            self._lapse(token, now)
        elif record is not None:
            self._post.send(LeaderMessage(LeaderKind.VACANT, 0, token=pack_id(token)), record)

    def hear_vacant(self, message: LeaderMessage, voter: Record, now: float) -> None:
        """A voter says that its vote is free, and that it is this node's turn."""
        if voter.name in self._electorate.configuration.names and voter.voters == self._own.voters:
            self._lapse(unpack_id(message.token) or "", now)

    def _lapse(self, token: str, now: float) -> None:
        self._lapsed, self._lapsed_until = token, now + self._length
