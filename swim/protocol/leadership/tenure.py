"""This node's own terms as leader: when it acts, under which token, and when it had better not.

Whether this node leads is known from its own view (`LeaderRule`), which may be out of date. So a term
has an end that is set ahead of time, and is moved ahead only while this node attends to the cluster:
when its process stalls, the end has passed before it wakes. It then is *in doubt*, and so it is when
most of the members that it observes do not answer it any more. A leader in doubt asks them: "do you
follow me?", and begins a new term, with a fresh token, when half of them do (with itself: a majority
of a small cluster; a large cluster is sampled by the rings). A leader that believes itself alone has
none to ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from swim.protocol.base.context import Context
from swim.protocol.base.limits import TokenBucket, keep_latest
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.leadership.terms import Terms
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import Record
from swim.types import Leadership, Term
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal

__all__ = ["Tenure"]

_STALL_MAX_S = 1.0
"""A leader that was late for its timers by so much, or by half of the silence tolerance, is in doubt."""
_BEATS = 2
"""How often the end is moved ahead in the time of a stall. An idle leader wakes for little else."""
_LASTS = 1.25
"""Of that time, the end is ahead: a process whose beats are late by half of it is not interrupted."""
_ASKS = 4
"""How often a leader in doubt asks again, in that time."""
_FIRST_GAP_S = 0.02
"""Until a leader in doubt asks again; twice as long each time."""
_SETTLE_S = 0.2
"""Between a member's return and the next term: by then both sides have exchanged what they know."""
_TERMS_PER_S, _TERMS_BURST = 0.5, 5
"""Two members that both believe that they lead must not outbid each other without end."""


class Tenure(Terms):
    """The terms of a leader by the derived rule: nothing is known of earlier leaders."""

    derived = True

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        leadership: LeaderRule,
        observed: Collection[str],
        suspected: Callable[[], list[str]],
        differs: Callable[[Record, float], None],
        post: Post,
    ) -> None:
        """`observed`: the names of those that this node observes, as they are at any time. `suspected`: those
        of them that it suspects now.
        """
        super().__init__(context)
        self.doubted = False
        """This node may have missed that others follow another leader."""
        self._limit = min(_STALL_MAX_S, self._config.silence_tolerance / 2)
        self._own = own
        self._leadership = leadership
        self._observed = observed
        self._suspected = suspected
        self._differs = differs
        self._post = post
        self._starts = TokenBucket(_TERMS_PER_S, _TERMS_BURST)
        self._rounds: dict[int, float] = {}
        self._confirmed: dict[str, float] = {}
        """The members that follow this node, as of when they were asked."""
        self._losing_touch: float | None = None
        self._gap = _FIRST_GAP_S

    # --- doubt

    def attend(self, now: float, late: float) -> None:
        """This node is awake: `late` seconds after it should have been."""
        if late > self._limit or (self.term is not None and now >= self.term_ends):
            self.doubt()
        if self.term is not None:
            self.term_ends = now + _LASTS * self._limit

    def doubt(self) -> None:
        """Others may have moved on: what they say counts from now."""
        self.end()
        self.doubted = True
        self._rounds.clear()
        self._confirmed.clear()
        self._gap = _FIRST_GAP_S

    def _in_touch(self, since: float) -> bool:
        """Do half of the own members that this node observes follow it, asked at that time or later?"""
        peers = self._peers()
        asked = [self._confirmed[peer.name] for peer in peers if peer.name in self._confirmed]
        return sum(1 for when in asked if when >= since) >= (len(peers) + 1) // 2

    def _peers(self) -> list[Record]:
        records = map(self._table.get, self._observed)
        return [record for record in records if record is not None and record.own and record.present]

    def _watch_touch(self, now: float) -> None:
        """While some of those that this node observes are silent towards it: do the others follow it?"""
        suspected = [self._table.get(name) for name in self._suspected()]
        if not [record for record in suspected if record is not None and record.own and record.present]:
            self._losing_touch = None
        elif self._losing_touch is None:
            self._losing_touch = now
            self._ask(now)
        elif now - self._losing_touch >= self._limit and not self._in_touch(now - self._limit):
            self.doubt()

    # --- terms

    def update(self, now: float) -> None:
        """Follow this node's view."""
        self._own.tell_token(now)
        if not self._leads():
            self.end()
            return
        if self.term is not None:
            if self._table.newest_token > self.term.token:
                self.end()
                self._ask_rival(now)
            else:
                self._watch_touch(now)
        if self.term is None:
            self._seek(now)

    def _ask_rival(self, now: float) -> None:
        """Another believes that it leads: one of the two has a floor that the other has not heard of.

        The view hash would tell, but not while many rivals change their records in turn.
        """
        heeded = [record for record in self._table.showing() if record.token <= self._table.newest_token]
        rival = max(heeded, key=lambda record: record.token, default=None)
        if rival is not None and rival.name != self._name:
            self._differs(rival, now)

    def _leads(self) -> bool:
        leader = self._leadership.leader
        return leader is not None and leader.name == self._name and leader.id == self._own.id

    def _seek(self, now: float) -> None:
        """Begin a term, if nothing speaks against it."""
        if self.doubted and not self._in_touch(-math.inf):
            self._timers.set_if_unset("tenure", now, self._beat)
        elif now < self._settled():
            if self._timers.when("tenure") is None:
                self._ask_rival(now)
            self._timers.set_if_unset("tenure", self._settled(), self._beat)
        elif not self._starts.take(now):
            self._timers.set_if_unset("tenure", now + self._starts.wait(now), self._beat)
        else:
            self.doubted, self._losing_touch = False, None
            token = self._own.mint_token(now)
            self.term, self.term_ends = Term(token, now), now + _LASTS * self._limit
            self._set_beat(now)
            self._own.show_token(token, now)
            self._leadership.update(now)

    def _settled(self) -> float:
        """When two sides that have just met know which leader the other had: a term can wait for that."""
        alone = self._table.present_count == 1
        return -math.inf if alone else self._table.returned_at + _SETTLE_S

    def _beat(self, now: float) -> None:
        """Now and then while this node leads in its own view; `attend` and `update` do the rest."""
        interval = self._limit / _ASKS
        if self.doubted:
            interval = min(interval, self._gap)
            self._gap *= 2
        if self.doubted or self._losing_touch is not None:
            self._ask(now)
            self._timers.set("tenure", now + interval, self._beat)
        else:
            self._set_beat(now)

    def _set_beat(self, now: float) -> None:
        """In time, or before that together with something else."""
        half = self._limit / _BEATS / 2
        self._timers.set("tenure", now + half, self._beat, slack=half)

    def end(self) -> None:
        """This node does not act as leader any more."""
        self.term, self.term_ends = None, -math.inf
        self._timers.cancel("tenure")

    def describe(self, now: float) -> Leadership:
        return Leadership(
            self._leadership.leader,
            self._leadership.token,
            self.term,
            max(0.0, self.term_ends - now) if self.term is not None else 0.0,
            problem=self.problem(now),
        )

    def problem(self, now: float) -> str | None:
        """Why there is no leader, or why this node leads and does not act."""
        if self._leadership.leader is None:
            return "no member may lead (electable=False)"
        if not self._leads() or self.term is not None:
            return None
        if self._timers.when("tenure") == self._settled():
            return "members have just come back, which may tell of another leader"
        if not self.doubted or self._in_touch(-math.inf):
            return "the last terms began too shortly after one another"
        missing = [peer.name for peer in self._peers() if peer.name not in self._confirmed]
        return f"in doubt, after a stall or silence; not confirmed yet by {', '.join(missing)}"

    def release(self, now: float) -> None:
        """What acted for the leader has ended: others may begin at once."""
        self.end()

    # --- asking and answering

    def _ask(self, now: float) -> None:
        """Ask all that this node observes whether they follow it."""
        if self._own.id is None:
            return
        number = self._rng.getrandbits(32)
        self._rounds[number] = now
        keep_latest(self._rounds, 2 * _ASKS)
        for peer in self._peers():
            self._post.send(LeaderMessage(LeaderKind.CONFIRM, number, id=pack_id(self._own.id)), peer)

    def receive(self, message: LeaderMessage, sender: Record, now: float) -> None:
        """A message of another member, or its answer to one of this node's, which is for this process."""
        if message.kind is LeaderKind.CONFIRM:
            leader = self._leadership.leader
            follows = leader is not None and leader.name == sender.name and leader.id is not None
            if leader is not None and leader.id is not None and follows and pack_id(leader.id) == message.id:
                self._post.send(LeaderMessage(LeaderKind.FOLLOW, message.round), sender, message.process)
        elif message.kind is LeaderKind.FOLLOW and message.round in self._rounds:
            self._confirmed[sender.name] = self._rounds[message.round]
        elif message.kind in (LeaderKind.ASK, LeaderKind.TRY):
            left_ms = round(self._config.lease * 1000)
            refusal = LeaderMessage(LeaderKind.REFUSE, message.round, left_ms=left_ms, reason=Refusal.VOTERS)
            self._post.send(refusal, sender, message.process)
