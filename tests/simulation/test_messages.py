"""Messages in a lossy network: broadcasts reach all soon, direct ones come in order, and each comes once."""

from __future__ import annotations

from collections import Counter
from statistics import median

import pytest

from swim.config import Config
from swim.errors import SendError
from swim.messages import DirectMessage, Message
from swim.simulation import World
from swim.simulation.host import SimulatedNode


@pytest.mark.parametrize(("loss", "seed"), [(0.0, 1), (0.05, 2), (0.2, 3)])
def test_reach_all_once(loss: float, seed: int) -> None:
    world = World(seed, fast=True, config=Config.lan(push_pull_interval=5.0))
    names = world.assemble(24)
    world.run(5)
    world.set_loss(loss)
    world.run(5)
    chance, sent = world.random("senders"), {}
    for number in range(40):
        payload = bytes([number]) * 400
        sent[payload] = world.now
        world.broadcast(chance.choice(names), "news", payload)
        world.run(0.05)
    world.run(15)  # for some, it takes an exchange with somebody
    heard = Counter((name, broadcast.payload) for _, name, broadcast in world.messages)
    assert heard == {(name, payload): 1 for name in names for payload in sent}
    last = {broadcast.payload: when for when, _, broadcast in world.messages}
    assert median(last[payload] - begun for payload, begun in sent.items()) < 0.1
    assert all(broadcast.sender is not None for _, _, broadcast in world.messages)


def test_a_partition_that_heals_is_told_what_it_missed() -> None:
    world = World(4)
    names = world.grow(8)
    world.run_until_converged(30)
    world.partition(names[:4], names[4:])
    world.run(1)
    world.broadcast(names[0], "news", b"1")
    world.run(1)
    assert {name for _, name, _ in world.messages} == set(names[:4])
    world.run(20)  # by now each side has given up the other
    world.heal()
    world.run_until_converged(60)
    world.run(1)
    assert Counter(name for _, name, _ in world.messages) == dict.fromkeys(names, 1)


# --- from one to one


def cluster(seed: int, count: int = 4) -> World:
    world = World(seed)
    world.grow(count)
    world.run_until_converged(30)
    return world


def texts(world: World, name: str) -> list[bytes]:
    """The direct messages that a node has got."""
    return [
        message.payload
        for _, node, message in world.messages
        if node == name and isinstance(message, DirectMessage)
    ]


def test_each_once_and_in_order_whatever_gets_lost() -> None:
    world = cluster(5)
    world.set_loss(0.2)
    payloads = [bytes([number]) * 3_000 for number in range(40)]
    for payload in payloads:
        world.send("n1", "n2", payload)
        world.send("n2", "n1", payload)
        world.run(0.01)
    world.run(60)
    assert texts(world, "n2") == texts(world, "n1") == payloads
    assert {m.sender.name for _, node, m in world.messages if node == "n2" and m.sender} == {"n1"}


def test_a_pause_and_a_short_partition_only_delay() -> None:
    world = cluster(6)
    world.pause("n2", 5)
    world.send("n1", "n2", b"paused")
    world.run(4)
    assert texts(world, "n2") == []
    world.run(2)
    assert texts(world, "n2") == [b"paused"]
    world.partition(["n1"], ["n2"])
    world.send("n1", "n2", b"cut off")
    world.run(1)
    assert texts(world, "n2") == [b"paused"]
    world.heal()
    world.run(4)
    assert texts(world, "n2") == [b"paused", b"cut off"]


def test_what_the_dead_had_not_read_is_lost_and_nothing_comes_twice() -> None:
    world = cluster(7)
    world.pause("n2", 1)
    world.send("n1", "n2", b"never read")
    world.run(0.5)
    world.crash("n2")  # with unread data, so that its kernel resets the streams: silence tells
    world.run(5)
    with pytest.raises(SendError, match="'n2' is no member"):
        world.send("n1", "n2", b"late")
    world.restart("n2", seeds=["n0"])
    world.run_until_converged(30)
    world.send("n1", "n2", b"to the new one")
    world.run(5)
    assert texts(world, "n2") == [b"to the new one"]


def test_listeners_answer_as_an_application_would() -> None:
    world = cluster(8)

    def answer(node: SimulatedNode, message: Message) -> None:
        if isinstance(message, DirectMessage) and message.payload.isdigit():
            world.send(node.name, message.sender.name, b"got " + message.payload)

    world.listeners.append(answer)
    for number in range(5):
        world.send("n0", "n3", b"%d" % number)
    world.run(1)
    assert texts(world, "n0") == [b"got %d" % number for number in range(5)]
