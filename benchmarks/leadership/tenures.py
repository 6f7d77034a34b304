"""From the agents' lines: who acted as leader from when to when, and whether two did at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise, permutations

from benchmarks.driver import Line

__all__ = ["Tenure", "Tenures", "gap", "overlaps", "seconds_together", "tokens_rise"]


@dataclass(slots=True)
class Tenure:
    """One run of a node's leadership function. Times are CLOCK_MONOTONIC."""

    node: str
    token: str
    on: float
    off: float | None = None
    """None: it has not ended yet, or its process was killed."""
    ticks: list[float] = field(default_factory=list)

    @property
    def last(self) -> float:
        """When it was last seen to act."""
        return max(self.ticks, default=self.on)


class Tenures:
    """All tenures that some nodes have told of, in the order in which they began."""

    def __init__(self) -> None:
        self.all: list[Tenure] = []
        self._current: dict[str, Tenure] = {}

    def take(self, line: Line) -> None:
        """One line of an agent; those of one node come in order."""
        node = line["node"]
        match line["event"]:
            case "leading" if line["on"]:
                self._current[node] = Tenure(node, line["token"], line["t"])
                self.all.append(self._current[node])
                self.all.sort(key=lambda tenure: tenure.on)
            case "leading":
                self._current.pop(node).off = line["t"]
            case "tick":
                self._current[node].ticks.append(line["t"])
            case "bound":  # a new process: the one before was killed
                self._current.pop(node, None)


def overlaps(found: Iterable[Tenure]) -> int:
    """Ticks of a node at a time when another node acted; 0 when no two ever did at once."""
    return sum(
        one.on <= tick <= one.last
        for one, other in permutations(found, 2)
        if one.node != other.node
        for tick in other.ticks
    )


def seconds_together(found: Iterable[Tenure]) -> float:
    """For how long two nodes acted at once, by their ticks."""
    pairs = [(one, other) for one, other in permutations(found, 2) if one.node < other.node]
    return sum(max(0.0, min(one.last, other.last) - max(one.on, other.on)) for one, other in pairs)


def gap(found: Iterable[Tenure]) -> float:
    """For how long at most nobody acted, from the first tenure to the last tick."""
    acts = sorted(time for tenure in found for time in (tenure.on, *tenure.ticks))
    return max((later - one for one, later in pairwise(acts)), default=0.0)


def tokens_rise(found: Iterable[Tenure]) -> bool:
    """Whether each began with a higher token than all before."""
    tokens = [tenure.token for tenure in found]
    return all(one < other for one, other in pairwise(tokens))
