"""How fast the simulation is, where its time goes, and how much memory it takes."""

from __future__ import annotations

import cProfile
import gc
import io
import json
import os
import pstats
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.table import Table

from benchmarks.detector.bounds import MEMORY_GB, NODE_SECONDS
from benchmarks.detector.warm import Start, build
from swim.simulation import World

__all__ = ["table"]

TOP = 15
SETTLE = 40.0
"""Seconds until a cluster is at rest: for 30 s after its start a node looks for others every second."""


def table(args: Any) -> list[Any]:
    """Simulated node-seconds per second of CPU, in fast mode, idle; each size in a process of its own."""
    found = Table(title=f"speed: one core, fast mode, idle since {SETTLE:.0f} s; seed {args.seed}")
    for column in ("N", "build, CPU s", "node-seconds per CPU s", "goal", "MB", "MB per 1,000 views"):
        found.add_column(column)
    sizes = [128] if args.quick else args.nodes
    profiles = []
    for size in sizes:
        row, profile = _apart(partial(_measure, size, args.seed))
        found.add_row(*row)
        profiles.append(profile)
    return [found, profiles[-1]]


def _measure(size: int, seed: int) -> tuple[list[str], str]:
    started = time.process_time()
    world = build(Start(size, settle=SETTLE), seed)
    built = time.process_time() - started
    seconds = max(4.0, 4096 / size)
    gc.collect()
    gc.freeze()
    rate = size * seconds / _cpu(lambda: world.run(seconds))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdict = "met" if rate >= NODE_SECONDS or size != 1024 else f"MISSED: >= {NODE_SECONDS}"
    if size == 1024:
        # Views grow with the square, all else with the number of nodes: this is an upper bound.
        four = 16 * megabytes / 1024
        verdict += f"; at 4,096 <= {four:.1f} GB: {'met' if four <= MEMORY_GB else 'MISSED'}"
    row = [str(size), f"{built:.1f}", f"{rate:.0f}", verdict, f"{megabytes:.0f}"]
    return [*row, f"{megabytes / (size * size / 1e3):.2f}"], _profile(world, seconds / 2)


def _cpu(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def _profile(world: World, seconds: float) -> str:
    profile = cProfile.Profile()
    profile.runcall(world.run, seconds)
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text).strip_dirs()
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(TOP)
    return "\n".join(line for line in text.getvalue().splitlines() if line.strip())


def _apart(action: Callable[[], Any]) -> Any:
    """In a process of its own, so that its memory is its own."""
    mine, theirs = os.pipe()
    if not (pid := os.fork()):
        try:
            os.write(theirs, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(mine, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)
