"""What happened in a simulated world, shortened for people, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swim.events import (
    Event,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Snapshot,
)
from swim.simulation import World
from swim.simulation.host import SimulatedNode

__all__ = ["RecordedWorld", "Row", "Timeline", "draw"]

_GAP_S = 5.0
"""Reports of the same, by several nodes, are one thing unless so much time is between them."""
_KINDS: dict[type, tuple[str, str]] = {
    MemberSuspected: ("suspected", "tab:orange"),
    MemberRecovered: ("recovered", "tab:olive"),
    MemberFailed: ("failed", "tab:red"),
    MemberLeft: ("left", "tab:purple"),
    MemberJoined: ("joined", "tab:green"),
    LeaderChanged: ("leads", "tab:blue"),
}


@dataclass
class Row:
    """A fault, or what nodes reported of one member."""

    time: float
    what: str
    fault: bool = False
    last: float = 0.0
    nodes: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)

    def as_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"at": round(self.time, 6), "what": self.what, "fault": self.fault}
        if not self.fault:
            fields |= {"last": round(self.last, 6), "nodes": len(self.nodes), "reasons": list(self.reasons)}
        return fields

    def cells(self) -> list[str]:
        if self.fault:
            return [f"{self.time:.3f}", self.what[:60], "", "", "", ""]
        first, last = f"{self.time:.3f}", f"{self.last:.3f}"
        return ["", "  " + self.what, first, last, str(len(self.nodes)), ", ".join(self.reasons)]


class RecordedWorld(World):
    """A world that tells of the faults, too."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.noted: Callable[[str], None] | None = None
        super().__init__(*args, **options)

    def note(self, text: str) -> None:
        super().note(text)
        if self.noted is not None:
            self.noted(text)


class Timeline:
    """Watches a world from now on. Times count from now."""

    def __init__(self, world: RecordedWorld) -> None:
        self.rows: list[Row] = []
        self.marks: list[tuple[float, str, type]] = []
        """Every report: when, at which node, of what kind."""
        self.nodes: list[str] = list(world.nodes)
        self._world = world
        self._start = world.now
        self._open: dict[str, Row] = {}
        world.watchers.append(self._event)
        world.noted = self._fault

    @property
    def seconds(self) -> float:
        return self._world.now - self._start

    def _fault(self, text: str) -> None:
        self.rows.append(Row(self._world.now - self._start, text, fault=True))

    def _event(self, node: SimulatedNode, event: Event) -> None:
        if isinstance(event, Snapshot) or type(event) not in _KINDS:
            return
        now = self._world.now - self._start
        if node.name not in self.nodes:
            self.nodes.append(node.name)
        self.marks.append((now, node.name, type(event)))
        member = event.leader if isinstance(event, LeaderChanged) else event.member
        what = f"{member.name if member else 'nobody'} {_KINDS[type(event)][0]}"
        row = self._open.get(what)
        if row is None or now - row.last > _GAP_S:
            row = self._open[what] = Row(now, what)
            self.rows.append(row)
        row.last = now
        row.nodes[node.name] = None
        if reason := getattr(event, "reason", None):
            row.reasons[reason] = None


def draw(timeline: Timeline, path: Path, title: str) -> None:
    """One line for each node, with its reports; faults are dashed. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    place = {name: number for number, name in enumerate(timeline.nodes)}
    figure, axes = pyplot.subplots(figsize=(14, min(40.0, 2.5 + 0.22 * len(place))))
    for kind, (label, colour) in _KINDS.items():
        marks = [(time, place[name]) for time, name, of in timeline.marks if of is kind]
        if marks:
            axes.scatter(
                [time for time, _ in marks],
                [line for _, line in marks],
                s=14,
                color=colour,
                label=label,
                alpha=0.8,
            )
    for row in timeline.rows:
        if row.fault:
            axes.axvline(row.time, color="black", linestyle="--", linewidth=0.8)
            axes.annotate(
                row.what[:40], (row.time, 1.0), xycoords=("data", "axes fraction"), rotation=30, size=7
            )
    axes.set_yticks(list(place.values()) if len(place) <= 64 else [])
    axes.set_yticklabels(list(place) if len(place) <= 64 else [], fontsize=7)
    axes.set_xlim(0.0, timeline.seconds)
    axes.set_xlabel("seconds")
    axes.set_title(title, pad=60)
    if timeline.marks:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
