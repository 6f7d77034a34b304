"""C: members that stall, as in the Lifeguard paper. D: bad links, as in the Rapid paper. G: pauses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from benchmarks.detector import bounds
from benchmarks.detector.cells import Cell
from benchmarks.detector.observe import DeathLog, TrafficRate
from benchmarks.detector.warm import Figures, Start
from swim.simulation import World

__all__ = ["cells_c", "cells_d", "cells_g", "pauses", "rapid", "stalls", "verdicts_on_healthy"]

STALL_SECONDS = 120.0
RAPID_SECONDS = 300.0
FLIP = 20.0


def verdicts_on_healthy(log: DeathLog, ill: list[str]) -> Figures:
    """Polls about healthy members, in all views and in those of healthy ones; and about the ill.

    `solo`: those among them that a member reached alone, and keeps to itself.
    """
    verdicts = {pair: n for pair, n in log.verdicts.items() if pair[1] not in ill}
    removed = [name for name in ill if any(viewer not in ill for viewer in log.deaths.get(name, {}))]
    return {
        "healthy dead": sum(verdicts.values()),
        "in healthy views": sum(n for (viewer, _), n in verdicts.items() if viewer not in ill),
        "solo": sum(n for (_, name), n in log.solo.items() if name not in ill),
        "ill removed": len(removed) / max(1, len(ill)),
    }


def stalls(
    world: World,
    rng: Random,
    kind: str,
    count: int,
    stall: float,
    rest: float,
    seconds: float = STALL_SECONDS,
) -> Figures:
    """So many members stall again and again: for `stall` seconds, with `rest` seconds between."""
    ill = rng.sample(list(world.nodes), count)
    act = {"paused": world.pause, "receive": world.block_receive, "send": world.block_send}[kind]
    log = DeathLog(world, ill)

    def again(name: str) -> None:
        if world.nodes[name].running and world.now + rest < end:
            act(name, min(stall, end - world.now))
            world.after(stall + rest, again, name)

    end = world.now + seconds
    for name in ill:
        world.after(rng.uniform(0.0, 1.0), again, name)
    world.run(seconds)
    return verdicts_on_healthy(log, ill)


def rapid(world: World, rng: Random, fault: str, share: float = 0.01) -> Figures:
    """A few members' links are bad for five minutes. Are they removed, and kept out?"""
    names = list(world.nodes)
    faulty = rng.sample(names, max(1, round(share * len(names))))
    others = [name for name in names if name not in faulty]
    log = DeathLog(world, faulty)
    apply = _rapid_fault(world, faulty, fault)
    apply(True)
    if fault.endswith("flip"):
        _alternate(world, apply, world.now + RAPID_SECONDS)
    seen, samples = 0, 0
    for second in range(int(RAPID_SECONDS)):
        world.run(1.0)
        if second >= RAPID_SECONDS / 2:
            for viewer in rng.sample(others, min(8, len(others))):
                view = world.nodes[viewer].core
                seen += sum(1 for name in faulty if view.member(name) is not None)
                samples += len(faulty)
    first = [_settled(log, name, others) for name in faulty]
    changes = sum(n for (viewer, name), n in log.verdicts.items() if name in faulty and viewer in others)
    return verdicts_on_healthy(log, faulty) | {
        "removed after": first,
        "removals": changes / (len(faulty) * len(others)),
        "kept out": 1 - seen / samples,
    }


def _settled(log: DeathLog, name: str, others: list[str]) -> float | None:
    times = [log.deaths.get(name, {}).get(viewer) for viewer in others]
    found = [time for time in times if time is not None]
    return max(found) if len(found) == len(times) else None


def _rapid_fault(world: World, faulty: list[str], fault: str) -> Callable[[bool], None]:
    loss = 1.0 if "100" in fault or "flip" in fault else 0.8
    incoming = fault.startswith(("in", "both"))
    outgoing = fault.startswith(("out", "both", "egress"))

    def apply(on: bool) -> None:
        value = loss if on else 0.0
        world.set_loss(
            incoming=dict.fromkeys(faulty, value) if incoming else None,
            outgoing=dict.fromkeys(faulty, value) if outgoing else None,
        )

    return apply


def _alternate(world: World, apply: Callable[[bool], None], end: float, on: bool = True) -> None:
    if world.now < end:
        apply(on)
        world.after(FLIP, _alternate, world, apply, end, not on)


def pauses(world: World, rng: Random, seconds: float, per_hour: float = 12.0) -> Figures:
    """Pareto pauses, 0.1 s and longer: every 60th lasts over 3 s, every 400th over 15 s."""
    names = list(world.nodes)
    log, traffic, total = DeathLog(world), TrafficRate(world), 0

    def pause(name: str) -> None:
        nonlocal total
        total += 1
        world.pause(name, min(0.1 * rng.random() ** (-1 / 1.2), 600.0))
        later(name)

    def later(name: str) -> None:
        world.after(rng.expovariate(per_hour / 3600.0), pause, name)

    for name in names:
        later(name)
    world.run(seconds)
    hours = len(names) * seconds / 3600.0
    paused = len({name for _, name in log.verdicts})
    # A paused member's own verdicts about others are not deaths of the paused.
    deaths = sum(1 for name in log.deaths if log.deaths[name])
    return {
        "node-hours": hours,
        "pauses": total,
        "declared dead": paused,
        "deaths per node-hour": deaths / hours,
        **traffic.rates(),
    }


def cells_c(nodes: list[int], trials: int | None) -> list[Cell]:
    figures = ("healthy dead", "in healthy views", "solo", "ill removed")
    goals = (bounds.nobody(), bounds.nobody("in healthy views"))
    cells = []
    for size in [size for size in nodes if size >= 16]:
        grid = [
            (kind, count, stall, rest)
            for kind in ("receive", "send", "paused")
            for count in (1, 4, 8, 16, 32)
            for stall in (2.048, 8.192, 32.768)
            for rest in ((0.001, 1.024) if kind == "paused" else (0.016,))
            if count <= size // 4
        ]
        for kind, count, stall, rest in grid:
            trial = partial(stalls, kind=kind, count=count, stall=stall, rest=rest)
            title = f"{kind} C={count} D={stall:.1f} s I={1000 * rest:.0f} ms"
            cells.append(Cell("C", title, Start(size), trial, figures, goals, trials or 2))
    return cells


def cells_d(nodes: list[int], trials: int | None) -> list[Cell]:
    figures = ("healthy dead", "in healthy views", "solo", "removed after", "removals", "kept out")
    cells = []
    for size in [size for size in nodes if size >= 16]:
        for fault in ("in80", "out80", "both80", "in100", "ingress flip", "egress flip"):
            trial = partial(rapid, fault=fault)
            cells.append(Cell("D", fault, Start(size), trial, figures, bounds.rapid(fault), trials or 3))
    return cells


def cells_g(nodes: list[int], trials: int | None) -> list[Cell]:
    figures = ("node-hours", "pauses", "declared dead", "deaths per node-hour")
    return [
        Cell(
            "G",
            "pauses",
            Start(size),
            partial(pauses, seconds=1200.0),
            figures,
            bounds.pauses(size),
            trials or 10,
        )
        for size in nodes
        if size >= 16
    ]
