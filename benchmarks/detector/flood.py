"""F: dissemination alone, to 10,000 members: the core's rings and its rule, without its tables."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any

from rich.table import Table

from benchmarks.detector import bounds
from benchmarks.detector.cells import Goal
from benchmarks.detector.report import short
from swim.config import Config
from swim.protocol.gossip import dissemination
from swim.protocol.view.rings import Rings
from swim.simulation.network import Fabric, Network

__all__ = ["spread", "table"]

CONDITIONS = [(0.0, 0.0), (0.05, 0.0), (0.2, 0.0), (0.01, 0.1)]
"""Loss, and the share of members that are dead without being known to be."""

Targets = Callable[[int, Random], list[int]]


def fanout(loss: float) -> int:
    """As `Dissemination._fanout`."""
    config = Config.lan()
    some, much = dissemination._SOME_LOSS, dissemination._MUCH_LOSS
    extra = 0 if loss < some else config.fanout // 2 if loss < much else config.fanout
    return min(config.fanout + extra, config.rings)


def ring_targets(count: int, rings: int) -> Targets:
    names = [f"n{i}" for i in range(count)]
    number = {name: i for i, name in enumerate(names)}
    ordered = Rings(Config.lan().rings)
    for name in names:
        ordered.add(name, own=True)
    found = [[number[next(ordered.successors(name, ring))] for ring in range(rings)] for name in names]
    unique = [list(dict.fromkeys(targets)) for targets in found]
    return lambda member, rng: unique[member]


def random_targets(count: int, fan: int) -> Targets:
    return lambda member, rng: [rng.randrange(count) for _ in range(fan)]


def spread(targets: Targets, count: int, rng: Random, network: Network, dead: float) -> dict[str, float]:
    """One piece of news from a random live member, in a quiet cluster: nobody holds it. Times in seconds."""
    fabric = Fabric(network, rng, rng)
    for member in range(count):
        fabric.place(str(member))
    gone = set(rng.sample(range(count), round(dead * count)))
    origin = rng.choice([member for member in range(count) if member not in gone])
    told: dict[int, float] = {}
    messages = 0
    queue = [(0.0, origin)]
    while queue:
        now, member = heapq.heappop(queue)
        if member in told or member in gone:
            continue
        told[member] = now
        for target in targets(member, rng):
            messages += 1
            if rng.random() >= network.loss:
                heapq.heappush(queue, (now + fabric.delay(str(member), str(target)), target))
    live = count - len(gone)
    times = sorted(told.values())
    reach = {f"t{share}": _quantile(times, live, share / 100) for share in (50, 99, 100)}
    return reach | {"messages": messages / live, "missed": 1 - len(told) / live}


def _quantile(times: list[float], count: int, share: float) -> float:
    place = math.ceil(share * count) - 1
    return times[place] if place < len(times) else math.inf


def table(args: Any) -> list[Table]:
    """The mean of all trials; the core's rule beside random gossip of the same fan-out."""
    found = Table(title=f"F: one piece of news, ms; mean of the trials; seed {args.seed}")
    columns = ("N", "network", "rule", "trials", "t50", "t99", "t100", "messages/member", "missed", "goals")
    for column in columns:
        found.add_column(column)
    sizes = [1_000] if args.quick else [1_024, 10_000]
    trials = args.trials or 20
    for size in sizes:
        for wan, (loss, dead) in [(False, key) for key in CONDITIONS] + [(True, (0.0, 0.0))]:
            fan = fanout(loss)
            network = Network.wan(loss=loss) if wan else Network.lan(loss=loss)
            title = f"{'WAN' if wan else 'LAN'}, loss {100 * loss:.0f} %, {100 * dead:.0f} % dead"
            rules = {f"rings {fan}": ring_targets(size, fan), f"random {fan}": random_targets(size, fan)}
            for rule, targets in rules.items():
                mean = _mean(targets, size, network, dead, trials, f"{args.seed}:{title}:{size}")
                goals = bounds.flood(size, loss, dead, wan=wan) if rule.startswith("rings") else ()
                goal = "\n".join(_verdict(mean, each) for each in goals)
                times = [short(1000 * mean[key]) for key in ("t50", "t99", "t100")]
                numbers = [f"{mean['messages']:.1f}", f"{mean['missed']:.1e}"]
                found.add_row(str(size), title, rule, str(trials), *times, *numbers, goal)
    return [found]


def _mean(
    targets: Targets, size: int, network: Network, dead: float, trials: int, label: str
) -> dict[str, float]:
    runs = [spread(targets, size, Random(f"{label}:{i}"), network, dead) for i in range(trials)]
    return {key: sum(run[key] for run in runs) / trials for key in runs[0]}


def _verdict(mean: dict[str, float], goal: Goal) -> str:
    value = mean[goal.figure] * (1 if goal.figure == "missed" else 1000)
    told = f"{goal.figure} <= {goal.bound:g} ({goal.source})"
    return f"met: {told}" if goal.met(value) else f"missed by {goal.missed_by(value):.2g}: {told}"
