"""64 shards spread over the nodes, each owned by exactly one of them, whichever live.

    python examples/shards.py

All nodes offer themselves for all shards, and the leader spreads them. A node that comes gets its share,
one that leaves hands over, and when one dies the others take its shards. A node whose lease is over is
stopped before another one begins. With `voters` that holds in partitions too; without them each side has
owners of its own.
"""

import contextlib
import math
from collections import Counter

import trio

import swim

SHARDS = [f"shard/{number}" for number in range(64)]
owners: dict[str, str] = {}


async def node(name: str, seeds: list[str], *, task_status: trio.TaskStatus[swim.Cluster]) -> None:
    async def serve(lease: swim.Lease) -> None:
        assert lease.name not in owners, f"{lease.name} has two owners"
        owners[lease.name] = name
        try:
            await trio.sleep_forever()  # here goes the work on this shard, with `lease.token` for its storage
        finally:
            del owners[lease.name]

    async with swim.open_cluster(name, bind="127.0.0.1:0", seeds=seeds) as cluster:
        task_status.started(cluster)
        with contextlib.suppress(trio.ClosedResourceError):  # until this node leaves, or is aborted
            await cluster.run_shards(SHARDS, serve)


async def tell_when_spread(what: str, count: int) -> None:
    counts = Counter[str]()
    while sum(counts.values()) < len(SHARDS) or max(counts.values()) > math.ceil(len(SHARDS) / count):
        await trio.sleep(0.01)
        counts = Counter(owners.values())
    print(f"{what}: {dict(sorted(counts.items()))}")


async def main() -> None:
    async with trio.open_nursery() as nursery:
        ann = await nursery.start(node, "ann", [])
        bob, _ = [await nursery.start(node, name, [str(ann.address)]) for name in ("bob", "cat")]
        await tell_when_spread("three nodes", 3)
        await nursery.start(node, "dan", [str(bob.address)])
        await tell_when_spread("dan has come", 4)
        await bob.leave()
        await tell_when_spread("bob has left", 3)
        ann.abort()  # the leader dies without a word
        await tell_when_spread("ann has died", 2)
        nursery.cancel_scope.cancel()


trio.run(main)
