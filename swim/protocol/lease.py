"""The lease: with `voters`, a node leads only while a majority of them has granted it that (LEADER.md).

After PaxosLease (Trencseni, Gazso, Reinhardt 2012): no disk, no clocks that agree. Who wants to lead
sends a numbered round to all voters, and again every L/3 while it holds the lease. A voter (`voting`)
grants the lease to one process at a time.

**Why two leases cannot overlap.** Let every clock run at a rate between 1 - r and 1 + r of true time. A
voter that receives a question at true time v and grants it promises nothing to anybody else until L
has passed on its own clock, which is at v + L / (1 + r) at the earliest. The asker counts that promise
for (1 - m) L from when it *sent* that very round, at true time s <= v, so until s + (1 - m) L / (1 - r) at
the latest. That is no later than v + L / (1 + r) if m >= 2r / (1 + r): 1.98 % for clocks that are 1 %
off; m is 3 %. So at any instant at which somebody counts a promise, the voter is bound by it: it has
not promised the same to anybody else for that instant. A holder counts promises of a majority, and two
majorities share a voter, so there are no two holders at one instant. What this rests on:

- A grant is counted from the sending of the round that it answers: it echoes its number, and a process
  never uses a number twice. Late, doubled and reordered answers thus only count for less.
- `now` is read after the datagram was received, by a clock that goes on while the machine sleeps.
- A voter that is started again does not know its promises. It grants nothing in its first L: by then they
  are over (the same sum: the promise was made before the process began).
- A release names its round, and the asker counts no grant of rounds up to it any more; so a late one frees
  nothing that is counted. Nothing is released while the last term still cleans up.
- All are configured with the same voters and the same L. Every question says both; others are refused.
- One name is one process at a time (`NameConflict`). A frozen virtual machine, whose clocks stand still,
  is not covered: for that there is the fencing token.

**Tokens rise.** A term's token is in the questions, and a term begins only when a majority has granted
that token. A voter answers with the highest token that it has granted to others; who hears of a
higher one than its own asks again with one above. As two majorities share a voter, the next holder's
token is above as long as that voter's process lives. If it does not, tokens still rise by wall time: what
answers a round is no older than L/3, a voter that was started again is silent for L, and after a round that
failed the token is minted anew. So the new one is minted at least 2L/3 after the voter's old process granted
any: it is above unless the two leaders' clocks differ by more, and nobody who lives has heard of the old one.
A token that cannot have been minted yet could never be surpassed: a question with one is not granted, and a
grant with one is not counted, as if lost. (Were it counted without its token, the new token might be lower.)

**Who asks**: the lowest id that is not suspected, while no holder is known; the next ones too when that
leads to nothing for long, as it may where only some links are cut. The holder shows its token in
its tags (`_token`), told once by the flood, and takes it away when it has lost the lease; so members that
do not vote know who leads without a message per renewal. A holder that is dead in a member's view, or
suspected for longer than L, does not count. A holder is not displaced by a lower id; only holders raise
the floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swim.protocol.context import Context, Part
from swim.protocol.identity import from_the_future, is_minted, mint_boot, pack_id, unpack_id
from swim.protocol.leadership import Leadership as Rule
from swim.protocol.myself import Myself
from swim.protocol.table import Record
from swim.protocol.voting import Voter, digest_voters
from swim.types import Address, Leadership, MemberState, Term
from swim.wire.messages import Claim, ClaimKind, Refusal

__all__ = ["Lease"]

_MARGIN = 0.03
_ROUNDS = 3
"""In the length of a lease."""
_CLEANUP = 1 / 6
"""Of the length: a term ends so much before its lease, for what the application has to clean up."""
_PLACES, _PATIENCE = 3, 2
"""So many ask as well, each after so many lengths of a lease more, when those before them get nowhere."""
_FIRST_GAP_S = 0.02
_CONTEST_GAP_S = 0.1
"""Whoever refuses for longer than this has not just been overtaken by a release: others ask as well."""
_SLACK_S = 0.005
_SENT_MAX = 64
_NEVER = -math.inf, 0
_REFUSALS = {
    Refusal.GRANTED: "has granted it to another",
    Refusal.STARTING: "was started less than one lease ago",
    Refusal.FLOOR: "knows of a leader with a higher id",
    Refusal.VOTERS: "is configured with other voters",
    Refusal.LENGTH: "is configured with another length of the lease",
}


class Lease(Part):
    """This node's terms as holder of the lease, its questions to the voters, and its own vote."""

    def __init__(self, context: Context, myself: Myself, leadership: Rule, voters: Sequence[str]) -> None:
        super().__init__(context)
        self.term: Term | None = None
        self.term_ends = -math.inf
        self.ends = -math.inf
        """When the lease itself ends."""
        self._myself = myself
        self._leadership = leadership
        self._voters = tuple(dict.fromkeys(voters))
        self._majority = len(self._voters) // 2 + 1
        self._length = self._config.lease
        self._digest = digest_voters(self._voters)
        self._voter = Voter(self._voters, self._length) if self._name in self._voters else None
        self._process = mint_boot(self._rng).encode()
        self._token = ""
        self._id: str | None = None
        self._round = self._rng.getrandbits(31)
        self._sent: dict[int, float] = {}
        self._first = 0
        """The first round under this token."""
        self._promised: dict[str, tuple[float, int]] = {}
        """Until when each voter has promised this process the lease, and in which round."""
        self._refused: dict[str, tuple[Refusal, float]] = {}
        """Why not, and until when."""
        self._unrenewed: tuple[str, ...] = ()
        """Who did not renew the last lease."""
        self._clean_until = -math.inf
        """What acted for the leader may clean up until then, so nothing is released before."""
        self._gap = _FIRST_GAP_S
        self._not_before = -math.inf
        self._turn: tuple[object, int | None] = (None, None)
        self._latest = -math.inf
        """The latest wall time that this node knew: clocks may be set back, and tokens stay."""
        self._leaderless: float | None = None

    # --- terms

    def start(self, now: float) -> None:
        """This process begins."""
        if self._voter is not None:
            self._voter.start(now)

    def attend(self, now: float, late: float) -> None:
        """Before anything else is looked at: is the time over?"""
        self._latest = max(self._latest, self._wall(now))
        if self.term is not None and now >= self.term_ends:
            self._lose(now)

    def update(self, now: float) -> None:
        """Follow this node's view."""
        self._myself.tell_token(now)
        if self.term is not None and not self._may_lead():
            self._lose(now)
        if self._token and self._table.newest_token > self._token:
            self._lose(now)  # it needs a token above that one
        if self._leadership.leader is not None:
            self._leaderless = None
        elif self._leaderless is None:
            self._leaderless = now
        if self.term is None:
            if self._wants(now):
                self._timers.set_if_unset("lease", max(now, self._not_before), self._ask)
            elif (due := self._due()) < math.inf:
                self._timers.set_if_unset("turn", due, lambda at: None)  # and then `update` looks again

    def _may_lead(self) -> bool:
        """Is this still the member that was granted the lease?"""
        id = self._myself.id
        return id == self._id and id is not None and (not is_minted(id) or id >= self._leadership.floor)

    def _wants(self, now: float) -> bool:
        """Is it this node's turn to ask for the lease?"""
        return self._due() <= now

    def _due(self) -> float:
        """When it will be, as far as can be told: at once for the next in the queue."""
        view = self._table.version, self._leadership.floor, self._leadership.leader
        if view != self._turn[0]:
            self._turn = view, self._place()
        place = self._turn[1]
        if place == 0:
            return -math.inf
        if place is None or self._leaderless is None:
            return math.inf
        return self._leaderless + place * self._length * _PATIENCE

    def _place(self) -> int | None:
        """This node's, among those that are not suspected. None: it is too far back, or there is a holder."""
        if self._leadership.leader is not None:
            holder = self._table.get(self._leadership.leader.name)
            if holder is not None and holder.state is MemberState.ALIVE and holder.name != self._name:
                return None
        place = 0
        for name in self._table.candidates(self._leadership.floor):
            record = self._table.get(name)
            if name == self._name:
                return place
            if record is not None and record.state is MemberState.ALIVE:
                place += 1
                if place > _PLACES:
                    return None
        return None

    def _lose(self, now: float) -> None:
        """The term is over. The lease runs out by itself: what acted for the leader may still clean up."""
        if self.term is not None:
            missed = (name for name in self._voters if self._promised.get(name, _NEVER)[0] <= self.ends)
            self._unrenewed = tuple(missed) if now >= self.term_ends else ()
            self._clean_until = self.ends
        self.end()
        self._forget()
        self._refused.clear()
        self._gap = _FIRST_GAP_S
        self._not_before = now
        self._myself.hide_token(now)

    def end(self) -> None:
        """This node does not act as leader any more."""
        self.term, self.term_ends, self.ends = None, -math.inf, -math.inf
        self._timers.cancel("lease")
        self._timers.cancel("lease-end")

    def release(self, now: float) -> None:
        """What acted for the leader has ended: others may begin at once."""
        self._free(now)
        self._lose(now)

    def _forget(self) -> None:
        """Nothing that was granted so far is counted any more."""
        self._token = ""
        self._sent.clear()
        self._promised.clear()

    def _free(self, now: float) -> None:
        """Forget what was granted so far, which the voters may know."""
        self._forget()
        self.ends = -math.inf
        self._tell(Claim(ClaimKind.RELEASE, self._round, process=self._process), now)

    # --- asking

    def _ask(self, now: float) -> None:
        """A round to all voters."""
        id = self._myself.id
        if id is None or (self.term is None and not self._wants(now)):
            return
        if self.term is None and self._id != id:
            self._token = ""
        if not self._token:
            self._id, self._token, self._first = id, self._myself.mint_token(now), self._round + 1
        self._round += 1
        self._sent[self._round] = now
        if len(self._sent) > _SENT_MAX:
            del self._sent[next(iter(self._sent))]
        if self.term is None:
            self._refused.clear()
            self._timers.set("lease", now + self._length / _ROUNDS, self._give_way)
        else:
            self._timers.set("lease", now + self._length / _ROUNDS, self._ask)
        self._tell(
            Claim(
                ClaimKind.ASK,
                self._round,
                pack_id(id),
                self._process,
                pack_id(self._token),
                self._digest,
                round(self._length * 1000),
            ),
            now,
        )

    def _tell(self, claim: Claim, now: float) -> None:
        for name in self._voters:
            record = self._table.get(name)
            if record is not None and record.own and name != self._name:
                self._outbox.send(record.address, claim)  # also to one that is held to be dead: it may not be
        if self._voter is not None:
            self._tell_myself(claim, now)

    def _tell_myself(self, claim: Claim, now: float) -> None:
        answer = self._vote(claim, now)
        if answer is not None:
            self._answered(answer, self._name, now)

    def _vote(self, claim: Claim, now: float) -> Claim | None:
        if self._voter is None:
            left_ms = round(self._length * 1000)
            refusal = Claim(ClaimKind.REFUSE, claim.round, left_ms=left_ms, reason=Refusal.VOTERS)
            return refusal if claim.kind is ClaimKind.ASK else None
        if claim.kind is ClaimKind.ASK:
            return self._voter.answer(claim, self._leadership.floor, now)
        self._voter.release(claim)
        return None

    def receive(self, claim: Claim, sender: Record, source: Address, now: float) -> None:
        """A claim of another member, or its answer to one of this node's."""
        if claim.token and not self._credible(claim.token):
            self._outbox.drop("token")
            return
        if claim.kind in (ClaimKind.ASK, ClaimKind.RELEASE):
            answer = self._vote(claim, now)
            if answer is not None:
                self._outbox.send(source, answer)
        elif claim.kind in (ClaimKind.GRANT, ClaimKind.REFUSE) and sender.name in self._voters:
            self._answered(claim, sender.name, now)

    def _credible(self, packed: bytes) -> bool:
        """Can this token have been minted by now?"""
        token = unpack_id(packed)
        return token is not None and is_minted(token) and not from_the_future(token, self._latest)

    # --- answers

    def _answered(self, answer: Claim, voter: str, now: float) -> None:
        sent = self._sent.get(answer.round)
        if sent is None:
            return
        current = bool(self._token) and answer.round >= self._first
        if answer.kind is ClaimKind.GRANT:
            higher = unpack_id(answer.token) or ""
            if current and higher > self._token:
                self._outbid(higher, now)
                return
            # Late, it does not count, but others are kept waiting by it: see `_give_way`.
            promise = sent + self._length * (1 - _MARGIN), answer.round
            self._promised[voter] = max(promise, self._promised.get(voter, _NEVER))
        if not current:
            return
        if answer.kind is ClaimKind.REFUSE:
            self._refused[voter] = (answer.reason, now + answer.left_ms / 1000)
        else:
            self._refused.pop(voter, None)
        self._count(now)

    def _outbid(self, token: str, now: float) -> None:
        """There was a term with a higher token: ask anew, with one above it."""
        self._table.newest_token = max(self._table.newest_token, token)
        if self.term is not None:
            self._lose(now)
        self._token = ""
        self._timers.set("lease", now, self._ask)

    def _count(self, now: float) -> None:
        ends = sorted(
            (until for until, number in self._promised.values() if number >= self._first), reverse=True
        )
        self.ends = ends[self._majority - 1] if len(ends) >= self._majority else -math.inf
        term_ends = self.ends - self._length * _CLEANUP
        if term_ends > now:
            self._hold(term_ends, now)
        elif self.term is None and self._hopeless():
            self._give_way(now)

    def _hold(self, term_ends: float, now: float) -> None:
        self.term_ends = term_ends
        self._timers.set("lease-end", term_ends, lambda at: None)  # `attend` looks at the time
        if self.term is None:
            self.term = Term(self._token, now)
            self._gap, self._unrenewed = _FIRST_GAP_S, ()
            self._timers.set("lease", self._sent[self._round] + self._length / _ROUNDS, self._ask)
            self._myself.show_token(self._token, now)
            self._leadership.update(now)

    def _hopeless(self) -> bool:
        """So many refuse, or have left, that there will be no majority in this round."""
        still = [name for name in self._voters if name not in self._refused and not self._has_left(name)]
        return len(still) < self._majority

    def _has_left(self, name: str) -> bool:
        record = self._table.get(name)
        return record is not None and record.state is MemberState.LEFT

    def _give_way(self, now: float) -> None:
        """This round failed: ask again when enough of the grants to others have run out.

        Where others ask as well, so that nobody gets a majority, it frees what it has for a while.
        """
        lefts = [max(0.0, until - now) for _, until in self._refused.values()]
        mine = [0.0 for until, _ in self._promised.values() if until > now]
        lefts += mine
        lefts.sort()
        left = lefts[self._majority - 1] if len(lefts) >= self._majority else math.inf
        third = self._length / _ROUNDS
        if mine and left > third and self._gap > _CONTEST_GAP_S and now >= self._clean_until:
            wait = self._rng.uniform(third, self._length)
            self._free(now)
        else:
            wait = min(left + _SLACK_S, self._gap, third)
            self._gap *= 2
            self._token = ""
        self._not_before = now + wait
        self._timers.set("lease", self._not_before, self._ask)

    # --- for people

    def describe(self, now: float) -> Leadership:
        leader = self._leadership.leader
        return Leadership(
            leader,
            self._leadership.token,
            self.term,
            max(0.0, self.term_ends - now) if self.term is not None else 0.0,
            self._voters,
            tuple(name for name, (until, _) in self._promised.items() if until > now),
            self.problem(now) if leader is None else None,
        )

    def problem(self, now: float) -> str:
        """Why there is no leader, as far as this node can tell."""
        count = len(self._voters)
        told = [f"{self._majority} of {count} voters have to grant a lease"]
        if self._refused or self._promised:
            granted = sum(1 for until, _ in self._promised.values() if until > now)
            told.append(f"{granted} grant it to this node")
        if self._unrenewed:
            told.append(f"the last one was not renewed by {', '.join(self._unrenewed)}")
        told += [f"{name} {_REFUSALS[reason]}" for name, (reason, _) in self._refused.items()]
        absent = [name for name in self._voters if not self._is_present(name)]
        if absent:
            told.append(f"no members now: {', '.join(absent)}")
        return "; ".join(told)

    def _is_present(self, name: str) -> bool:
        record = self._table.get(name)
        return record is not None and record.present
