"""Push/pull: two nodes tell each other everything, so that what the floods missed is repaired."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import TokenBucket
from swim.protocol.base.steps import Backlog, Steps
from swim.protocol.gossip.broadcasts import Broadcasts
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.membership.updates import Membership
from swim.protocol.view.identity import minted_later, pack_id, unpack_id
from swim.protocol.view.table import BOOT_TAG, ID_TAG, Record
from swim.types import Address, MemberState
from swim.wire.addresses import pack_places, unpack_address, unpack_places
from swim.wire.entries import Keeps
from swim.wire.messages import (
    GONE,
    Alive,
    Dead,
    ErrorMessage,
    NodeState,
    PushPull,
    PushPullHead,
    Suspect,
    WireState,
)
from swim.wire.serf import decode_tags
from swim.wire.streams import Entries

__all__ = ["Sync", "answer_to", "delegate_clash"]

_LOST_MAX, _LOST_SIZE_MAX = 64, 2_048
"""Members that one node alone has given up, of which it tells others; and the bytes that they may take."""
REST_S = 0.4
"""A view that has not changed for so long is worth comparing."""
_CROWD_S = 0.1
"""After joining, until it is seen whether others joined at the same time."""
_SMALL_CLUSTER = 32
"""Up to this size exchanges are as frequent as the configuration says."""
_AGREED, _SKIPPED_MAX = 16, 3
"""After so many pings in a row with this node's own view, so many regular exchanges may be left out."""
_REPAIRS = 3
"""After a broadcast, so many intervals are for members that have missed it."""
_MISMATCH_PER_S, _MISMATCH_BURST = 1.0, 3
"""Exchanges because a view differs: while many views change, nearly every ping tells of another one."""
_MANY, _MOMENT_S = 1_024, 0.1
"""In a table of so many a state that was built a moment ago is told, too: see `_nodes`."""
_COST_KNOWN, _COST_NEWS, _STEP_COST = 1, 40, 2_000
"""Of an entry of a state, in units of about two microseconds; and what is done in one step of a merge."""
_STRANGERS_MAX = 10_240
"""Unknown members in one state that this node has asked for. Of one that is pushed, no more than may wait."""


def delegate_clash(versions: Iterable[bytes]) -> str | None:
    """Can members that speak these versions be in one cluster (memberlist's rule for a merge)?"""
    usable = [v for v in versions if len(v) >= 6]
    for low, high, current, what in ((0, 1, 2, "protocol"), (3, 4, 5, "delegate protocol")):
        lowest = max((v[low] for v in usable), default=0)
        highest = min((v[high] for v in usable), default=0)
        for v in usable:
            if not lowest <= v[current] <= highest:
                return f"{what} version ({v[current]}) is incompatible: [{lowest}, {highest}]"
    return None


class Sync(Part):
    """Builds and merges full states, and decides when to ask which member for one."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        membership: Membership,
        leadership: LeaderRule,
        electorate: Electorate,
        broadcasts: Broadcasts,
        backlog: Backlog,
    ) -> None:
        super().__init__(context)
        self._electorate = electorate
        self.seeds: list[Address] = []
        self._own = own
        self._membership = membership
        self._leadership = leadership
        self._broadcasts = broadcasts
        self._backlog = backlog
        self._mismatch = TokenBucket(_MISMATCH_PER_S, _MISMATCH_BURST)
        self.leads: dict[tuple[str, Address], None] = {}
        """Members that others have lost sight of, and where they may be."""
        self._agreed = self._skipped = 0
        """How many pings in a row came from members with the same view, and exchanges left out for it."""
        self._joined_version = -1
        self._built: tuple[tuple[int, int, str], float, Entries] = ((-1, 0, ""), 0.0, Entries((), bytes))

    def set_seeds(self, seeds: Sequence[Address]) -> None:
        """Where to look for members of this cluster that it has lost sight of."""
        self.seeds = list(dict.fromkeys(seeds))

    # --- when

    def begin(self, now: float) -> None:
        """This node has become a member."""
        self._timers.set("sync", now + self._rng.random() * self._interval(), self._regular)
        self._joined_version = self._table.version
        self._timers.set("crowd", now + _CROWD_S, self._after_crowd)

    def _after_crowd(self, now: float) -> None:
        """A node that joined together with many others has missed some of them: look once more."""
        if now - self._table.changed_at < _CROWD_S / 2:
            self._timers.set("crowd", now + _CROWD_S, self._after_crowd)
        elif self._table.version != self._joined_version:
            self._ask_anyone(now)

    def _interval(self) -> float:
        """Grows with the cluster, so that no member is asked more often (memberlist's formula)."""
        count = self._table.present_count
        scale = 1 if count <= _SMALL_CLUSTER else math.ceil(math.log2(count) - math.log2(_SMALL_CLUSTER)) + 1
        return self._config.push_pull_interval * scale

    def _regular(self, now: float) -> None:
        self._timers.set("sync", now + self._interval(), self._regular)
        quiet = now - self._broadcasts.heard_at > _REPAIRS * self._interval()
        if quiet and self._agreed >= _AGREED and self._skipped < _SKIPPED_MAX:
            self._skipped += 1
            return  # the pings say already that all know the same (but of broadcasts they do not tell)
        self._agreed = self._skipped = 0
        self._ask_anyone(now)

    def _ask_anyone(self, now: float) -> None:
        for name in self._table.rings.pick(self._rng, 1, lambda other: other != self._name):
            record = self._table.get(name)
            assert record is not None
            self.ask(record.address, now, to=name)

    def compare(self, view: bytes, sender: Record, now: float) -> None:
        """A ping carried the view hash of a member whose view is at rest."""
        mine = self.view(now)
        if not view or not mine:
            return
        if view == mine:
            self._agreed += 1
            return
        self._agreed = 0
        self.differs(sender, now)

    def differs(self, other: Record, now: float) -> None:
        """What the other says does not go with this node's view: exchange everything, if not too often."""
        if self._mismatch.take(now):
            self.ask(other.address, now, to=other.name)

    def view(self, now: float) -> bytes:
        """This node's view hash, or nothing while its view is changing."""
        if now - self._table.changed_at < REST_S:
            return b""
        return self._leadership.view_hash.to_bytes(8, "big")

    def ask(self, address: Address, now: float, *, join: bool = False, to: str = "") -> int:
        """Exchange everything with the member of this name there; without a name, with any process there."""
        record = self._table.at(address)
        to_own = record is not None and record.own
        return self._outbox.request(address, self.state(now, join=join, to_own=to_own, to=to))

    # --- what

    def head(self, now: float, *, joining: bool = False, to: str = "") -> PushPullHead:
        floor = self._leadership.floor
        lost = [(record.name, record.address) for record in self._table.solo()[:_LOST_MAX]]
        return PushPullHead(
            self._name,
            self._own.boot.encode(),
            self._own.address.port,
            int(self._wall(now) * 1000),
            joining,
            pack_id(floor),
            pack_places(lost, _LOST_SIZE_MAX),
            to,
            setup=self._electorate.configuration.pack() if self._electorate.configuration.voters else b"",
        )

    def exchange(self, theirs: PushPull, now: float, *, host: str) -> PushPull | ErrorMessage:
        """The answer to another's push/pull, which is then merged; or why it could be no member.

        `host`: where it comes from.
        """
        head = theirs.head
        if head is not None and head.to not in ("", self._name):
            self._outbox.drop("push-pull-name")
            return ErrorMessage(f"this is {self._name}, and not {head.to}")
        refusal = self._refusal(theirs, head.name) if theirs.join and head is not None else None
        if refusal is not None:
            return ErrorMessage(refusal)
        looker = head.name if head is not None and head.joining else ""
        answer = self.state(now, join=theirs.join, to_own=head is not None, looker=looker)
        if head is None or self.is_fresh(head, now):
            self.merge(theirs, now, host=host)  # after that, as memberlist does it
        return answer_to(head, answer)

    def is_fresh(self, head: PushPullHead, now: float) -> bool:
        """Is a request of now? One that is not is counted."""
        fresh = self._of_now(head, now)
        if not fresh:
            self._outbox.drop("stale-request")
        return fresh

    def _of_now(self, head: PushPullHead, now: float) -> bool:
        """One that was recorded may come again, after a restart of the whole cluster.

        Clocks may be wrong, though, while a cluster runs: a process that is a member is known by its boot.
        """
        record = self._table.get(head.name)
        known = record is not None and record.packed_boot == head.boot
        skew = abs(self._wall(now) - head.clock_ms / 1000)
        return known or not head.clock_ms or skew <= self._config.clock_skew_max

    def succeeds(self, head: PushPullHead, now: float) -> bool:
        """Does a process ask to be let in, now, under the name of another one?"""
        record = self._table.get(head.name)
        another = record is not None and record.packed_boot != head.boot
        return head.joining and another and self._of_now(head, now)

    def answers(self, answer: PushPull, token: int) -> bool:
        """Is this the answer to that request of this process? A recorded one is not."""
        head = answer.head
        if head is None or (head.asker, head.question) == (self._own.boot.encode(), token):
            return True
        self._outbox.drop("stale-answer")
        return False

    def _refusal(self, theirs: PushPull, name: str) -> str | None:
        for node in theirs.nodes:
            if node.name != name:
                continue
            address = unpack_address(node.address, node.port)
            if not self._membership.reaches(address):
                return (
                    f"the member at {self._own.address} cannot answer a node at {address}: it has no "
                    "way there. Let the node advertise an address that all members reach"
                )
        return None

    def state(
        self, now: float, *, join: bool = False, to_own: bool, looker: str = "", to: str = ""
    ) -> PushPull:
        """Everything this node knows, but not what it concluded alone; for an own or a foreign node.

        Except of a name that a joining node is about to take: it must know which process it comes after.
        """
        return PushPull(
            self._nodes(now, looker), join, self._broadcasts.state(to_own=to_own), self.head(now, to=to)
        )

    def _nodes(self, now: float, looker: str) -> Entries:
        """Of all that are known: the very same ones as long as nothing changes, so that they are packed once.

        With thousands of members something changes all the time: then what was true a moment ago will do.
        """
        solo = self._table.get(looker)
        second = int(now) if self._table.dead_count else 0
        key = self._table.version, second, looker if solo is not None and solo.solo else ""
        built, at, nodes = self._built
        if key != built and (len(self._table) <= _MANY or now - at > _MOMENT_S):
            known = list(self._table)
            if self._table.solo():
                known = [record for record in known if not record.solo or record.name == key[2]]
            nodes = Entries(known, lambda some: b"".join([each.entry or each.packed(now) for each in some]))
            self._built = key, now, nodes
        return nodes

    def keeps(self, *, asked: bool) -> Keeps:
        """Which entries of a state are read, by a member: not all of very many that it does not know, and no
        deaths of such that a foreign member tells of, which are nothing to it (see `_merge_node`)."""
        strangers, newcomers = count(), self._membership.newcomers

        def keep(name: str, state: int, own: bool) -> bool:
            if self._table.get(name) is not None:
                return True
            if state in GONE and not own:
                return False
            # More would only take the places of the others there.
            kept = next(strangers) < (_STRANGERS_MAX if asked else newcomers.room)
            if not kept:
                self._outbox.drop("newcomers-max")
            return kept

        return keep

    def merge(
        self, theirs: PushPull, now: float, *, host: str = "", joined: Callable[[float], None] | None = None
    ) -> str | None:
        """Apply another node's state; returns why it was refused, if it was.

        `host`: that of the sender, if the state was not asked for. What takes longer than a turn goes on in
        the next ones. `joined` is called when it is done, by a node that joins: what it learns is no news to
        others.
        """
        if self._own.record is None or not (theirs.nodes or theirs.user_state):
            return None
        versions = dict.fromkeys([node.versions for node in theirs.nodes if node.state is WireState.ALIVE])
        clash = delegate_clash(versions | dict.fromkeys(self._table.versions))
        if clash is not None:
            self._outbox.drop("merge-version")
            return clash
        steps = partial(self._merging, theirs, bool(host), joined)
        self._backlog.run(host, len(theirs.nodes), steps, now)
        return None

    def _merging(
        self, theirs: PushPull, pushed: bool, joined: Callable[[float], None] | None, now: float
    ) -> Steps:
        incarnation, spent, sender = self._own.incarnation, 0, _sender(theirs)
        for node in theirs.nodes:
            spent += _COST_KNOWN
            if not self._knows(node, theirs.head):
                spent += _COST_NEWS
                self._merge_node(node, theirs.head, now, joined is None, pushed and node.name != sender)
            if spent >= _STEP_COST:
                spent, now = 0, (yield)
        yield from self._broadcasts.merge(theirs.user_state, now, joining=joined is not None)
        self._conclude(theirs, incarnation, now)
        if joined is not None:
            joined(now)

    def _conclude(self, theirs: PushPull, incarnation: int, now: float) -> None:
        """What follows from a whole state. `incarnation`: this node's own before it was merged."""
        if self._own.incarnation != incarnation:
            self._answer_accuser(theirs.head, now)
        if theirs.head is not None:
            for place in unpack_places(theirs.head.lost):
                if len(self.leads) < _LOST_MAX and self._membership.permits(place[1]):
                    self.leads[place] = None
            floor = unpack_id(theirs.head.floor) or ""
            if not self._leadership.believes(floor, theirs.head.name):
                floor = ""
            if any(each.own and each.present and each.name != self._name for each in self._table):
                self._leadership.meet()
            self._leadership.hear_floor(floor, now)

    def _answer_accuser(self, head: PushPullHead | None, now: float) -> None:
        """It has given this node up, so none of its cluster would hear the refutation otherwise."""
        accuser = None if head is None else self._table.get(head.name)
        if accuser is not None:
            self.differs(accuser, now)

    def _merge_node(
        self, node: NodeState, head: PushPullHead | None, now: float, spread: bool, pushed: bool
    ) -> None:
        if node.name == self._name and node.state in GONE and head is not None:
            self._hear_own_end(node, head, now)
            return
        if node.state is WireState.ALIVE or (node.state is WireState.SUSPECT and head is not None):
            # What one of our own suspects is its own affair until it is sure.
            self._membership.alive(_alive(node), now, spread=spread, pushed=pushed)
        elif self._table.get(node.name) is None:
            if head is not None:
                state = MemberState.LEFT if node.state is WireState.LEFT else MemberState.DEAD
                self._membership.remember(_alive(node), state, node.age, now, joining=not spread)
        elif self._another_process(node):
            self._tell_overtaken(node, now)
        elif node.state is WireState.LEFT:
            self._membership.dead(Dead(node.name, node.incarnation, node.name), now)
        else:
            # An old verdict is a suspicion to a node that knows it alive, as between memberlists: after a
            # partition each side has given up the other, and all of them can refute.
            self._membership.suspect(Suspect(node.name, node.incarnation, self._name), now)

    def _tell_overtaken(self, node: NodeState, now: float) -> None:
        """The end of an earlier process says nothing about the one that has its name now. But after that of a
        later one, this one needs a fresh id: else those that know of it refuse this one."""
        known, id = self._table.get(node.name), decode_tags(node.meta).get(ID_TAG)
        if known is not None and known.present and minted_later(id, known.id):
            end = Dead(node.name, node.incarnation, self._name, id=pack_id(id))
            self._membership.correct(known.address, end, now)

    def _hear_own_end(self, node: NodeState, head: PushPullHead, now: float) -> None:
        """One of our own has given this node up, or the process that had its name meanwhile."""
        sender = self._name if node.state is WireState.LEFT else head.name
        id = pack_id(decode_tags(node.meta).get(ID_TAG))
        self._membership.dead(Dead(self._name, node.incarnation, sender, id=id), now)

    def _knows(self, node: NodeState, head: PushPullHead | None) -> bool:
        """Nearly all that is exchanged is known already, and should cost nothing."""
        known = self._table.get(node.name)
        if known is None or known.solo or node.name == self._name:
            return False
        if not known.same_as(node):
            return False
        alive = node.state is WireState.ALIVE or (node.state is WireState.SUSPECT and head is not None)
        if alive is not known.present:
            return False
        return known.address == unpack_address(node.address, node.port)

    def _another_process(self, node: NodeState) -> bool:
        known, boot = self._table.get(node.name), decode_tags(node.meta).get(BOOT_TAG)
        return known is not None and known.own and boot is not None and known.boot != boot


def _sender(state: PushPull) -> str | None:
    """Whose state it is. A node that runs memberlist does not say, but knows itself alone as it joins."""
    if state.head is not None:
        return state.head.name
    return next((node.name for node in state.nodes), None) if len(state.nodes) == 1 else None


def _alive(node: NodeState) -> Alive:
    return Alive(node.name, node.incarnation, node.address, node.port, node.meta, node.versions)


def answer_to(head: PushPullHead | None, answer: PushPull) -> PushPull:
    """The answer, to just this request of just this process."""
    if head is None or answer.head is None:
        return answer
    return replace(answer, head=replace(answer.head, question=head.question, asker=head.boot))
