"""Who lives comes back: two live members that can exchange packets are in each other's view within 5 s.

More random histories than CI has time for:   python -m tests.simulation.returns 0 1000
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from swim.events import HeldOff, MemberFailed
from swim.protocol.node import Node
from swim.simulation import World
from swim.wire import Codec
from swim.wire.messages import Dead
from tests.simulation.returns import run

SEEDS = (7, 11, 24, 31, 245)
SEEDS_MADE_UP = (5, 7, 13)


def cluster(seed: int, size: int = 5) -> World:
    world = World(seed)
    world.grow(size)
    world.run_until_converged(30.0)
    world.run(5.0)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happened(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize("seed", SEEDS_MADE_UP)
def test_whatever_happened_while_deaths_are_made_up(seed: int) -> None:
    run(seed, made_up=True)


def say_that_it_is_dead(world: World, name: str) -> None:
    """An attacker tells the member itself, from another one's address."""
    node, codec = world.nodes[name], Codec()
    news = Dead(name, node.core.me.incarnation, "nobody")
    node.receive_datagram(codec.packet([codec.part(news)]), world.nodes["n0"].address)


@pytest.mark.parametrize("seconds", [3.0, 4.0, 25.0])
@pytest.mark.parametrize("seed", range(2))
def test_deaths_that_are_made_up_are_no_cuts(seed: int, seconds: float) -> None:
    world = cluster(seed)
    world.every(3.3, lambda: say_that_it_is_dead(world, "n2"))
    world.run(20.0)
    assert world.nodes["n2"].core.me.incarnation > 5, "it was told of them"
    cut = world.partition(["n2"])
    world.run(seconds)
    world.heal(cut)
    world.run(5.0)
    assert world.converged(), world.describe()
    assert seconds > 20.0 or not world.events(HeldOff), "cut off once only"


def test_one_whose_packets_get_lost_stays_away_for_as_long_although_its_death_was_made_up() -> None:
    world = cluster(1)
    own, links = world.nodes["n2"].core._own, world.nodes["n2"].core._links
    for _ in range(50):
        links.loss.add(True)
    assert links.bad
    say_that_it_is_dead(world, "n2")
    world.run(1.0)
    assert own.held_off
    world.run(60.0)
    assert not own.held_off
    assert world.converged()


def held_off_for_a_minute(node: Any) -> None:
    """As it once was: after the second death of a node, its links had to be whole for a minute."""
    readmission, obstacle = node._readmission, node._readmission._obstacle

    def longer(now: float) -> str:
        cuts = node._own.cut_off
        held = len(readmission._deaths) > 1 and cuts and now - cuts[-1] < 60.0
        return "planted" if held else obstacle(now)

    readmission._obstacle = longer


def believes_all_deaths(node: Any) -> None:
    """As it once was: another's verdict was believed even by those who heard the member themselves."""
    node._membership.hearsay._doubts = lambda record: True


def does_not_search(node: Any) -> None:
    node._search.begin = lambda now: None
    node._membership.hearsay.look_again = lambda record, now, lives: None


@pytest.mark.parametrize(
    ("fault", "seeds", "why"),
    [
        (held_off_for_a_minute, range(20), "could talk for .* s, but:\n"),
        (believes_all_deaths, (27, 31, *range(20)), "but: MemberFailed.*reason='told'"),
        (does_not_search, (118, 129, *range(20)), "could talk for .* s, but:\n"),
    ],
)
def test_a_planted_fault_is_found(fault: Callable[[Any], None], seeds: Iterable[int], why: str) -> None:
    """The seeds that found it last are tried first."""

    def build(*args: Any, **options: Any) -> Node:
        node = Node(*args, **options)
        fault(node)
        return node

    def histories() -> None:
        for seed in seeds:
            run(seed, build)

    with pytest.raises(AssertionError, match=why):
        histories()


@pytest.mark.parametrize("size", [3, 5, 8, 16])
def test_a_verdict_from_beyond_a_cut_is_no_news_to_nodes_that_hear_the_member(size: int) -> None:
    world = cluster(4, size)
    one = world.nodes["n0"]
    one.call(one.core._membership.declare_dead, "n2", "silence")
    world.run(5.0)
    assert {record.node for record in world.events(MemberFailed)} == {"n0"}
    assert world.converged()


@pytest.mark.parametrize("seconds", [4.0, 30.0])
def test_one_that_is_cut_off_again_and_again_is_back_at_once(seconds: float) -> None:
    world = cluster(1)
    for _ in range(3):
        cut = world.partition(["n2"])
        world.run(seconds)
        world.heal(cut)
        assert world.run_until(world.converged, 5.0) is not None
        world.run(30.0)
    assert not world.events(HeldOff)


@pytest.mark.parametrize("victim", ["n0", "n2"])
@pytest.mark.parametrize("period", [1.0, 3.0, 10.0])
def test_after_two_minutes_of_flapping_all_are_back_within_10_s(period: float, victim: str) -> None:
    world = cluster(2)
    whole_since = [world.now]

    def look() -> None:
        acting = [node.name for node in world.running() if node.core.term is not None]
        if whole_since and world.now - whole_since[0] > 1.0:
            assert len(acting) <= 1, f"{acting} at {world.now}"

    world.every(0.05, look)
    end = world.now + 120.0
    while world.now < end:
        whole_since.clear()
        cut = world.partition([victim])
        world.run(period)
        world.heal(cut)
        whole_since.append(world.now)
        if world.now < end:
            world.run(period)
    assert world.run_until(world.converged, 10.0) is not None, world.describe()
    world.run(20.0)
    assert world.converged()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("one_way", [False, True])
def test_a_link_that_flaps_is_not_lossy(one_way: bool, seed: int) -> None:
    """Whatever waits for its return in streams: pings, and what others are asked to ping."""
    world, rng = cluster(seed), Random(seed)
    sides = [[name for name in world.nodes if name != "n2"], ["n2"]] if one_way else [["n2"]]
    for _ in range(80):
        cut = world.partition(*sides, one_way=one_way)
        world.run(0.7)
        world.heal(cut)
        world.run(0.7 + rng.uniform(0.0, 0.05))
        watches = [node.core._probing.subjects.get("n2") for node in world.nodes.values()]
        assert max(watch.loss.recently for watch in watches if watch is not None) <= 0.5
    assert not world.events(MemberFailed)


def test_sides_that_meet_again_begin_one_term_or_two() -> None:
    """Not one for each thing that they learn of each other."""
    for seed in range(6):
        world = cluster(seed)
        cut = world.partition(["n0", "n1"], ["n2", "n3", "n4"])
        world.run(20.0 + seed)
        before = len(world.invariants.terms)
        world.heal(cut)
        assert world.run_until(world.converged, 1.5) is not None
        world.run(2.0)
        assert len(world.invariants.terms) - before <= 2
        acting = [node.name for node in world.running() if node.core.term is not None]
        assert acting == ["n2"]


@pytest.mark.parametrize("ends", ["leaves", "dies"])
def test_one_that_stood_still_comes_back_after_its_substitute(ends: str) -> None:
    world = cluster(3)
    world.pause("n2", 60.0)
    world.run(25.0)
    world.add_node("n2", ["n0"], alias="substitute")
    world.run(10.0)
    if ends == "leaves":
        world.leave("substitute")
        world.run(26.0)
    else:
        world.lose_host("substitute")
        world.run(25.0)
    assert world.run_until(world.converged, 10.0) is not None, world.describe()
    assert world.nodes["n2"].running


@pytest.mark.parametrize("moved", [False, True], ids=["same address", "new address"])
@pytest.mark.parametrize("how", ["crash", "leave"])
def test_a_process_that_is_started_again_at_once_is_back_at_once(how: str, moved: bool) -> None:
    for seed in range(3):
        for victim in ("n0", "n2"):
            world = cluster(seed)
            getattr(world, how)(victim)
            world.run_until(lambda world=world, victim=victim: not world.nodes[victim].running, 5.0, 0.01)
            world.run(0.1)
            world.restart(victim, new_address=moved, seeds=["n1", "n3"])
            assert world.run_until(world.converged, 0.3, 0.01) is not None, world.describe()


def test_two_that_change_places_are_back_at_once() -> None:
    for seed in range(3):
        world = cluster(seed)
        one, other = world.nodes["n1"], world.nodes["n2"]
        world.crash("n1")
        world.crash("n2")
        one.address, other.address = other.address, one.address
        one.host, other.host = other.host, one.host
        world.restart("n1", seeds=["n0", "n3"])
        world.restart("n2", seeds=["n0", "n3"])
        assert world.run_until(world.converged, 0.5, 0.01) is not None, world.describe()


@pytest.mark.parametrize(("size", "lost"), [(3, 2), (5, 3), (5, 4), (8, 5)])
@pytest.mark.parametrize("seed", [1, 2])
def test_most_hosts_are_lost_and_their_processes_started_anew_elsewhere(
    seed: int, size: int, lost: int
) -> None:
    """As when machines are replaced under a StatefulSet. A single host takes 2 to 3 s."""
    world = cluster(seed, size)
    names = list(world.nodes)[-lost:]
    for name in names:
        world.lose_host(name)
    world.run(1.0)
    for name in names:
        world.restart(name, new_address=True, seeds=list(world.nodes)[:-lost])
    assert world.run_until_converged(8.0)
