"""What one cell of a table is: trials from one start, and the goals for what they measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.detector.warm import Figures, Start, Trial

__all__ = ["Cell", "Goal", "Measured", "Result"]


@dataclass(frozen=True)
class Goal:
    """An upper bound (a lower one with `least`) for one figure, and where it stands (see `bounds`)."""

    figure: str
    statistic: str
    bound: float
    source: str
    least: bool = False
    because: str = ""
    """Why the bound cannot apply to what was run, if so."""

    def missed_by(self, value: float) -> float:
        return self.bound - value if self.least else value - self.bound

    def met(self, value: float | None) -> bool:
        return value is not None and self.missed_by(value) <= 0


@dataclass(frozen=True)
class Cell:
    """`weight` is about how many node-seconds a trial takes, for the progress bar."""

    scenario: str
    title: str
    start: Start
    trial: Trial = field(repr=False)
    figures: tuple[str, ...]
    goals: tuple[Goal, ...] = ()
    trials: int = 100
    rules: str = ""
    """The ablation under which it is run; none: the complete rules."""


@dataclass(frozen=True)
class Measured:
    """One figure over all trials."""

    values: Sequence[float]
    missing: int
    """Trials in which it did not happen at all."""

    def error(self) -> float:
        """Two standard errors of the mean: by so much it may be off by chance."""
        if len(self.values) < 2:
            return math.inf
        mean = sum(self.values) / len(self.values)
        variance = sum((value - mean) ** 2 for value in self.values) / (len(self.values) - 1)
        return 2 * math.sqrt(variance / len(self.values))

    def get(self, statistic: str) -> float | None:
        values = sorted(self.values)
        if statistic == "missing":
            return float(self.missing)
        if not values:
            return None
        if statistic == "mean":
            return sum(values) / len(values)
        if statistic == "max":
            return values[-1]
        if statistic == "min":
            return values[0]
        if statistic == "sum":
            return sum(values)
        share = {"median": 0.5, "p99": 0.99}[statistic]
        return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


@dataclass
class Result:
    """What the trials of a cell brought."""

    cell: Cell
    seed: int
    trials: list[Figures]
    seconds: float = 0.0
    megabytes: int = 0
    """The most that one process has taken."""

    def figure(self, name: str) -> Measured:
        """Of all trials together; a trial may have measured a list."""
        values: list[float] = []
        missing = 0
        for trial in self.trials:
            value = trial.get(name)
            for one in value if isinstance(value, list) else [value]:
                if one is None:
                    missing += 1
                else:
                    values.append(one)
        return Measured(values, missing)

    def errors(self) -> list[str]:
        return [trial["error"] for trial in self.trials if "error" in trial]

    def verdict(self) -> list[tuple[Goal, float | None, bool]]:
        """Each goal with what was measured, and whether it is met. A figure that is missing is not."""
        found = []
        for goal in self.cell.goals:
            figure = self.figure(goal.figure)
            value = figure.get(goal.statistic)
            found.append((goal, value, goal.met(value) and not figure.missing and not self.errors()))
        return found
