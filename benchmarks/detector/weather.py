"""E: loss, uniform and in bursts, with nothing wrong otherwise. And clocks that run at other rates."""

from __future__ import annotations

from functools import partial
from random import Random

from benchmarks.detector import bounds
from benchmarks.detector.cells import Cell
from benchmarks.detector.observe import DeathLog, TrafficRate
from benchmarks.detector.warm import Figures, Start
from swim.simulation import Burst, World

__all__ = ["cells_clocks", "cells_e"]

FIGURES = ("false deaths per node-hour", "false deaths", "suspicions per node-hour", "packets", "bytes")

LOSSES = (0, 5, 10, 20, 30)


def calm(world: World, rng: Random, seconds: float) -> Figures:
    """Nobody does anything; whoever is declared dead is so falsely."""
    log, traffic = DeathLog(world), TrafficRate(world)
    world.run(seconds)
    hours = len(world.nodes) * seconds / 3600.0
    deaths = sum(log.verdicts.values())
    return {
        "false deaths": deaths,
        "false deaths per node-hour": len({name for _, name in log.verdicts}) / hours,
        "suspicions per node-hour": log.suspicions / hours,
        "streams": sum(node.traffic.streams_opened for node in world.nodes.values()),
        **traffic.rates(),
    }


def cells_e(nodes: list[int], trials: int | None) -> list[Cell]:
    cells = []
    for size in nodes:
        trial = partial(calm, seconds=120.0)
        for loss in LOSSES:
            start = Start(size, loss=loss / 100, settle=30.0)
            goals = bounds.traffic(size, loss)
            cells.append(Cell("E", "uniform", start, trial, FIGURES, goals, trials or 5))
        for share, burst in (
            (2, Burst(20.0, 0.5, 0.9)),
            (10, Burst(4.0, 0.5, 0.9)),
            (30, Burst(1.0, 0.5, 0.9)),
        ):
            start = Start(size, burst=burst, settle=30.0)
            goals = (bounds.nobody("false deaths", "E, M1"),)
            cells.append(Cell("E", f"bursts, {share} %", start, trial, FIGURES, goals, trials or 5))
    return cells


def cells_clocks(nodes: list[int], trials: int | None) -> list[Cell]:
    goals = (bounds.nobody("false deaths", "our goal"),)
    return [
        Cell(
            "storms",
            "clock rates off by 1 %",
            Start(size, drift=0.01, settle=60.0),
            partial(calm, seconds=300.0),
            FIGURES,
            goals,
            trials or 3,
        )
        for size in nodes
    ]
