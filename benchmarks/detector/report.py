"""Results as lines, tables and plain data."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.detector.cells import Goal, Measured, Result

__all__ = ["line", "plain", "short", "tables", "verdicts"]


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
    """One cell on one line, while others still run."""
    cell = result.cell
    figures = "; ".join(f"{name} {_figure(result, name)}" for name in cell.figures)
    missed = [text for text in verdicts(result) if not text.startswith("met:")]
    judgement = "; ".join(missed) if missed else "met" if cell.goals else "nothing to compare with"
    rules = f" without {cell.rules}" if cell.rules else ""
    return (
        f"{cell.scenario} {cell.title}, {cell.start}{rules}: {figures}  [{len(result.trials)} trials, "
        f"{result.seconds:.0f} s]  {judgement}"
    ).replace("[", "\\[")


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
    """For JSON."""
    cell = result.cell
    return {
        "scenario": cell.scenario,
        "cell": cell.title,
        "start": str(cell.start),
        "options": repr(cell.start),
        "rules": cell.rules,
        "seed": result.seed,
        "verdict": verdicts(result),
        "trials": len(result.trials),
        "hash": result.trials[0].get("hash"),
        "errors": result.errors(),
        "figures": {name: _summary(result.figure(name)) for name in cell.figures},
    }


def _summary(figure: Measured) -> dict[str, float | None]:
    names = ("mean", "median", "p99", "max", "sum", "missing")
    return {"count": len(figure.values)} | {name: figure.get(name) for name in names}
