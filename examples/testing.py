"""How to test a program that uses swim: it runs as it is, in a world that you can break.

`swim.testing.World` has virtual time and a network of its own. Each program in it is a real `trio.run` on its
own machine and knows of no test. The same seed is the same run, and a failure says how to replay it.
"""

from collections import Counter

import trio

import swim
from swim.testing import World, for_each_seed, inflict, random_faults

NAMES = ["ann", "bob", "cat"]
SHARDS = [f"shard/{number}" for number in range(12)]


class Storage:  # outside of the cluster; here it also looks whether all is well
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
    def run(what: str, seconds: float) -> Counter[str]:
        world.run(seconds)
        served = Counter(name for name, _ in set(storage.writes[-len(SHARDS) :]))
        print(f"seed {world.seed}, {world.now:3.0f} s: {what}: shards served by {dict(served)}", flush=True)
        return served

    storage = Storage()
    for name in NAMES:
        world.start(name, program, name, storage)
    run("all have started", 20)
    world.partition(["ann"], ["bob", "cat"])  # also: crash, pause, lose_host, set_loss, slow, restart
    run("ann is cut off", 20)
    world.heal()
    inflict(world, faults := random_faults(world.random("faults"), NAMES, seconds=20, count=4))
    served = run(", ".join(f"{fault.kind} of {' and '.join(fault.names)}" for fault in faults), 60)
    assert served == dict.fromkeys(NAMES, 4), f"each should serve its share\n{world.report()}"


if __name__ == "__main__":
    for_each_seed(scenario, 3)
    print("every shard was served, by one node at a time")
