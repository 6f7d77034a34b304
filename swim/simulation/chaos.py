"""Random faults: what a bad week does to a cluster, in a minute or two."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from swim.protocol.node import Phase
from swim.simulation.network import Network
from swim.simulation.world import World

__all__ = ["Chaos", "random_world"]

PAUSE_MAX = 15.0
FAULT_MAX = 20.0
CLOCK_ERROR = 0.01


class Chaos:
    """Does random things to the nodes of a world, and undoes them at the end.

    But clocks keep the rates that they were given (1 % off at most), and a node that is paused or blocked
    then, is so for a few seconds more. The first node is crashed and restarted like the others, but there is
    always a member that runs.
    """

    def __init__(self, world: World, *, with_yielding: bool = False) -> None:
        self.world = world
        self._more = [self._yield] if with_yielding else []
        self._rng = world.random("chaos")
        self._calm = False

    def run(self, seconds: float, gap: float = 2.0) -> None:
        """Faults at random times, `gap` seconds apart in the mean; then `calm`."""
        left = seconds
        while left > 0:
            wait = min(left, self._rng.expovariate(1.0 / gap))
            self.world.run(wait)
            left -= wait
            self._strike()
        self.calm()

    def calm(self) -> None:
        """No more faults: the network is whole, and nodes that do not run are started again."""
        self._calm = True
        world = self.world
        world.heal()
        world.set_loss(world.fabric.network.loss, links=dict.fromkeys(world.fabric.links, 0.0))
        world.run_until(lambda: all(node.core.phase is not Phase.LEAVING for node in world.running()), 60.0)
        for name in world.nodes:
            self._revive(name)

    def _strike(self) -> None:
        faults: list[Callable[[str], None]] = [
            self._crash,
            self._crash,
            self._lose_host,
            self._leave,
            self._pause,
            self._pause,
            self._block,
            self._partition,
            self._partition,
            self._bad_link,
            self._bad_weather,
            self._firewall,
            self._firewall,
            self._middlebox,
            self._move,
            self._skew,
            self._retag,
            *self._more,
        ]
        running = [node.name for node in self.world.running()]
        self._rng.choice(faults)(self._rng.choice(running))

    def _later(self, action: Callable[..., object], *args: object) -> None:
        self.world.after(self._rng.uniform(0.0, FAULT_MAX), self._unless_calm, action, *args)

    def _unless_calm(self, action: Callable[..., object], *args: object) -> None:
        if not self._calm:
            action(*args)

    def _revive(self, name: str) -> None:
        if not self.world.nodes[name].running:
            others = [node.name for node in self.world.running()]
            # Voters that come up elsewhere have no vote before the leader has seen to it: see `Electorate`.
            moves = self._rng.random() < 0.3 and name not in self.world.nodes[name].options.get("voters", ())
            self.world.restart(name, new_address=moves, seeds=self._rng.sample(others, min(2, len(others))))

    def _spare(self, name: str) -> bool:
        """Is there a member besides this one?"""
        members = [node.name for node in self.world.running() if node.core.phase is Phase.MEMBER]
        return any(member != name for member in members)

    # --- faults
    def _crash(self, name: str) -> None:
        if self._spare(name):
            self.world.crash(name)
            self._later(self._revive, name)

    def _lose_host(self, name: str) -> None:
        if self._spare(name):
            self.world.lose_host(name)
            self._later(self._revive, name)

    def _leave(self, name: str) -> None:
        if self._spare(name):
            self.world.leave(name)
            self._later(self._revive, name)

    def _pause(self, name: str) -> None:
        self.world.pause(name, PAUSE_MAX * self._rng.random() ** 3)

    def _block(self, name: str) -> None:
        block = self._rng.choice([self.world.block_receive, self.world.block_send])
        block(name, PAUSE_MAX * self._rng.random() ** 2)

    def _partition(self, name: str) -> None:
        names = list(self.world.nodes)
        group = self._rng.sample(names, self._rng.randint(1, max(1, len(names) // 2)))
        rest = [other for other in names if other not in group]
        cuts = self.world.partition(group, rest, one_way=self._rng.random() < 0.3)
        self._later(self.world.heal, cuts)

    def _firewall(self, name: str) -> None:
        """Something that knows protocols and sizes refuses or drops packets, at this host or on the way."""
        world, rng = self.world, self._rng
        protocol = rng.choice(["udp", "tcp", None])
        some = rng.sample(list(world.nodes), rng.randint(1, max(1, len(world.nodes) // 2)))
        rest = [other for other in world.nodes if other not in some]
        match rng.randrange(4):
            case 0:
                cuts = world.reject(name, protocol=protocol, resets=rng.random() < 0.5)
            case 1:
                cuts = world.reject_between(some, rest, protocol=protocol, resets=rng.random() < 0.5)
            case 2:
                cuts = world.block(protocol or "udp", some, rest, one_way=rng.random() < 0.3)
            case _:
                cuts = world.set_size_max(1_280)
        self._later(world.heal, cuts)

    def _middlebox(self, name: str) -> None:
        """Connections are forgotten on the way, or an attacker who sees the traffic forges refusals."""
        if self._rng.random() < 0.5:
            self.world.reset_streams(name)
        else:
            self.world.forge_refusal(name, self._rng.choice(list(self.world.nodes)))

    def _move(self, name: str) -> None:
        self.world.move(name)

    def _bad_link(self, name: str) -> None:
        link = (name, self._rng.choice(list(self.world.nodes)))
        self.world.set_loss(links={link: self._rng.uniform(0.2, 1.0)})
        self._later(lambda: self.world.set_loss(links={link: 0.0}))

    def _bad_weather(self, name: str) -> None:
        self.world.set_loss(self._rng.uniform(0.0, 0.3))
        self._later(self.world.set_loss, self.world.fabric.network.loss)

    def _skew(self, name: str) -> None:
        self.world.set_clock_rate(name, 1.0 + self._rng.uniform(-CLOCK_ERROR, CLOCK_ERROR))

    def _retag(self, name: str) -> None:
        if self.world.nodes[name].core.phase is Phase.MEMBER:
            self.world.set_tags(name, {"load": str(self._rng.randrange(100))})

    def _yield(self, name: str) -> None:
        """The node that leads."""
        for node in self.world.running():
            if node.core.term is not None and node.core.phase is Phase.MEMBER and not node.paused:
                self.world.yield_leadership(node.name)


def random_world(seed: int, *, nodes: tuple[int, int] = (2, 8), fast: bool = False) -> World:
    """A world of a random size on a random network, converged; what it is follows from the seed."""
    rng = Random(f"{seed}:world")
    network = Network.wan() if rng.random() < 0.3 else Network.lan()
    world = World(seed, network=network, fast=fast, drift=rng.choice([0.0, 0.0001, CLOCK_ERROR]))
    world.grow(rng.randint(*nodes), stagger=rng.uniform(0.0, 0.5))
    world.run_until_converged(60.0)
    return world
