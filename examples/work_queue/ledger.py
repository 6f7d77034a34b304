"""The leader's book of one job: which tasks wait, and what the others came to."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from examples.work_queue.kinds import Job, Result

BATCH_MAX = 200
"""Tasks or results in a message. With paths of 4,096 bytes it is still below the limit of 1 MiB."""


class Ledger:
    def __init__(self, job: Job, tasks: Iterable[str]) -> None:
        self.job = job
        self.found: dict[str, Result] = {}
        self._tasks = dict.fromkeys(tasks)
        self._waiting = deque(self._tasks)
        self._makers: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return len(self._tasks)

    @property
    def done(self) -> bool:
        return len(self.found) == len(self._tasks)

    def share(self, workers: int) -> list[str]:
        """Fewer tasks towards the end, so that all workers come to it together (guided self-scheduling,
        Polychronopoulos and Kuck 1987)."""
        size = min(BATCH_MAX, len(self._waiting) // (4 * workers) + 1)
        tasks: list[str] = []
        while self._waiting and len(tasks) < size:
            if (task := self._waiting.popleft()) not in self.found:
                tasks.append(task)
        return tasks

    def give_back(self, tasks: Iterable[str]) -> None:
        """They are for others, as far as they are not done."""
        self._waiting.extendleft(task for task in tasks if task not in self.found)

    def add(self, worker: str, results: Mapping[str, Result]) -> None:
        """A result that comes twice counts once."""
        for task, result in results.items():
            if task in self._tasks and task not in self.found:
                self.found[task] = result
                self._makers[worker] += 1

    def report(self) -> dict[str, Result]:
        """Every task with its result, in the order of the list."""
        return {task: self.found[task] for task in self._tasks}

    def summary(self) -> str:
        seconds = time.time() - self.job.since
        makers = ", ".join(f"{name} {count:,}" for name, count in self._makers.most_common())
        return f"{self.total:,} tasks in {seconds:.2f} s, {self.total / seconds:,.0f} tasks/s; {makers}"
