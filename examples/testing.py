"""How to test a program that uses swim: it runs as it is, in a world that you can break.

`swim.testing.World` has virtual time and a network of its own. Each program in it is a real `trio.run` on a
machine of its own, calls `swim.open_cluster` as ever, and knows of no test. You crash, pause and cut off what
you like; the same seed is the same run, and a failure says which seed it was and how to replay it.
"""

from collections import Counter

import trio

import swim
from swim.testing import World, for_each_seed, inflict, random_faults

NAMES = ["ann", "bob", "cat"]
SHARDS = [f"shard/{number}" for number in range(12)]


class Storage:
    """What the program writes to, outside of the cluster; here it also looks whether all is well."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.writes: list[tuple[str, str]] = []

    def write(self, name: str, lease: swim.Lease) -> None:
        assert lease.token >= self.tokens.get(lease.name, ""), f"{name} has lost {lease.name} and goes on"
        self.tokens[lease.name] = lease.token
        self.writes.append((name, lease.name))


async def program(name: str, storage: Storage) -> None:
    async def serve(lease: swim.Lease) -> None:
        while True:
            storage.write(name, lease)
            await trio.sleep(0.5)

    async with swim.open_cluster(name, seeds=NAMES, voters=NAMES) as cluster:
        await cluster.run_shards(SHARDS, serve)


def scenario(world: World) -> None:
    storage = Storage()
    for name in NAMES:
        world.start(name, program, name, storage)
    world.run(20)
    world.partition(["ann"], ["bob", "cat"])  # also: crash, pause, lose_host, set_loss, slow, restart
    world.run(20)
    world.heal()
    inflict(world, random_faults(world.random("faults"), NAMES, seconds=20, count=4))
    world.run(80)
    storage.writes.clear()
    world.run(2)
    counts = Counter(name for name, _ in set(storage.writes))
    assert counts == dict.fromkeys(NAMES, 4), f"{counts}: each should serve its share\n{world.report()}"


if __name__ == "__main__":
    for_each_seed(scenario, 3)
    print("every shard was served, by one node at a time")
