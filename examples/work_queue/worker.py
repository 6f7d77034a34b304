"""A worker's half of the work queue, without any network: what it knows, has made, and is to do.

Every node has one, the leader too. It keeps the jobs that it knows and all results that it has made for
them, until the leader says that the job is finished: that is all that a new leader needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from examples.work_queue.ledger import BATCH_MAX
from examples.work_queue.messages import Job, Made, Ready, Recall, Result, Tasks
from swim import Member

FINISHED_MAX = 100


class Worker:
    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        """Not finished, as far as this node knows; the one that it heard of first comes first."""
        self.errand: Errand | None = None
        """What the leader that it follows wants."""
        self.finished: dict[str, str] = {}
        """The summaries of the last jobs that were finished, in case somebody has not heard of it yet."""
        self._made: dict[str, dict[str, Result]] = {}  # by job
        self._recalls: dict[str | None, tuple[Member, Recall]] = {}  # the last one of each leader's id

    def learn(self, job: Job) -> None:
        if job.id not in self.finished:
            self.jobs.setdefault(job.id, job)

    def finish(self, job: str, summary: str) -> None:
        """The report is written: nobody will ask again."""
        self.finished[job] = summary
        if len(self.finished) > FINISHED_MAX:
            del self.finished[next(iter(self.finished))]
        self.jobs.pop(job, None)
        self._made.pop(job, None)
        self._recalls = {id: found for id, found in self._recalls.items() if found[1].job.id != job}
        if self.errand is not None and self.errand.recall.job.id == job:
            self.errand = None

    def recall(self, leader: Member, recall: Recall) -> None:
        """Somebody leads. What a leader before it wanted is not wanted any more."""
        self.learn(recall.job)
        if recall.job.id in self.jobs:
            self._recalls[leader.id] = leader, recall
            if self.errand is None or recall.token >= self.errand.recall.token:
                self._follow(leader, recall)

    def see(self, members: Iterable[Member]) -> None:
        """These are there. Of their terms the highest token counts, be it that of a leader who came back."""
        recalls = [self._recalls[member.id] for member in members if member.id in self._recalls]
        leader, recall = max(recalls, key=lambda found: found[1].token, default=(None, None))
        if leader is None or recall is None:
            self.errand = None
        elif self.errand is None or self.errand.recall is not recall:
            self._follow(leader, recall)

    def take(self, tasks: Tasks) -> None:
        if self.errand is not None and tasks.token == self.errand.recall.token:
            self.errand.todo.update(dict.fromkeys(tasks.tasks))

    def made(self, job: str, results: Mapping[str, Result]) -> None:
        """These tasks are done, whoever had asked for them."""
        if job in self.jobs:
            self._made.setdefault(job, {}).update(results)
        if self.errand is not None and self.errand.recall.job.id == job:
            self.errand.made(results)

    def _follow(self, leader: Member, recall: Recall) -> None:
        self.errand = Errand(leader, recall, self._made.get(recall.job.id, {}))


class Errand:
    """What one leader wants from this node, and what it has not been told yet."""

    def __init__(self, leader: Member, recall: Recall, made: Mapping[str, Result]) -> None:
        self.leader = leader
        self.recall = recall
        self.todo: dict[str, None] = {}
        self._untold = dict(made)
        self._ready = False

    def made(self, results: Mapping[str, Result]) -> None:
        self._untold.update(results)
        for task in results:
            self.todo.pop(task, None)

    def letter(self) -> Made | Ready | None:
        """What the leader should be told now; None while there is nothing."""
        if self._untold:
            return Made(self.recall.job.id, dict(islice(self._untold.items(), BATCH_MAX)))
        return None if self._ready else Ready(self.recall.token, self.recall.job.id)

    def told(self, letter: Made | Ready) -> None:
        """The letter is on its way. One that could not be sent is simply asked for again."""
        match letter:
            case Made(results=results):
                for task in results:
                    del self._untold[task]
            case Ready():
                self._ready = True
