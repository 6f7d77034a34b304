"""What happened in a simulated world, shortened for people, and as a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from swim.events import (
    Event,
    HeldOff,
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    Snapshot,
)
from swim.simulation import SimulatedNode, World
from swim.types import Member

__all__ = ["RecordedWorld", "Row", "Sample", "Timeline", "draw", "draw_views", "picture_formats"]

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
_MARKERS: dict[type, str] = {
    MemberSuspected: "v",
    MemberRecovered: "^",
    MemberFailed: "x",
    MemberLeft: "<",
    MemberJoined: "+",
}
_BEGINNER_S = 5.0
"""Nodes that started so lately are told of members that are no news to others."""
_LABEL = 44
_LEADERS_SHOWN = 10


@dataclass
class Row:
    """A fault, or what nodes reported of one member."""

    time: float
    what: str
    fault: bool = False
    last: float = 0.0
    nodes: dict[str, None] = field(default_factory=dict)
    heard: int = 0
    """Of how many members a beginner has been told."""
    reasons: dict[str, None] = field(default_factory=dict)

    def as_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"at": round(self.time, 6), "what": self.what, "fault": self.fault}
        if not self.fault:
            fields |= {"last": round(self.last, 6), "nodes": len(self.nodes), "reasons": list(self.reasons)}
        return fields

    def cells(self) -> list[str]:
        if self.fault:
            return [f"{self.time:.3f}", self.what, "", "", "", ""]
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


@dataclass(frozen=True)
class Sample:
    """A look at all nodes that run: the leader that each follows, and how many members it sees."""

    time: float
    nodes: dict[str, tuple[str, int]]


class Timeline:
    """Watches a world from now on. Times count from now."""

    def __init__(self, world: RecordedWorld) -> None:
        self.rows: list[Row] = []
        self.marks: list[tuple[float, str, type]] = []
        """Every report: when, at which node, of what kind."""
        self.nodes: list[str] = list(world.nodes)
        self.samples: list[Sample] = []
        self._world = world
        self._start = world.now
        self._open: dict[str, Row] = {}
        world.watchers.append(self._event)
        world.noted = self._fault

    @property
    def seconds(self) -> float:
        return self._world.now - self._start

    def sample(self, interval: float) -> None:
        """Look at all nodes now, and from now on every `interval` seconds: for the picture."""

        def look() -> None:
            running = {node.name: node.core for node in self._world.running()}
            followed = {name: self._world.leader(name) or "nobody" for name in running}
            nodes = {name: (followed[name], len(core.members())) for name, core in running.items()}
            self.samples.append(Sample(self._world.now - self._start, nodes))
            self.nodes += [name for name in running if name not in self.nodes]

        look()
        self._world.every(interval, look)

    def _fault(self, text: str) -> None:
        self.rows.append(Row(self._world.now - self._start, text, fault=True))

    def _event(self, node: SimulatedNode, event: Event) -> None:
        if isinstance(event, Snapshot | HeldOff) or type(event) not in _KINDS:
            return
        now = self._world.now - self._start
        if node.name not in self.nodes:
            self.nodes.append(node.name)
        self.marks.append((now, node.name, type(event)))
        member = event.leader if isinstance(event, LeaderChanged) else event.member
        beginner = isinstance(event, MemberJoined) and self._is_news_only_to(node, event.member)
        what = f"{member.name if member else 'nobody'} {_KINDS[type(event)][0]}"
        key = f"{node.name} hears of the others" if beginner else what
        row = self._open.get(key)
        if row is None or now - row.last > _GAP_S:
            row = self._open[key] = Row(now, what)
            self.rows.append(row)
        if beginner:
            row.heard += 1
            row.what = f"{node.name} hears of {row.heard} members"
        row.last = now
        row.nodes[node.name] = None
        if reason := getattr(event, "reason", None):
            row.reasons[reason] = None

    def _is_news_only_to(self, node: SimulatedNode, member: Member) -> bool:
        """The node has just started, and the member has been there for longer."""
        other = self._world.nodes.get(member.name)
        beginning = self._world.now - _BEGINNER_S
        return node.born > beginning and other is not None and other.born < beginning


def picture_formats() -> list[str]:
    """What a picture's name may end in. Raises ImportError without matplotlib."""
    import matplotlib.figure

    return sorted(matplotlib.figure.Figure().canvas.get_supported_filetypes())


def draw(timeline: Timeline, path: Path, title: str) -> None:
    """Above: how many members the nodes see. Below: a line for each node, in the colour of the leader that it
    follows, with what it reports. Faults are dashed. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = timeline.nodes
    heights = (1.6, min(36.0, max(2.0, 0.22 * len(names))))
    figure, (views, lines) = pyplot.subplots(
        2, 1, sharex=True, figsize=(14, sum(heights) + 1.4), height_ratios=heights, layout="constrained"
    )
    draw_views(views, timeline)
    _draw_nodes(lines, timeline, pyplot.get_cmap("tab10"))
    _draw_faults((views, lines), [row for row in timeline.rows if row.fault])
    lines.set_yticks(range(len(names)) if len(names) <= 64 else [])
    lines.set_yticklabels(names if len(names) <= 64 else [], fontsize=7)
    lines.set_ylim(len(names) - 0.3, -0.7)
    lines.set_xlim(0.0, timeline.seconds)
    lines.set_xlabel("seconds")
    figure.suptitle(title)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _draw_faults(both: tuple[Any, Any], faults: list[Row]) -> None:
    for row in faults:
        for axes in both:
            axes.axvline(row.time, color="black", linestyle="--", linewidth=0.8 if len(faults) < 20 else 0.3)
        if len(faults) < 20:  # else they would cover each other; the table has them
            text = row.what if len(row.what) <= _LABEL else row.what[: _LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
            both[0].annotate(text, (row.time, 1.02), xycoords=("data", "axes fraction"), rotation=20, size=7)


def draw_views(axes: Any, timeline: Timeline) -> None:
    """How many nodes run, and how many members the nodes see."""
    times = [sample.time for sample in timeline.samples]
    sizes = [[size for _, size in sample.nodes.values()] or [0] for sample in timeline.samples]
    running = [len(sample.nodes) for sample in timeline.samples]
    lowest, highest = ([bound(of) for of in sizes] for bound in (min, max))
    axes.fill_between(times, lowest, highest, step="post", color="tab:blue", alpha=0.3)
    for values, colour, width, label in (  # narrower each time: most of the time all three are at one place
        (running, "0.75", 6, "nodes that run"),
        (highest, "tab:blue", 3, "members in the largest view"),
        (lowest, "tab:red", 1, "in the smallest"),
    ):
        axes.plot(times, values, color=colour, linewidth=width, drawstyle="steps-post", label=label)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _draw_nodes(axes: Any, timeline: Timeline, colours: Any) -> None:
    place = {name: number for number, name in enumerate(timeline.nodes)}
    leaders: dict[str, Any] = {}
    for sample, after in pairwise(timeline.samples):
        followed: dict[str, list[int]] = {}
        for name, (leader, _) in sample.nodes.items():
            followed.setdefault(leader, []).append(place[name])
        for leader, rows in followed.items():
            colour = leaders.setdefault(leader, colours(len(leaders) % 10))
            axes.hlines(rows, sample.time, after.time, color=colour, linewidth=3, alpha=0.45)
    for leader, colour in list(leaders.items())[:_LEADERS_SHOWN]:
        axes.plot([], [], color=colour, linewidth=3, alpha=0.45, label=f"follows {leader}")
    for kind, (label, colour) in _KINDS.items():
        marks = [(time, place[name]) for time, name, of in timeline.marks if of is kind]
        if marks and kind is not LeaderChanged:
            times, places = zip(*marks, strict=True)
            axes.scatter(times, places, s=16, color=colour, marker=_MARKERS[kind], label=label, linewidths=1)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
