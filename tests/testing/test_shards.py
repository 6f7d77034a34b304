"""A user's sharded program, examples/shards.py, as it is: its network is cut in two, and heals."""

import trio

from examples import shards
from swim.testing import World, for_each_seed

NAMES = ["ann", "bob", "cat", "dan", "eve"]


def scenario(world: World) -> None:
    def wait_until_served_by(names: list[str]) -> None:
        shares = sorted(len(shards.SHARDS[first :: len(names)]) for first in range(len(names)))
        taken = world.run_until(lambda: sorted(map([*shards.owners.values()].count, names)) == shares, 60)
        assert taken is not None, f"{shards.owners}\n{world.report()}"

    shards.owners.clear()
    for name in NAMES:
        world.start(name, shards.node, name, "0.0.0.0:7946", NAMES, NAMES, trio.TASK_STATUS_IGNORED)
    wait_until_served_by(NAMES)
    world.partition(many := world.random("sides").sample(NAMES, 3))
    wait_until_served_by(many)
    world.heal()
    wait_until_served_by(NAMES)


def test_each_shard_has_one_owner() -> None:
    for_each_seed(scenario, 2)
