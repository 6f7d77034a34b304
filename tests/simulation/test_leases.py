"""Random schedules of faults with voters, and without; the invariants are checked in every world.

More seeds:     python -m benchmarks.leadership.simulated --only voters derived --seeds 0:20000 --jobs 2
One seed again: SWIM_LEASE_SEEDS=17:18 pytest tests/simulation/test_leases.py
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from swim.simulation import SimulatedNode, World
from swim.simulation.leases import LIVE_WITHIN, run_derived, run_leases
from swim.types import Address
from swim.wire.messages import LeaderMessage

SEEDS = range(*map(int, os.environ.get("SWIM_LEASE_SEEDS", "0:24").split(":")))
VOTERS = ("n0", "n1", "n2")


@pytest.mark.parametrize("seed", SEEDS)
def test_never_two_holders_and_one_again_in_calm(seed: int) -> None:
    assert run_leases(seed).calm_after <= LIVE_WITHIN


@pytest.mark.parametrize("seed", SEEDS[: len(SEEDS) // 3])
def test_without_voters_the_leader_does_not_fall_and_all_agree_in_calm(seed: int) -> None:
    run_derived(seed)


def led(seed: int = 1) -> World:
    world = World(seed, fast=True)
    for name in VOTERS:
        world.add_node(name, () if name == "n0" else ("n0",), voters=VOTERS)
        world.run(0.3)
    assert world.run_until(lambda: world.nodes["n0"].core.term is not None, 10.0) is not None
    world.run(1.0)
    return world


class Counting(World):
    """Five voters of which one leads. Notes the messages about leadership that are sent, and their bytes."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, fast=True)
        self.sent: list[int] = []
        voters = tuple(f"n{i}" for i in range(5))
        for name in voters:
            self.add_node(name, () if name == "n0" else ("n0",), voters=voters)
            self.run(0.1)
        self.run(20.0)
        self.sent.clear()

    def transmit(self, source: SimulatedNode, data: bytes, address: Address) -> None:
        codec = source.core.codec
        messages = codec.open_packet(data).messages
        self.sent += [len(codec.part(each)) for each in messages if isinstance(each, LeaderMessage)]
        super().transmit(source, data, address)


def test_a_lease_that_is_held_costs_a_question_and_an_answer_of_50_bytes_a_voter_and_third_of_it() -> None:
    world = Counting(1)
    world.run(60.0)
    assert len(world.sent) == 2 * 4 * 60
    assert sum(world.sent) / len(world.sent) < 50


@pytest.mark.parametrize(
    ("fault", "packets", "size"),
    [
        (lambda world: world.crash("n0"), 182, 8_956),
        (lambda world: world.lose_host("n0"), 175, 8_600),
        (lambda world: world.partition(["n0"]), 237, 12_188),
        (lambda world: world.partition(["n1"]), 192, 9_648),
        (lambda world: world.partition(["n0", "n4"]), 265, 14_508),
    ],
    ids=["the leader dies", "its host is lost", "it is cut off", "a voter is", "two of them are"],
)
def test_a_fault_costs_little_more_than_before_members_asked_whether_they_would_get_the_lease(
    fault: Callable[[World], object], packets: int, size: int
) -> None:
    """In 20 s, by what it cost then, when each question was for the lease itself."""
    world = Counting(1)
    fault(world)
    world.run(20.0)
    assert len(world.sent) <= 1.3 * packets
    assert sum(world.sent) <= 1.3 * size


def test_two_holders_are_noticed() -> None:
    """A voter that forgets what it has granted, and does not wait."""
    world = led()
    world.partition(["n0"], ["n1", "n2"])
    world.run(1.0)
    for name in ("n1", "n2"):
        world.nodes[name].core._electorate.voter.free()
    world.nodes["n1"].core._tenure._wants = lambda now: True  # type: ignore[attr-defined]
    world.nodes["n1"].call(world.nodes["n1"].core._tenure.update)
    with pytest.raises(AssertionError, match="n1 and n0 hold the lease"):
        world.run(1.0)


def test_a_paused_holder_counts_until_its_lease_has_run_out() -> None:
    world = led()
    world.pause("n0", 12.0)
    world.run(20.0)
    begun = [(at, name) for at, name, _ in world.invariants.terms]
    assert [name for _, name in begun] == ["n0", "n1"]
    assert begun[1][0] - begun[0][0] > 3.0


@pytest.mark.parametrize("seed", range(10))
def test_a_node_that_leaves_hands_it_on_at_once(seed: int) -> None:
    """Its farewell and its release go different ways, so either may come first."""
    names = tuple(f"n{i}" for i in range(5))
    world = World(seed)
    for i, name in enumerate(names):
        world.add_node(name, () if i == 0 else ("n0",), voters=names)
    world.run(15)
    leader = world.leader("n1")
    assert leader is not None
    before = len(world.invariants.terms)
    world.leave(leader)
    assert world.run_until(lambda: len(world.invariants.terms) > before, 0.2, step=0.001) is not None
