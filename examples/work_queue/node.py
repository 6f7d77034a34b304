"""A node of the work queue. All work; the one that leads hands out the tasks, and writes the report.

A leader asks each worker for what it has made before, then for more, some tasks at a time. Results stay with
their workers until the job is finished, so nothing needs to survive the leader: the next one asks them all.
What died with its worker is done again.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import astuple
from itertools import islice
from typing import Any

import msgpack
import trio

import swim
from examples.work_queue import kinds
from examples.work_queue.kinds import Job, Result, write_report
from examples.work_queue.ledger import BATCH_MAX, Ledger
from examples.work_queue.screen import say, show

TOPIC = "work-queue"  # of the broadcasts: how far a job is
ROLE = {"role": "worker"}
AHEAD = 2  # batches for each worker: it is busy while the next is on its way
INTERVAL, PATIENCE = 0.2, 1.0  # seconds
SUMMARY_SIZE_MAX = 400  # bytes; a broadcast has 512


def pack(*values: object) -> bytes:
    packed: bytes = msgpack.packb(values, unicode_errors="surrogateescape")  # file names may be no UTF-8
    return packed


def unpack(payload: bytes) -> Any:
    return msgpack.unpackb(payload, unicode_errors="surrogateescape")


class Node:
    def __init__(self, cluster: swim.Cluster) -> None:
        self.cluster = cluster
        self.jobs: dict[str, Job] = {}
        self.made: dict[str, dict[str, Result]] = {}  # by job
        self.finished: dict[str, str] = {}
        self._changed = trio.Event()

    async def run(self, job: Job | None) -> str:
        """Until cancelled; with an own job, until there is its summary."""
        serve = self.cluster.serve
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve("bring", self._take))
            await stack.enter_async_context(serve("recall", self._recall))
            await stack.enter_async_context(serve("work", self._work, limit=1))
            nursery = await stack.enter_async_context(trio.open_nursery())
            nursery.start_soon(self._watch)
            nursery.start_soon(self._listen)
            nursery.start_soon(self.cluster.run_while_leader, self._lead)
            if job is not None:
                nursery.start_soon(self._bring, job)
            while job is None or job.id not in self.finished:
                await self._changed.wait()
            nursery.cancel_scope.cancel()
        assert job is not None
        return self.finished[job.id]

    def _change(self) -> None:
        """Wake all who wait for something to do."""
        self._changed.set()
        self._changed = trio.Event()

    async def _watch(self) -> None:
        async with self.cluster.events() as events:
            async for event in events:
                show(event)
                self._change()

    async def _listen(self) -> None:
        async with self.cluster.messages(TOPIC) as messages:
            async for message in messages:
                if isinstance(message, swim.Broadcast) and message.name == TOPIC:
                    self._hear(*unpack(message.payload))

    def _hear(self, job: str, done: int, total: int, summary: str) -> None:
        if summary and job not in self.finished:
            self.finished[job] = summary
            self.jobs.pop(job, None)
            self.made.pop(job, None)
            say(f"{job}: {summary}")
        elif job not in self.finished:
            say(f"{job}: {done} of {total}", passing=True)
        self._change()

    def _tell(self, job: str, done: int, total: int, summary: str = "") -> None:
        summary = summary.encode(errors="replace")[:SUMMARY_SIZE_MAX].decode(errors="ignore")
        self.cluster.broadcast(TOPIC, pack(job, done, total, summary))

    async def _bring(self, job: Job) -> None:
        """Tell all of it, and whoever leads next once more: then one of them sees to it."""
        while True:
            leader = self.cluster.leader
            async with trio.open_nursery() as nursery:
                for member in self.cluster.available(**ROLE):
                    nursery.start_soon(self._ask, member, "bring", pack(*astuple(job)))
            await self.cluster.wait_for(lambda cluster: cluster.leader != leader)  # noqa: B023 - awaited here

    async def _ask(self, member: swim.Member, topic: str, payload: bytes) -> Any:
        """None when it is gone, or cannot do it."""
        with suppress(swim.SendError, swim.RequestError):
            return unpack(await self.cluster.request(member, payload, topic=topic))

    # --- what others ask
    async def _take(self, sender: swim.Member, payload: bytes) -> bytes:
        id, kind, arguments, report, since = unpack(payload)
        if id in self.finished:
            self._tell(id, 0, 0, self.finished[id])  # it has missed that
        else:
            self.jobs.setdefault(id, Job(id, kind, tuple(arguments), report, since))
            self._change()
        return pack()

    async def _recall(self, sender: swim.Member, payload: bytes) -> bytes:
        """Results for a job, from this one on."""
        job, start = unpack(payload)
        return pack(*islice(self.made.get(job, {}).items(), start, start + BATCH_MAX))

    async def _work(self, sender: swim.Member, payload: bytes) -> bytes:
        job, kind, tasks = unpack(payload)
        results: dict[str, Result] = {}
        await trio.to_thread.run_sync(kinds.work_through, kind, tasks, results, abandon_on_cancel=True)
        if job not in self.finished:
            self.made.setdefault(job, {}).update(results)
        return pack(*results.items())

    # --- as the leader
    async def _lead(self, term: swim.Term) -> None:
        while True:
            while not self.jobs:
                await self._changed.wait()
            job = next(iter(self.jobs.values()))
            try:
                ledger = Ledger(job, await trio.to_thread.run_sync(kinds.list_tasks, job))
                await self._carry_out(ledger)
                if job.id in self.jobs:
                    total = await trio.to_thread.run_sync(write_report, job, term.token, ledger.report())
                    self._tell(job.id, 0, 0, f"{total}; {ledger.summary()}")
            except (OSError, ValueError, LookupError) as error:  # of listing or of writing
                self._tell(job.id, 0, 0, f"failed: {error}")
            while job.id in self.jobs:
                await self._changed.wait()

    async def _carry_out(self, ledger: Ledger) -> None:
        """Until all is done, or the job turns out to have been finished by a leader before."""
        with trio.move_on_after(PATIENCE):  # for those that stand still just now
            async with trio.open_nursery() as nursery:
                for member in self.cluster.available(**ROLE):
                    nursery.start_soon(self._gather, ledger, member)
        employed: set[str | None] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_progress, ledger)
            while not ledger.done and ledger.job.id in self.jobs:
                for member in self.cluster.available(**ROLE):
                    if member.process not in employed:
                        employed.add(member.process)
                        nursery.start_soon(self._employ, ledger, member, employed)
                await self._changed.wait()
            nursery.cancel_scope.cancel()

    async def _gather(self, ledger: Ledger, member: swim.Member) -> None:
        """What it has made for a leader before."""
        start = 0
        while page := await self._ask(member, "recall", pack(ledger.job.id, start)):
            ledger.add(member.name, dict(page))
            start += len(page)

    async def _employ(self, ledger: Ledger, member: swim.Member, employed: set[str | None]) -> None:
        """For as long as it is not even suspected: its tasks can be done again, but they cannot wait."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._dismiss, member, nursery.cancel_scope)
            async with trio.open_nursery() as feeding:
                for _ in range(AHEAD):
                    feeding.start_soon(self._feed, ledger, member, employed)
            await trio.sleep(INTERVAL)
            nursery.cancel_scope.cancel()
        employed.discard(member.process)
        self._change()

    async def _dismiss(self, member: swim.Member, scope: trio.CancelScope) -> None:
        """Cancel this when the member is not well any more."""
        await self.cluster.wait_for(
            lambda cluster: all(each.process != member.process for each in cluster.available())
        )
        scope.cancel()

    async def _feed(self, ledger: Ledger, member: swim.Member, employed: set[str | None]) -> None:
        found: Any = ()
        while found is not None and not ledger.done:
            if not (tasks := ledger.share(len(employed))):
                await self._changed.wait()
                continue
            try:
                found = await self._ask(member, "work", pack(ledger.job.id, ledger.job.kind, tasks))
                ledger.add(member.name, dict(found or ()))
            finally:
                ledger.give_back(tasks)
                self._change()

    async def _tell_progress(self, ledger: Ledger) -> None:
        while True:
            self._tell(ledger.job.id, len(ledger.found), ledger.total)
            await trio.sleep(INTERVAL)
