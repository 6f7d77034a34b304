"""A user's sharded program, examples/shards.py, as it is: its network is cut in two, and heals."""

from collections import Counter

import trio

from examples import shards
from swim.testing import World, for_each_seed

NAMES = ["ann", "bob", "cat", "dan", "eve"]


def wait_until_served(world: World, *names: str) -> None:
    def served() -> bool:
        shares = [Counter(shards.owners.values())[name] for name in names]
        return sum(shares) == len(shards.SHARDS) and max(shares) - min(shares) <= 1

    assert world.run_until(served, limit=60) is not None, f"{shards.owners}\n{world.report()}"


def scenario(world: World) -> None:
    shards.owners.clear()
    for name in NAMES:
        world.start(name, shards.node, name, "0.0.0.0:7946", NAMES, NAMES, trio.TASK_STATUS_IGNORED)
    wait_until_served(world, *NAMES)
    few = world.random("sides").sample(NAMES, 2)
    world.partition(few)
    wait_until_served(world, *(name for name in NAMES if name not in few))
    world.heal()
    wait_until_served(world, *NAMES)


def test_each_shard_has_one_owner() -> None:
    for_each_seed(scenario, 2)
