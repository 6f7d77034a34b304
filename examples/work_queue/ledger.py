"""The owner's book of one job: the tasks that have no result yet, and the results of all others."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import islice

import trio

from examples.work_queue.kinds import Result

BATCH_MAX = 200  # tasks or results in a message: with paths of 4,096 bytes still below the limit of 1 MiB


class Ledger:
    def __init__(self, tasks: Iterable[str]) -> None:
        self._open = OrderedDict.fromkeys(tasks)
        self.results: dict[str, Result] = dict.fromkeys(self._open, "")  # in the order of the tasks
        self.done = trio.Event()
        self._makers: Counter[str] = Counter()
        self.add("", ())

    def progress(self) -> tuple[int, int]:
        """How many tasks have a result, and how many there are."""
        return len(self.results) - len(self._open), len(self.results)

    def share(self, workers: int) -> list[str]:
        """Tasks without a result: those that no worker has, then those that were handed out the longest ago.

        So in the end idle workers do what the dead and the slow ones have (Dean and Ghemawat 2004, 3.6); and
        they come to it together, since it is fewer each time (Polychronopoulos and Kuck 1987).
        """
        tasks = list(islice(self._open, min(BATCH_MAX, len(self._open) // (4 * workers) + 1)))
        for task in tasks:
            self._open.move_to_end(task)
        return tasks

    def add(self, worker: str, results: Iterable[tuple[str, Result]]) -> None:
        """A result that comes twice counts once."""
        for task, result in results:
            if task in self._open:
                del self._open[task]
                self.results[task] = result
                self._makers[worker] += 1
        if not self._open:
            self.done.set()

    def summary(self, since: float) -> str:
        seconds = time.time() - since
        makers = ", ".join(f"{name} {count:,}" for name, count in self._makers.most_common())
        total = len(self.results)
        return f"{total:,} tasks in {seconds:.2f} s, {total / seconds:,.0f} tasks/s; {makers}"
