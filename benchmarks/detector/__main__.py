"""The failure detector in simulation, against the goals of its design.

    python -m benchmarks.detector [--scenario A B C D E F G partitions storms accrual speed | all]
        [--nodes 16 128] [--trials N] [--seed N] [--only TEXT] [--ablate] [--quick] [--jobs 1|2]

Every trial is a fork of one converged cluster, with chance of its own; all follow from the seed. A verdict
compares with the figures of the prototype (see `bounds`): met, or missed by how much.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from benchmarks import record, show
from benchmarks.detector import ablations, report, scenarios
from benchmarks.detector.cells import Cell, Result
from benchmarks.detector.warm import build, forks

__all__ = ["main", "measure"]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = record.parser("detector", __doc__, seed=1)
    parser.add_argument("--scenario", nargs="+", default=["A"], choices=[*scenarios.NAMES, "all"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 128], help="cluster sizes")
    parser.add_argument("--trials", type=int, help="per cell; else as many as the cell's size allows")
    parser.add_argument("--only", default="", help="only the cells whose title contains this text")
    parser.add_argument("--ablate", action="store_true", help="the scenarios that show each rule's worth")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    args = record.parse(parser, argv)
    if args.quick:
        args.nodes, args.trials = [16], 2
    if min(args.nodes) < 2 or args.jobs < 1 or (args.trials is not None and args.trials < 1):
        parser.error("--nodes needs 2 or more, --jobs and --trials 1 or more")
    if "all" in args.scenario:
        args.scenario = scenarios.NAMES
    return args


def measure(
    cells: list[Cell], seed: int, jobs: int, done: Callable[[Result | None, Cell], object]
) -> list[Result]:
    """Run all trials of all cells; cells with the same start share its cluster. `done` hears of each
    trial (with None) and of each cell."""
    results = []
    ordered = sorted(cells, key=lambda cell: (cell.start.nodes, cell.rules, repr(cell.start)))
    for (start, rules), group in groupby(ordered, key=lambda cell: (cell.start, cell.rules)):
        world = None
        for cell in group:
            began = time.monotonic()
            if world is None:
                world = build(start, seed, ablations.core(rules))
            trials = [(f"{cell.scenario} {cell.title} {start} {i}", cell.trial) for i in range(cell.trials)]
            result = Result(cell, seed, [{} for _ in trials])
            for index, figures in forks(world, trials, jobs):
                result.trials[index] = figures
                done(None, cell)
            result.seconds = time.monotonic() - began
            kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            result.megabytes = max(resource.getrusage(kind).ru_maxrss for kind in kinds) // 1024
            results.append(result)
            done(result, cell)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    console = show.console()
    cells = ablations.cells(args.trials) if args.ablate else scenarios.cells(args)
    cells = [cell for cell in cells if args.only in f"{cell.scenario} {cell.title} {cell.start} {cell.rules}"]
    console.print(f"seed {args.seed}, {len(cells)} cells, {sum(cell.trials for cell in cells)} trials")
    results: list[Result] = []
    with show.progress() as progress:
        task = progress.add_task("", total=sum(cell.trials for cell in cells))

        def done(result: Result | None, cell: Cell) -> None:
            progress.update(task, description=f"{cell.scenario} {cell.title} {cell.start} {cell.rules}")
            if result is None:
                progress.advance(task)
                return
            results.append(result)
            console.print(report.judged(result), highlight=False, soft_wrap=True)
            record.write(args, results=[report.plain(result) for result in results])

        measure(cells, args.seed, args.jobs, done)
    for table in report.tables(results):
        console.print(table)
    others: list[Any] = []
    for name in [name for name in args.scenario if name in scenarios.OTHERS and not args.ablate]:
        found = scenarios.OTHERS[name](args)
        console.print(*found)
        others += found
        plain = [report.plain(result) for result in results]
        record.write(args, results=plain, tables=[report.rows(one) for one in others])
    print(f"recorded in {args.json}")
    return 1 if any(result.errors() for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
