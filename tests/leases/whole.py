"""Whole nodes in simulated time whose applications hold, own and release names, in the explorer's storms.

What must hold is what the model wants (`tests.leases.model`): with voters no more holders of a name than
may be, at any instant of true time and clean-up included; tokens that rise. And in any case, after the
storm: every name that is wanted is held, no use that waits is forgotten, a group is spread evenly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from swim.protocol.leases.holder import Change
from swim.protocol.leases.leases import session_length
from swim.protocol.node import Phase
from swim.simulation import SimulatedNode
from tests.explorer.arena import Arena, Storm
from tests.explorer.schedules import names, turn
from tests.leases.model import NAMES, Finding

__all__ = ["Town", "play_whole"]

_STORM_S = 40.0
_GAP_S = 0.5
_ATTACKS = (0.0, 0.5, 4.0)
"""Of somebody who repeats and reflects packets, a second: two of three schedules have some."""


@dataclass(eq=False)
class _Task:
    """One use of a name by an application."""

    name: str
    id: int
    token: bytes = b""
    until: float = -math.inf
    """Its clean-up included, by its node's clock."""


@dataclass(eq=False)
class _Application:
    """What runs in the present process of one node."""

    node: SimulatedNode
    lives: int = -1
    tasks: dict[int, _Task] = field(default_factory=dict)


class Town:
    """An arena, and the applications of its nodes."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.rng = Random(f"town:{arena.seed}")
        self.session = session_length(arena.config)
        self.applications: dict[str, _Application] = {}
        self.calm = False
        self.calm_after = 0.0
        """Leases from the end of the storm until one leader acted that all followed, and that stayed."""
        self.grants = 0
        self._highest: dict[str, bytes] = {}

    def attend(self, node: SimulatedNode) -> None:
        """Look at this node after every call into it."""
        application = self.applications[node.name] = _Application(node)
        flush = node.flush

        def follow() -> None:
            flush()
            self._follow(application)

        node.flush = follow  # type: ignore[method-assign]

    def _follow(self, application: _Application) -> None:
        node = application.node
        if application.lives != node.lives or not node.running:
            application.lives = node.lives
            application.tasks.clear()
        if node.running:
            for change in node.core.leases.take_changes():
                task = application.tasks.get(change.id)
                if task is not None:
                    self._change(application, task, change)

    def _change(self, application: _Application, task: _Task, change: Change) -> None:
        if change.token:
            fresh = not task.token
            task.token, task.until = change.token, max(task.until, change.ends + self.session / 12)
            if fresh:
                self.grants += 1
                self._check(application, task)
                if not NAMES[task.name][1]:
                    self._end_later(application, task, self.rng.choice([0.01, 1.0, 8.0]) * self.rng.random())
        elif change.refusal:
            raise Finding(f"{task.name} was refused: {change.refusal}")
        else:
            self._end_later(application, task, self.session / 12 * self.rng.random())

    def _end_later(self, application: _Application, task: _Task, seconds: float) -> None:
        application.node.after_timer(seconds, lambda: self.end(application, task))

    def end(self, application: _Application, task: _Task) -> None:
        """Released, if its process still lives; what is owned is mostly offered for again."""
        node = application.node
        if not node.running or application.tasks.pop(task.id, None) is None:
            return
        node.call(node.core.leases.release, task.id)
        if NAMES[task.name][1] and (self.calm or self.rng.random() < 0.8):
            self.begin(application, task.name)

    def begin(self, application: _Application, name: str) -> None:
        node = application.node
        if node.running and not node.paused and node.core.phase is Phase.MEMBER:
            limit, owned = NAMES[name]
            id = node.core.leases.want(name, limit, owned, node.now())
            application.tasks[id] = _Task(name, id)
            node.flush()

    def _check(self, application: _Application, task: _Task) -> None:
        if not self.arena.voters:
            return
        limit, _ = NAMES[task.name]
        holders = [
            f"{each.node.name} {other.token.hex()} for {other.until - each.node.now():.3f} s"
            for each in self.applications.values()
            for other in each.tasks.values()
            if each.node.running and each.lives == each.node.lives
            if other.name == task.name and other.token and each.node.now() < other.until
        ]
        if len(holders) > limit:
            raise Finding(f"{self.arena.now:.3f}: {task.name} is held by {holders}")
        if limit == 1:
            highest = self._highest.get(task.name, b"")
            if task.token <= highest:
                raise Finding(f"{self.arena.now:.3f}: {task.name}: {task.token.hex()} after {highest.hex()}")
            self._highest[task.name] = task.token

    # --- what applications do

    def strike(self) -> None:
        """One of them begins something, or gives it up."""
        application = self.rng.choice(list(self.applications.values()))
        used = [task.name for task in application.tasks.values()]
        kind = self.rng.choice(["lock", "lock", "lock", "own", "give up"])
        if kind == "lock" and len(used) < 8:
            self.begin(application, self.rng.choice([name for name in NAMES if not NAMES[name][1]]))
        elif kind == "own":
            for name in NAMES:
                if NAMES[name][1] and name not in used:
                    self.begin(application, name)
        elif kind == "give up" and application.tasks and not application.node.paused:
            self.end(application, self.rng.choice(list(application.tasks.values())))

    def live(self, until: Callable[[], bool]) -> None:
        """Again and again."""
        if not until():
            self.strike()
            self.arena.after(self.rng.expovariate(4.0), self.live, until)

    def settle_down(self) -> None:
        """After the storm: whoever waits gets it, and what is owned is owned by one of those that offer."""
        arena = self.arena
        self.calm = True
        arena.run(4 * self.session)
        waiting = {task.name for each in self._living() for task in each.tasks.values()}
        for name in sorted(waiting):
            uses = [task for each in self._living() for task in each.tasks.values() if task.name == name]
            held = sum(1 for task in uses if task.token)
            if not 1 <= held <= NAMES[name][0]:
                raise Finding(f"{arena.now:.3f}: {name} has {held} holders, in calm")
        arena.run_until(lambda: not self._waits(), 60.0)
        for who, name in self._waits():
            raise Finding(f"{arena.now:.3f}: {who} waits for {name}, and is forgotten")
        self._require_balance()

    def _waits(self) -> list[tuple[str, str]]:
        """Which nodes wait for which locks."""
        return [
            (each.node.name, task.name)
            for each in self._living()
            for task in each.tasks.values()
            if not NAMES[task.name][1] and not task.token
        ]

    def _living(self) -> list[_Application]:
        applications = self.applications.values()
        return [each for each in applications if each.node.running and each.lives == each.node.lives]

    def _require_balance(self) -> None:
        group = [name for name in NAMES if NAMES[name][1]]
        counts = []
        for each in self._living():
            offers = [task for task in each.tasks.values() if task.name in group]
            if {task.name for task in offers} == {*group}:
                counts.append(sum(1 for task in offers if task.token))
        if counts and max(counts) - min(counts) > 1:
            raise Finding(f"{self.arena.now:.3f}: the group is spread as {counts}")


def play_whole(seed: int, seconds: float = _STORM_S) -> Town:
    """One schedule; of five one is without voters. Raises `Finding`, and what the explorer finds."""
    rng = Random(f"whole:{seed}")
    count = rng.choice([3, 4, 5])
    with_voters = rng.random() < 0.8
    lease = rng.choice([1.0, 3.0])
    arena = Arena(seed, "weather", lease=lease, voters=names(3) if with_voters else (), skew=0.5)
    arena.config = replace(arena.config, session=2 * lease)
    town = Town(arena)
    turn(arena, rng)
    for name in names(count):
        arena.start([name])
        town.attend(arena.nodes[name])
    arena.run(2 * lease)
    ended = [False]
    town.live(lambda: ended[0])
    Storm(arena, attacks=rng.choice(_ATTACKS)).run(seconds, _GAP_S)
    town.calm_after = arena.calm_down(60.0 if with_voters else 300.0) / lease
    ended[0] = True
    town.settle_down()
    return town
