"""64 shards spread over the nodes, each owned by exactly one of them, whichever live.

    python examples/shards.py

A node that comes gets its share, one that leaves hands over, and when one dies the others take its shards.
A node whose lease is over is stopped before another one begins. With `voters` that holds in partitions too,
as tests/testing/test_shards.py shows with this very program; without them each side has owners of its own.
"""

import contextlib
from collections import Counter

import trio

import swim

Started = trio.TaskStatus[swim.Cluster]
SHARDS = [f"shard/{number}" for number in range(64)]
owners: dict[str, str] = {}


async def node(name: str, bind: str, seeds: list[str], voters: list[str], task_status: Started) -> None:
    async def serve(lease: swim.Lease) -> None:
        assert lease.name not in owners, f"{lease.name} has two owners"
        owners[lease.name] = name
        try:
            await trio.sleep_forever()  # here goes the work on this shard, with `lease.token` for its storage
        finally:
            del owners[lease.name]

    async with swim.open_cluster(name, bind=bind, seeds=seeds, voters=voters) as cluster:
        task_status.started(cluster)
        with contextlib.suppress(trio.ClosedResourceError):  # until this node leaves, or is aborted
            await cluster.run_shards(SHARDS, serve)


async def main() -> None:
    async def tell(what: str, *shares: int) -> None:
        while sorted(Counter(owners.values()).values()) != [*shares]:  # noqa: ASYNC110
            await trio.sleep(0.01)
        print(f"{what}: {dict(sorted(Counter(owners.values()).items()))}")

    async with trio.open_nursery() as nursery:
        ann = await nursery.start(node, "ann", "127.0.0.1:0", [], [])
        options = "127.0.0.1:0", [str(ann.address)], list[str]()
        bob, _ = [await nursery.start(node, name, *options) for name in ("bob", "cat")]
        await tell("three nodes", 21, 21, 22)
        await nursery.start(node, "dan", *options)
        await tell("dan has come", 16, 16, 16, 16)
        await bob.leave()
        await tell("bob has left", 21, 21, 22)
        ann.abort()  # the leader dies without a word
        await tell("ann has died", 32, 32)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
