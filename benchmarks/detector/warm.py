"""Converged clusters to start trials from, and trials as forks of them.

A cluster of 1,024 takes a while to come to rest. It does so once; every trial is a fork of the process,
with chance of its own. So a trial is repeatable: it follows from the start, its seed, and the trial's number.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from swim.config import Config
from swim.protocol.node import Node
from swim.simulation import Burst, Network, World

__all__ = ["Figures", "Start", "Trial", "build", "forks", "reseed"]

Figures = dict[str, Any]
"""What a trial measured: numbers, or lists of numbers, by name."""
Trial = Callable[[World, Random], Figures]


@dataclass(frozen=True)
class Start:
    """The cluster that trials start from: its size, its network, and how long it has been running."""

    nodes: int
    wan: bool = False
    loss: float = 0.0
    burst: Burst | None = None
    drift: float = 0.0001
    settle: float = 12.0
    config: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        weather = f", loss {100 * self.loss:.0f} %" if self.loss else ""
        return f"N={self.nodes} {'WAN' if self.wan else 'LAN'}{weather}{', bursts' if self.burst else ''}"


def build(start: Start, seed: int, node: Callable[..., Node] | None = None) -> World:
    """The cluster, at rest. `node` is the class of its cores: an ablation's."""
    network = Network.wan() if start.wan else Network.lan()
    config = Config.wan() if start.wan else Config.lan()
    world = World(
        seed,
        network=replace(network, loss=start.loss, burst=start.burst),
        config=replace(config, **dict(start.config)),
        fast=True,
        drift=start.drift,
        build=node,
        keep_events=False,
    )
    world.assemble(start.nodes)
    world.run(start.settle)
    return world


def reseed(world: World, label: str) -> Random:
    """From here on chance is this trial's own. Returns a generator for what the trial does."""
    world.fabric._rng.seed(f"{world.seed}:{label}:network")
    for node in world.running():
        node.core._context.rng.seed(f"{world.seed}:{label}:{node.name}")
    return world.random(label)


# --- trials as processes


def forks(world: World, trials: list[tuple[str, Trial]], jobs: int) -> Iterator[tuple[int, Figures]]:
    """Run the trials, at most `jobs` at a time; each one's index and figures, as they come in.

    A trial that fails yields its traceback under "error".
    """
    gc.collect()
    gc.freeze()  # else the collector touches, and so copies, every page in every child
    waiting = list(enumerate(trials))[::-1]
    running: dict[int, tuple[int, int, list[bytes]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, (label, trial) = waiting.pop()
                pid, pipe = _fork(world, label, trial)
                running[pipe] = (index, pid, [])
            for pipe in select.select(list(running), [], [])[0]:
                index, pid, chunks = running[pipe]
                chunk = os.read(pipe, 1 << 16)
                if chunk:
                    chunks.append(chunk)
                    continue
                os.close(pipe)
                os.waitpid(pid, 0)
                del running[pipe]
                yield index, json.loads(b"".join(chunks) or b'{"error": "the process died"}')
    finally:
        for pid in [pid for _, pid, _ in running.values()]:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        gc.unfreeze()


def _fork(world: World, label: str, trial: Trial) -> tuple[int, int]:
    sys.stdout.flush()
    mine, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, mine
    try:
        os.close(mine)
        try:
            figures = trial(world, reseed(world, label))
            figures["hash"] = world.trace.digest()
        except BaseException:
            figures = {"error": traceback.format_exc()}
        data = json.dumps(figures).encode()
        while data:
            data = data[os.write(theirs, data) :]
    finally:
        os._exit(0)
