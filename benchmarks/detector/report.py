"""Results as lines, tables and plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.detector.cells import Cell, Goal, Measured, Result
from benchmarks.detector.warm import Figures, Start
from swim.simulation import Burst, World

__all__ = ["judged", "line", "load", "plain", "rows", "short", "tables", "verdicts"]


def short(value: float | None) -> str:
    if value is None or value == float("inf"):
        return "never"
    if value == round(value) and abs(value) < 1e6:
        return str(round(value))
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def _figure(result: Result, name: str) -> str:
    figure = result.figure(name)
    if not figure.values:
        return "never" if figure.missing else "-"
    mean, p99, highest = (figure.get(statistic) for statistic in ("mean", "p99", "max"))
    text = short(mean) if mean == highest else f"{short(mean)} / {short(p99)} / {short(highest)}"
    return text + (f" ({figure.missing} never)" if figure.missing else "")


def _verdict(result: Result, goal: Goal, value: float | None, met: bool) -> str:
    """The measured figure beside the document's, and by how much it is missed."""
    told = (
        f"{goal.figure} {goal.statistic} {'>=' if goal.least else '<='} {short(goal.bound)} ({goal.source})"
    )
    if met:
        return f"met: {told}"
    figure = result.figure(goal.figure)
    if figure.missing or value is None:
        return f"MISSED, {figure.missing} never: {told}"
    error = figure.error()
    about = f" +- {short(error)}" if goal.statistic == "mean" and error < abs(value) else ""
    why = f"; {goal.because}" if goal.because else ""
    return f"missed by {short(goal.missed_by(value))}: {short(value)}{about}, not {told}{why}"


def verdicts(result: Result) -> list[str]:
    """Each goal with what was measured; and the trials that broke."""
    lines = [_verdict(result, goal, value, met) for goal, value, met in result.verdict()]
    errors = result.errors()
    return lines + ([f"{len(errors)} TRIALS FAILED: {errors[0].splitlines()[-1]}"] if errors else [])


def line(result: Result) -> str:
    """One cell on one line, without what it is compared with."""
    cell = result.cell
    figures = "; ".join(f"{name} {_figure(result, name)}" for name in cell.figures)
    rules = f" without {cell.rules}" if cell.rules else ""
    count, seconds = len(result.trials), result.seconds
    return f"{cell.scenario} {cell.title}, {cell.start}{rules}: {figures}  [{count} trials, {seconds:.0f} s]"


def judged(result: Result) -> str:
    """The same, with what was missed, while others still run."""
    cell = result.cell
    missed = [text for text in verdicts(result) if not text.startswith("met:")]
    judgement = "; ".join(missed) if missed else "met" if cell.goals else "nothing to compare with"
    return f"{line(result)}  {judgement}".replace("[", "\\[")


def tables(results: list[Result]) -> list[Table]:
    """One for each scenario."""
    ordered = sorted(results, key=lambda result: result.cell.scenario)
    found = []
    for scenario, group in groupby(ordered, key=lambda result: result.cell.scenario):
        cells = list(group)
        names = list(dict.fromkeys(name for result in cells for name in result.cell.figures))
        table = Table(title=f"{scenario}: mean / p99 / worst, seconds; seed {cells[0].seed}")
        for column in ("cell", "start", "trials", *names, "goals"):
            table.add_column(column)
        for result in cells:
            figures = [_figure(result, name) if name in result.cell.figures else "" for name in names]
            lines = verdicts(result)
            bad = any(not text.startswith("met") for text in lines)
            title = result.cell.title + (f", without {result.cell.rules}" if result.cell.rules else "")
            if not bad:
                lines = [text.removeprefix("met: ") for text in lines]
            goals = Text("\n".join(lines), style="red" if bad else "green")
            table.add_row(title, str(result.cell.start), str(len(result.trials)), *figures, goals)
        found.append(table)
    return found


def plain(result: Result) -> dict[str, Any]:
    """For JSON; with every single value, so that more trials can be added to these."""
    cell = result.cell
    wanted = dict.fromkeys([*cell.figures, *(goal.figure for goal in cell.goals)])
    return {
        "scenario": cell.scenario,
        "cell": cell.title,
        "start": str(cell.start),
        "options": asdict(cell.start),
        "rules": cell.rules,
        "seed": result.seed,
        "verdict": verdicts(result),
        "trials": len(result.trials),
        "hash": result.trials[0].get("hash"),
        "seconds": round(result.seconds, 1),
        "megabytes": result.megabytes,
        "errors": result.errors(),
        "goals": [asdict(goal) for goal in cell.goals],
        "figures": {name: _summary(result.figure(name)) for name in wanted},
    }


def _summary(figure: Measured) -> dict[str, Any]:
    names = ("mean", "median", "p99", "max", "sum", "missing")
    numbers = {name: figure.get(name) for name in names}
    return {"count": len(figure.values)} | numbers | {"values": [round(value, 5) for value in figure.values]}


def load(told: Mapping[str, Any]) -> Result:
    """What `plain` told, back from JSON. It does not know any more which trial a value came from."""
    options, figures, errors = told["options"], told["figures"], told["errors"]
    burst, config = options["burst"], options["config"]
    start = Start(**options | {"burst": burst and Burst(**burst), "config": tuple(map(tuple, config))})
    goals = tuple(Goal(**goal) for goal in told["goals"])
    title, rules, count = told["cell"], told["rules"], told["trials"]
    cell = Cell(told["scenario"], title, start, _done, tuple(figures), goals, count, rules)
    trials: list[Figures] = [{name: [] for name in figures} for _ in range(told["trials"])]
    trials[0] = {name: [*one["values"], *[None] * int(one["missing"])] for name, one in figures.items()}
    for trial, error in zip(trials[::-1], errors, strict=False):
        trial["error"] = error
    return Result(cell, told["seed"], trials, told["seconds"], told["megabytes"])


def _done(world: World, rng: object) -> Figures:
    raise RuntimeError("it was run elsewhere")


def rows(table: Table | str) -> dict[str, Any] | list[str]:
    """A table, or a text, for JSON."""
    if isinstance(table, str):
        return table.splitlines()
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    lines = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"title": str(table.title), "rows": lines}
