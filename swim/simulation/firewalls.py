"""Random faults that are no member's death: what firewalls, routers and middleboxes do to a live cluster.

At all times all members can exchange packets both ways, by UDP or by TCP, but for moments that are shorter
than the silence tolerance. So a member that is declared dead while its process runs, is so wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swim.protocol.node import Phase
from swim.simulation.network import Cut
from swim.simulation.world import World

__all__ = ["Firewalls"]

OUTAGE_MAX = 0.75
"""Of the silence tolerance: for so long nothing at all may pass."""
BLOCK_MAX = 30.0
PAUSE_MAX = 0.6
"""Of the pause tolerance."""
LEADS_ON = 4.5
"""A leader that stands still for longer than 5 s hands the lead on."""
REST = 3.0
"""Between two faults that may not come together."""


class Firewalls:
    """One fault after the other, each of which ends by itself; and processes that do die.

    Without deaths, nothing happens at which the leader may change either.
    """

    def __init__(self, world: World, *, with_deaths: bool = True) -> None:
        self.world = world
        self._rng = world.random("firewalls")
        self._with_deaths = with_deaths

    def run(self, seconds: float) -> None:
        """Until at least so many seconds have passed."""
        until = self.world.now + seconds
        while self.world.now < until:
            fault = self._rng.choice([self._outage, self._udp, self._udp, self._tcp, self._size])
            self._kernels_answer = fault in (self._udp, self._size)
            cuts = fault()
            self._meanwhile()
            self.world.heal(cuts)
            self.world.run(REST + self._rng.expovariate(0.5))

    # --- what lasts
    def _outage(self) -> list[Cut]:
        """For a moment nothing at all, at a host or between two groups."""
        self._seconds = self._rng.uniform(0.1, OUTAGE_MAX * self.world.config.silence_tolerance)
        return self._rng.choice([self._refused, self._refused_between, self._dropped])(None)

    def _udp(self) -> list[Cut]:
        return self._without("udp")

    def _tcp(self) -> list[Cut]:
        return self._without("tcp")

    def _without(self, protocol: str) -> list[Cut]:
        self._seconds = self._rng.uniform(0.1, BLOCK_MAX)
        return self._rng.choice([self._refused, self._refused_between, self._blocked])(protocol)

    def _size(self) -> list[Cut]:
        self._seconds = self._rng.uniform(0.1, BLOCK_MAX)
        return self.world.set_size_max(1_280)

    def _refused(self, protocol: str | None) -> list[Cut]:
        names = list(self.world.nodes)
        some = self._rng.sample(names, self._rng.choice([1, 1, 2, len(names)]))
        return self.world.reject(*some, protocol=protocol, resets=self._rng.random() < 0.5)

    def _refused_between(self, protocol: str | None) -> list[Cut]:
        resets = self._rng.random() < 0.5
        return self.world.reject_between(*self._halves(), protocol=protocol, resets=resets)

    def _dropped(self, protocol: str | None) -> list[Cut]:
        return self.world.partition(*self._halves(), one_way=self._rng.random() < 0.3)

    def _blocked(self, protocol: str | None) -> list[Cut]:
        assert protocol is not None
        groups: Iterable[list[str]] = () if self._rng.random() < 0.5 else self._halves()
        return self.world.block(protocol, *groups, one_way=self._rng.random() < 0.3)

    def _halves(self) -> tuple[list[str], list[str]]:
        names = list(self.world.nodes)
        some = self._rng.sample(names, self._rng.randint(1, max(1, len(names) // 2)))
        return some, [name for name in names if name not in some]

    # --- what happens at once, meanwhile
    def _meanwhile(self) -> None:
        until = self.world.now + self._seconds
        while self.world.now < until:
            faults: list[Callable[[], None]] = [self._forge, self._reset, self._retag, self._pause]
            faults += [self._die] if self._with_deaths else []
            self._rng.choice(faults)()
            self.world.run(min(until - self.world.now, self._rng.expovariate(0.5)))

    def _forge(self) -> None:
        about = self._rng.choice(list(self.world.nodes))
        self.world.forge_refusal(about, *self._rng.sample(list(self.world.nodes), 2))

    def _reset(self) -> None:
        names = list(self.world.nodes)
        self.world.reset_streams(*self._rng.choice([(), self._rng.sample(names, 1)]))

    def _retag(self) -> None:
        name = self._rng.choice(list(self.world.nodes))
        if self.world.nodes[name].running and self.world.nodes[name].core.phase is Phase.MEMBER:
            self.world.set_tags(name, {"load": "x" * self._rng.randrange(400)})

    def _pause(self) -> None:
        """For longer only where its kernel can be asked, by TCP, whether it is a pause."""
        name, config = self._rng.choice(list(self.world.nodes)), self.world.config
        most = OUTAGE_MAX * config.silence_tolerance
        if self._kernels_answer:
            most = PAUSE_MAX * config.pause_tolerance if self._with_deaths else LEADS_ON
        self.world.pause(name, min(most, self._rng.expovariate(1.0)))

    def _die(self) -> None:
        """One that is neither the leader nor the last but two, and is started again soon."""
        spare = [node.name for node in self.world.running() if not node.paused][1:]
        if len(spare) > 2:
            name = self._rng.choice(spare)
            self.world.crash(name)
            self.world.after(self._rng.uniform(0.0, 10.0), self._start_again, name)

    def _start_again(self, name: str) -> None:
        if not self.world.nodes[name].running:
            others = [node.name for node in self.world.running()]
            self.world.restart(name, seeds=self._rng.sample(others, 2))
