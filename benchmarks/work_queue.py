"""The example `work_queue`: many small tasks handed out to four processes by one of them.

First in peace, then with SIGKILL for a worker at a quarter and for the leader at half of the tasks. A run
counts only when its report has the right result of every task exactly once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median

from benchmarks import record
from examples.work_queue.demo import demo

__all__ = ["main"]

TASKS, RUNS_IN_PEACE, RUNS_WITH_DEATHS = 50_000, 5, 10
QUICK_TASKS = 15_000


def main(argv: Sequence[str] | None = None) -> int:
    args = record.parse(record.parser("work_queue", __doc__), argv)
    tasks = QUICK_TASKS if args.quick else TASKS
    results = []
    for name, runs, calm in ("peace", RUNS_IN_PEACE, True), ("deaths", RUNS_WITH_DEATHS, False):
        runs = 1 if args.quick else runs
        seconds = demo(tasks, runs, calm)
        results.append(
            {
                "name": name,
                "tasks": tasks,
                "workers": 4,
                "runs": runs,
                "right": len(seconds),
                "seconds": seconds,
                "tasks_per_second": tasks / median(seconds) if seconds else None,
            }
        )
        record.write(args, results=results)
    print(f"recorded in {args.json}")
    return 0 if all(result["right"] == result["runs"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
