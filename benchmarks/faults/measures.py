"""From the lines of a cluster's nodes: who was given up, who led, and since when all see all."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from benchmarks.driver import Fleet, Line

__all__ = ["Span", "Wholeness", "common", "deaths", "terms", "together"]


class Span(NamedTuple):
    """Something that a node did from then to then."""

    node: str
    begin: float
    end: float


def deaths(lines: Iterable[Line], since: float, due: Collection[str] = ()) -> list[tuple[str, str, str]]:
    """Who declared whom dead, and on what grounds; but for those whose death was `due`."""
    return [
        (line["node"], line["member"], line.get("reason", ""))
        for line in lines
        if line["event"] == "dead" and line["t"] >= since and line["member"] not in due
    ]


def terms(lines: Iterable[Line], gaps: Sequence[Span] = (), until: float = math.inf) -> list[Span]:
    """When which node acted as leader. `gaps`: when its process stood still, or was gone."""
    begun: dict[str, float] = {}
    found = []
    for line in lines:
        node = line["node"]
        if line["event"] == "leading" and line["on"]:
            begun[node] = line["t"]
        elif line["event"] in ("leading", "bound") and node in begun:
            # A new process: the one before was killed.
            found.append(Span(node, begun.pop(node), line["t"]))
    found += [Span(node, begin, until) for node, begin in begun.items()]
    return [rest for span in found for rest in _without(span, gaps)]


def _without(span: Span, gaps: Sequence[Span]) -> list[Span]:
    parts = [span]
    for gap in gaps:
        if gap.node != span.node:
            continue
        parts = [
            Span(span.node, begin, end)
            for part in parts
            for begin, end in ((part.begin, min(part.end, gap.begin)), (max(part.begin, gap.end), part.end))
            if begin < end
        ]
    return parts


def together(spans: Sequence[Span]) -> list[tuple[float, float]]:
    """When two nodes or more acted at once: disjoint and in order."""
    pairs = sorted(
        (max(one.begin, other.begin), min(one.end, other.end))
        for one, other in combinations(spans, 2)
        if one.node != other.node and max(one.begin, other.begin) < min(one.end, other.end)
    )
    found: list[tuple[float, float]] = []
    for begin, end in pairs:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def common(spans: Iterable[tuple[float, float]], others: Iterable[tuple[float, float]]) -> float:
    """The longest stretch of time that is in both."""
    stretches = [min(a[1], b[1]) - max(a[0], b[0]) for b in list(others) for a in spans]
    return max([0.0, *stretches])


class Wholeness:
    """Follows whether all nodes of a cluster see exactly each other, and follow one leader."""

    def __init__(self, fleet: Fleet, names: Collection[str]) -> None:
        self.names = set(names)
        """Those that run now."""
        self.since: float | None = None
        """When it became so; None while it is not."""
        self._fleet = fleet
        fleet.listeners.append(self._take)
        self.look(time.monotonic())

    def look(self, now: float) -> None:
        """After a change of `names`."""
        fleet, names = self._fleet, self.names
        whole = (
            all(fleet.views.get(name, {}).keys() == names - {name} for name in names)
            and len({fleet.leaders.get(name) for name in names}) == 1
        )
        if not whole:
            self.since = None
        elif self.since is None:
            self.since = now

    def _take(self, line: Line) -> None:
        if line["event"] in ("join", "dead", "leave", "leader"):
            self.look(line["t"])
