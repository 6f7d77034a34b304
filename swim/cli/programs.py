"""`swim simulate MODULE:FUNCTION`: a run of a `swim.testing.World`, told to people, and as a picture."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from swim.simulation import Network
from swim.simulation.network import Protocol
from swim.testing import World

__all__ = ["Observer", "Sample", "draw_programs", "find_scenario", "happened", "run_scenario"]

LEADER = "leader"
"""The row of those that lead; the others are of leases."""
_INTERVAL_S = 0.1
_SIZE = 1_000
"""Of a packet that does not pass a cut."""
_LEASES_MAX = 40
_LABEL, _APART = 44, 0.03


@dataclass(frozen=True)
class Sample:
    """A look at all programs: which of them lead and hold what, by name of that; how each fares."""

    time: float
    held: dict[str, tuple[str, ...]]
    running: dict[str, bool]
    """False: it stands still. What does not run is not there."""
    cut_off: dict[str, float]
    """From which share of the others."""


class Observer(World):
    """A world that writes down what happens in it. It changes nothing: the same seed is the same run."""

    def __init__(self, seed: int, network: Network) -> None:
        self.faults: list[tuple[float, str]] = []
        self.samples: list[Sample] = []
        super().__init__(seed, network=network)
        self.every(_INTERVAL_S, self._look)

    def note(self, text: str) -> None:
        super().note(text)
        self.faults.append((self.now, text))

    def _look(self) -> None:
        held: dict[str, tuple[str, ...]] = {}
        running = {name: not self.paused(name) for name in self.names if self.running(name)}
        for name in running:
            for what in [*([LEADER] if self.leads(name) else []), *self.leases(name)]:
                held[what] = (*held.get(what, ()), name)
        self.samples.append(Sample(self.now, held, running, {name: self._cut_off(name) for name in running}))

    def _cut_off(self, name: str) -> float:
        others = [other for other in self.names if other != name]
        cut = [other for other in others if self.fabric.barrier(name, other, Protocol.UDP, _SIZE) is not None]
        return len(cut) / len(others) if others else 0.0


def find_scenario(text: str) -> Callable[[World], object]:
    """The function that MODULE:FUNCTION names; modules of the current directory count. Raises UsageError."""
    module, _, function = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Callable[[World], object] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(f"there is no {text}: {error}") from None
    finally:
        del sys.path[0]
    return found


def run_scenario(world: Observer, scenario: Callable[[World], object]) -> Exception | None:
    """What went wrong; None when all went well."""
    try:
        with world:
            scenario(world)
    except Exception as error:
        return error
    return None


def happened(world: Observer) -> list[tuple[float, str]]:
    """Faults, and which programs lead or hold what from when on."""
    rows = list(world.faults)
    for before, sample in pairwise([Sample(0.0, {}, {}, {}), *world.samples]):
        for what in sorted({**before.held, **sample.held}):
            now = sample.held.get(what, ())
            if before.held.get(what, ()) != now:
                rows.append((sample.time, f"{what}: {' and '.join(now) or 'nobody'}"))
    return sorted(rows, key=lambda row: row[0])


def draw_programs(world: Observer, path: Path, title: str) -> None:
    """Above: a line for the leader and one for each lease, in the colour of the program that has it.

    Below: the programs, thin while they stand still, with a red line under those that are cut off. Faults are
    dashed. Needs matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    leases = sorted({what for sample in world.samples for what in sample.held} - {LEADER}, key=_natural)
    rows = [LEADER, *leases[:_LEASES_MAX], *world.names]
    colours = {name: pyplot.get_cmap("tab10")(number % 10) for number, name in enumerate(world.names)}
    height = min(36.0, 2.0 + 0.25 * len(rows))
    figure, axes = pyplot.subplots(figsize=(14, height), layout="constrained")
    for sample, after in pairwise(world.samples):
        span = sample.time, after.time
        for what, names in sample.held.items():
            for number, name in enumerate(names if what in rows else ()):
                axes.hlines(rows.index(what) + 0.2 * number, *span, color=colours[name], linewidth=6)
        for name, awake in sample.running.items():
            place = len(rows) - len(world.names) + world.names.index(name)
            axes.hlines(place, *span, color=colours[name], linewidth=6 if awake else 1)
            if share := sample.cut_off[name]:
                axes.hlines(place + 0.3, *span, color="red", linewidth=2, alpha=share)
    _draw_faults(axes, world.faults, world.now)
    missing = f" (and {len(leases) - _LEASES_MAX} more leases)" if len(leases) > _LEASES_MAX else ""
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.axhline(len(rows) - len(world.names) - 0.5, color="0.8", linewidth=0.8)
    axes.set_ylim(len(rows) - 0.3, -0.7)
    axes.set_xlim(0.0, world.now)
    axes.set_xlabel("seconds")
    figure.suptitle(title + missing)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _natural(name: str) -> list[str]:
    """So that shard/2 stands before shard/10."""
    return [part.rjust(20, "0") if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _draw_faults(axes: Any, faults: Iterable[tuple[float, str]], width: float) -> None:
    """Faults that follow each other closely have one label; when a program starts is to be seen anyway."""
    labels: list[tuple[float, list[str]]] = []
    for when, text in faults:
        axes.axvline(when, color="black", linestyle="--", linewidth=0.5)
        if text.startswith("start "):
            continue
        short = text if len(text) <= _LABEL else text[: _LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
        if labels and when - labels[-1][0] < _APART * width:
            labels[-1][1].append(short)
        else:
            labels.append((when, [short]))
    for when, texts in labels:
        axes.annotate("\n".join(texts), (when, 1.01), xycoords=("data", "axes fraction"), rotation=25, size=7)
