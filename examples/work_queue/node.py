"""A node of the work queue: the two halves, `Ledger` and `Worker`, joined by the messages of the cluster.

Nothing waits in queues of its own: each task of a node looks what is to be said or done next, and sleeps
until something changes.
"""

from __future__ import annotations

import time
from functools import partial

import trio

import swim
from examples.work_queue import kinds
from examples.work_queue.ledger import Ledger
from examples.work_queue.messages import (
    Finished,
    Job,
    Known,
    Made,
    Message,
    Progress,
    Ready,
    Recall,
    Tasks,
    decode,
    encode,
)
from examples.work_queue.screen import Screen
from examples.work_queue.worker import Worker

TOPIC = "work-queue"
ROLE = {"role": "worker"}
PROGRESS_INTERVAL = 0.2
REMINDER_INTERVAL = 1.0
SUMMARY_SIZE_MAX = 400  # bytes; a broadcast has 512


class Node:
    def __init__(self, cluster: swim.Cluster, screen: Screen) -> None:
        self.cluster = cluster
        self.screen = screen
        self.worker = Worker()
        self.ledger: Ledger | None = None
        self._changed = trio.Event()

    async def run(self, job: Job | None) -> str:
        """Work for whoever leads, or lead, until cancelled; with an own job, until there is its summary."""
        if job is not None:
            self.worker.learn(job)
        async with trio.open_nursery() as nursery:
            for task in (self._listen, self._watch, self._work, self._tell, self._remind):
                nursery.start_soon(task)
            nursery.start_soon(self.cluster.run_while_leader, self._lead)
            while job is None or job.id not in self.worker.finished:
                await self._changed.wait()
            nursery.cancel_scope.cancel()
        assert job is not None
        return self.worker.finished[job.id]

    # --- what is heard
    async def _listen(self) -> None:
        async with self.cluster.messages() as messages:
            async for message in messages:
                match message:
                    case swim.DirectMessage(sender, payload):
                        self._hear(sender, payload)
                    case swim.Broadcast(swim.Member() as sender, name, payload) if name == TOPIC:
                        self._hear(sender, payload)

    def _hear(self, sender: swim.Member, payload: bytes) -> None:
        try:
            letter = decode(payload)
        except ValueError:
            self.screen.say(f"{sender.name} says what nobody here understands")
            return
        match letter:
            case Known(job) if job.id in self.worker.finished:
                self._broadcast(Finished(job.id, self.worker.finished[job.id]))  # it has missed that
            case Known(job):
                self.worker.learn(job)
            case Recall():
                self.worker.recall(sender, letter)
            case Tasks():
                self.worker.take(letter)
            case Made(job, results) if self.ledger is not None:
                self.ledger.made(sender.name, job, results)
            case Ready(token, job) if self.ledger is not None:
                self.ledger.ready(sender.name, token, job)
            case Progress(job, done, total) if job not in self.worker.finished:
                self.screen.progress(job, done, total)
            case Finished(job, summary) if job not in self.worker.finished:
                self.worker.finish(job, summary)
                self.screen.finished(job, summary)
        self._change()

    async def _watch(self) -> None:
        """Follow who comes and goes."""
        async with self.cluster.events() as events:
            async for event in events:
                self.screen.event(event)
                if isinstance(event, swim.MemberFailed | swim.MemberLeft):
                    self._lose(event.member)
                self.worker.see(self.cluster.members())
                self._change()

    def _change(self) -> None:
        """Wake all who wait for something to do."""
        self._changed.set()
        self._changed = trio.Event()

    # --- what is said
    async def _send(self, member: swim.Member, letter: Message) -> bool:
        """Whether it could be sent."""
        try:
            await self.cluster.send(member, encode(letter))
        except swim.SendError:
            self._lose(member)
            return False
        return True

    def _lose(self, member: swim.Member) -> None:
        """What was said to it may not have arrived: begin anew with it, once it is seen to be well."""
        if self.worker.errand is not None and self.worker.errand.leader.id == member.id:
            self.worker.errand = None
        if self.ledger is not None:
            self.ledger.gone(member.name)

    def _broadcast(self, letter: Message) -> None:
        self.cluster.broadcast(TOPIC, encode(letter))

    # --- as a worker
    async def _work(self) -> None:
        while True:
            errand = self.worker.errand
            if errand is None or not errand.todo:
                await self._changed.wait()
                continue
            job = errand.recall.job
            work = partial(kinds.work_through, job.kind, tuple(errand.todo))
            self.worker.made(job.id, await trio.to_thread.run_sync(work, abandon_on_cancel=True))
            self._change()

    async def _tell(self) -> None:
        """Tell the leader what it does not know yet."""
        while True:
            errand = self.worker.errand
            if errand is None or (letter := errand.letter()) is None:
                await self._changed.wait()
                continue
            if await self._send(errand.leader, letter):
                errand.told(letter)

    async def _remind(self) -> None:
        """Whoever knows of a job that is not finished sees to it that the leader knows it, too."""
        while True:
            if (leader := self.cluster.leader) is not None:
                for job in tuple(self.worker.jobs.values()):
                    await self._send(leader, Known(job))
            with trio.move_on_after(REMINDER_INTERVAL):
                await self.cluster.wait_for(lambda cluster: cluster.leader != leader)
            self.worker.see(self.cluster.members())
            self._change()

    # --- as the leader
    async def _lead(self, term: swim.Term) -> None:
        while True:
            while not self.worker.jobs:
                await self._changed.wait()
            job = next(iter(self.worker.jobs.values()))
            try:
                tasks = await trio.to_thread.run_sync(kinds.list_tasks, job)
                self.ledger = Ledger(term.token, job, tasks)
                await self._hand_out(self.ledger)
                if self.ledger.done:
                    total = await trio.to_thread.run_sync(kinds.write_report, self.ledger)
                    self._finish(job, f"{total}; {self._summary(self.ledger)}")
            except (OSError, ValueError, LookupError) as error:  # of listing or of writing
                self._finish(job, f"failed: {error}")
            finally:
                self.ledger = None

    def _finish(self, job: Job, summary: str) -> None:
        summary = summary.encode(errors="replace")[:SUMMARY_SIZE_MAX].decode(errors="ignore")
        self.worker.finish(job.id, summary)
        self.screen.finished(job.id, summary)
        self._broadcast(Finished(job.id, summary))

    async def _hand_out(self, ledger: Ledger) -> None:
        """Until all is done, or the job turns out to have been finished by a leader before."""
        served: set[str] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_progress, ledger)
            while not ledger.done and ledger.job.id in self.worker.jobs:
                for member in self.cluster.members(**ROLE):
                    if member.name not in served and self._well(member):
                        nursery.start_soon(self._serve, ledger, member, served)
                        served.add(member.name)
                await self._changed.wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, ledger: Ledger, member: swim.Member, served: set[str]) -> None:
        """Keep one worker busy for as long as it is well."""
        ledger.joined(member.name)
        try:
            while member.name in ledger and self._well(member):
                if (letter := ledger.letter_for(member.name)) is None:
                    await self._changed.wait()
                else:
                    await self._send(member, letter)
        finally:
            ledger.gone(member.name)
            served.remove(member.name)

    def _well(self, member: swim.Member) -> bool:
        """Not even suspected: others may do its tasks, as they can be repeated, but a task cannot wait."""
        now = self.cluster.member(member.name)
        return now is not None and now.id == member.id and now.state is swim.MemberState.ALIVE

    async def _tell_progress(self, ledger: Ledger) -> None:
        while True:
            self._broadcast(Progress(ledger.job.id, len(ledger.results), ledger.total))
            await trio.sleep(PROGRESS_INTERVAL)

    def _summary(self, ledger: Ledger) -> str:
        seconds = time.time() - ledger.job.since
        makers = ", ".join(f"{name} {count:,}" for name, count in ledger.makers.most_common())
        return f"{ledger.total:,} tasks in {seconds:.2f} s, {ledger.total / seconds:,.0f} tasks/s; {makers}"
