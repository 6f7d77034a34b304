"""Random histories of a cluster, and two oracles: two live members that can exchange packets see each other,
and neither reports the other dead.

They keep their own book of who can reach whom, from the faults that are made, and ask the nodes only what an
application may ask: their members, and what is reported of them. See `History.check` and `History.hear`.

    python -m tests.simulation.returns [FIRST LAST]      # seeds; the first that fails ends it
    python -m tests.simulation.returns FIRST LAST --made-up      # while somebody makes up deaths of members
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Collection
from random import Random

from swim.events import Event, MemberFailed
from swim.protocol.node import Node, Phase
from swim.simulation import Network, World
from swim.simulation.fast import ObjectCodec
from swim.simulation.host import SimulatedNode
from swim.wire.messages import Dead

__all__ = ["BACK_S", "FLAPPING_S", "History", "run"]

BACK_S, FLAPPING_S = 5.0, 10.0
"""So soon two see each other; so soon, when one of the two was cut off three times within a minute."""
TALKING_S = 1.0
"""Two that can talk for so long have heard each other: what was on its way when they met has arrived."""
SAMPLE_S = 0.1
CUTS, MINUTE_S = 3, 60.0
MADE_UP_S = 0.5


class History:
    """What happens to a world of a few nodes, each thing at random, and who can reach whom meanwhile."""

    def __init__(self, seed: int, build: Callable[..., Node] | None = None, *, made_up: bool = False) -> None:
        self.rng = rng = Random(f"{seed}:history")
        network = Network.wan() if rng.random() < 0.25 else Network.lan()
        self.world = World(seed, network=network, fast=True, build=build)
        self.world.grow(rng.randint(2, 8))
        self.world.run_until_converged(30.0)
        self.world.run(rng.uniform(0.0, 5.0))
        self.names = list(self.world.nodes)
        self.worst = 0.0
        """How long two that could reach each other did not see each other, at most."""
        self._blocked = Counter[tuple[str, str]]()
        self._standing: dict[str, float] = {}
        """Until when a process stands still."""
        self._good: dict[tuple[str, str], tuple[int, int, float]] = {}
        """By pair: the processes, and since when they could talk, or when they saw each other last."""
        self._talking: dict[tuple[str, str], tuple[int, int, float]] = {}
        """By pair: the processes, and since when they can talk."""
        self._worn: dict[str, tuple[str, int]] = {}
        """Whose ids these are, or were: a node, and which of its processes."""
        self._cuts: dict[str, deque[float]] = {name: deque(maxlen=CUTS) for name in self.names}
        self.world.every(SAMPLE_S, self.check)
        if made_up:
            self._codec = ObjectCodec()
            self.world.every(MADE_UP_S, self._make_up_a_death)
        else:
            self.world.watchers.append(self.hear)

    # --- the oracle

    def check(self) -> None:
        """Two processes that have been members, awake and connected for so long are in each other's view."""
        for node in self.world.running():
            self._worn[node.core.me.id or ""] = node.name, node.lives
        for one in self.names:
            for other in self.names:
                if one < other:
                    self._check_pair(one, other)

    def hear(self, node: SimulatedNode, event: Event) -> None:
        """Nobody is reported dead by a process that could talk to it all the time."""
        if not isinstance(event, MemberFailed):
            return
        name, world = event.member.name, self.world
        pair = min(node.name, name), max(node.name, name)
        lives = world.nodes[pair[0]].lives, world.nodes[pair[1]].lives
        talking = self._talking.get(pair)
        if talking is None or talking[:2] != lives or not self._can_talk(*pair):
            return
        if self._worn.get(event.member.id or "") != (name, world.nodes[name].lives):
            return  # an earlier process of that name
        talked = world.now - talking[2]
        if talked > TALKING_S:
            world.fail(f"{node.name} and {name} could talk for {talked:.2f} s, but: {event}")

    def _check_pair(self, one: str, other: str) -> None:
        world, nodes = self.world, (self.world.nodes[one], self.world.nodes[other])
        if not self._can_talk(one, other):
            self._talking.pop((one, other), None)
            if self._good.pop((one, other), None) is not None:
                self._note_cut(one, other)
            return
        lives = nodes[0].lives, nodes[1].lives
        if self._talking.get((one, other), ())[:2] != lives:
            self._talking[one, other] = (*lives, world.now)
        known = self._good.get((one, other))
        seen = self._sees(one, other) and self._sees(other, one)
        if seen or known is None or known[:2] != lives:
            self._good[one, other] = (*lives, world.now)
            return
        waited = world.now - known[2]
        patience = FLAPPING_S if self._flaps(one) or self._flaps(other) else BACK_S
        self.worst = max(self.worst, waited)
        if waited > patience:
            world.fail(f"{one} and {other} could talk for {waited:.2f} s, but:\n{world.describe()}")

    def _can_talk(self, one: str, other: str) -> bool:
        for name in (one, other):
            node = self.world.nodes[name]
            if not node.running or node.core.phase is not Phase.MEMBER:
                return False
            if self._standing.get(name, 0.0) > self.world.now:
                return False
        return not self._blocked[one, other] and not self._blocked[other, one]

    def _sees(self, one: str, other: str) -> bool:
        core, them = self.world.nodes[one].core, self.world.nodes[other].core
        return core.member(other) is not None and core.boot_of(other) == them.boot

    def _note_cut(self, *names: str) -> None:
        for name in names:
            cuts = self._cuts[name]
            if not cuts or self.world.now - cuts[-1] > 1.0:
                cuts.append(self.world.now)

    def _flaps(self, name: str) -> bool:
        cuts = self._cuts[name]
        return len(cuts) == CUTS and self.world.now - cuts[0] < MINUTE_S + FLAPPING_S

    # --- what happens

    def happen(self, seconds: float) -> None:
        """Faults for so long; then none."""
        end = self.world.now + seconds
        while self.world.now < end:
            fault = self.rng.choice(
                [
                    self._partition,
                    self._partition,
                    self._one_off,
                    self._one_off,
                    self._link,
                    self._pause,
                    self._freeze,
                    self._flap,
                    self._restart,
                    self._restart,
                    self._swap,
                ]
            )
            fault()
            self.world.run(self.rng.expovariate(0.15))
        self.world.run(FLAPPING_S + 25.0 + BACK_S)

    def _length(self) -> float:
        return self.rng.choice([1.0, 4.0, 12.0, 25.0]) * self.rng.uniform(0.5, 1.0)

    def _cut(self, one: Collection[str], other: Collection[str], seconds: float, *, one_way: bool) -> None:
        pairs = [(a, b) for a in one for b in other]
        pairs += [] if one_way else [(b, a) for a, b in pairs]
        self._blocked.update(pairs)
        cuts = self.world.partition(one, other, one_way=one_way)

        def heal() -> None:
            self.world.heal(cuts)
            self._blocked.subtract(pairs)

        self.world.after(seconds, heal)

    def _partition(self) -> None:
        group = self.rng.sample(self.names, self.rng.randint(1, len(self.names) - 1))
        rest = [name for name in self.names if name not in group]
        self._cut(group, rest, self._length(), one_way=self.rng.random() < 0.3)

    def _one_off(self) -> None:
        name = self.rng.choice(self.names)
        rest = [other for other in self.names if other != name]
        self._cut([name], rest, self._length(), one_way=False)

    def _link(self) -> None:
        one, other = self.rng.sample(self.names, 2)
        self._cut([one], [other], self._length(), one_way=self.rng.random() < 0.5)

    def _pause(self) -> None:
        self._stand_still([self.rng.choice(self.names)], self._length())

    def _freeze(self) -> None:
        """Half of them, at once."""
        self._stand_still(self.rng.sample(self.names, len(self.names) // 2), self._length())

    def _stand_still(self, names: Collection[str], seconds: float) -> None:
        for name in names:
            if self.world.nodes[name].running:
                self.world.pause(name, seconds)
                until = self.world.now + seconds
                self._standing[name] = max(until, self._standing.get(name, 0.0))

    def _flap(self) -> None:
        name, period = self.rng.choice(self.names), self.rng.choice([1.0, 3.0, 10.0])
        rest = [other for other in self.names if other != name]

        def down(left: int) -> None:
            self._cut([name], rest, period, one_way=False)
            if left:
                self.world.after(2 * period, down, left - 1)

        down(self.rng.randint(1, int(30 / period)))

    def _restart(self) -> None:
        name = self.rng.choice(self.names)
        self._begin(name, moved=self.rng.random() < 0.4)

    def _swap(self) -> None:
        """Two change places."""
        one, other = (self.world.nodes[name] for name in self.rng.sample(self.names, 2))
        for node in (one, other):
            if node.running:
                self.world.crash(node.name)
        one.address, other.address = other.address, one.address
        one.host, other.host = other.host, one.host
        self._begin(one.name, moved=False)
        self._begin(other.name, moved=False)

    def _make_up_a_death(self) -> None:
        """An attacker tells one node of a death, its own or another's, from the address of a member."""
        node, other = (self.world.nodes[self.rng.choice(self.names)] for _ in range(2))
        if node.running and other.running:
            news = Dead(other.name, other.core.me.incarnation, "nobody")
            source = self.world.nodes[self.rng.choice(self.names)].address
            node.receive_datagram(self._codec.packet([self._codec.part(news)]), source)

    def _begin(self, name: str, *, moved: bool) -> None:
        others = [other for other in self.names if other != name]
        self._standing.pop(name, None)
        self.world.restart(name, new_address=moved, seeds=others)


def run(
    seed: int, build: Callable[..., Node] | None = None, seconds: float = 45.0, *, made_up: bool = False
) -> History:
    """One history. Raises AssertionError, with the world's report, when the promise is broken.

    `made_up`: all the time somebody tells nodes of deaths. Of these they may report some.
    """
    history = History(seed, build, made_up=made_up)
    history.happen(seconds)
    return history


def main(first: int, last: int, *, made_up: bool) -> None:
    worst: tuple[float, int] = (0.0, -1)
    for seed in range(first, last):
        worst = max(worst, (run(seed, made_up=made_up).worst, seed))
    print(f"{last - first} histories; the worst: {worst[0]:.2f} s, seed {worst[1]}")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()] or [0, 1_000]
    main(numbers[0], numbers[1], made_up="--made-up" in sys.argv)
