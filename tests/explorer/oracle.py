"""What must hold, judged by what an application can see of the nodes, and by true time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swim.types import Member, Term

if TYPE_CHECKING:
    from swim.simulation import SimulatedNode, World

__all__ = ["Finding", "Oracle"]

CLEANUP = 1 / 6
"""Of a lease: a function that is cancelled as its term ends may clean up for so long (`run_while_leader`)."""
_TIED_S = 1e-6


class Finding(AssertionError):
    """What was found, in short (`kind`) and in words."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass
class _Life:
    """What one process was last seen to hold."""

    term: Term | None = None
    ends: float = -math.inf
    """Of its term, by its own clock. It stays when the term is over: the function may still clean up."""


class Oracle:
    """Called after every call into a node that has a term (as `swim.simulation.invariants` is).

    With voters no two processes act as leaders at one instant of true time, clean-up included, and
    every term's token is above those of all earlier terms. What a node does with a lease that was granted by
    other voters than those judged here (`strangers`) is not judged.
    """

    def __init__(self, world: World, *, with_voters: bool) -> None:
        self._world = world
        self._with_voters = with_voters
        self._lives: dict[tuple[str, int], _Life] = {}
        self._highest = ""
        self.strangers: set[str] = set()
        self.terms: list[tuple[float, str, Term]] = []
        """Every term that began: when, at which node."""
        self.false_deaths: list[object] = []

    def process_of(self, member: Member) -> None:
        """Nobody asks."""

    def note_id(self, node: SimulatedNode) -> None:
        """Ids are not judged."""

    def note_release(self, name: str) -> None:
        """The node gives its lease back, and what acted for it has cleaned up."""
        self._lives.pop((name, self._world.nodes[name].lives), None)

    def acts(self, node: SimulatedNode) -> bool:
        """By its own clock, as the functions that it runs see it."""
        return node.running and node.core.term is not None and node.now() < node.core.term_ends

    def note_term(self, node: SimulatedNode) -> None:
        term = node.core.term
        assert term is not None
        life = self._lives.setdefault((node.name, node.lives), _Life())
        began, life.term = term != life.term, term
        life.ends = node.core.term_ends
        if began:
            self.terms.append((self._world.now, node.name, term))
        if not self._with_voters or node.name in self.strangers or not self.acts(node):
            return
        self._check_others(node)
        if began:
            if term.token <= self._highest:
                raise Finding("token", f"{node.name}'s {term.token} is not above {self._highest}")
            self._highest = term.token

    def _check_others(self, holder: SimulatedNode) -> None:
        for (name, lives), life in self._lives.items():
            node = self._world.nodes[name]
            if node is holder or name in self.strangers or not node.running or node.lives != lives:
                continue
            length = node.options.get("config", self._world.config).lease
            if self.acts(node):
                left = node.core.term_ends - node.now()
                raise Finding("two at once", f"{holder.name} and {name}, for {left:.3f} s more")
            if life.ends + CLEANUP * length - _TIED_S > node.now():
                left = life.ends + CLEANUP * length - node.now()
                raise Finding("clean-up", f"{holder.name} began, {name} may clean up for {left:.3f} s more")
