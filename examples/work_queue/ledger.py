"""The leader's half of the work queue, without any network: who does what, and what is done.

Nothing of it needs to survive the leader. Results stay with the workers who made them until the job is
finished, so a new leader opens a new ledger, asks every worker for what it has made, and goes on from there.
What died with its worker is simply done again; a result that comes twice is taken once. Where two lead for a
time, as in a partition, both get the job done.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from examples.work_queue.messages import Job, Recall, Result, Tasks

BATCH_MAX = 200
"""Tasks or results in a message. With paths of 4,096 bytes it is still below the limit of 1 MiB."""
SHARE_MAX = 1_000
"""Tasks that one worker may hold."""


class Ledger:
    """The book of one job, from the beginning of a leader's term. Workers are called by their names."""

    def __init__(self, token: str, job: Job, tasks: Iterable[str]) -> None:
        self.token = token
        self.job = job
        self.results: dict[str, Result] = {}
        self.makers: Counter[str] = Counter()
        """How many of the results came from whom."""
        self._tasks = dict.fromkeys(tasks)
        self._waiting = deque(self._tasks)
        self._asked: dict[str, bool] = {}  # who has not told all yet, and whether it got its Recall
        self._held: dict[str, dict[str, None]] = {}  # what each of the others is at
        self._opened = False

    def __contains__(self, worker: str) -> bool:
        return worker in self._asked or worker in self._held

    @property
    def total(self) -> int:
        return len(self._tasks)

    @property
    def done(self) -> bool:
        return len(self.results) == len(self._tasks)

    def report(self) -> Iterable[tuple[str, Result]]:
        """Every task with its result, in the order of the list."""
        return ((task, self.results[task]) for task in self._tasks)

    # --- what happens
    def joined(self, worker: str) -> None:
        self._asked[worker] = False

    def gone(self, worker: str) -> None:
        """It is dead, or may be: others do what it was at."""
        self._asked.pop(worker, None)
        self._waiting.extendleft(reversed(self._held.pop(worker, {})))

    def made(self, worker: str, job: str, results: Mapping[str, Result]) -> None:
        if job != self.job.id:
            return
        held = self._held.get(worker, {})
        for task, result in results.items():
            held.pop(task, None)
            if task in self._tasks and task not in self.results:
                self.results[task] = result
                self.makers[worker] += 1

    def ready(self, worker: str, token: str, job: str) -> None:
        """It has told all that it had made, and is at nothing (any more, if it had lost this leader)."""
        if (token, job) == (self.token, self.job.id) and (worker in self._held or self._asked.get(worker)):
            self.gone(worker)
            self._held[worker] = {}

    # --- what is to be said
    def letter_for(self, worker: str) -> Recall | Tasks | None:
        """What this worker should be told now; None while there is nothing. Counts as said."""
        if self._asked.get(worker) is False:
            self._asked[worker] = True
            return Recall(self.token, self.job)
        if worker in self._held and (tasks := self._share_for(worker)):
            self._held[worker].update(dict.fromkeys(tasks))
            return Tasks(self.token, tasks)
        return None

    def _share_for(self, worker: str) -> list[str]:
        """As many tasks as fill its share, once that is half empty: it is busy while more are on their way.

        Shares become smaller towards the end, so that all workers come to it together (guided
        self-scheduling, Polychronopoulos and Kuck 1987). A new leader begins when all have told what they
        have made.
        """
        if self._asked and not self._opened:
            return []
        self._opened = True
        share = min(SHARE_MAX, len(self._waiting) // (2 * len(self._held)) + 1)
        held = len(self._held[worker])
        tasks: list[str] = []
        while self._waiting and 2 * held < share and len(tasks) < min(share - held, BATCH_MAX):
            if (task := self._waiting.popleft()) not in self.results:
                tasks.append(task)
        return tasks
