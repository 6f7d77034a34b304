"""What must hold in every world at every time, whatever the faults. The world checks it by itself."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from swim.events import Event, HeldOff, LeaderChanged, MemberFailed, MemberJoined, MemberLeft, Snapshot
from swim.protocol.node import Node
from swim.simulation.host import Medium, SimulatedNode
from swim.simulation.trace import Record
from swim.types import Member, Term

__all__ = ["Invariants"]

SAMPLE_INTERVAL = 1.0
MEASURE_INTERVAL = 10.0
QUEUE_MAX, QUEUE_MAX_PER_MEMBER = 3_000, 20


class Process(NamedTuple):
    """One of the processes that a node had: its how-manieth."""

    node: str
    life: int


class _Death(NamedTuple):
    incarnation: int
    time: float
    solo: bool


@dataclass(slots=True)
class _Viewer:
    """What one process has reported so far."""

    dead: dict[Process, _Death] = field(default_factory=dict)
    incarnations: dict[Process, int] = field(default_factory=dict)
    leader: str = ""
    """The highest leader that it followed, solo periods apart."""
    floor: str = ""


class Invariants:
    """Watches all nodes' events, and looks into the nodes once a second.

    - A death stands until the member itself answers with a higher incarnation (unless the viewer had
      reached it alone), so no member is resurrected by stale news.
    - Incarnations of one process never go back in anybody's view.
    - The leader that a process follows never has a lower id than those before, outside solo periods;
      nor does its floor ever fall.
    - With voters, no two processes hold the lease at one instant of true time, whatever they believe of
      it; a lease that has run out is not prolonged, and each term's token is above all earlier ones.
    - What a node keeps queued is bounded.
    """

    def __init__(self, world: Medium) -> None:
        self.false_deaths: list[Record] = []
        """Members that were given up although their process ran (paused or cut off ones included)."""
        self.terms: list[tuple[float, str, Term]] = []
        """The nodes that began to act as leader, and when in true time."""
        self._world = world
        self._growing: list[tuple[str, str]] = []
        self._holders: dict[str, tuple[Term, float, int]] = {}
        self._highest = ""
        self._viewers: dict[Process, _Viewer] = {}
        self._worn: dict[str, Process] = {}
        world.watchers.append(self._watch)
        world.every(SAMPLE_INTERVAL, self._sample)
        world.every(MEASURE_INTERVAL, self._measure)

    def process_of(self, member: Member) -> Process | None:
        """The process that has worn this id; None for a member without one."""
        if member.id is None:
            return None
        if member.id not in self._worn:
            for node in self._world.running():
                self.note_id(node)
        return self._worn.get(member.id)

    def alive(self, process: Process) -> bool:
        node = self._world.nodes[process.node]
        return node.running and node.lives == process.life

    # --- watching
    def _watch(self, node: SimulatedNode, event: Event) -> None:
        self.note_id(node)
        viewer = self._viewers.setdefault(Process(node.name, node.lives), _Viewer())
        if isinstance(event, LeaderChanged):
            self._check_leader(node, viewer)
        elif not isinstance(event, Snapshot | HeldOff):
            process = self.process_of(event.member)
            if process is not None:
                self._check_member(node, viewer, process, event, event.member)

    def _sample(self) -> None:
        for node in self._world.running():
            viewer = self._viewers.setdefault(Process(node.name, node.lives), _Viewer())
            self._check_leader(node, viewer)

    def _measure(self) -> None:
        most = QUEUE_MAX + QUEUE_MAX_PER_MEMBER * len(self._world.nodes)
        for node in self._world.running():
            core = vars(node.core)
            if isinstance(node.core, Node):  # and not one that a test has made up
                self._growing = self._growing or _growing(core)
            for part, name in self._growing:
                if len(getattr(core[part], name)) > most:
                    self._world.fail(f"{node.name} has {len(getattr(core[part], name))} in {part}.{name}")

    def note_id(self, node: SimulatedNode) -> None:
        own_id = node.core.me.id
        if own_id is not None:
            self._worn.setdefault(own_id, Process(node.name, node.lives))

    def note_term(self, node: SimulatedNode) -> None:
        """A node acts as leader: after a call into its core."""
        term = node.core.term
        assert term is not None
        known, ends, _ = self._holders.get(node.name, (None, -math.inf, 0))
        new_ends = node.core.lease_ends
        if term is not known:
            self.terms.append((self._world.now, node.name, term))
        if new_ends is None:
            self._holders[node.name] = (term, -math.inf, node.lives)
            return
        if term is not known:
            if term.token <= self._highest:
                self._world.fail(f"{node.name}'s token {term.token} is not above {self._highest}")
            self._highest = term.token
        elif new_ends > ends and ends <= node.now():
            self._world.fail(f"{node.name}'s lease was prolonged after it had run out")
        if term is not known or new_ends > ends:
            self._holders[node.name] = (term, new_ends, node.lives)
            self._check_holders(node)

    def note_release(self, name: str) -> None:
        """A node gives its lease back. (If its term ended otherwise, it cleans up until the lease ends.)"""
        self._holders.pop(name, None)

    def _check_holders(self, holder: SimulatedNode) -> None:
        for name, (_, ends, life) in self._holders.items():
            node = self._world.nodes[name]
            alive = node is not holder and self.alive(Process(name, life))
            if alive and ends > node.now():
                self._world.fail(f"{holder.name} and {node.name} hold the lease, {ends - node.now():.3f} s")

    # --- checking
    def _check_member(
        self, node: SimulatedNode, viewer: _Viewer, process: Process, event: Event, member: Member
    ) -> None:
        about = f"{member.name} ({member.id}, incarnation {member.incarnation})"
        before = viewer.incarnations.get(process, 0)
        if member.incarnation < before:
            self._world.fail(f"{node.name} saw {about} go back from incarnation {before}")
        viewer.incarnations[process] = member.incarnation
        if isinstance(event, MemberJoined):
            death = viewer.dead.pop(process, None)
            if death is not None and not death.solo and member.incarnation <= death.incarnation:
                alive = "still runs" if self.alive(process) else "is long gone"
                self._world.fail(
                    f"{node.name} resurrected {about}, dead since {death.time:.3f}; its process {alive}"
                )
        elif isinstance(event, MemberFailed | MemberLeft):
            solo = node.core.gave_up_alone(member.name)
            viewer.dead[process] = _Death(member.incarnation, self._world.now, solo)
            if isinstance(event, MemberFailed) and self.alive(process):
                self.false_deaths.append(Record(self._world.now, node.name, event))

    def _check_leader(self, node: SimulatedNode, viewer: _Viewer) -> None:
        core = node.core
        floor = core.floor
        if floor < viewer.floor:
            self._world.fail(f"{node.name}'s floor fell from {viewer.floor} to {floor}")
        viewer.floor = floor
        leader = core.leader.id if core.leader else None
        if leader is None or _is_pinned(leader):
            return
        if leader < viewer.leader:
            self._world.fail(f"{node.name}'s leader fell from {viewer.leader} to {leader}")
        if not core.judges_alone:
            viewer.leader = leader


def _is_pinned(member_id: str) -> bool:
    return len(member_id) != 26


def _growing(core: dict[str, object]) -> list[tuple[str, str]]:
    """Everything in the core's parts that can grow: the part's name, and its own."""
    found = [
        (part_name, name)
        for part_name, part in core.items()
        if type(part).__module__.startswith("swim.protocol") and hasattr(part, "__dict__")
        for name, value in vars(part).items()
        if isinstance(value, dict | list | set | deque)
    ]
    assert found, "the parts of a node are not where they were: nothing would be measured"
    return found
