"""A: one member crashes. B: many at once, or all but one.

`process`: killed, its kernel closes its streams. `host`: gone without a word.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

from benchmarks.detector import bounds
from benchmarks.detector.cells import Cell
from benchmarks.detector.observe import DeathLog, TrafficRate
from benchmarks.detector.warm import Figures, Start
from swim.config import Config
from swim.simulation import World

__all__ = ["cells_a", "cells_b"]

PATIENCE = 40.0
FIGURES = ("first suspicion", "first dead", "all know", "healthy dead")


def crash(world: World, rng: Random, host: bool, share: float = 0.0, spare: int = 0) -> Figures:
    """One member, a share of them, or all but `spare`, at a time that has nothing to do with theirs."""
    world.run(rng.uniform(0.0, 1.0))
    names = list(world.nodes)
    count = len(names) - spare if spare else max(1, round(share * len(names)))
    victims = rng.sample(names, count)
    log, traffic = DeathLog(world, victims), TrafficRate(world)
    for victim in victims:
        (world.lose_host if host else world.crash)(victim)
    world.run_until(log.all_know, PATIENCE)
    known = [log.known(victim) for victim in victims]
    last = None if None in known else max(time for time in known if time is not None)
    return {
        "first suspicion": min(log.suspected.values(), default=None),
        "first dead": [log.first(victim) for victim in victims],
        "all know": known,
        "last victim": last,
        "healthy dead": log.healthy_deaths(victims),
        "packets": traffic.rates()["packets"],
    }


def cells_a(nodes: list[int], trials: int | None) -> list[Cell]:
    cells = []
    for size in nodes:
        for wan, loss in [(False, 0), (False, 1), (False, 5), (False, 20), (True, 0), (True, 5)]:
            # How many copies of news are sent follows from the loss that pings tell of, which takes a while.
            start = Start(size, wan=wan, loss=loss / 100, settle=120.0 if loss else 12.0)
            count = trials or (100 if size <= 128 else 20 if size <= 1024 else 3)
            for host in (False, True):
                cells.append(_cell_a(start, loss, host, count))
            # The document's host column has another tolerance: the same once more, so that like meets like.
            tolerance = 2.0 if wan else 1.2
            if bounds.until_all_know(size, loss, wan=wan, host=True, tolerance=tolerance) and loss != 1:
                like = replace(start, config=(("silence_tolerance", tolerance),))
                cells.append(_cell_a(like, loss, True, count, tolerance))
    return cells


def _cell_a(start: Start, loss: int, host: bool, count: int, tolerance: float | None = None) -> Cell:
    usual = (Config.wan() if start.wan else Config.lan()).silence_tolerance
    title = ("host" if host else "process") + (f", {tolerance} s of tolerance" if tolerance else "")
    goals = bounds.until_all_know(start.nodes, loss, wan=start.wan, host=host, tolerance=tolerance or usual)
    goals = (*goals, bounds.nobody(source="A: nobody else"))
    return Cell("A", title, start, partial(crash, host=host), FIGURES, goals, count)


def cells_b(nodes: list[int], trials: int | None) -> list[Cell]:
    cells = []
    figures = ("first dead", "all know", "last victim", "healthy dead", "packets")
    for size in [size for size in nodes if size >= 16]:
        for share in (0.1, 0.3, 0.5):
            count = trials or (20 if size <= 128 else 3)
            for host in (True, False):
                goals = bounds.mass(size, round(100 * share)) if host else ()
                goals = (*goals, bounds.nobody(source="B: nobody else"))
                trial = partial(crash, host=host, share=share)
                title = f"{100 * share:.0f} % {'hosts' if host else 'processes'}"
                cells.append(Cell("B", title, Start(size), trial, figures, goals, count))
    for size in (2, 3, 5, 8):
        for host in (True, False):
            goals = bounds.survivor(host=host)
            trial = partial(crash, host=host, spare=1)
            title = f"all but one of {size}, {'hosts' if host else 'processes'}"
            cells.append(Cell("B", title, Start(size), trial, figures, goals, trials or 100))
    return cells
