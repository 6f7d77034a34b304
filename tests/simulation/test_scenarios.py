"""The real core in virtual time: what users are promised, one scenario each."""

from __future__ import annotations

import statistics
from functools import partial

import pytest

from swim.config import Config
from swim.events import (
    LeaderChanged,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
)
from swim.protocol.node import Node
from swim.simulation import Network, World
from swim.simulation.fast import ObjectCodec
from swim.simulation.host import Life
from swim.wire.messages import Dead
from tests.simulation.hashing import printed

DETECTION = 6.0
"""All others know of a death within this time, whatever its kind (Config.lan)."""


def cluster(seed: int, size: int, **options: object) -> World:
    """Nodes n0, n1, .. that have found each other; n0 leads."""
    world = World(seed, **options)  # type: ignore[arg-type]
    world.grow(size)
    world.run_until_converged(30.0)
    return world


def ids(world: World) -> dict[str, str]:
    return {node.name: node.core.me.id or "" for node in world.running()}


def leaders(world: World) -> set[str | None]:
    return {world.leader(node.name) for node in world.running()}


# --- joining


@pytest.mark.parametrize("seed", range(5))
def test_five_nodes_find_each_other_and_follow_the_first(seed: int) -> None:
    world = cluster(seed, 5)
    assert world.now < 3.0
    assert leaders(world) == {"n0"}
    order = ids(world)
    assert sorted(order, key=order.__getitem__) == [f"n{i}" for i in range(5)]
    assert [member.name for member in world.nodes["n3"].core.members()] == [f"n{i}" for i in range(5)]
    for node in world.running():
        joined = {record.member.name for record in world.events(MemberJoined, at=node.name) if record.member}
        assert joined >= set(order) - {node.name}
    assert not world.events((MemberFailed, MemberSuspected))


@pytest.mark.parametrize("size", [2, 5, 16])
def test_one_that_is_killed_just_after_it_has_joined_is_known_at_once(size: int) -> None:
    world = cluster(size, size - 1)
    world.add_node(f"n{size - 1}", ["n0"])
    world.run_until_converged(5.0)
    world.run(0.1)
    killed = world.now
    world.crash(f"n{size - 1}")
    known = world.run_until(lambda: len(world.events(MemberFailed)) == size - 1, DETECTION)
    assert known is not None
    assert known - killed < 0.2


@pytest.mark.parametrize("block", range(8))
def test_three_nodes_that_name_each_other_and_start_at_once_form_one_cluster(block: int) -> None:
    for seed in range(25 * block, 25 * block + 25):
        world = World(seed)
        names = ["a", "b", "c"]
        for name in names:
            world.add_node(name, names)
        world.run_until_converged(20.0)
        assert len(world.view("a")) == 3
        assert not world.events(MemberFailed), seed


def test_nodes_that_name_each_other_and_start_one_after_the_other() -> None:
    for seed in range(20):
        world = World(seed)
        names = ["a", "b", "c"]
        for i, name in enumerate(reversed(names)):
            world.after(i * 1.7, world.add_node, name, names)
        world.run(4.0)
        world.run_until_converged(20.0)


def test_two_clusters_founded_apart_become_one() -> None:
    for seed in range(10):
        world = World(seed)
        for name in ("a", "b"):
            world.add_node(name + "1")
        for name in ("a", "b"):
            for number in "23":
                world.add_node(name + number, [name + "1"])
        world.run(5.0)
        assert len(world.view("a1")) == 3
        world.sync("b2", "a3")
        world.run_until_converged(10.0)
        assert len(world.view("a1")) == 6
        assert not world.events(MemberFailed)


def test_a_join_storm() -> None:
    world = World(1, fast=True)
    world.add_node("n0")
    world.grow(63, stagger=0.0)
    world.run_until_converged(10.0)
    assert len(world.view("n0")) == 64
    assert not world.events(MemberFailed)


# --- death


@pytest.mark.parametrize("how", ["crash", "lose_host"])
@pytest.mark.parametrize("victim", range(5))
def test_a_death_is_known_to_all_others(victim: int, how: str) -> None:
    world = cluster(victim, 5)
    world.run(3.0)
    name, start = f"n{victim}", world.now
    getattr(world, how)(name)
    world.run(DETECTION)
    others = [node.name for node in world.running()]
    for other in others:
        failures = world.events(MemberFailed, at=other)
        assert [record.member.name for record in failures if record.member] == [name]
        assert failures[0].time - start <= DETECTION
    assert world.converged()
    assert leaders(world) == {"n1" if victim == 0 else "n0"}
    assert not world.invariants.false_deaths


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_last_survivor_notices(size: int) -> None:
    for how in ("crash", "lose_host"):
        world = cluster(size, size)
        world.run(3.0)
        for i in range(size - 1):
            getattr(world, how)(f"n{i}")
        survivor = f"n{size - 1}"
        assert world.run_until(lambda: len(world.view(survivor)) == 1, 20.0) is not None  # noqa: B023
        assert world.leader(survivor) == survivor


def test_a_node_that_leaves_is_not_said_to_have_failed() -> None:
    world = cluster(1, 5)
    world.leave("n0")
    world.run(5.0)
    assert world.nodes["n0"].life is Life.LEFT
    assert not world.events(MemberFailed)
    assert {record.node for record in world.events(MemberLeft, about="n0")} >= {"n1", "n2", "n3", "n4"}
    assert world.converged()
    assert leaders(world) == {"n1"}


def test_all_leave_one_after_the_other() -> None:
    world = cluster(1, 5)
    for i in range(4):
        world.leave(f"n{i}")
        world.run(2.0)
    assert list(world.view("n4")) == ["n4"]
    assert not world.events(MemberFailed)


# --- coming back


@pytest.mark.parametrize("moved", [False, True], ids=["same address", "new address"])
@pytest.mark.parametrize("after", [0.0, 0.5, 8.0])
def test_a_restarted_leader_is_at_the_back(after: float, moved: bool) -> None:
    for seed in range(5):
        world = cluster(seed, 5)
        world.run(3.0)
        before = ids(world)
        world.crash("n0")
        world.run(after)
        world.restart("n0", seeds=["n1", "n2"], new_address=moved)
        world.run(DETECTION)
        world.run_until_converged(15.0)
        assert ids(world)["n0"] > max(before.values())
        assert leaders(world) == {"n1"}
        for other in ("n1", "n2", "n3", "n4"):
            assert world.events(MemberFailed, at=other, about="n0"), (seed, other)


def test_a_leader_that_was_paused_for_long_comes_back_as_a_regular_member() -> None:
    world = cluster(1, 5)
    world.run(3.0)
    world.pause("n0", 20.0)
    world.run(19.0)
    assert {world.leader(f"n{i}") for i in range(1, 5)} == {"n1"}
    world.run(2.0)
    world.run_until_converged(10.0)
    assert leaders(world) == {"n1"}
    assert world.events(MemberUpdated, at="n0", about="n0"), "it took a fresh id"


def test_a_short_pause_harms_nobody() -> None:
    for seed in range(5):
        world = cluster(seed, 5)
        world.run(3.0)
        world.pause(f"n{seed}", 1.5)
        world.run(10.0)
        assert not world.events(MemberFailed)
        assert world.converged()


def test_the_whole_cluster_restarts_at_once() -> None:
    world = cluster(1, 5)
    names = list(world.nodes)
    world.run(5.0)
    for name in names:
        world.crash(name)
    world.run(1.0)
    for name in names:
        world.restart(name, seeds=names)
    world.run_until_converged(30.0)
    assert len(world.view("n0")) == 5


@pytest.mark.parametrize("how", ["leave", "crash"])
def test_a_node_that_missed_that_a_member_moved_learns_it_later(how: str) -> None:
    """Found by test_random_faults[75]: the old record was suspected for ever, the new one refused."""
    for seed in range(3):
        world = cluster(seed, 3)
        world.run(3.0)
        cut = world.partition(["n0"], ["n1", "n2"])
        world.run(0.1)
        getattr(world, how)("n2")
        world.run(0.5)
        world.restart("n2", new_address=True, seeds=["n1"])
        world.run(0.5)
        world.heal(cut)
        world.run_until_converged(25.0)


def test_a_refusal_is_no_reason_for_a_storm() -> None:
    """Each ICMP error led to the next ping at once, as fast as the network allows."""
    for network in (Network.lan(), Network.wan()):
        world = cluster(1, 10, network=network)
        world.run(20.0)
        before = {node.name: node.traffic.packets_sent for node in world.running()}
        world.crash("n4")
        world.run(DETECTION)
        assert world.events(MemberFailed, about="n4")
        assert all(node.traffic.packets_sent - before[node.name] < 150 for node in world.running())


def test_two_processes_of_one_name() -> None:
    world = cluster(1, 3)
    world.add_node("n1", ["n0"], alias="impostor")
    world.run(5.0)
    assert world.nodes["impostor"].life is Life.REFUSED
    assert "n1" in str(world.nodes["impostor"].failure)
    assert world.nodes["n1"].running
    assert world.converged()
    assert not world.events(MemberFailed)


# --- partitions


@pytest.mark.parametrize("seconds", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("groups", [(1, 1), (2, 1), (2, 3), (3, 2), (1, 4)])
def test_a_partition_heals(groups: tuple[int, int], seconds: float) -> None:
    for seed in range(3):
        world = cluster(seed, sum(groups))
        world.run(3.0)
        names = list(world.nodes)
        cut = world.partition(names[: groups[0]], names[groups[0] :])
        world.run(seconds)
        world.heal(cut)
        world.run_until_converged(5.0 + 2 * world.config.reconnect_interval)
        assert len(world.view("n0")) == sum(groups)


@pytest.mark.parametrize("seconds", [10.0, 60.0])
def test_a_one_way_partition_heals(seconds: float) -> None:
    for seed in range(6):
        world = cluster(seed, 5)
        world.run(3.0)
        groups = [["n0", "n1"], ["n2", "n3", "n4"]]
        world.partition(*(groups if seed % 2 else groups[::-1]), one_way=True)
        world.run(seconds)
        world.heal()
        world.run_until_converged(5.0 + 2 * world.config.reconnect_interval)


@pytest.mark.parametrize("seed", range(2))
def test_the_few_that_were_cut_off_from_many_for_ten_minutes_see_all_again_at_once(seed: int) -> None:
    """Most of the many they have never pinged, nor are pinged by: only the words of others lead there."""
    world = World(seed, fast=True)
    names = world.assemble(16)
    world.run(5.0)
    cut = world.partition(names[3:5], [*names[:3], *names[5:]])
    world.run(600.0)
    assert len(world.view(names[3])) == 2
    world.heal(cut)
    world.run_until_converged(5.0)


def test_both_sides_of_a_partition_have_a_leader() -> None:
    world = cluster(1, 5)
    world.run(3.0)
    world.partition(["n0", "n1"], ["n2", "n3", "n4"])
    world.run(30.0)
    assert {world.leader(name) for name in ("n0", "n1")} == {"n0"}
    assert {world.leader(name) for name in ("n2", "n3", "n4")} == {"n2"}
    world.heal()
    world.run_until_converged(25.0)
    assert leaders(world) == {"n2"}, "the old leader finds that it is no longer the leader"


# --- what is made up


@pytest.mark.parametrize("size", [8, 32])
def test_a_made_up_death_of_the_leader_is_believed_by_nobody(size: int) -> None:
    """In a large cluster most nodes never ping it. Told to all of them, from the address of a member."""
    world, codec = World(1, fast=True), ObjectCodec()
    names = world.assemble(size)
    world.run(5.0)
    leader, teller = (world.nodes[name] for name in names[:2])
    news = Dead(leader.name, leader.core.me.incarnation, teller.name, reason="process-gone")
    for name in names[1:]:
        world.nodes[name].receive_datagram(codec.packet([codec.part(news)]), teller.address)
    world.run(DETECTION)
    assert not world.events((MemberFailed, LeaderChanged))


# --- weather


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_loss_kills_nobody(loss: float) -> None:
    world = cluster(1, 8)
    world.set_loss(loss)
    world.run(600.0)
    assert not world.events(MemberFailed)
    world.set_loss(0.0)
    world.run_until_converged(10.0)


def test_clocks_that_are_off_by_one_percent_harm_nobody() -> None:
    world = cluster(1, 8, drift=0.01)
    world.run(120.0)
    assert not world.events((MemberFailed, MemberSuspected))
    assert world.converged()


def test_several_regions() -> None:
    world = cluster(1, 10, network=Network.wan())
    world.run(60.0)
    assert not world.events(MemberFailed)
    world.crash("n4")
    world.run(Config.wan().silence_tolerance + 4.0)
    assert {record.node for record in world.events(MemberFailed, about="n4")} == set(world.nodes) - {"n4"}


# --- news


def test_a_change_of_tags_reaches_everybody() -> None:
    world = cluster(1, 16)
    world.run(2.0)
    start = world.now
    world.set_tags("n3", {"role": "db"})
    world.run(5.0)
    others = [record for record in world.events(MemberUpdated, about="n3") if record.node != "n3"]
    assert {record.node for record in others} == set(world.nodes) - {"n3"}
    assert all(world.view(name)["n3"].tags == {"role": "db"} for name in world.nodes)
    assert max(record.time for record in others) - start < 0.1
    assert not world.events(LeaderChanged, at="n3", about="n3")


def test_many_that_join_at_once_see_each_other_at_once() -> None:
    """The flood alone misses some of those whose views are as young; pings find out in seconds."""
    times = []
    for seed in range(5):
        world = World(seed=seed)
        world.add_node("n0")
        world.run(1.0)
        for number in range(1, 32):
            world.add_node(f"n{number}", seeds=["n0"])
        complete = partial(all_see, world, 32)
        times.append(world.run_until(complete, limit=3.0) or 3.0)
    assert statistics.median(times) < 0.3


def all_see(world: World, count: int) -> bool:
    return all(len(world.view(name)) == count for name in world.nodes)


# --- the world itself, around the real core


def eventful(seed: int, fast: bool = False) -> World:
    world = cluster(seed, 5, network=Network.lan(loss=0.02), fast=fast)
    world.crash("n0")
    world.run(10.0)
    world.restart("n0", seeds=["n1"])
    world.run(20.0)
    return world


@pytest.mark.parametrize("fast", [False, True])
def test_a_seed_gives_one_trace(fast: bool) -> None:
    assert eventful(4, fast).trace.digest() == eventful(4, fast).trace.digest()


def test_the_trace_does_not_depend_on_how_python_hashes_text() -> None:
    program = "from tests.simulation.test_scenarios import *; print(eventful(4).trace.digest())"
    assert printed(program, ("1", "2")) == {eventful(4).trace.digest() + "\n"}


def test_the_fast_mode_counts_about_the_same() -> None:
    real, fast = cluster(1, 8), cluster(1, 8, fast=True)
    for world in (real, fast):
        world.run(60.0)
    for field in ("packets_sent", "bytes_sent"):
        counts = [sum(getattr(node.traffic, field) for node in world.running()) for world in (real, fast)]
        assert counts[1] == pytest.approx(counts[0], rel=0.1), field


@pytest.mark.parametrize("fast", [False, True])
def test_an_assembled_cluster_is_a_cluster(fast: bool) -> None:
    world = World(1, fast=fast)
    names = world.assemble(32)
    assert world.converged()
    assert leaders(world) == {"n0"}
    world.run(20.0)
    assert not world.trace.records, "no news, no suspicion"
    world.crash("n17")
    world.add_node("late", ["n5"])
    world.run(DETECTION)
    world.run_until_converged(5.0)
    assert set(world.view("n3")) == {*names, "late"} - {"n17"}


def test_a_cluster_larger_than_the_crowd_that_is_believed_by_hearsay_is_assembled_whole() -> None:
    world = World(1, fast=True)
    names = world.assemble(300)
    assert all(world.nodes[name].core.statistics(0.0).members == len(names) for name in names)
    world.run(2.0)
    assert not world.trace.records, "no news, no suspicion"


def test_a_member_with_bad_links_is_removed_once_and_comes_back_when_they_are_good() -> None:
    world = World(seed=4, fast=True)
    world.assemble(8)
    world.run(15.0)
    world.set_loss(incoming={"n3": 0.8})
    world.run(180.0)
    others = [name for name in world.nodes if name != "n3"]
    deaths = [record.node for record in world.events(MemberFailed, about="n3")]
    assert sorted(deaths) == sorted(others)
    assert not any("n3" in world.view(name) for name in others)
    assert world.leader("n3") != "n3"
    world.set_loss(incoming={"n3": 0.0})
    assert world.run_until_converged(60.0) > 1.0
    assert sorted(record.node for record in world.events(MemberFailed, about="n3")) == sorted(others)


def test_a_member_that_cannot_read_for_long_gives_nobody_up() -> None:
    world = World(seed=4, fast=True)
    world.assemble(8)
    world.run(15.0)
    world.block_receive("n3", 40.0)
    world.run(60.0)
    assert world.events(MemberFailed, at="n3") == []
    world.run_until_converged(90.0)


def test_an_idle_node_wakes_up_for_its_timers_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not urgent is done together: a leader would wake up eight times a second, the others five."""
    world = World(1)
    names = world.assemble(8)
    world.run(5.0)
    woken, handle = dict.fromkeys(names, 0), Node.handle_timer

    def counting(node: Node, now: float) -> None:
        woken[node.name] += 1
        handle(node, now)

    monkeypatch.setattr(Node, "handle_timer", counting)
    world.run(20.0)
    leader = world.nodes[names[0]].core.leader
    assert leader is not None
    assert woken.pop(leader.name) <= 5.5 * 20
    assert max(woken.values()) <= 3.5 * 20
