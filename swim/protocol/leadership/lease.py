"""The lease: with `voters`, a node leads only while a majority of them has granted it that.

After PaxosLease (Trencseni, Gazso, Reinhardt 2012): no disk, no clocks that agree. A node that wants to
lead first asks all voters whether they would grant it the lease (TRY), which changes nothing anywhere: so
one that is cut off, or is only mistaken about the others, mints no token and outbids no leader, however
long that lasts (as in Raft's PreVote). Only when a majority would, it mints the token of its term and asks
for the lease (ASK). It asks again every L/3 while it holds it. A voter (`voting`) grants the lease to one
process at a time.

**Why two leases cannot overlap.** Let every clock run at a rate between 1 - r and 1 + r of true time. A
voter that receives a question at true time v and grants it promises nothing to anybody else until p L has
passed on its own clock, which is at v + p L / (1 + r) at the earliest. The asker counts that promise for c
L from when it *sent* that very round, at true time s <= v, so until s + c L / (1 - r) at the latest. That
is no later than v + p L / (1 + r) if c <= p (1 - r) / (1 + r). p is 99 % and c 97 %: with an asker's clock
that is 1 % slow and a voter's that is 1 % fast, c may be 97.04 %. What is left over is small, 0.04 % of L,
but nothing else eats of it: the time from s to v comes on top, both read their clocks on the safe side of
it, and all that acts for the leader is cancelled a sixth of L before. (For clocks within 1 % of each other,
as users are told, c could be 98.02 %.) So whenever an asker counts a promise, the voter is bound by it: it
has not promised the same to anybody else for that instant. A holder counts promises of a majority, and two
majorities share a voter, so there are no two holders at one instant. What this rests on:

- A grant is counted from the sending of the round that it answers: it echoes its number, and a process
  never uses a number twice. Late, doubled and reordered answers thus only count for less.
- An answer is for one process, and from one voter's process (`post`); a question counts in one turn of the
  voter (`voting`). What is repeated, reflected or relayed prolongs nothing and frees nothing.
- `now` is read after the datagram was received, by a clock that goes on while the machine sleeps.
- A voter that is started again does not know its promises. It grants nothing in its first p L: by then they
  are over (the same sum: the promise was made before the process began).
- A release names its round and turn, and the asker counts no grant of rounds up to it any more; so a late one
  frees nothing that is counted. Nothing is released while the last term still cleans up.
- All go by one configuration (`electorate`): its digest is in every question, and others are refused. It
  changes only by grants of majorities of the old and of the new voters, which share a voter with either.
- One name is one process at a time (`NameConflict`); a voter's name that comes up at another address, while
  the earlier process may live, has no vote. A frozen virtual machine, whose clocks stand still, is not
  covered: for that there is the fencing token.

**Tokens rise.** A term begins only when a majority has granted its token. A voter answers with the highest
token that it has granted to others, and the token is minted above those. As two majorities share a voter, the
next holder's token is above as long as that voter's process lives. If it does not, tokens still rise by wall
time: no term begins from a round that is older than L/3, the token is minted after that round was sent, and a
voter that was started again is silent for p L. So the new token is minted more than L/2 after the voter's old
process granted any: it is above unless the two leaders' clocks differ by more, and no live member has heard
of the old one. A token that cannot have been minted yet could never be surpassed: a question with one is not
granted, and a grant with one is not counted, as if lost. A token that was granted but never led (`led`) is
surpassed by the next one that asks, but ends no term: where two ask at once, the loser's may be the higher.

The holder shows its token in its tags (`_token`), told once by the flood, and takes it away when it has lost
the lease; so members that do not vote know the leader without a message per renewal. A holder is not
displaced by a lower id; only holders raise the floor. One whose id is below the floor of others cannot be
followed by them: it is told so, takes a fresh id, and asks anew.
"""

from __future__ import annotations

import math
from dataclasses import replace

from swim.protocol.base.context import Context
from swim.protocol.base.limits import keep_latest
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.ballots import Ballot, free_at, hopeless, may_answer
from swim.protocol.leadership.configuration import Configuration
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.queue import Queue
from swim.protocol.leadership.rule import HolderRule
from swim.protocol.leadership.standing import describe_lease, explain_lease
from swim.protocol.leadership.terms import Terms
from swim.protocol.view.identity import from_the_future, is_minted, pack_id, unpack_id
from swim.protocol.view.table import Record
from swim.types import Leadership, Term
from swim.wire.messages import LeaderKind, LeaderMessage, Refusal

__all__ = ["Lease"]

_ROUNDS = 3
"""In the length of a lease."""
_CLEANUP = 1 / 6
"""Of the length: a term ends so much before its lease, for what the application has to clean up."""
_REPEATS = 4
"""In the time of a round: a candidate asks those again that have not answered."""
_FIRST_GAP_S = 0.02
"""Between a round that failed and the next; twice as long each time."""
_FIRST_CONTEST_S = 0.05
"""The same, on average, where another has asked as well."""
_SLACK_S = 0.001
"""So much after a voter has said that it is free it is asked: clocks are rounded."""
_SENT_MAX = 64
"""Rounds whose answers still count."""


class Lease(Terms):
    """This node's terms as holder of the lease, and its questions to the voters."""

    derived = False

    def __init__(
        self, context: Context, own: OwnRecord, leadership: HolderRule, electorate: Electorate, post: Post
    ) -> None:
        super().__init__(context)
        self.ends = self.backed = self.earlier = -math.inf
        """When the lease itself ends; and see `Terms`."""
        self.busy = False
        """Functions run that were started for a term; they may still clean up after it."""
        self.queue = Queue(context, own, leadership, electorate, post)
        self._own = own
        self._leadership = leadership
        self._electorate = electorate
        electorate.watch(self._reconfigured)
        self._post = post
        self.closing = False
        """The term is over, and its functions clean up: the lease is held until they have ended."""
        self.ballots: dict[str, Ballot] = {}
        self._enroll()
        self._id: str | None = None
        self._token = ""
        self._highest = ""
        """The highest token that voters know of."""
        self._round = self._rng.getrandbits(31)
        self._sent: dict[int, tuple[float, bytes]] = {}
        """When each round was sent, and for which configuration."""
        self._first = 0
        """The first round under this token."""
        self.unrenewed: tuple[str, ...] = ()
        """The voters that did not renew the last lease."""
        self._led = ""
        """The token of the last term of this process."""
        self._clean_until = -math.inf
        """What acted for the leader may clean up until then, so nothing is released before."""
        self._gap, self._contest_gap = _FIRST_GAP_S, _FIRST_CONTEST_S
        self._not_before = -math.inf
        self._latest = -math.inf
        """The latest wall time that this node knew: clocks may be set back, and tokens stay."""

    @property
    def _length(self) -> float:
        return self._electorate.configuration.length

    @property
    def _third(self) -> float:
        return self._length / _ROUNDS

    @property
    def _holds(self) -> bool:
        """Does this node renew a lease?"""
        return self.term is not None or self.closing

    @property
    def lease_ends(self) -> float | None:
        return self.ends

    # --- terms

    def attend(self, now: float, late: float) -> None:
        """Before anything else is looked at: is the time over?"""
        self._latest = max(self._latest, self._wall(now))
        if self.term is not None and now >= self.term_ends:
            self._lose(now)

    def update(self, now: float) -> None:
        """Follow this node's view."""
        self._own.tell_token(now)
        if self.term is not None and not self._may_lead():
            self._lose(now)
        if self._token and self._table.newest_token > self._token:
            self._lose(now)  # it needs a token above that one
        self.queue.update(now)
        if self.term is not None:
            self._timers.set_if_unset("moved", now + self._length, self._give_votes)
        if self._leadership.unfollowed is not None:
            self._timers.set_if_unset("behind", now, self._tell_behind)
        if not self._holds:
            if self._wants(now):
                self._timers.set_if_unset("lease", max(now, self._not_before), self._ask)
            elif (due := self.queue.due(now)) < math.inf:
                self._timers.set_if_unset("turn", due, lambda at: None)  # and then `update` looks again

    def _may_lead(self) -> bool:
        """Is this still the member that was granted the lease?"""
        id = self._own.id
        return id == self._id and id is not None and (not is_minted(id) or id >= self._leadership.floor)

    def _wants(self, now: float) -> bool:
        return self.queue.due(now) <= now

    def _tell_behind(self, now: float) -> None:
        """A leader that this node cannot follow is told which floor it is below."""
        leader = self._leadership.unfollowed
        if leader is not None:
            floor = pack_id(self._leadership.floor)
            self._post.send(LeaderMessage(LeaderKind.BEHIND, 0, id=floor), leader)
            self._timers.set("behind", now + self._third, self._tell_behind)

    def _lose(self, now: float) -> None:
        """The term is over. What acted for the leader may still clean up: until then the lease is kept."""
        self.closing = self.closing or (self.term is not None and self.busy)
        if self.term is not None:
            missed = (name for name, ballot in self.ballots.items() if ballot.until <= self.ends)
            self.unrenewed = tuple(missed) if now >= self.term_ends else ()
            self._clean_until = self.ends
        self.term, self.term_ends = None, -math.inf
        self._electorate.withdraw()
        self._timers.cancel("lease-end")
        self._own.hide_token(now)
        if self.closing:
            self._timers.set_if_unset("lease", now + self._third, self._ask)
            return
        self.end()
        self._forget()
        self._gap, self._contest_gap = _FIRST_GAP_S, _FIRST_CONTEST_S
        self._not_before = now

    def end(self) -> None:
        """This node does not act as leader any more."""
        self.term, self.term_ends, self.ends = None, -math.inf, -math.inf
        self.closing = False
        for name in ("lease", "again", "lease-end"):
            self._timers.cancel(name)

    def release(self, now: float) -> None:
        """What acted for the leader has ended: others may begin at once."""
        self._clean_until = -math.inf
        self._free(now)
        self.closing = self.busy = False
        self._lose(now)

    def note_functions(self, running: bool, now: float) -> None:
        """Functions run for the leader, or the last of them has ended, its clean-up included."""
        self.busy = running
        if self.closing and not running:
            self.release(now)

    def _forget(self) -> None:
        """Nothing that was granted so far is counted any more."""
        self._token = ""
        self._sent.clear()
        for ballot in self.ballots.values():
            ballot.until, ballot.reason = -math.inf, Refusal.NONE

    def _free(self, now: float) -> None:
        """Forget what was granted so far, which the voters may know."""
        for name, ballot in self.ballots.items():
            if ballot.process:
                message = LeaderMessage(
                    LeaderKind.RELEASE, self._round, turn=ballot.turn, token=pack_id(self._led)
                )
                self._send(name, message, ballot.process, now)
        self._forget()
        self.ends = -math.inf

    # --- the configuration

    def _enroll(self) -> None:
        """A ballot for each voter."""
        names = dict.fromkeys(self._electorate.names)
        self.ballots = {name: self.ballots.get(name) or Ballot() for name in names}

    def _reconfigured(self, now: float) -> None:
        """There is another configuration, or one is about to be."""
        self._enroll()
        if self._holds:
            self._timers.set("lease", now, self._ask)

    def _give_votes(self, now: float) -> None:
        """Voters that were started anew elsewhere vote again, when enough of the others agree."""
        electorate = self._electorate
        if self.term is not None and electorate.idle and electorate.moved():
            electorate.propose(electorate.configuration.voters, self.term.token, now)

    # --- asking

    def _ask(self, now: float) -> None:
        """A round to all voters."""
        if self._own.id is None or not (self._holds or self._wants(now)):
            return
        self._round += 1
        self._sent[self._round] = now, self._electorate.asked.digest
        keep_latest(self._sent, _SENT_MAX)
        for ballot in self.ballots.values():
            ballot.reason = Refusal.NONE
        if self._holds:
            self._timers.set("lease", now + self._third, self._ask)
            for name, ballot in list(self.ballots.items()):
                # One that has not answered for long may be another process by now: which is it?
                lately = ballot.process and now - ballot.sent < self._length
                self._question(name, LeaderKind.ASK if lately else LeaderKind.TRY, now)
            if (proposal := self._electorate.sounding) is not None:
                for name in proposal.names:
                    self._question(name, LeaderKind.TRY, now, proposal)
            return
        self._id, self._token, self._highest = self._own.id, "", ""
        self._timers.set("lease", now + self._third, self._give_way)
        self._timers.set("again", now + self._third / _REPEATS, self._repeat)
        for name in list(self.ballots):
            # One that is held to be dead, or is suspected, may be there: but that is less probable.
            if self._round % 2 or may_answer(name, self._table):
                self._question(name, LeaderKind.TRY, now)

    def _repeat(self, now: float) -> None:
        """Packets get lost, and voters become free: those that do not grant it yet are asked once more."""
        if self._holds or self._round not in self._sent:
            return
        freed = [each.free_at + _SLACK_S for each in self.ballots.values() if each.free_at > now]
        self._timers.set("again", min([now + self._third / _REPEATS, *freed]), self._repeat)
        for name, ballot in list(self.ballots.items()):
            free = ballot.reason is Refusal.NONE or ballot.free_at <= now
            if free and ballot.would < self._round and may_answer(name, self._table):
                self._question(name, LeaderKind.TRY, now)
            elif self._token and ballot.would == self._round and ballot.round < self._round:
                self._question(name, LeaderKind.ASK, now)

    def _question(
        self, name: str, kind: LeaderKind, now: float, configuration: Configuration | None = None
    ) -> None:
        ballot = self.ballots.get(name)
        if ballot is None:
            return  # no voter any more: an answer to this very round has changed that
        asked = configuration or self._electorate.asked
        setup = asked.pack() if asked is not self._electorate.configuration else b""
        message = LeaderMessage(kind, self._round, configuration=asked.digest, setup=setup)
        if kind is LeaderKind.TRY:
            self._send(name, replace(message, id=pack_id(self._id)), b"", now)
        else:
            token = pack_id(self._token) if ballot.token != self._token else b""
            message = replace(message, turn=ballot.turn, token=token, led=self._holds)
            self._send(name, message, ballot.process, now)

    def _send(self, name: str, message: LeaderMessage, process: bytes, now: float) -> None:
        record = self._table.get(name)
        if name == self._name:
            answer = self._vote(replace(message, process=self._post.process), self._own.record, now)
            if answer is not None:
                self._answered(replace(answer, process=self._post.process), name, now)
        elif record is not None and record.own:
            self._post.send(message, record, process)  # also to one that is held to be dead: it may not be

    def _vote(self, message: LeaderMessage, asker: Record | None, now: float) -> LeaderMessage | None:
        if message.kind is LeaderKind.RELEASE:
            self._electorate.release(message)
        elif asker is not None:
            return self._electorate.vote(message, asker, self._leadership.floor, now)
        return None

    def receive(self, message: LeaderMessage, sender: Record, now: float) -> None:
        """A message of another member, or its answer to one of this node's, which is for this process."""
        if message.token and not self._credible(message.token):
            self._outbox.drop("token")
        elif message.kind in (LeaderKind.ASK, LeaderKind.TRY, LeaderKind.RELEASE):
            answer = self._vote(message, sender, now)
            if answer is not None:
                self._post.send(answer, sender, message.process)
        elif message.kind in (LeaderKind.GRANT, LeaderKind.REFUSE, LeaderKind.WOULD):
            self._answered(message, sender.name, now)
        elif message.kind is LeaderKind.VACANT:
            self.queue.hear_vacant(message, sender, now)
        elif message.kind is LeaderKind.BEHIND:
            self._leadership.hear_floor(unpack_id(message.id) or "", now)

    def _credible(self, packed: bytes) -> bool:
        """Can this token have been minted by now?"""
        token = unpack_id(packed)
        return token is not None and is_minted(token) and not from_the_future(token, self._latest)

    # --- answers

    def _answered(self, answer: LeaderMessage, voter: str, now: float) -> None:
        asked, ballot = self._sent.get(answer.round), self.ballots.get(voter)
        if asked is None or ballot is None:
            self._outbox.drop("leader-unasked")
            return
        sent, digest = asked
        if answer.round >= ballot.answered:
            ballot.process, ballot.turn = answer.process, answer.turn
            ballot.answered, ballot.sent = answer.round, sent
        if answer.kind is LeaderKind.GRANT:
            self._granted(answer, ballot, sent, digest, now)
        elif answer.round == self._round:
            if answer.kind is LeaderKind.WOULD:
                self._would(answer, voter, ballot, now)
            else:
                self._refused(answer, voter, ballot, now)

    def _would(self, answer: LeaderMessage, voter: str, ballot: Ballot, now: float) -> None:
        if ballot.would == answer.round or now > ballot.sent + self._third:
            return
        ballot.would, ballot.reason = answer.round, Refusal.NONE
        self._highest = max(self._highest, unpack_id(answer.token) or "")
        sounding = self._electorate.sounding
        if sounding is not None:
            if sounding.majority(self._would_now):
                self._electorate.sounded(now)
        elif self._token:
            self._question(voter, LeaderKind.ASK, now)
        elif self._electorate.asked.majority(self._would_now):
            self._table.heed_token(self._highest)
            self._token, self._first = self._own.mint_token(now), self._round
            for name in list(filter(self._would_now, self.ballots)):
                self._question(name, LeaderKind.ASK, now)

    def _would_now(self, name: str) -> bool:
        return self.ballots[name].would == self._round

    def _refused(self, answer: LeaderMessage, voter: str, ballot: Ballot, now: float) -> None:
        if answer.reason is Refusal.STALE:
            if self._token and ballot.stale != answer.round:
                ballot.stale = answer.round
                self._question(voter, LeaderKind.ASK, now)  # its turn is known now
            return
        if answer.reason is Refusal.FLOOR:
            self._leadership.hear_floor(unpack_id(answer.id) or "", now)
        ballot.reason, ballot.free_at = answer.reason, now + answer.left_ms / 1000
        if not self._holds and hopeless(self.ballots, self._electorate.asked, self._table):
            self._give_way(now)
        elif (again := self._timers.when("again")) is not None:
            self._timers.set("again", min(again, ballot.free_at + _SLACK_S), self._repeat)

    def _granted(self, answer: LeaderMessage, ballot: Ballot, sent: float, digest: bytes, now: float) -> None:
        higher = unpack_id(answer.token) or ""
        current = bool(self._token) and answer.round >= self._first
        if current and higher > self._token and (answer.led or not self._holds):
            self._outbid(higher, now)
            return
        # Late, it does not count, but others are kept waiting by it: see `_give_way`.
        if answer.round > ballot.round:
            ballot.until, ballot.round = sent + self._electorate.configuration.counted, answer.round
        if current:
            ballot.token, ballot.reason, ballot.digest = self._token, Refusal.NONE, digest
            ballot.earlier = now - answer.quiet_ms / 1000
            self._count(now)

    def _outbid(self, token: str, now: float) -> None:
        """There was a term with a higher token: ask anew, with one above it."""
        self._table.heed_token(token)
        if self._holds:
            self._lose(now)
        else:
            self._token = ""
            self._timers.set("lease", now, self._ask)

    def _count(self, now: float) -> None:
        until = {name: ballot.until for name, ballot in self.ballots.items() if ballot.round >= self._first}
        if not self._holds and now > self._sent[self._first][0] + self._third:
            return  # so old a round begins no term
        ends = self._electorate.configuration.majority_until(until)
        self.ends = max(ends, self.ends) if self._holds else ends
        term_ends = self.ends - self._length * _CLEANUP
        if self.closing:
            self._clean_until = self.ends
        elif term_ends > now:
            self._hold(term_ends, now)
        if self.term is not None:
            self._electorate.advance(self.ballots, self.term.token, now)

    def _hold(self, term_ends: float, now: float) -> None:
        if self.term is None:
            granted = (ballot.earlier for ballot in self.ballots.values() if ballot.round >= self._first)
            self.earlier = max(self.backed, *granted)
        self.backed = self.ends - self._electorate.configuration.counted
        self.term_ends = term_ends
        self._timers.set("lease-end", term_ends, lambda at: None)  # `attend` looks at the time
        if self.term is None:
            self.term = Term(self._token, now)
            self._led = self._token
            self._gap, self._contest_gap, self.unrenewed = _FIRST_GAP_S, _FIRST_CONTEST_S, ()
            self._timers.cancel("again")
            self._timers.set("lease", self._sent[self._round][0] + self._third, self._ask)
            self._own.show_token(self._token, now)
            self._leadership.update(now)

    def _give_way(self, now: float) -> None:
        """This round failed: ask again when enough of the grants to others have run out.

        What was granted is freed, since others may ask as well, so that none gets a majority: the
        next question comes after a random time, which grows.
        """
        self._timers.cancel("again")
        granted = any(ballot.until > now for ballot in self.ballots.values())
        if (self._token or granted) and now >= self._clean_until:
            self._free(now)
            wait = self._rng.uniform(0.5, 1.5) * self._contest_gap
            self._contest_gap = min(2 * self._contest_gap, self._length)
        else:
            free = free_at(self.ballots, self._electorate.asked, now)
            known, lapsed = free < math.inf, self.queue.lapsed(now)
            most = self._third if known else self._third / _REPEATS
            wait = min(free - now + _SLACK_S, self._length if known and lapsed else min(self._gap, most))
            self._gap *= 2
        self._token = ""
        self._not_before = now + wait
        self._timers.set("lease", self._not_before, self._ask)

    # --- for people

    def describe(self, now: float) -> Leadership:
        return describe_lease(self, self._electorate, self._leadership, self._table, now)

    def problem(self, now: float) -> str:
        """Why there is no leader, as far as this node can tell."""
        return explain_lease(self, self._electorate, self._table, now)
