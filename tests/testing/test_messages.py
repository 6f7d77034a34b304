"""Messages from one to one, of real clusters, when packets, connections, programs and machines get lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
import trio

import swim
from swim.testing import World

NAMES = ["a", "b", "c"]


class Post:
    """Programs that write down what they read, and send what the test tells them to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.read: dict[str, list[bytes]] = defaultdict(list)
        self.problems: list[str] = []
        self._orders: dict[str, trio.MemorySendChannel[tuple[str, bytes]]] = {}

    def start(self) -> None:
        for name in NAMES:
            self.world.start(name, self.serve, name)
        self.world.run_until_converged(30)

    async def serve(self, name: str) -> None:
        self._orders[name], orders = trio.open_memory_channel[tuple[str, bytes]](1_000)
        async with (
            swim.open_cluster(name, seeds=NAMES) as cluster,
            cluster.messages() as messages,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._send, cluster, orders)
            async for message in messages:
                assert isinstance(message, swim.DirectMessage)
                self.read[name].append(message.payload)

    async def _send(
        self, cluster: swim.Cluster, orders: trio.MemoryReceiveChannel[tuple[str, bytes]]
    ) -> None:
        async for to, payload in orders:
            try:
                await cluster.send(to, payload)
            except swim.SendError as error:
                self.problems.append(str(error))

    def send(self, name: str, to: str, payload: bytes) -> None:
        self.world.call(name, lambda: self._orders[name].send_nowait((to, payload)))


@pytest.fixture
def post() -> Iterator[Post]:
    with World(1) as world:
        post = Post(world)
        post.start()
        yield post


def test_each_once_and_in_order_whatever_gets_lost(post: Post) -> None:
    post.world.set_loss(0.2)
    payloads = [bytes([number]) * 3_000 for number in range(40)]
    for payload in payloads:
        post.send("a", "b", payload)
        post.send("b", "a", payload)
        post.world.run(0.01)
    post.world.run(60)
    assert post.read["b"] == post.read["a"] == payloads
    assert post.problems == []


def test_a_pause_and_a_short_partition_only_delay(post: Post) -> None:
    post.world.pause("b", 5)
    post.send("a", "b", b"paused")
    post.world.run(4)
    assert post.read["b"] == []
    post.world.run(2)
    assert post.read["b"] == [b"paused"]
    post.world.partition(["a"], ["b"])
    post.send("a", "b", b"cut off")
    post.world.run(1)
    assert post.read["b"] == [b"paused"]
    post.world.heal()
    post.world.run(4)
    assert post.read["b"] == [b"paused", b"cut off"]
    assert post.problems == []


def test_a_partition_of_five_seconds_loses_nothing_for_a_sender_that_gives_nobody_up(post: Post) -> None:
    """One that finds both others silent waits for longer: it may be the one that is cut off.

    The others give it up meanwhile, and do not read twice what it sends again, having heard nothing of it.
    """
    post.world.partition(["b", "c"], ["a"], one_way=True)
    post.send("a", "b", b"read before")
    post.world.run(0.1)
    assert post.read["b"] == [b"read before"]
    post.world.partition(["a"])
    post.send("a", "b", b"first")
    post.world.run(5)
    post.send("a", "b", b"second")
    post.world.run(1)
    post.world.heal()
    post.world.run_until_converged(30)
    post.send("a", "b", b"third")
    post.send("b", "a", b"both ways")
    post.world.run(5)
    assert post.read["b"] == [b"read before", b"first", b"second", b"third"]
    assert post.read["a"] == [b"both ways"]
    assert post.problems == []


def test_a_sender_that_has_given_the_other_up_is_told_and_sends_on_after_the_heal(post: Post) -> None:
    post.world.partition(["a"], ["b", "c"])
    post.send("b", "a", b"lost with the member")
    post.world.run(5)
    post.send("b", "a", b"to nobody")
    post.world.run(1)
    post.world.heal()
    post.world.run_until_converged(30)
    post.send("b", "a", b"together again")
    post.world.run(5)
    assert post.read["a"] == [b"together again"]
    assert post.problems == ["'a' is no member of this cluster"]


def test_what_the_dead_had_not_read_is_lost_and_nothing_comes_twice(post: Post) -> None:
    post.world.pause("b", 1)
    post.send("a", "b", b"never read")
    post.world.run(0.5)
    post.world.crash("b")  # with unread data, so that its kernel resets the streams: silence tells
    post.world.run(5)
    post.send("a", "b", b"late")
    post.world.run(1)
    assert post.problems == ["'b' is no member of this cluster"]
    post.world.start("b", post.serve, "b")
    post.world.run_until_converged(30)
    post.send("a", "b", b"to the new one")
    post.world.run(5)
    assert post.read["b"] == [b"to the new one"]


def test_what_is_sent_to_a_process_whose_predecessor_was_lost_with_its_machine_arrives(post: Post) -> None:
    """The machine is back at once, and has not closed the stream that the sender had kept to it."""
    post.send("a", "b", b"to the first")
    post.world.run(3)
    post.world.lose_host("b")
    post.world.run(0.05)
    post.world.start("b", post.serve, "b")
    post.world.run(1)
    post.send("a", "b", b"to the second")
    post.world.run(1)
    assert post.read["b"] == [b"to the first", b"to the second"]
    assert post.problems == []
