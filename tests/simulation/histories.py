"""Random histories of names: halves, substitutes, pauses and wakings; and what must hold in the calm after.

Two pairs of members are there all the time, one for each side of a partition. Processes of a few names come
and go among them, several of one name at different places. Everything is judged by what applications see.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from swim.errors import NameConflict
from swim.protocol.node import Phase
from swim.simulation import World
from swim.simulation.host import Life, SimulatedNode
from swim.types import Address, Member

__all__ = ["History"]

SIDES = (("a0", "a1"), ("b0", "b1"))
NAMES = ("x", "y")
SETTLED_WITHIN = 10.0
"""Seconds after the last cut has healed and the last process woken."""
PAUSES = (2.0, 8.0, 20.0, 30.0)
PROCESSES_MAX = 6
"""Of one name that run at once."""


class History:
    """One random history, from a seed."""

    def __init__(self, seed: int, *, blocked: str = "") -> None:
        self.world = World(seed, fast=True)
        self._blocked = blocked
        self._rng = Random(f"{seed}:names")
        self._side: dict[str, int] = {}
        self._cut = False
        self._count = 0
        self._awake = 0.0
        self._ended: set[str] = set()
        for side, anchors in enumerate(SIDES):
            for name in anchors:
                self.world.add_node(name, [] if name == "a0" else ["a0"])
                self._side[name] = side
        self.world.run_until_converged(20.0)
        self._mend()

    def run(self, steps: int) -> None:
        """So many random things, then calm. Raises AssertionError, with the seed, when something is wrong."""
        verbs: list[Callable[[], None]] = [
            self._start,
            self._start,
            self._start,
            self._partition,
            self._partition,
            self._isolate,
            self._heal,
            self._pause,
            self._pause,
            self._end,
            self._restart,
        ]
        for _ in range(steps):
            self._rng.choice(verbs)()
            self._pass(self._rng.choice((0.3, 2.0, 4.0, 8.0)))
        self._calm()

    # --- what happens

    def _processes(self, name: str | None = None) -> list[SimulatedNode]:
        return [node for node in self.world.nodes.values() if _is_of(node, name) and node.running]

    def _start(self) -> None:
        """A process of some name, on some side: as long as it is free there, it takes it."""
        name, side = self._rng.choice(NAMES), self._rng.randrange(2)
        if len(self._processes(name)) >= PROCESSES_MAX:
            return
        self._count += 1
        handle = f"{name}-{self._count}"
        self._side[handle] = side
        self.world.address(handle)
        if self._cut:
            self._cut_again()
        self.world.add_node(name, self._rng.sample(SIDES[side], 2), alias=handle)

    def _partition(self) -> None:
        self._cut = True
        self._cut_again()

    def _cut_again(self) -> None:
        self._mend()
        left, right = ([name for name, side in self._side.items() if side == which] for which in (0, 1))
        self.world.partition(left, right)

    def _isolate(self) -> None:
        """One process alone; until the next heal."""
        running = self._processes()
        if running:
            self.world.partition([self._rng.choice(running).name])

    def _heal(self) -> None:
        self._cut = False
        self._mend()

    def _mend(self) -> None:
        """But for what is blocked all the time."""
        self.world.heal()
        if self._blocked:
            self.world.block(self._blocked)

    def _pause(self) -> None:
        running = self._processes()
        if running:
            seconds = self._rng.choice(PAUSES)
            self._awake = max(self._awake, self.world.now + seconds)
            self.world.pause(self._rng.choice(running).name, seconds)

    def _end(self) -> None:
        running = [node for node in self._processes() if not node.paused]
        if running:
            node = self._rng.choice(running)
            if self._rng.random() < 0.5 and node.core.phase is Phase.MEMBER:
                self.world.leave(node.name)
            else:
                self.world.crash(node.name)

    def _restart(self) -> None:
        """One that has crashed comes up where it was."""
        crashed = [node for node in self.world.nodes.values() if node.life is Life.CRASHED]
        if crashed:
            self.world.restart(self._rng.choice(crashed).name)

    def _pass(self, seconds: float) -> None:
        """Let time pass, and see that nobody ends without cause."""
        until = self.world.now + seconds
        while self.world.now < until:
            self.world.run(min(0.25, until - self.world.now))
            for node in self.world.nodes.values():
                if node.life is Life.REFUSED and f"{node.name} {node.lives}" not in self._ended:
                    self._ended.add(f"{node.name} {node.lives}")
                    self._check_end(node)

    def _check_end(self, node: SimulatedNode) -> None:
        if not isinstance(node.failure, NameConflict):
            self.world.fail(f"{node.name} ended: {node.failure}")
        if not self._processes(str(node.options["name"])):
            self.world.fail(f"{node.name} ended, and nobody has its name: {node.failure}")

    # --- and what must hold

    def _calm(self) -> None:
        self._heal()
        self._pass(max(0.0, self._awake - self.world.now))
        self.world.run_until(lambda: all(_settled(node) for node in self.world.running()), 60.0)
        before = {name for name in NAMES if self._processes(name)}
        start = self.world.now
        while not self._whole() and self.world.now - start < SETTLED_WITHIN:
            self._pass(0.25)
        for name in NAMES:
            count = len(self._processes(name))
            if count != (1 if name in before else 0):
                self.world.fail(f"{count} processes have the name {name}:\n{self.world.describe()}")
        if not self._whole():
            self.world.fail(f"views differ:\n{self.world.describe()}")

    def _whole(self) -> bool:
        running = self.world.running()
        wanted = sorted(map(_process, (node.core.me for node in running)))
        return all(wanted == sorted(map(_process, node.core.members())) for node in running)


def _process(member: Member) -> tuple[str, Address, str, str]:
    """Which one it is, and where: what is sent to its name goes there."""
    return member.name, member.address, member.id or "", member.process or ""


def _is_of(node: SimulatedNode, name: str | None) -> bool:
    return node.options["name"] == name if name is not None else node.options["name"] in NAMES


def _settled(node: SimulatedNode) -> bool:
    """Neither on its way in nor out, nor standing still."""
    return not node.paused and node.core.phase is not Phase.LEAVING
