"""Names in random histories, and in those that were reported.

More seeds than CI has time for:  SWIM_SEEDS=0:1000 pytest tests/simulation/test_names.py
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from swim.errors import NameConflict
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.naming import Naming
from swim.simulation import World
from swim.simulation.host import Life
from swim.wire.messages import Standing
from tests.simulation.histories import History

ASKED = os.environ.get("SWIM_SEEDS")
SEEDS = range(*map(int, ASKED.split(":"))) if ASKED else range(8)
SEEDS_WITHOUT_UDP = 14, 53, 92, 607, 694
"""In each of these two processes stay, or views differ, without one of the rules."""
STEPS = 14


@pytest.mark.parametrize("seed", SEEDS)
def test_random_histories_end_with_one_process_of_each_name(seed: int) -> None:
    History(seed).run(STEPS)


@pytest.mark.parametrize("seed", SEEDS if ASKED else SEEDS_WITHOUT_UDP)
def test_also_where_udp_is_blocked_everywhere(seed: int) -> None:
    History(seed, blocked="udp").run(STEPS)


# --- faults that the histories find


def _both_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Naming, "_stays", lambda self, since, theirs: True)


def _one_side_forgets_who_succeeded(patch: pytest.MonkeyPatch) -> None:
    stays = Naming._stays

    def forgetful(self: Naming, since: str, theirs: Standing) -> bool:
        return self._own.since < since or stays(self, since, theirs)

    patch.setattr(Naming, "_stays", forgetful)


def _claims_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Naming, "claimed", lambda self, other, now: None)
    patch.setattr(Naming, "_called", lambda self, theirs, now: None)


def _no_fresh_id(patch: pytest.MonkeyPatch) -> None:
    refute = OwnRecord.refute
    patch.setattr(OwnRecord, "refute", lambda self, incarnation, now, id=None: refute(self, incarnation, now))


@pytest.mark.parametrize(
    "plant", [_both_stay, _one_side_forgets_who_succeeded, _claims_are_ignored, _no_fresh_id]
)
def test_the_histories_find(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        _search(40)


def _search(seeds: int) -> None:
    for seed in range(seeds):
        History(seed).run(STEPS)


# --- those that were reported


def cluster(seed: int, size: int) -> World:
    world = World(seed)
    world.grow(size)
    world.run_until_converged(30.0)
    world.run(3.0)
    return world


def ends_as_one(world: World, name: str, limit: float = 10.0) -> str:
    """Which process of the name stays, when all are in one view again."""

    def fine() -> bool:
        return len([node for node in world.running() if node.core.name == name]) == 1 and world.converged()

    assert world.run_until(fine, limit) is not None, world.describe()
    return next(node.name for node in world.running() if node.core.name == name)


@pytest.mark.parametrize("seed", range(4))
def test_each_half_of_a_partition_gets_a_member_of_one_name(seed: int) -> None:
    world = cluster(seed, 4)
    halves = [["n0", "n1", "left"], ["n2", "n3", "right"]]
    for name in ("left", "right"):
        world.address(name)
    world.partition(*halves)
    world.run(6.0)
    order = ["left", "right"] if seed % 2 else ["right", "left"]
    for alias in order:
        world.add_node("z", ["n0" if alias == "left" else "n2"], alias=alias)
        world.run(1.0)
    world.run(5.0)
    assert all(world.nodes[alias].running for alias in order)
    world.heal()
    assert ends_as_one(world, "z") == order[0], "the one that has been a member for longer"
    assert isinstance(world.nodes[order[1]].failure, NameConflict)


@pytest.mark.parametrize("how", ["paused", "cut off"])
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("seed", range(2))
def test_a_member_that_wakes_finds_its_name_taken(seed: int, size: int, how: str) -> None:
    world = cluster(seed, size)
    victim = f"n{size - 1}"
    if how == "paused":
        world.pause(victim, 40.0)
    else:
        world.partition([victim])
    world.run(25.0)
    world.add_node(victim, ["n0"], alias="substitute")
    world.run(15.0)
    assert world.nodes["substitute"].life is Life.RUNNING
    world.heal()
    assert ends_as_one(world, victim) == "substitute", "the others had given the first up"
    assert isinstance(world.nodes[victim].failure, NameConflict)


@pytest.mark.parametrize("seed", range(4))
def test_a_member_comes_back_when_a_substitute_of_its_name_has_left(seed: int) -> None:
    world = cluster(seed, 4)
    world.partition(["n3"])
    world.run(20.0)
    world.add_node("n3", ["n0"], alias="substitute")
    world.run(10.0)
    world.leave("substitute")
    world.run(5.0)
    world.heal()
    assert ends_as_one(world, "n3") == "n3"


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.05, 0.2, 0.24, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_seeds_that_start_without_the_lowest_have_one_leader(seed: int, offset: float) -> None:
    world = World(seed)
    names = ["a", "b", "c"]
    for name in names:
        world.address(name)
    world.add_node("b", names)
    world.run(offset)
    world.add_node("c", names)
    taken = world.run_until(lambda: all(len(world.view(name)) == 2 for name in "bc"), 8.0, step=0.01)
    assert taken is not None
    assert {name for _, name, _ in world.invariants.terms} == {"b"}


@pytest.mark.parametrize("seeds", [2, 6])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_that_were_founded_apart_become_one_within_a_second(seed: int, seeds: int) -> None:
    world = World(seed)
    names = [f"s{number}" for number in range(seeds)]
    for name in names:
        world.address(name)
    world.partition([names[0]], names[1:])
    world.add_node(names[0], names)
    world.add_node(names[1], names)
    world.run(40.0 + 0.37 * seed)
    assert [len(world.view(name)) for name in names[:2]] == [1, 1]
    world.heal()
    taken = world.run_until(lambda: all(len(world.view(name)) == 2 for name in names[:2]), 5.0, step=0.01)
    assert taken is not None
    assert taken < 1.0


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("after", [0.2, 30.0])
def test_a_node_of_another_cluster_at_the_address_of_a_dead_member_is_left_alone(
    size: int, after: float
) -> None:
    """Also where one member alone had given it up, and tells a newcomer of it."""
    for seed in range(2):
        world = cluster(seed, size)
        world.add_node("p")
        world.add_node("q", ["p"])
        victim = world.nodes[f"n{size - 1}"]
        world.lose_host(victim.name)
        world.run(after)
        victim.host.lost = False
        world.add_node("r", ["p"], address=victim.address)
        world.run(1.0)
        world.add_node("late", ["n0"])
        world.run(60.0)
        mine = {*(f"n{number}" for number in range(size - 1)), "late"}
        assert {name: set(world.view(name)) for name in mine} == dict.fromkeys(mine, mine)
        assert set(world.view("p")) == {"p", "q", "r"}


@pytest.mark.parametrize("seed", range(3))
def test_where_udp_is_blocked_nodes_join_and_a_taken_name_is_refused(seed: int) -> None:
    world = World(seed)
    world.block("udp")
    for name, seeds in (("a", []), ("b", ["a"]), ("c", ["b"])):
        world.add_node(name, seeds)
        world.run(0.5)
    world.add_node("b", ["a"], alias="newcomer")
    world.run(3.0)
    assert isinstance(world.nodes["newcomer"].failure, NameConflict)
    assert [len(world.view(name)) for name in "abc"] == [3, 3, 3]
