"""How to test a program that uses swim: its decisions in the simulator, the rest on trio's MockClock.

Keep what your program decides apart from sockets: here it is `Shards`, which is told what happens and says
which shards this node serves. In the simulator the real protocol tells it, in virtual time; the same seed is
the same run, and a failure names its seed. `cluster.events()` tells it in production.
"""

import trio
import trio.testing

import swim
from swim.simulation import World

NAMES = [f"shard-{number}" for number in range(12)]


class Shards:
    """The decisions: no sockets, no clock, nothing to wait for."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.mine: set[str] = set()

    def follow(self, members: tuple[swim.Member, ...]) -> None:
        self.mine = {name for name in NAMES if swim.rendezvous(name, members).name == self.me}


def test_every_shard_is_served_after_a_machine_is_lost() -> None:
    world = World(seed=7)
    world.grow(5)
    world.run_until_converged(limit=30)
    shards = {name: Shards(name) for name in world.nodes}
    world.watchers.append(lambda node, event: shards[node.name].follow(node.core.members()))
    world.lose_host(
        "n0"
    )  # or: crash, pause, partition and heal, set_loss, restart, leave, Chaos(world).run(60)
    world.pause("n1", 8)  # a shorter pause than `pause_tolerance`: nobody may be given up for it
    world.run(20)
    served = [shard for name in shards if name != "n0" for shard in shards[name].mine]
    assert sorted(served) == sorted(NAMES), world.report()


async def a_minute_of_service() -> None:
    """Real sockets in one process. Every wait is on trio's clock, so time can be skipped."""
    async with (
        swim.open_cluster("a", bind="127.0.0.1:0") as a,
        swim.open_cluster("b", bind="127.0.0.1:0", seeds=[str(a.address)]) as b,
    ):
        await trio.sleep(60)
        assert len(b.members()) == 2
        a.abort()  # as a killed process would
        await b.wait_for(lambda cluster: cluster.is_leader)


if __name__ == "__main__":
    test_every_shard_is_served_after_a_machine_is_lost()
    # 0.01 or more: with 0 the clock jumps while packets are still on their way, and they count as lost.
    trio.run(a_minute_of_service, clock=trio.testing.MockClock(autojump_threshold=0.01))
    print("every shard was served; a minute went by")
