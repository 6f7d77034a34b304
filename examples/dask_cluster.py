"""Dask without a single point of failure: the leader runs its scheduler.

    python examples/dask_cluster.py ann --bind 127.0.0.1:7951
    python examples/dask_cluster.py bob --join 127.0.0.1:7951
    python examples/dask_cluster.py cat --join 127.0.0.1:7951 --squares 10000

The leader starts a scheduler, and has its address as a tag; each machine has a
worker for it. What there is to compute is submitted to it, and the rest again
to the next one: each result is printed once, whichever machines are killed.
Dask uses asyncio: its processes end with the one that has started them.
"""

import argparse
import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from subprocess import PIPE
from typing import Any

import trio
from distributed import Client, Scheduler, Worker, as_completed

import swim

for dask in ("distributed", "distributed.client"):
    logging.getLogger(dask).setLevel(logging.CRITICAL)  # of lost connections it tells at length


def square(number: int) -> int:
    return number * number  # here goes the work


async def be_child(kind: str, argument: str) -> None:
    """A process of Dask's own, until that ends, or its parent: then standard input does, too."""
    threading.Thread(target=lambda: os._exit(len(os.read(0, 1))), daemon=True).start()
    options: Any = {"port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    to_be = Scheduler(host=argument, **options) if kind == "scheduler" else Worker(argument, **options)
    async with to_be as node:
        print(f"{node.address}\n", end="", flush=True)
        await node.finished()


def submit(scheduler: str, numbers: list[int], take: Callable[[int, int], None]) -> None:
    with Client(scheduler, set_as_default=False) as client:
        futures = dict(zip(client.map(square, numbers), numbers, strict=True))
        for batch in as_completed(futures, loop=client.loop).batches():
            for future, result in zip(batch, client.gather(batch), strict=True):
                take(futures[future], result)


class Machine:
    def __init__(self, cluster: swim.Cluster, squares: int, scope: trio.CancelScope) -> None:
        self.cluster = cluster
        self.left = dict.fromkeys(range(squares), True)
        self.scope = scope

    def scheduler(self) -> str:
        """That of the leader; empty when there is none."""
        return self.cluster.leader.tags.get("scheduler", "") if self.cluster.leader else ""

    async def follow(self, function: Callable[[str], Awaitable[None]]) -> None:
        """Call it with the scheduler; when there is another one cancel it, and call it with that."""
        while True:
            async with trio.open_nursery() as nursery:
                if scheduler := self.scheduler():
                    nursery.start_soon(function, scheduler)
                await self.cluster.wait_for(lambda _: self.scheduler() != scheduler)
                nursery.cancel_scope.cancel()

    async def lead(self, term: swim.Term) -> None:
        await self.run_child("scheduler", self.cluster.address.host)

    async def run_child(self, kind: str, argument: str) -> None:
        """Until this is cancelled; one that ends is started again. All are told the scheduler's address."""
        command = [sys.executable, __file__, "--child", kind, argument]
        while True:
            async with trio.open_nursery() as nursery:
                run = partial(trio.run_process, command, stdin=PIPE, stdout=PIPE, check=False)
                child = await nursery.start(run)
                async for address in child.stdout:
                    if kind == "scheduler":
                        self.cluster.set_tags({"scheduler": address.decode().strip()})

    async def compute(self, scheduler: str) -> None:
        while self.left:
            run = partial(submit, scheduler, list(self.left), self.take)
            with suppress(OSError, CancelledError):  # the connection is lost
                await trio.to_thread.run_sync(run, abandon_on_cancel=True)
        self.scope.cancel()

    def take(self, number: int, result: int) -> None:
        if self.left.pop(number, False):  # else it is known from a scheduler before
            print(f"{number} {result}\n", end="", flush=True)


async def main(options: argparse.Namespace) -> None:
    opening = swim.open_cluster(options.name, bind=options.bind, seeds=options.join)
    async with opening as cluster, trio.open_nursery() as nursery:
        machine = Machine(cluster, options.squares, nursery.cancel_scope)
        nursery.start_soon(cluster.run_while_leader, machine.lead)
        nursery.start_soon(machine.follow, partial(machine.run_child, "worker"))
        if options.squares:
            nursery.start_soon(machine.follow, machine.compute)


if sys.argv[1:2] == ["--child"]:
    asyncio.run(be_child(*sys.argv[2:]))
    sys.exit()
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name", help="of this machine, unlike all others'")
parser.add_argument("--bind", default="127.0.0.1:0", metavar="HOST:PORT", help="its port of the cluster")
parser.add_argument("--join", default=[], action="append", metavar="HOST:PORT", help="any other machine's")
parser.add_argument("--squares", type=int, default=0, metavar="N", help="compute the first N")
trio.run(main, parser.parse_args())
