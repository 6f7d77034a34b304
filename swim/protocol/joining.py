"""How a node becomes a member: look first, then join; or found a cluster.

A joining node asks all its seeds at once for their state, without giving its own (a *look*). The
first member that answers tells it which names, ids and incarnations exist; it mints its id above them
all and joins with an ordinary push/pull. Seeds that are not members yet say so. A node that is
itself one of the seeds founds the cluster when no member answers: at once if its address is the lowest
of them, else after `Config.founding_silence`, so that nodes started together form one cluster.
"""

from __future__ import annotations

from collections.abc import Callable

from swim.errors import JoinError, SwimError
from swim.protocol.context import Context, Part
from swim.protocol.identity import from_the_future, is_minted, unpack_id
from swim.protocol.leadership import Leadership
from swim.protocol.myself import INCARNATION_MAX, Myself
from swim.protocol.naming import Naming
from swim.protocol.sync import Sync
from swim.protocol.table import ID_TAG
from swim.types import Address
from swim.wire import pack_host, unpack_address
from swim.wire.messages import ErrorMessage, Greeting, NodeState, PushPull, StreamMessage, WireState
from swim.wire.serf import decode_tags

__all__ = ["Joining", "problem_of"]

_EAGER_INTERVAL = 0.25
_CLOCK_MS_MAX = 1 << 47


class Joining(Part):
    """From `Node.start` to the moment when this node is a member."""

    def __init__(
        self,
        context: Context,
        myself: Myself,
        sync: Sync,
        leadership: Leadership,
        naming: Naming,
        *,
        joined: Callable[[float], None],
        failed: Callable[[SwimError, float], None],
    ) -> None:
        super().__init__(context)
        self.active = False
        self._myself = myself
        self._sync = sync
        self._leadership = leadership
        self._naming = naming
        self._joined = joined
        self._failed = failed
        self._started = 0.0
        self._named = False  # somebody's list of seeds, or this node's own, has this node in it
        self._settled: dict[Address, str] = {}
        self._looks: dict[int, Address] = {}
        self._join: int | None = None
        self._newest = ""

    def begin(self, now: float) -> None:
        self.active = True
        self._started = now
        if not self._sync.seeds:
            self._found(now)
            return
        self._timers.set("found", now + self._config.join_retry_interval, self._consider_founding)
        self._look_around(now)

    def _others(self) -> list[Address]:
        return [seed for seed in self._sync.seeds if seed != self._myself.address]

    # --- looking

    def _look_around(self, now: float) -> None:
        asked = self._looks.values()
        for address in self._others():
            if address not in asked:
                look = PushPull((), greeting=self._sync.greeting(now, joining=True))
                self._looks[self._outbox.request(address, look)] = address
        eager = "joining" in self._settled.values()
        interval = _EAGER_INTERVAL if eager else self._config.join_retry_interval
        self._timers.set("look", now + interval, self._look_around)
        self._consider_founding(now)

    def asked_by(self, greeting: Greeting | None, now: float) -> PushPull:
        """Answer another's push/pull while joining; who is looked at, is somebody's seed."""
        if greeting is not None and greeting.joining and greeting.boot != self._myself.boot.encode():
            self._named = True
        return PushPull((), greeting=self._sync.greeting(now, joining=True))

    def receive_answer(self, token: int, answer: StreamMessage | Exception | None, now: float) -> bool:
        """Is this the outcome of a request of ours?"""
        if token == self._join:
            self._join = None
            self._finish(answer, now)
            return True
        address = self._looks.pop(token, None)
        if address is None:
            return False
        if not self.active or self._join is not None:
            return True
        if not isinstance(answer, PushPull):
            self._settled[address] = "silent" if answer is None else "refused"
        elif answer.greeting is not None and answer.greeting.boot == self._myself.boot.encode():
            self._named = True  # it was this node itself, under another of its addresses
            self._settled[address] = "myself"
        elif answer.greeting is not None and answer.greeting.joining:
            self._settled[address] = "joining"
            self._timers.set("look", now + _EAGER_INTERVAL, self._look_around)
        else:
            self._consider_joining(answer, address, now)
        if self.active and self._join is None:
            self._consider_founding(now)
        return True

    # --- joining

    def _consider_joining(self, theirs: PushPull, address: Address, now: float) -> None:
        problem = self._clock_problem(theirs.greeting, address, now)
        if problem is not None:
            self._fail(JoinError(problem), now)
            return
        alive = [node for node in theirs.nodes if node.state in (WireState.ALIVE, WireState.SUSPECT)]
        for node in alive:
            if len(node.versions) >= 6:
                self._myself.adopt_versions(node.versions)
                break
        for node in theirs.nodes:
            if node.name == self._name and not self._may_follow(node, now):
                return  # the next look will tell
        floor = "" if theirs.greeting is None else unpack_id(theirs.greeting.floor) or ""
        seen = [floor, *map(_id, theirs.nodes)]
        wall = self._wall(now)
        self._newest = max([self._newest, *(id for id in seen if not from_the_future(id, wall))])
        self._enter(address, now)

    def _clock_problem(self, greeting: Greeting | None, address: Address, now: float) -> str | None:
        if greeting is None or not 0 < greeting.clock_ms < _CLOCK_MS_MAX:
            return None
        skew = self._wall(now) - greeting.clock_ms / 1000
        if abs(skew) <= self._config.clock_skew_max:
            return None
        return (
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of the "
            f"member at {address}: set both by NTP ({self._config.clock_skew_max:g} s are tolerated)"
        )

    def _may_follow(self, node: NodeState, now: float) -> bool:
        """The cluster knows this node's name. Is that a process that is gone?

        At this very address it must be: the address could be bound. Elsewhere it is asked, and if it
        does not answer, the cluster's verdict is waited for.
        """
        if node.incarnation < INCARNATION_MAX:
            self._myself.incarnation = max(self._myself.incarnation, node.incarnation + 1)
        address = unpack_address(node.address, node.port)
        if node.state in (WireState.DEAD, WireState.LEFT) or address == self._myself.address:
            self._myself.heir = max(self._myself.heir, _id(node))
            return True
        self._naming.ask(address, now)
        return False

    def _enter(self, address: Address, now: float) -> None:
        self._myself.enter(now, self._newest)
        self._join = self._sync.ask(address, now, join=True)

    def _finish(self, answer: StreamMessage | Exception | None, now: float) -> None:
        if not isinstance(answer, PushPull) or not answer.nodes:
            return  # "look" is still set and starts over
        problem = self._sync.merge(answer, now, spread=False)
        if problem is not None:
            self._fail(JoinError(f"the cluster cannot be joined: {problem}"), now)
            return
        self._done(now)

    # --- founding

    def _consider_founding(self, now: float) -> None:
        self._named = self._named or self._myself.address in self._sync.seeds
        if not self.active or not self._named or self._join is not None:
            return
        lowest = min([self._myself.address, *self._others()], key=_order) == self._myself.address
        patience = self._config.join_retry_interval if lowest else self._config.founding_silence
        settled = lowest and all(address in self._settled for address in self._others())
        if settled or now >= self._started + patience:
            self._found(now)
        else:
            self._timers.set("found", self._started + patience, self._consider_founding)

    def _found(self, now: float) -> None:
        self._leadership.founded_alone = True
        if self._myself.record is None:
            self._myself.enter(now, self._newest)
        self._done(now)

    def _done(self, now: float) -> None:
        self.stop()
        self._joined(now)

    def _fail(self, error: SwimError, now: float) -> None:
        self.stop()
        self._failed(error, now)

    def stop(self) -> None:
        """Whatever is still answered is not for this any more."""
        self.active = False
        self._join = None
        self._timers.cancel("look")
        self._timers.cancel("found")


def _id(node: NodeState) -> str:
    """The minted id in an entry, or nothing."""
    text = decode_tags(node.meta).get(ID_TAG, "")
    return text if is_minted(text) else ""


def _order(address: Address) -> tuple[int, bytes, int]:
    packed = pack_host(address.host)
    return len(packed), packed, address.port


def problem_of(answer: StreamMessage | Exception | None) -> str:
    """Why an answer is none, in a line."""
    if answer is None:
        return "no answer in time"
    if isinstance(answer, ErrorMessage):
        return answer.text
    text = answer.strerror if isinstance(answer, OSError) else None
    return text or str(answer) or type(answer).__name__
