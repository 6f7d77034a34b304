"""How fast news reaches everyone, in simulation: up to 4,096 members, and dissemination alone to 10,000.

    python -m benchmarks.simulated [--nodes 8 32 128 1024 4096] [--trials N] [--jobs 1|2] [--quick]

The real core in virtual time, on three networks: LAN (a quarter of a millisecond each way), the same with
5 % loss, and WAN (five regions, 30 to 150 ms of round trip between them). Each trial is a fork of one cluster
at rest, with chance of its own; all follow from the seed. Seconds until the first, half and all others knew:
- one joins, tag change, leave: from the moment at which the node does it until the others report it.
- process dies: its kernel closes its sockets. host is lost: it vanishes without a word.
- partition heals: two halves that have given each other up, from the heal until each sees all.
- join storm: all but one join through that one at the same moment, until each sees all.
  What these two cost to simulate grows with the square: up to 32 and 128 members, and few trials.
- dissemination alone: one piece of news along the rings, without the tables that 10,000 members would fill.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from rich.table import Table

from benchmarks import pictures, record, show
from benchmarks.detector import flood
from benchmarks.detector.warm import Figures, Start, Trial, build, forks
from swim.events import Event, MemberFailed, MemberJoined, MemberLeft, MemberUpdated
from swim.simulation import Network, World
from swim.simulation.host import SimulatedNode

__all__ = ["main"]

SIZES = (8, 32, 128, 1_024, 4_096)
ALONE = (*SIZES, 10_000)
HEALS, STORM = "partition heals", "join storm"
DEAR = {HEALS: {32: 5}, STORM: {32: 5, 128: 2}}
"""The most trials up to so many members, where everybody has news of everybody."""
DEAR_QUICK = {HEALS: {32: 1}, STORM: {128: 1}}
PATIENCE = 60.0
WEATHER = {"LAN": Network.lan(), "LAN, 5 % loss": Network.lan(loss=0.05), "WAN": Network.wan()}
SHARES = ("first", "half", "all")


class Witness:
    """When each of these nodes first reported an event that matches, counted from now."""

    def __init__(
        self, world: World, nodes: Collection[str], matches: Callable[[SimulatedNode, Event], bool]
    ) -> None:
        self._world, self._matches, self._start = world, matches, world.now
        self._pending = dict.fromkeys(nodes)
        self._of = len(self._pending)
        self._times: list[float] = []
        world.watchers.append(self._note)

    def _note(self, node: SimulatedNode, event: Event) -> None:
        if node.name in self._pending and self._matches(node, event):
            del self._pending[node.name]
            self._times.append(self._world.now - self._start)

    def spread(self) -> Figures:
        """Let time pass until all have; None for what did not happen within a minute."""
        self._world.run_until(lambda: not self._pending, PATIENCE)
        places = (1, math.ceil(self._of / 2), self._of)
        known = [self._times[place - 1] if place <= len(self._times) else None for place in places]
        return dict(zip(SHARES, known, strict=True))


def _about(kind: type, name: str) -> Callable[[SimulatedNode, Event], bool]:
    def matches(node: SimulatedNode, event: Event) -> bool:
        about: Any = event
        return isinstance(event, kind) and about.member.name == name

    return matches


def _others(world: World, name: str) -> list[str]:
    return [other for other in world.nodes if other != name]


class _Missing:
    """How many members each node does not see yet; matches when it sees all."""

    def __init__(self, world: World, of: int) -> None:
        self._left = {node.name: of - len(node.core.members()) for node in world.running()}
        self._of = of

    def __call__(self, node: SimulatedNode, event: Event) -> bool:
        left = self._left.get(node.name, self._of - 1)
        left += isinstance(event, MemberFailed) - isinstance(event, MemberJoined)
        self._left[node.name] = left
        return left == 0


# --- the scenarios; each begins at a time that has nothing to do with the members' own


def joins(world: World, rng: Random) -> Figures:
    world.run(rng.uniform(0.0, 1.0))
    seed = rng.choice(list(world.nodes))
    witness = Witness(world, list(world.nodes), _about(MemberJoined, "newcomer"))
    world.add_node("newcomer", [seed])
    return witness.spread()


def changes(world: World, rng: Random, kind: type, change: Callable[[World, str], object]) -> Figures:
    world.run(rng.uniform(0.0, 1.0))
    name = rng.choice(list(world.nodes))
    witness = Witness(world, _others(world, name), _about(kind, name))
    change(world, name)
    return witness.spread()


def heals(world: World, rng: Random) -> Figures:
    names = list(world.nodes)
    rng.shuffle(names)
    half = len(names) // 2
    world.partition(names[:half], names[half:])
    world.run_until(lambda: _apart(world, names[:half], names[half:]), PATIENCE)
    world.run(rng.uniform(5.0, 15.0))
    witness = Witness(world, names, _Missing(world, len(names)))
    world.heal()
    return witness.spread()


def _apart(world: World, one: Sequence[str], other: Sequence[str]) -> bool:
    sizes = {name: size for side, size in ((one, len(one)), (other, len(other))) for name in side}
    return all(len(world.nodes[name].core.members()) == size for name, size in sizes.items())


def storm(world: World, rng: Random, nodes: int) -> Figures:
    """The world is one founder; where the storm begins is chance enough."""
    world.run(rng.uniform(1.0, 2.0))
    names = [f"s{i}" for i in range(nodes - 1)]
    witness = Witness(world, [*world.nodes, *names], _Missing(world, nodes))
    for name in names:
        world.add_node(name, ["n0"])
    return witness.spread()


TRIALS: dict[str, Trial] = {
    "one joins": joins,
    "tag change": partial(
        changes, kind=MemberUpdated, change=lambda world, name: world.set_tags(name, {"v": "2"})
    ),
    "leave": partial(changes, kind=MemberLeft, change=World.leave),
    "process dies": partial(changes, kind=MemberFailed, change=World.crash),
    "host is lost": partial(changes, kind=MemberFailed, change=World.lose_host),
    HEALS: heals,
}
ALONE_TITLE = "dissemination alone"
SCENARIOS = (STORM, *TRIALS, ALONE_TITLE)


@dataclass(frozen=True)
class Cell:
    """Trials that begin with the same cluster."""

    network: str
    nodes: int
    scenarios: tuple[str, ...]
    trials: int

    @property
    def count(self) -> int:
        return len(self.scenarios) * self.trials


def cells(args: argparse.Namespace) -> list[Cell]:
    found = []
    for network in WEATHER:
        for nodes in args.nodes:
            trials = args.trials or (9 if nodes <= 128 else 5 if nodes <= 1_024 else 1)
            cheap = tuple(name for name in TRIALS if name not in DEAR)
            found.append(Cell(network, nodes, cheap, trials))
            for name, limits in (DEAR_QUICK if args.quick else DEAR).items():
                most = next((count for size, count in limits.items() if nodes <= size), 0)
                if most:
                    found.append(Cell(network, nodes, (name,), min(trials, most)))
        sizes = args.nodes if args.quick else ALONE
        found += [Cell(network, nodes, (ALONE_TITLE,), args.trials or 5) for nodes in sizes]
    return found


def measure(cell: Cell, seed: int, jobs: int, done: Callable[[], object]) -> Iterator[dict[str, Any]]:
    """One result for each trial."""
    head = {"network": cell.network, "nodes": cell.nodes}
    if cell.scenarios == (ALONE_TITLE,):
        for trial, figures in enumerate(_alone(cell, seed)):
            done()
            yield {**head, "scenario": ALONE_TITLE, "trial": trial, **figures}
        return
    is_storm = cell.scenarios == (STORM,)
    chosen = {STORM: partial(storm, nodes=cell.nodes)} if is_storm else TRIALS
    network = WEATHER[cell.network]
    start = Start(1 if is_storm else cell.nodes, wan=network.regions > 1, loss=network.loss)
    world = build(start, seed)
    plan = [(name, trial) for name in cell.scenarios for trial in range(cell.trials)]
    labelled = [(f"{name} {start} {trial}", chosen[name]) for name, trial in plan]
    for index, figures in forks(world, labelled, jobs):
        done()
        if "error" in figures:
            raise RuntimeError(figures["error"])
        yield {**head, "scenario": plan[index][0], "trial": plan[index][1], **figures}


def _alone(cell: Cell, seed: int) -> Iterator[Figures]:
    network = WEATHER[cell.network]
    targets = flood.ring_targets(cell.nodes, flood.fanout(network.loss))
    for trial in range(cell.trials):
        rng = Random(f"{seed}:{cell.network}:{cell.nodes}:{trial}")
        reach = flood.spread(targets, cell.nodes, rng, network, dead=0.0)
        last = None if math.isinf(reach["t100"]) else reach["t100"]
        yield {"first": None, "half": reach["t50"], "all": last, "t99": reach["t99"], **_rest(reach)}


def _rest(reach: dict[str, float]) -> Figures:
    return {name: reach[name] for name in ("messages", "missed")}


# --- what is shown


def _median(results: list[dict[str, Any]], share: str) -> float | None:
    """Trials in which it never came to that count as endless."""
    values = [math.inf if one[share] is None else one[share] for one in results]
    median = statistics.median(values) if values else math.inf
    return None if math.isinf(median) else median


def _select(results: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [one for one in results if fields.items() <= one.items()]


def tables(results: list[dict[str, Any]]) -> list[Table]:
    """Median seconds until all knew; a table for each network."""
    found = []
    for network in WEATHER:
        ours = _select(results, network=network)
        sizes = sorted({one["nodes"] for one in ours})
        rows = []
        for scenario in SCENARIOS:
            row = [scenario]
            for nodes in sizes:
                trials = _select(ours, scenario=scenario, nodes=nodes)
                known = [one["all"] for one in trials if one["all"] is not None]
                missed = (
                    f", {len(trials) - len(known)} of {len(trials)} not all"
                    if len(known) < len(trials)
                    else ""
                )
                row.append(show.middle(known) + missed if trials else "")
            rows.append(row)
        title = f"{network}: seconds until all know; median (least-greatest) of the trials"
        found.append(show.table(title, ("", *(f"N = {nodes:,}" for nodes in sizes)), rows))
    return found


def draw(args: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Seconds until all know, against the number of members."""
    with pictures.pictures(
        args.json, list(WEATHER), x="members", y="seconds until all know", log="xy"
    ) as axes:
        for one, network in zip(axes, WEATHER, strict=True):
            for colour, scenario in zip(pictures.COLOURS, (*TRIALS,), strict=True):
                ours = _select(results, network=network, scenario=scenario)
                sizes = sorted({point["nodes"] for point in ours})
                medians = [_median(_select(ours, nodes=nodes), "all") for nodes in sizes]
                pictures.line(one, sizes, medians, scenario, color=colour)
            ours = _select(results, network=network, scenario=ALONE_TITLE)
            sizes = sorted({point["nodes"] for point in ours})
            medians = [_median(_select(ours, nodes=nodes), "t99") for nodes in sizes]
            pictures.line(one, sizes, medians, "99 % by flood alone", color=pictures.INK, linestyle=":")
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def main(argv: Sequence[str] | None = None) -> int:
    parser = record.parser("simulated", __doc__, seed=1)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES), help="cluster sizes, 2 or more")
    parser.add_argument("--trials", type=int, help="of each; else as many as the size allows")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    args = record.parse(parser, argv)
    if args.quick:
        args.nodes = [8, 32, 128] if args.nodes == list(SIZES) else args.nodes
        args.trials = args.trials or 2
    if min(args.nodes) < 2 or args.jobs < 1 or (args.trials is not None and args.trials < 1):
        parser.error("--nodes needs 2 or more, --jobs and --trials 1 or more")
    plan = cells(args)
    results: list[dict[str, Any]] = []
    with show.progress() as bar:
        task = bar.add_task("", total=sum(cell.count for cell in plan))
        for cell in plan:
            bar.update(task, description=f"{cell.network}, N={cell.nodes}: {', '.join(cell.scenarios)}")
            for result in measure(cell, args.seed, args.jobs, lambda: bar.advance(task)):
                results.append({name: _short(value) for name, value in result.items()})
            record.write(args, results=results)
    console = show.console()
    console.print(*tables(results), sep="\n")
    if pictures.available():
        draw(args, results)
    print(f"recorded in {args.json}")
    return 0


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
