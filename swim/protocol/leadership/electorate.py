"""The cluster's voters, as this node knows them: the same at all members, and how they come to be the same.

A node that joins a cluster takes over its configuration, whatever it was started with: a list that was
changed by restarting one node after the other would be two lists for a while, and a leader by each. So it
is told instead (`VotersDiffer`, on its side) that a running cluster's voters are changed by `set_voters`.
A member keeps the newest numbered change of its own founding configuration that it hears of, and asks
each member that shows another one what that is. Of two clusters that were founded with different ones and
have met, neither follows the other: both sides report it, and they grant each other nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from swim.events import VotersDiffer
from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.ballots import Ballot
from swim.protocol.leadership.configuration import (
    ABSENT,
    Configuration,
    founding_configuration,
    read_configuration,
)
from swim.protocol.leadership.post import Post
from swim.protocol.leadership.voting import Voter
from swim.protocol.view.identity import from_the_future
from swim.protocol.view.table import MOVED_MARK, VOTERS_TAG, Record
from swim.types import Address, Member, MemberState
from swim.wire.messages import LeaderKind, LeaderMessage, NodeState, Refusal, WireState
from swim.wire.serf import decode_tags

__all__ = ["ABOUT_VOTERS", "Electorate"]

ABOUT_VOTERS = LeaderKind.WHAT, LeaderKind.SETUP, LeaderKind.WHO, LeaderKind.HERE
"""Messages that are for the `Electorate`; all others are for the terms."""
_ASK_AGAIN_S = 1.0
"""Between two questions about one unknown configuration."""
_CATCH_UP_S = 5.0
"""A member that shows an older configuration for so long does not just lag behind."""
_KNOWN_MAX = 32
"""Configurations that are remembered, and questions that are open."""
_MISSED_MAX = 1_000
"""So many changes, of two steps each, a member may have missed; unbounded, one could use up all numbers."""
_READY_S = 0.5
"""After joining, until the application reads events."""
_WHO_AGAIN_S = 0.1
"""Between two questions to the process that has the holder's name."""


class Electorate(Part):
    """The configuration that this node goes by, and its own vote."""

    def __init__(self, context: Context, own: OwnRecord, post: Post, configuration: Configuration) -> None:
        super().__init__(context)
        self.configuration = configuration
        self.proposal: Configuration | None = None
        """The next configuration, which this node as leader has the voters grant."""
        self._sounded = False
        self.voter = Voter(self._rng)
        self.asker = ""
        """The member that has asked for this node's vote last."""
        self._changed: Callable[[float], None] = lambda now: None
        """Called when this node has taken over another configuration."""
        self._own = own
        self._post = post
        self._founding = configuration
        self._settled = False
        """It is a cluster's, not only what this node was started with."""
        self._overruled = False
        self._known = {"": founding_configuration((), self._config.lease)}
        """Configurations by the tags that show them."""
        self._asked: dict[str, float] = {}
        self._questions: dict[int, str] = {}
        self._question = -1
        """To the process that has the holder's name."""
        self._differing: dict[str, tuple[str, float]] = {}
        """Members that show another one, which, and since when."""
        self._reported: dict[str, str] = {}
        self._seen: tuple[int, str] | None = None

    def watch(self, changed: Callable[[float], None]) -> None:
        """Call this whenever the configuration, or what is to become of it, is another."""
        self._changed = changed

    # --- becoming a member

    def join(self, packed: bytes, now: float) -> None:
        """A member of the cluster that this node is about to join says what that goes by."""
        theirs = read_configuration(packed)
        if theirs is None or self._settled or not (theirs.voters and self.configuration.voters):
            return
        mine = self.configuration
        differs = (sorted(mine.voters), mine.length_ms) != (sorted(theirs.voters), theirs.length_ms)
        self._overruled = differs and theirs.root != mine.root  # else they were only changed since
        self._settled = True
        self._take(theirs)
        self._changed(now)

    def settle(self) -> None:
        """This node has become a member, or has founded a cluster."""
        self._settled = True

    def heard_of_myself(self, node: NodeState, address: Address) -> None:
        """The cluster knows a process of this node's name: elsewhere it may live, at this address not.

        Then it may still vote, in the other half of a partition, and this one must not.
        """
        inherited = decode_tags(node.meta).get(VOTERS_TAG, "").endswith(MOVED_MARK)
        elsewhere = address != self._own.address and node.state is not WireState.LEFT
        self.voter.moved = self._name in self.configuration.names and (elsewhere or inherited)

    # --- voting

    def vote(self, message: LeaderMessage, asker: Record, floor: str, now: float) -> LeaderMessage | None:
        """This node's answer to ASK or TRY. A change is taken over from the asker that gets the lease."""
        self.asker = asker.name
        configuration = self.configuration
        theirs = self._newer(read_configuration(message.setup), now) if message.setup else None
        if theirs is not None:
            configuration = theirs
            if message.kind is LeaderKind.ASK and self.voter.open_to(message, theirs, now):
                self.adopt(theirs, now)
        if not configuration.counts(self._name, self._own.address):
            left_ms = self.configuration.length_ms
            return LeaderMessage(LeaderKind.REFUSE, message.round, left_ms=left_ms, reason=Refusal.VOTERS)
        return self.voter.answer(message, asker, configuration, floor, now)

    def release(self, message: LeaderMessage) -> None:
        """What this node has granted is over."""
        self.voter.release(message)

    def _ask_holder(self, now: float) -> None:
        """Another process has the name and the address of the one that this voter has granted the lease.

        If it answers, the other one has ended, since an address has one process; and the lease is free.
        """
        holder = self.voter.holder
        record = None if holder is None or now >= self.voter.until else self._table.get(holder.name)
        if holder is None or record is None or not record.own or not record.present:
            return
        if record.boot != holder.boot and record.address == holder.address and record.name != self._name:
            self._question = self._rng.getrandbits(32)
            self._post.send(LeaderMessage(LeaderKind.WHO, self._question), record)
            self._timers.set("who", now + _WHO_AGAIN_S, self._ask_holder)

    def _answered_here(self, message: LeaderMessage, sender: Record, now: float) -> None:
        holder = self.voter.holder
        if message.round != self._question or holder is None or sender.name != holder.name:
            self._outbox.drop("leader-unasked")
        elif message.process == holder.process:
            self.voter.holder = replace(holder, boot=sender.boot)  # it only goes by another boot now
        elif sender.address == holder.address:
            self.voter.free()

    # --- one configuration

    def _newer(self, theirs: Configuration | None, now: float) -> Configuration | None:
        """It, if this node has to follow it: a later change of the configuration that it has."""
        mine = self.configuration
        possible = theirs is not None and theirs.number <= mine.number + 2 * _MISSED_MAX
        if theirs is None or not possible or from_the_future(theirs.token, self._wall(now)):
            self._outbox.drop("configuration")
            return None
        related = theirs.voters and mine.voters and theirs.root == mine.root
        return theirs if related and theirs.rank > mine.rank else None

    def adopt(self, configuration: Configuration, now: float) -> None:
        """From now on this one counts."""
        self._settled = True
        if self.proposal is not None and configuration.rank >= self.proposal.rank:
            self.proposal = None
        self._take(configuration)
        self._own.say_voters(now)
        self._table.heed_token(
            max((r.token for r in self._table if r.voters == configuration.tag), default="")
        )
        self._changed(now)

    def _take(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.voter.moved = self.voter.moved and not dict(configuration.bound).get(self._name)
        self._own.show_voters(configuration.tag, MOVED_MARK if self.voter.moved else "")

    # --- changing

    @property
    def asked(self) -> Configuration:
        """Under which the lease is asked for."""
        return self.proposal if self.proposal is not None and self._sounded else self.configuration

    @property
    def sounding(self) -> Configuration | None:
        """A proposal of which it is not known yet whether enough voters would grant it."""
        return None if self._sounded else self.proposal

    @property
    def names(self) -> tuple[str, ...]:
        """All that are asked for something."""
        return self.configuration.names + (self.proposal.names if self.proposal is not None else ())

    def propose(self, voters: Sequence[str], token: str, now: float) -> None:
        """This node leads, and has the voters changed: first to both lists, then to the new one.

        A majority of each has to grant the first step, before it counts: no leader by the old list alone, nor
        by the new one alone, can be beside that. It is asked for only when so many would grant it.
        """
        mine = self.configuration
        moved = {record.name: str(record.address) for record in self.moved()}
        bound = {**dict(mine.bound), **moved}
        # By the old list they would not vote: it was another process that had the name.
        old = tuple(ABSENT + name if name in moved else name for name in mine.voters)
        places = tuple((name, place) for name, place in bound.items() if name in voters)
        self._sounded = False
        self.proposal = replace(
            mine, voters=tuple(voters), number=mine.number + 1, token=token, old=old, bound=places
        )
        self._changed(now)

    def moved(self) -> list[Record]:
        """Voters that have no vote, since they are not where they were when they had one."""
        records = map(self._table.get, self.configuration.voters)
        return [record for record in records if record is not None and self._has_moved(record)]

    def _has_moved(self, record: Record) -> bool:
        if not record.own or record.state is not MemberState.ALIVE:
            return False
        marked = decode_tags(record.meta).get(VOTERS_TAG, "").endswith(MOVED_MARK)
        return marked or not self.configuration.counts(record.name, record.address)

    def sounded(self, now: float) -> None:
        """Enough voters would grant it."""
        self._sounded = True
        self._changed(now)

    def advance(self, ballots: Mapping[str, Ballot], token: str, now: float) -> None:
        """A change goes on, as soon as it has been granted."""
        for step in (self.proposal, self.configuration):
            if step is None:
                continue
            granted = {name: each.until for name, each in ballots.items() if each.digest == step.digest}
            if step.majority_until(granted) > now:
                self._granted(step, token, now)

    def _granted(self, step: Configuration, token: str, now: float) -> None:
        """It has been, by enough of them."""
        if step is self.proposal:
            self.adopt(step, now)
        if step.old and self.proposal is None:
            self._sounded = True
            self.proposal = replace(step, number=step.number + 1, token=token, old=())
            self._changed(now)

    @property
    def idle(self) -> bool:
        """No change is on its way."""
        return self.proposal is None and not self.configuration.old

    def withdraw(self) -> None:
        """This node does not lead any more. What voters have taken over, the next leader goes on with."""
        self.proposal = None

    # --- comparing

    def update(self, now: float) -> None:
        """Follow the table: do all members show the same voters? And is the holder's process still there?"""
        if self.voter.holder is not None and self._timers.when("who") is None:
            self._ask_holder(now)
        mine = self.configuration.tag
        if (self._table.version, mine) == self._seen:
            return
        self._seen = self._table.version, mine
        self._look(now)

    def _look(self, now: float) -> None:
        mine = self.configuration.tag
        shown = self._table.configurations
        if len(shown) == 1 and mine in shown:
            self._differing.clear()
            self._reported.clear()
            if self._overruled:
                self._timers.set_if_unset("overruled", now + _READY_S, self._report_overruled)
            return
        differing = dict[str, tuple[str, float]]()
        for record in self._table.present():
            if record.own and record.voters != mine:
                tag, since = self._differing.get(record.name, ("", now))
                differing[record.name] = record.voters, since if tag == record.voters else now
                self._compare(record, differing[record.name][1], now)
        self._differing = differing
        self._reported = {name: tag for name, tag in self._reported.items() if name in differing}
        self._timers.set_if_unset("voters", now + _ASK_AGAIN_S, self._look)

    def _compare(self, record: Record, since: float, now: float) -> None:
        theirs = self._known.get(record.voters)
        if theirs is None:
            self._ask(record, now)
        elif self._reported.get(record.name) != record.voters:
            mine = self.configuration
            late = theirs.root == mine.root and theirs.rank < mine.rank and bool(theirs.voters)
            if not late or now - since >= _CATCH_UP_S:
                self._reported[record.name] = record.voters
                self._report(record.member, theirs, mine)

    def _report(self, member: Member, theirs: Configuration, mine: Configuration) -> None:
        event = VotersDiffer(member, theirs.voters, theirs.length, mine.voters, mine.length)
        self._outbox.events.append(event)

    def _report_overruled(self, now: float) -> None:
        for record in self._table.present():
            if record.own and record.name != self._name:
                self._overruled = False
                self._report(record.member, self.configuration, self._founding)
                return

    def _ask(self, record: Record, now: float) -> None:
        if now < self._asked.get(record.voters, -_ASK_AGAIN_S) + _ASK_AGAIN_S:
            return
        self._asked[record.voters] = now
        question = self._rng.getrandbits(32)
        self._questions[question] = record.voters
        keep_latest(self._asked, _KNOWN_MAX)
        keep_latest(self._questions, _KNOWN_MAX)
        self._post.send(LeaderMessage(LeaderKind.WHAT, question), record)

    def receive(self, message: LeaderMessage, sender: Record, now: float) -> None:
        """WHAT or WHO, or the answer to one of this node's."""
        if message.kind is LeaderKind.WHAT:
            setup = self.configuration.pack()
            self._post.send(
                LeaderMessage(LeaderKind.SETUP, message.round, setup=setup), sender, message.process
            )
        elif message.kind is LeaderKind.WHO:
            self._post.send(LeaderMessage(LeaderKind.HERE, message.round), sender, message.process)
        elif message.kind is LeaderKind.HERE:
            self._answered_here(message, sender, now)
        elif self._questions.pop(message.round, None) is None:
            self._outbox.drop("leader-unasked")
        else:
            self._told(read_configuration(message.setup), now)

    def _told(self, theirs: Configuration | None, now: float) -> None:
        """By another member: its configuration."""
        newer = self._newer(theirs, now)
        if theirs is None:
            return
        self._known[theirs.tag] = theirs
        if len(self._known) > _KNOWN_MAX:
            del self._known[next(tag for tag in self._known if tag)]
        if newer is not None:
            self.adopt(newer, now)
        self._look(now)
