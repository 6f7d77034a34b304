"""The world of the explorer: what `swim.simulation` has, an attacker, an oracle, and more ways to fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from swim.config import Config
from swim.protocol.node import Phase, Request
from swim.simulation import Network, SimulatedNode, World
from swim.simulation.chaos import CLOCK_ERROR, Chaos
from swim.simulation.world import EPOCH
from swim.types import Address
from tests.explorer.attacker import Attacker, Packet
from tests.explorer.oracle import Finding, Oracle

__all__ = ["Arena", "Storm"]

DELAY_MAX = 10.0
WALL_JUMP_S = 2.0
STEP, FINE_STEP = 0.1, 0.005


class Arena(World):
    """Nodes with voters (or without any), clocks that are off by 1 %, and an attacker."""

    def __init__(
        self, seed: int, kind: str, *, lease: float, voters: Sequence[str], skew: float = 0.5
    ) -> None:
        self._kind = kind
        self.attacker: Attacker | None = None
        super().__init__(
            seed,
            fast=True,
            drift=CLOCK_ERROR,
            skew=skew,
            config=Config.lan(lease=lease),
            keep_events=False,
            replay=f"python -m tests.explorer --seeds {seed}:{seed + 1} --only {kind}",
        )
        self.schedule = type(self.schedule)()  # without the watches of the invariants that look into nodes
        self.watchers.clear()
        self.oracle = Oracle(self, with_voters=bool(voters))
        self.invariants = self.oracle  # type: ignore[assignment]
        self.voters = tuple(voters)
        self.attacker = Attacker(self)
        self.slow = 0.0
        """The share of packets that are up to ten seconds late."""
        self.joined_after = 0.0
        """How long the last calm took until all nodes were members, and followed the leader."""

    def random(self, label: str) -> Random:
        return Random(f"{self.seed}:{self._kind}:{label}")

    # --- what the attacker sees
    def transmit(self, source: SimulatedNode, data: bytes, address: Address) -> None:
        assert self.attacker is not None
        self.attacker.see(Packet(self.now, source.address, address, data))
        super().transmit(source, data, address)

    def open_stream(self, client: SimulatedNode, request: Request) -> None:
        assert self.attacker is not None
        self.attacker.see(Packet(self.now, client.address, request.address, request.content, stream=True))
        super().open_stream(client, request)

    def passage(self, source: SimulatedNode, target: SimulatedNode, *which: Any, **more: Any) -> float | None:
        delay = super().passage(source, target, *which, **more)
        if delay is not None and self.slow and self.fabric._rng.random() < self.slow:
            delay += self.fabric._rng.uniform(0.0, DELAY_MAX)
        return delay

    # --- building
    def start(self, names: Iterable[str], *, gap: float = 0.1, **options: Any) -> None:
        """Nodes that join through the first of all."""
        for name in names:
            first = next(iter(self.nodes), name)
            given = {"voters": self.voters, **options}
            self.add_node(name, () if name == first else (first,), **given)
            self.run(gap)

    def require_leader(self, limit: float = 60.0) -> SimulatedNode:
        """Let the cluster come to rest; who acts then, and is followed by all."""
        self.calm_down(limit)
        holder = self.followed()
        assert holder is not None
        return holder

    # --- looking
    def judged(self) -> list[SimulatedNode]:
        return [node for node in self.running() if node.name not in self.oracle.strangers]

    def acting(self) -> list[SimulatedNode]:
        return [node for node in self.judged() if self.oracle.acts(node)]

    def followed(self) -> SimulatedNode | None:
        """The one that acts, if there is just one, and all members follow it."""
        acting = self.acting()
        members = [node.core for node in self.judged() if node.core.phase is Phase.MEMBER]
        followed = {core.leader.name if core.leader is not None else "" for core in members}
        return acting[0] if len(acting) == 1 and followed == {acting[0].name} else None

    def calm_down(self, limit: float = 60.0, stay: float | None = None) -> float:
        """Until one leader acts that all members follow, and all nodes are members, and it stays.

        How long it took until the leader did, in seconds. A node that comes back elsewhere is not a member
        before the others have given up its earlier process: see `joined_after` for that.
        """
        stay = max(4.0, 3 * self.config.lease) if stay is None else stay
        began, led, joined, held = self.now, self.now, self.now, None
        while held is None or self.now - joined < stay:
            holder = self.followed()
            now_held = None if holder is None else (holder.name, holder.core.term)
            if now_held is None or now_held != held:
                held, led = now_held, self.now
            if held is None or any(node.core.phase is not Phase.MEMBER for node in self.judged()):
                joined = self.now
            joined = max(joined, led)
            if self.now - began > limit + stay:
                acting = [node.name for node in self.acting()]
                raise Finding("no leader", f"after {limit:.0f} s of calm {acting} act:\n{self.describe()}")
            self.run(STEP if joined < self.now else FINE_STEP)
        self.joined_after = joined - began
        return led - began

    # --- faults
    def sleep(self, name: str, seconds: float) -> None:
        """The whole machine sleeps: its clock goes on, its kernel answers nothing, packets are lost."""
        node = self.nodes[name]
        if not node.running or node.host.lost:
            return
        self.note(f"machine of {name} sleeps for {seconds:.3g} s")
        node.host.lost = True
        self.pause(name, seconds)
        host, lives = node.host, node.lives

        def wake() -> None:
            if node.host is host and node.lives == lives:
                host.lost = False

        self.schedule.after(seconds - 1e-9, wake)

    def awaken(self) -> None:
        """Nobody is paused or blocked any more."""
        for node in self.running():
            node._paused = node._input.until = node._output.until = self.now
            node.host.lost = False
            node._open_output()
            node._resume()

    def set_clock(self, name: str) -> None:
        """By NTP, to the tenth of a second: after a day its drift would keep the node out."""
        clock = self.nodes[name].host.clock
        off = clock.wall(clock.local(self.now)) - EPOCH - self.now
        clock.shift_wall(self.random(f"ntp:{name}").uniform(-0.1, 0.1) - off)

    def clear(self) -> None:
        """The weather is fine, and nobody interferes."""
        assert self.attacker is not None
        self.attacker.stop()
        self.heal()
        self.slow = 0.0
        self.fabric.network = Network.lan()
        self.fabric.duplicate = 0.0
        self.set_loss(
            0.0,
            links=dict.fromkeys(self.fabric.links, 0.0),
            incoming=dict.fromkeys(self.fabric.incoming, 0.0),
            outgoing=dict.fromkeys(self.fabric.outgoing, 0.0),
        )
        self.awaken()


class Storm(Chaos):
    """All faults of `Chaos`, and: machines that sleep, wall clocks that jump, many crashes, the attacker."""

    world: Arena

    def __init__(self, arena: Arena, *, attacks: float = 4.0, jump: float = WALL_JUMP_S) -> None:
        super().__init__(arena, with_yielding=True)
        self._jump = jump
        self._moved: set[str] = set()
        self._more += [self._sleep, self._crash_many, self._late]
        self._attacks = attacks
        if attacks:
            arena.after(0.0, self._attack)

    def _attack(self) -> None:
        assert self.world.attacker is not None
        if not self._calm:
            self.world.attacker.strike()
            self.world.after(self._rng.expovariate(self._attacks), self._attack)

    def calm(self) -> None:
        self.world.clear()
        super().calm()

    def _revive(self, name: str) -> None:
        arena, node = self.world, self.world.nodes[name]
        if node.running:
            return
        if self._rng.random() < 0.5:
            node.host.clock.shift_wall(self._rng.uniform(-self._jump, self._jump))
        others = [each.name for each in arena.running()]
        moves = self._rng.random() < 0.3 and self._may_move(name)
        if moves and name in arena.voters:
            self._moved.add(name)
        arena.restart(name, new_address=moves, seeds=self._rng.sample(others, min(2, len(others))))

    def _may_move(self, name: str) -> bool:
        """A voter at a new address may have no vote until the voters are set again: a minority moves."""
        voters = self.world.voters
        return name not in voters or 2 * len({*self._moved, name}) < len(voters)

    def _yield(self, name: str) -> None:
        if not any(node.options.get("pinned_id") for node in self.world.acting()):
            super()._yield(name)

    def _move(self, name: str) -> None:
        """It may be restarted there before all have heard of it."""
        if self._may_move(name):
            if name in self.world.voters:
                self._moved.add(name)
            super()._move(name)

    def _sleep(self, name: str) -> None:
        self.world.sleep(name, 12.0 * self._rng.random() ** 2)

    def _late(self, name: str) -> None:
        self.world.slow = self._rng.choice([0.0, 0.02, 0.2])

    def _crash_many(self, name: str) -> None:
        names = [node.name for node in self.world.running()]
        for victim in self._rng.sample(names, self._rng.randint(1, len(names))):
            self._crash(victim)
