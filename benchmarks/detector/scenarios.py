"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.detector import accrual, flood, speed
from benchmarks.detector.cells import Cell
from benchmarks.detector.crash import cells_a, cells_b
from benchmarks.detector.illness import cells_c, cells_d, cells_g
from benchmarks.detector.unity import cells_partitions, cells_storms
from benchmarks.detector.weather import cells_e

__all__ = ["NAMES", "OTHERS", "cells"]

TABLE: dict[str, Callable[[list[int], int | None], list[Cell]]] = {
    "A": cells_a,
    "B": cells_b,
    "C": cells_c,
    "D": cells_d,
    "E": cells_e,
    "G": cells_g,
    "partitions": cells_partitions,
    "storms": cells_storms,
}
OTHERS: dict[str, Callable[..., Any]] = {"F": flood.table, "accrual": accrual.table, "speed": speed.table}
QUICK_CELLS = 5
NAMES = [*TABLE, *OTHERS]


def cells(args: Any) -> list[Cell]:
    """Of the scenarios that were asked for; with `--quick` a few of each."""
    found: list[Cell] = []
    for name in args.scenario:
        if name in TABLE:
            table = TABLE[name](args.nodes, args.trials)
            if args.quick:
                table = [cell for cell in table if "3600" not in cell.title and "30 %" not in cell.title]
                table = table[:: max(1, len(table) // QUICK_CELLS)]
            found += table
    return found
