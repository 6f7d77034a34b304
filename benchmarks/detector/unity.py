"""Staying one cluster: partitions that heal, join storms, mass restarts."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

from benchmarks.detector import bounds
from benchmarks.detector.cells import Cell, Goal
from benchmarks.detector.observe import DeathLog, TrafficRate
from benchmarks.detector.warm import Figures, Start
from benchmarks.detector.weather import cells_clocks
from swim.protocol.node import Phase
from swim.simulation import World
from swim.wire.messages import Dead, ObserverKind, ObserverMessage, Suspect

__all__ = ["cells_partitions", "cells_storms", "one_view"]

PATIENCE = 90.0
RECONNECT = 10.0
"""`Config.reconnect_interval`: how often lost members are looked for."""


def one_view(world: World) -> bool:
    """All running nodes have the same view, and it is exactly they. Much cheaper than `World.converged`."""
    cores = [node.core for node in world.running()]
    if any(core.phase is not Phase.MEMBER for core in cores):
        return False
    views = {(core._table.view_hash, core._table.present_count) for core in cores}
    return len(views) == 1 and views.pop()[1] == len(cores)


def partition(world: World, rng: Random, share: float, seconds: float, one_way: bool) -> Figures:
    """Two parts, and how long after the heal all are one again."""
    names = list(world.nodes)
    group = rng.sample(names, max(1, round(share * len(names))))
    rest = [name for name in names if name not in group]
    log = DeathLog(world)
    cuts = world.partition(group, rest, one_way=one_way)
    world.run(seconds)
    given_up = len(log.deaths)
    world.heal(cuts)
    healed = world.now
    taken = world.run_until(lambda: one_view(world), PATIENCE, 0.1)
    one = world.run_until(world.converged, PATIENCE, 0.1)
    led = None if one is None else world.now - healed
    world.run(5.0)
    return {
        "views equal after": taken,
        "one leader after": led,
        "members given up": given_up,
        "verdicts": sum(log.verdicts.values()),
        "lost": 0 if one_view(world) else 1,
    }


def storm(world: World, rng: Random, count: int) -> Figures:
    """So many nodes start at the same time, all with the first as their seed."""
    log, traffic = DeathLog(world), TrafficRate(world)
    names = world.grow(count, stagger=0.0, prefix="storm")
    start = world.now
    taken = world.run_until(lambda: not world._awaited and one_view(world), PATIENCE, 0.1)
    rates = traffic.rates()
    return {
        "all see all": taken,
        "false deaths": sum(log.verdicts.values()),
        "missing": sum(1 for name in names if not world.nodes[name].running),
        "packets": rates["packets"] if world.now > start else 0.0,
    }


def mass_restart(world: World, rng: Random, within: float) -> Figures:
    """Every process is killed and started anew, without the incarnation that it had."""
    names = list(world.nodes)
    for name in names:
        for turn in range(3):
            world.set_tags(name, {"turn": str(turn)})
    world.run(3.0)
    log = DeathLog(world)
    seeds = names[:3]
    for name in names:
        world.after(rng.uniform(0.0, within), world.restart, name)
        world.nodes[name].seeds = tuple(seed for seed in seeds if seed != name)
    world.run(within)
    taken = world.run_until(lambda: one_view(world), PATIENCE, 0.1)
    world.run(10.0)
    return {
        "one view after": taken,
        "false deaths": len(world.invariants.false_deaths),
        "verdicts": sum(log.verdicts.values()),
        "lost": 0 if world.converged() else 1,
    }


def madness(world: World, rng: Random, seconds: float = 30.0, rate: float = 50.0) -> Figures:
    """One member says whatever comes to its mind of the others, fifty times a second."""
    names = list(world.nodes)
    node = world.nodes[rng.choice(names)]
    others = [name for name in names if name != node.name]
    log, traffic, end = DeathLog(world), TrafficRate(world), world.now + seconds

    def shout() -> None:
        about = rng.choice(others)
        number = world.nodes[about].core.me.incarnation + rng.choice((0, 0, 0, 1, 100))
        kind = rng.choice(list(ObserverKind))
        message = ObserverMessage(
            kind, about, number, rng.randrange(60_000), rng.randrange(99), rng.random() < 0.5
        )
        said = (
            Dead(about, number, node.name),
            Suspect(about, number, node.name),
            message,
        )
        codec = node.core.codec
        packet = codec.packet([codec.part(rng.choice(said))])
        world.transmit(node, packet, world.nodes[rng.choice(others)].address)
        if world.now < end:
            world.after(1.0 / rate, shout)

    shout()
    away = Counter[str]()
    for _ in range(int(seconds)):
        world.run(1.0)
        away.update(x for x in others for viewer in others if world.nodes[viewer].core.member(x) is None)
    rates = traffic.rates()
    return {
        "false deaths": sum(log.verdicts.values()),
        "absent": sum(away.values()) / (seconds * len(others) ** 2),
        "packets": rates["packets"],
        "views equal after": world.run_until(world.converged, PATIENCE, 0.1),
        "lost": 0 if world.converged() else 1,
    }


def cells_partitions(nodes: list[int], trials: int | None) -> list[Cell]:
    figures = ("views equal after", "one leader after", "members given up", "verdicts", "lost")
    goals = (
        Goal(
            "views equal after",
            "max",
            bounds.REUNION_S + RECONNECT,
            "our goal: 5 s and a reconnect interval",
        ),
        Goal("lost", "sum", 0, "our goal"),
    )
    cells = []
    for size in nodes:
        for title, share, one_way in (("50/50", 0.5, False), ("90/10", 0.1, False), ("one-way", 0.5, True)):
            for seconds in (1, 10, 60, 3600):
                trial = partial(partition, share=share, seconds=float(seconds), one_way=one_way)
                count = trials or (10 if seconds <= 60 and size <= 128 else 2)
                name = f"{title} for {seconds} s"
                cells.append(Cell("partitions", name, Start(size, settle=35.0), trial, figures, goals, count))
    return cells


def cells_storms(nodes: list[int], trials: int | None) -> list[Cell]:
    cells = []
    goals: tuple[Goal, ...]
    figures: tuple[str, ...]
    for size in nodes:
        goals = (Goal("false deaths", "sum", 0, "our goal"), Goal("missing", "sum", 0, "our goal"))
        if size in bounds.STORMS:
            goals += (Goal("all see all", "median", bounds.STORMS[size], "memberlist, measured"),)
        figures = ("all see all", "false deaths", "missing", "packets")
        trial = partial(storm, count=size)
        count = trials or (10 if size <= 128 else 1)
        cells.append(
            Cell("storms", f"{size} join at once", Start(1, settle=1.0), trial, figures, goals, count)
        )
        for within in (1.0, 30.0):
            goals = (Goal("lost", "sum", 0, "our goal"), Goal("false deaths", "sum", 0, "our goal"))
            figures = ("one view after", "false deaths", "verdicts", "lost")
            trial = partial(mass_restart, within=within)
            title = f"all restart within {within:.0f} s"
            cells.append(Cell("storms", title, Start(size), trial, figures, goals, count))
        figures = ("absent", "packets", "views equal after", "lost", "false deaths")
        goals = (Goal("lost", "sum", 0, "our goal"),)
        cells.append(
            Cell("storms", "a member gone mad", Start(size), madness, figures, goals, trials or count)
        )
    return cells + cells_clocks(nodes, trials)
