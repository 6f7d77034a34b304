"""Broadcasts in a lossy network reach all soon, and each comes once."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

import pytest

from swim.config import Config
from swim.simulation import World


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
    messages: list[Any] = world.messages
    heard = Counter((name, broadcast.payload) for _, name, broadcast in messages)
    assert heard == {(name, payload): 1 for name in names for payload in sent}
    last = {broadcast.payload: when for when, _, broadcast in messages}
    assert median(last[payload] - begun for payload, begun in sent.items()) < 0.1
    assert all(broadcast.sender is not None for _, _, broadcast in messages)


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
