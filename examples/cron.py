"""Cron without a server: every minute, on exactly one of the nodes, whichever of them live.

    python examples/cron.py

The leader runs the job when a minute begins, and says so: whoever leads next knows of it. In a partition each
side has a leader, unless you name `voters`. Here a minute takes one second, and all nodes are in one program.
"""

import contextlib
import time

import trio

import swim

MINUTE = 1.0  # in seconds


async def node(name: str, seeds: list[str], *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    last = -1  # the last minute of which this node knows that it was run

    async def run_every_minute(term: swim.Term) -> None:
        nonlocal last
        while True:
            if (minute := int(time.time() / MINUTE)) > last:
                last = minute
                # Said before it is done: if this node dies in between, a run is left out, none is doubled.
                cluster.broadcast("cron", str(minute).encode())
                print(f"{name}: this is the run of minute {minute}")  # here goes the job
            await trio.sleep(MINUTE - time.time() % MINUTE)

    async def listen() -> None:
        nonlocal last
        async with cluster.messages() as messages:
            async for message in messages:
                if isinstance(message, swim.Broadcast) and message.name == "cron":
                    last = max(last, int(message.payload))

    opening = swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds)
    async with opening as cluster, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        task_status.started(cluster)
        with contextlib.suppress(trio.ClosedResourceError):  # until this node leaves, or is aborted
            await cluster.run_while_leader(run_every_minute)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        ann = await nursery.start(node, "ann", [])
        bob = await nursery.start(node, "bob", [str(ann.address)])
        await trio.sleep(2.5 * MINUTE)
        print("-- ann leads, for it was there first. It dies without a word.")
        ann.abort()
        await trio.sleep(2.5 * MINUTE)
        await bob.leave()


trio.run(main)
