"""How a node becomes a member: look first, then join; or found a cluster.

A joining node asks all its seeds at once for their state, without giving its own (a *look*). The
first member whose answer fits tells it which names, ids and incarnations exist; it mints its id above them
all and joins with an ordinary push/pull. Seeds that are not members yet say so. A seed whose answer does not
fit (its clock, its versions, where its members are) does not decide while another may.

Where no member answers, the node may found a cluster itself: see `founding`. What each seed has said is kept
in `seeds`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from swim.errors import JoinError, SwimError
from swim.protocol.base.context import Context, Part
from swim.protocol.base.networks import Networks
from swim.protocol.base.steps import Backlog, Steps
from swim.protocol.exchange.founding import Founding
from swim.protocol.exchange.seeds import Outcome, SeedAnswers
from swim.protocol.exchange.sync import Sync, delegate_clash
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.electorate import Electorate
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.membership.naming import Naming
from swim.protocol.view.identity import from_the_future, is_minted, unpack_id
from swim.protocol.view.table import ID_TAG
from swim.types import Address
from swim.wire import unpack_address
from swim.wire.messages import GONE, ErrorMessage, NodeState, PushPull, PushPullHead, StreamMessage, WireState
from swim.wire.serf import decode_tags

__all__ = ["Joining", "problem_of"]

_EAGER_INTERVAL = 0.25
"""Seconds until the next look while another node is joining: it will be a member soon."""
_CLOCK_MS_MAX = 1 << 47
"""A clock beyond this is no clock: it is not compared."""
_NODES_AT_ONCE = 256
"""Entries of a state that are looked at in one turn."""


class Joining(Part):
    """From `Node.start` to the moment when this node is a member."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        sync: Sync,
        leadership: LeaderRule,
        electorate: Electorate,
        naming: Naming,
        networks: Networks,
        backlog: Backlog,
        *,
        founded: Callable[[float], None],
        joined: Callable[[float], None],
        failed: Callable[[SwimError, float], None],
    ) -> None:
        super().__init__(context)
        self.active = False
        self._own = own
        self._sync = sync
        self._leadership = leadership
        self._electorate = electorate
        self._naming = naming
        self._networks = networks
        self._backlog = backlog
        self._founded = founded
        self._joined = joined
        self._failed = failed
        self._seeds = SeedAnswers(context, own, sync)
        self._founding = Founding(context, own, sync, self._seeds)
        self._unfit_since: float | None = None
        self._looks: dict[int, tuple[Address, float]] = {}
        self._considered: dict[Address, None] = {}
        """The members whose answers to looks are being looked at."""
        self._joins: dict[int, tuple[Address, float]] = {}
        """The members that this node has asked to let it in, and when; the first that answers does."""
        self._newest = ""

    def begin(self, now: float) -> None:
        self.active = True
        self._founding.begin(now)
        if not self._sync.seeds:
            self._found(now)
            return
        self._timers.set("found", now + self._config.join_retry_interval, self._consider_founding)
        self._look_around(now)

    # --- looking

    def _look_around(self, now: float) -> None:
        for address in self._seeds.others():
            asked = [since for looked_at, since in self._looks.values() if looked_at == address]
            if address not in self._considered and self._is_due(asked, now):
                look = PushPull((), head=self._founding.head(now))
                self._looks[self._outbox.request(address, look)] = address, now
        soon = self._seeds.any_is(Outcome.JOINING)
        interval = _EAGER_INTERVAL if soon else self._config.join_retry_interval
        self._timers.set("look", now + interval, self._look_around)
        self._consider_founding(now)

    def asked_by(self, head: PushPullHead | None, host: str, now: float) -> PushPull:
        """Answer another node's push/pull while joining: that node may have this one among its seeds."""
        return self._founding.answer(head, host, now)

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> bool:
        """Is this the outcome of a request of ours?"""
        if token in self._joins:
            self._finish(answer, self._joins.pop(token)[0], now)
            return True
        if self._founding.asked(token):
            if self._founding.receive(token, answer) and self.active:
                self._look_around(now)
            return True
        look = self._looks.pop(token, None)
        if look is None:
            return False
        if self.active and self._may_join(now):
            self._hear(look[0], answer, now)
        if self.active:
            self._consider_founding(now)
        return True

    def _hear(self, address: Address, answer: StreamMessage | Exception | None, now: float) -> None:
        """What came of a look."""
        head = answer.head if isinstance(answer, PushPull) else None
        if not isinstance(answer, PushPull):
            self._seeds.note(address, Outcome.NONE, problem_of(answer))
            self._founding.lost(address)
        elif head is not None and head.boot == self._own.boot.encode():
            self._founding.note_named()  # it was this node itself, under another of its addresses
            self._seeds.note(address, Outcome.MYSELF)
        elif head is not None and head.joining:
            self._seeds.note(address, Outcome.JOINING, "it is joining itself", head.boot)
            self._founding.hear(head, now)
            self._timers.set("look", now + _EAGER_INTERVAL, self._look_around)
        else:
            theirs = answer
            count = len(theirs.nodes)
            self._backlog.run(address.host, count, lambda at: self._considering(theirs, address, at), now)

    # --- joining

    def _considering(self, theirs: PushPull, address: Address, now: float) -> Steps:
        """May this node join there? There may be tens of thousands of members, looked at in steps."""
        self._considered[address] = None
        spoken, versions, problem = b"", dict[bytes, None](), None
        try:
            for count, node in enumerate(theirs.nodes, 1):
                self._note_newest(_id(node), now)
                if node.state is WireState.ALIVE:
                    versions[node.versions] = None
                if node.state in (WireState.ALIVE, WireState.SUSPECT):
                    spoken = spoken or (node.versions if len(node.versions) >= 6 else b"")
                    problem = problem or self._family_problem(node)
                if count % _NODES_AT_ONCE == 0:
                    now = yield
        finally:
            del self._considered[address]
        spoken = spoken or self._own.versions
        problem = self._clock_problem(theirs.head, address, now) or problem
        problem = problem or delegate_clash([self._own.adopted(spoken), *versions])
        if self.active and self._may_join(now):
            self._decide(theirs, address, spoken, problem, now)

    def _note_newest(self, id: str, now: float) -> None:
        if not from_the_future(id, self._wall(now)):
            self._newest = max(self._newest, id)

    def _decide(
        self, theirs: PushPull, address: Address, spoken: bytes, problem: str | None, now: float
    ) -> None:
        if problem is not None:
            self._note_unfit(address, problem, now)
            return
        self._seeds.note(address, Outcome.WAITING)
        self._own.take_after(spoken)
        for node in theirs.nodes:
            if node.name == self._name:
                self._electorate.heard_of_myself(node, unpack_address(node.address, node.port))
                if not self._may_follow(node, now):
                    self._timers.set("look", now + _EAGER_INTERVAL, self._look_around)  # that will tell
                    return
        self._seeds.forget(address)
        if theirs.head is not None:
            if theirs.head.setup:
                self._electorate.join(theirs.head.setup, now)
            self._note_newest(unpack_id(theirs.head.floor) or "", now)
        self._enter(address, now)

    def _clock_problem(self, head: PushPullHead | None, address: Address, now: float) -> str | None:
        if head is None or not 0 < head.clock_ms < _CLOCK_MS_MAX:
            return None
        skew = self._wall(now) - head.clock_ms / 1000
        if abs(skew) <= self._config.clock_skew_max:
            return None
        return (
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of the "
            f"member at {address}: set both by NTP ({self._config.clock_skew_max:g} s are tolerated)"
        )

    def _family_problem(self, node: NodeState) -> str | None:
        address = unpack_address(node.address, node.port)
        if self._networks.reaches(address):
            return None
        return (
            f"this node, at {self._own.address}, cannot send to {node.name} at {address}: one has "
            "IPv4 and the other IPv6. Bind both to [::], or to addresses of one kind"
        )

    # --- giving up

    def _note_unfit(self, address: Address, problem: str, now: float) -> None:
        """A cluster is there, but not for this node. Others may fit: they have some time to answer."""
        self._seeds.note(address, Outcome.UNFIT, problem)
        if self._unfit_since is None:
            self._unfit_since = now
        self._consider_giving_up(now)

    def _consider_giving_up(self, now: float) -> None:
        problem = self._seeds.problem()
        if problem is None or self._unfit_since is None:
            self._unfit_since = None
            return
        until = self._unfit_since + self._config.founding_silence
        if self._seeds.any_may_fit_yet() and now < until:
            self._timers.set("give up", until, self._consider_giving_up)
        else:
            self._fail(JoinError(problem), now)

    # --- entering

    def _may_follow(self, node: NodeState, now: float) -> bool:
        """The cluster knows this node's name. Is that a process that is gone?

        At this very address it must be: the address could be bound. Elsewhere it is asked, and if it
        does not answer, the cluster's verdict is waited for.
        """
        self._own.follow(node.incarnation)
        address = unpack_address(node.address, node.port)
        if node.state in GONE or address == self._own.address:
            self._own.inherit(_id(node))
            return True
        self._naming.ask(address, now)
        return False

    def _may_join(self, now: float) -> bool:
        """Is it time to ask again? The member that was asked may be gone, while the stream hangs."""
        return self._is_due([asked for _, asked in self._joins.values()], now)

    def _is_due(self, asked: Sequence[float], now: float) -> bool:
        """Is it time for another try? `asked`: when those began that are not answered yet.

        What opens a stream may be lost, and its kernel waits ever longer before it repeats that. But a seed
        that many ask at once may only be slow: it is asked ever more seldom.
        """
        patience = self._config.join_retry_interval * len(asked)
        return all(now - since >= patience for since in asked)

    def _enter(self, address: Address, now: float) -> None:
        if self._joins:
            self._own.publish(now)  # its id may be known: the one that was asked has not answered yet
        else:
            self._own.enter(now, self._newest)
        self._joins[self._sync.ask(address, now, join=True)] = address, now

    def _finish(self, answer: StreamMessage | Exception | None, address: Address, now: float) -> None:
        if isinstance(answer, ErrorMessage):
            self._note_unfit(address, answer.text, now)
        if not isinstance(answer, PushPull) or not answer.nodes:
            return  # "look" is still set and starts over
        self.stop()
        self._backlog.clear()  # of what other members have told: there is room for this
        problem = self._sync.merge(answer, now, joined=self._joined)
        if problem is not None:
            self._fail(JoinError(f"the cluster cannot be joined: {problem}"), now)

    # --- founding

    def _consider_founding(self, now: float) -> None:
        if not self.active or self._joins or self._considered:
            return
        due = self._founding.due(now)
        if due is None:
            return
        if now >= due:
            self._found(now)
        else:
            self._timers.set("found", due, self._consider_founding)

    def _found(self, now: float) -> None:
        self._leadership.found()
        self._founded(now)
        if self._own.record is None:
            self._own.enter(now, self._newest)
        self._done(now)

    def _done(self, now: float) -> None:
        self.stop()
        self._electorate.settle()
        self._joined(now)

    def _fail(self, error: SwimError, now: float) -> None:
        self.stop()
        self._failed(error, now)

    def stop(self) -> None:
        """Whatever is still answered is not for this any more."""
        self.active = False
        self._joins.clear()
        self._founding.stop()
        for timer in ("look", "found", "give up"):
            self._timers.cancel(timer)


def _id(node: NodeState) -> str:
    """The minted id in an entry, or nothing."""
    text = decode_tags(node.meta).get(ID_TAG, "")
    return text if is_minted(text) else ""


def problem_of(answer: StreamMessage | Exception | None) -> str:
    """Why an answer is none, in a line."""
    if answer is None:
        return "no answer in time"
    if isinstance(answer, ErrorMessage):
        return answer.text
    text = answer.strerror if isinstance(answer, OSError) else None
    return text or str(answer) or type(answer).__name__
