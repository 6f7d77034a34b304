"""Cron without a server: every job once a minute, on exactly one of the nodes, whichever of them live.

    python examples/cron.py

Each job is a name that one node owns, so jobs are spread over nodes. The owner runs it when a minute begins.
In a partition each side has owners, unless you name `voters`. Here a minute takes one second.
"""

import contextlib
import time

import trio

import swim

MINUTE = 1.0  # in seconds
JOBS = ["cron/backup", "cron/bills", "cron/clean-up", "cron/report"]


async def node(name: str, seeds: list[str], *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    last = dict.fromkeys(JOBS, -1)  # the last minute of which this node knows that it was run

    async def run_every_minute(lease: swim.Lease) -> None:
        await trio.sleep(MINUTE / 10)  # until what the last owner has said is here
        while True:
            if (minute := int(time.time() / MINUTE)) > last[lease.name]:
                last[lease.name] = minute
                cluster.broadcast(lease.name, b"%d" % minute)  # before, so that none is run twice
                print(f"{minute // 60 % 24:02}:{minute % 60:02}  {lease.name} on {name}")  # here goes the job
            await trio.sleep(MINUTE - time.time() % MINUTE)

    async def listen() -> None:
        async with cluster.messages() as messages:
            async for message in messages:
                if isinstance(message, swim.Broadcast) and message.name in last:
                    last[message.name] = max(last[message.name], int(message.payload))

    opening = swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds)
    async with opening as cluster, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        task_status.started(cluster)
        with contextlib.suppress(trio.ClosedResourceError):  # until this node leaves, or is aborted
            await cluster.run_shards(JOBS, run_every_minute)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        ann = await nursery.start(node, "ann", [])
        bob = await nursery.start(node, "bob", [str(ann.address)])
        while not any([await ann.owner(job) == bob.me for job in JOBS]):  # noqa: ASYNC110
            await trio.sleep(MINUTE / 10)
        print("-- bob has some of the jobs now")
        await trio.sleep(1.5 * MINUTE)
        print("-- ann dies without a word")
        ann.abort()
        await trio.sleep(3.5 * MINUTE)
        await bob.leave()


trio.run(main)
