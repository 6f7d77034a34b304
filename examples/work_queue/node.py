"""A node of the work queue. All nodes know every job, work on it, and offer themselves as its owner.

The one that owns it (`run_while_owner`) first asks all what they have made of it. Then it answers their
questions for tasks, with each of which they bring the results of the last ones. In the end it writes the
report. Workers keep what they have made until then, so nothing needs to survive an owner: the next one asks
them all. What died with its worker is done again.
"""

from __future__ import annotations

import sys
from dataclasses import astuple
from itertools import islice
from typing import Any

import msgpack
import trio

import swim
from examples.work_queue import kinds
from examples.work_queue.kinds import Job, Result
from examples.work_queue.ledger import BATCH_MAX, Ledger
from swim.text import printable

ROLE = {"role": "worker"}
AHEAD = 2  # questions for tasks: a worker is busy with some while it asks for the next ones
SUMMARY_MAX = 400  # bytes; a broadcast has 512
INTERVAL, PATIENCE = 0.2, 1.0  # seconds


def pack(*values: object) -> bytes:
    packed: bytes = msgpack.packb(values, unicode_errors="surrogateescape")  # file names may be no UTF-8
    return packed


def unpack(payload: bytes) -> Any:
    return msgpack.unpackb(payload, unicode_errors="surrogateescape")


class Node:
    def __init__(self, cluster: swim.Cluster) -> None:
        self._cluster = cluster
        self._works: dict[str, Work] = {}

    async def run(self, own: Job | None = None) -> str:
        """Until cancelled; with a job of its own, until there is its summary."""
        async with trio.open_nursery() as self._nursery, self._cluster.serve("job", self._take):
            if own is None:
                await trio.sleep_forever()
            work = self._begin(own)
            await work.finished.wait()
            self._nursery.cancel_scope.cancel()
        return work.summary

    def _begin(self, job: Job) -> Work:
        if job.id not in self._works:
            self._works[job.id] = Work(self._cluster, job)
            self._nursery.start_soon(self._works[job.id].run)
        return self._works[job.id]

    async def _take(self, sender: swim.Member, payload: bytes) -> bytes:
        """A job, perhaps a new one: what has been made of it here, from the result of this number on?"""
        job, start = unpack(payload)
        work = self._begin(Job(*job))
        if work.summary:
            work.tell(summary=work.summary)  # it was missed there
        return pack(*islice(work.made.items(), start, start + BATCH_MAX))


class Work:
    """A job, as one node sees to it."""

    def __init__(self, cluster: swim.Cluster, job: Job) -> None:
        self.made: dict[str, Result] = {}  # here, until the job is finished
        self.summary = ""
        self.finished = trio.Event()
        self._cluster = cluster
        self._job = job
        self._turn = trio.Lock()

    async def run(self) -> None:
        """Until an owner tells that it is finished."""
        async with self._cluster.messages(self._job.name) as news, trio.open_nursery() as nursery:
            nursery.start_soon(self._offer)
            for _ in range(AHEAD):
                nursery.start_soon(self._work)
            async for message in news:
                if isinstance(message, swim.Broadcast):
                    self._hear(*unpack(message.payload))
                if self.summary:
                    break
            nursery.cancel_scope.cancel()
        self.made.clear()
        self.finished.set()

    def tell(self, done: int = 0, total: int = 0, summary: str = "") -> None:
        """All nodes, this one too: how far the job is; with a summary, that it is finished."""
        summary = summary.encode(errors="replace")[:SUMMARY_MAX].decode(errors="ignore")
        self._cluster.broadcast(self._job.name, pack(done, total, summary))

    def _hear(self, done: int, total: int, summary: str) -> None:
        end = "\n" if summary or not sys.stdout.isatty() else "\r"  # the next one takes its place
        print(printable(f"{self._job.id}: {summary or f'{done} of {total}'}"), end=end, flush=True)
        self.summary = summary

    async def _ask(self, member: swim.Member, topic: str, *values: object) -> Any:
        """None when it is gone, or cannot answer."""
        try:
            return unpack(await self._cluster.request(member, pack(*values), topic=topic))
        except (swim.SendError, swim.RequestError):
            return None

    async def _work(self) -> None:
        results: dict[str, Result] = {}
        while True:
            owner = await self._cluster.owner(self._job.name)
            while owner and (tasks := await self._ask(owner, self._job.name, *results.items())):
                async with self._turn:
                    results = await trio.to_thread.run_sync(self._work_on, tasks, abandon_on_cancel=True)
                self.made.update(results)
            await trio.sleep(INTERVAL)

    def _work_on(self, tasks: list[str]) -> dict[str, Result]:
        """In a thread. What was made before is not made again."""
        kind, made = self._job.kind, self.made
        return {task: made[task] if task in made else kinds.work_on(kind, task) for task in tasks}

    # --- as its owner
    async def _offer(self) -> None:
        self.tell(summary=await self._cluster.run_while_owner(self._job.name, self._own))

    async def _own(self, lease: swim.Lease) -> str:
        """Returns the summary."""
        try:
            ledger = Ledger(await trio.to_thread.run_sync(kinds.list_tasks, self._job))
            await self._hand_out(ledger)
            total = await trio.to_thread.run_sync(kinds.write_report, self._job, lease.token, ledger.results)
            return f"{total}; {ledger.summary(self._job.since)}"
        except (OSError, ValueError, LookupError) as error:  # of listing or of writing
            return f"failed: {error}"

    async def _hand_out(self, ledger: Ledger) -> None:
        async def answer(worker: swim.Member, payload: bytes) -> bytes:
            ledger.add(worker.name, unpack(payload))
            return pack(*ledger.share(len(known)))

        known: set[str | None] = set()
        await self._introduce(ledger, known)
        async with self._cluster.serve(self._job.name, answer):
            while not ledger.done.is_set():
                self.tell(*ledger.progress())
                with trio.move_on_after(INTERVAL):
                    await ledger.done.wait()
                await self._introduce(ledger, known)

    async def _introduce(self, ledger: Ledger, known: set[str | None]) -> None:
        """Tell newcomers of the job, and hear what they have made for an owner before."""

        async def ask(worker: swim.Member) -> None:
            start = 0
            while results := await self._ask(worker, "job", astuple(self._job), start):
                ledger.add(worker.name, results)
                start += len(results)

        with trio.move_on_after(PATIENCE):  # for those that stand still just now
            async with trio.open_nursery() as nursery:
                for member in self._cluster.available(**ROLE):
                    if member.process not in known:
                        known.add(member.process)
                        nursery.start_soon(ask, member)
