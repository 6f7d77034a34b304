"""The world around the core, with a fake core: time, network, faults."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from swim.events import MemberFailed
from swim.simulation import Burst, Network, World
from swim.simulation.host import SOCKET_BUFFER, Life
from swim.simulation.network import Protocol
from swim.types import Address, Member
from tests.simulation.fake_core import chatter, core, fake_world, send
from tests.simulation.hashing import printed

FLAT = Network(sigma=0.0, median=0.001)


def _received(world: World, name: str) -> list[bytes]:
    return [data for _, data, _ in core(world, name).received]


def test_a_datagram_arrives_after_the_networks_delay() -> None:
    world = fake_world(network=FLAT)
    send(world, "a", "b")
    world.run(0.00099)
    assert not _received(world, "b")
    world.run(0.00002)
    ((_, data, source),) = core(world, "b").received
    assert (data, source) == (b"hello", world.address("a"))


def test_lan_delays_are_lognormal_and_bounded() -> None:
    world = fake_world()
    delays = sorted(world.fabric.delay("a", "b") for _ in range(10_000))
    assert delays[5_000] == pytest.approx(0.00025, rel=0.05)
    assert delays[8_413] == pytest.approx(0.00025 * 2.718, rel=0.1)
    assert delays[-1] <= world.fabric.network.delay_max


def test_wan_round_trips_depend_on_the_pair_of_regions() -> None:
    world = fake_world(names="abcdef", network=Network.wan())
    fabric = world.fabric
    trips = {
        other: statistics.median(fabric.delay("a", other) + fabric.delay(other, "a") for _ in range(200))
        for other in "bcdef"
    }
    assert all(0.03 < trips[other] < 0.2 for other in "bcde")
    assert trips["f"] < 0.002, "five regions in turn: f is in the region of a"
    assert len({round(trip, 4) for trip in trips.values()}) == 5


def test_uniform_loss() -> None:
    world = fake_world(network=Network.lan(loss=0.2))
    for _ in range(5_000):
        send(world, "a", "b")
    world.run(1.0)
    assert len(_received(world, "b")) == pytest.approx(4_000, rel=0.05)


def test_loss_of_a_node_has_a_direction_and_so_has_that_of_a_link() -> None:
    world = fake_world(names="abc")
    world.set_loss(incoming={"b": 1.0}, links={("a", "c"): 1.0})
    for pair in ["ab", "ba", "ac", "ca"]:
        send(world, pair[0], pair[1])
    world.run(1.0)
    assert [len(_received(world, name)) for name in "abc"] == [2, 0, 0]


def test_bursts_lose_packets_together() -> None:
    world = fake_world(network=Network.lan(burst=Burst(good=10.0, bad=1.0, loss=1.0)))
    fates = []
    for _ in range(50_000):
        world.run(0.1)
        fates.append(world.fabric.passes("a", "b", world.now, Protocol.UDP, 100))
    lost = fates.count(False) / len(fates)
    again = sum(not a and not b for a, b in itertools.pairwise(fates)) / fates.count(False)
    assert lost == pytest.approx(1 / 11, rel=0.25)
    assert again > 0.8


def test_duplicates() -> None:
    world = fake_world(network=Network.lan(duplicate=0.5))
    for _ in range(1_000):
        send(world, "a", "b")
    world.run(1.0)
    assert len(_received(world, "b")) == pytest.approx(1_500, rel=0.1)


def test_packets_overtake_each_other() -> None:
    world = fake_world()
    for number in range(50):
        send(world, "a", "b", bytes([number]))
    world.run(1.0)
    assert sorted(_received(world, "b")) == [bytes([number]) for number in range(50)]
    assert _received(world, "b") != sorted(_received(world, "b"))


def _reach(world: World, names: str) -> set[str]:
    """All pairs of which the second hears the first."""
    for source in names:
        for target in names:
            if source != target:
                send(world, source, target, source.encode())
    world.run(1.0)
    reach = {data.decode() + name for name in names for data in _received(world, name)}
    for name in names:
        core(world, name).received.clear()
    return reach


def test_partitions() -> None:
    world = fake_world(names="abc")
    everybody = {"ab", "ac", "ba", "bc", "ca", "cb"}
    cut = world.partition(["a", "b"], ["c"])
    assert _reach(world, "abc") == {"ab", "ba"}
    world.heal(cut)
    assert _reach(world, "abc") == everybody
    world.partition(["a"], ["b", "c"], one_way=True)
    assert _reach(world, "abc") == everybody - {"ab", "ac"}
    world.heal()
    world.partition(["a"])
    assert _reach(world, "abc") == {"bc", "cb"}
    world.heal()
    world.partition(["a"], ["b"], ["c"])
    assert _reach(world, "abc") == set()


def test_a_packet_under_way_survives_a_partition_and_its_senders_death() -> None:
    world = fake_world()
    send(world, "a", "b")
    world.partition(["a"], ["b"])
    world.crash("a")
    world.run(1.0)
    assert _received(world, "b") == [b"hello"]


def test_a_dead_process_on_a_live_host_is_unreachable_after_a_round_trip() -> None:
    world = fake_world(network=FLAT)
    world.crash("b")
    send(world, "a", "b")
    world.run(0.0019)
    assert not core(world, "a").unreachable
    world.run(0.0002)
    assert [address for _, address in core(world, "a").unreachable] == [world.address("b")]


@pytest.mark.parametrize("why", ["no icmp", "lost", "partition", "nobody"])
def test_silence(why: str) -> None:
    world = fake_world(network=Network(unreachable=why != "no icmp"))
    match why:
        case "no icmp":
            world.crash("b")
        case "lost":
            world.lose_host("b")
        case "partition":
            world.crash("b")
            world.partition(["a"], ["b"])
    send(world, "a", "nobody" if why == "nobody" else "b")
    world.run(1.0)
    assert not core(world, "a").unreachable


def test_clocks_differ_and_drift() -> None:
    world = fake_world(names="abc", drift=0.01)
    before = {name: world.nodes[name].now() for name in "abc"}
    world.run(1_000.0)
    gained = {name: world.nodes[name].now() - before[name] for name in "abc"}
    assert len(set(before.values())) == 3
    assert len(set(gained.values())) == 3
    assert all(990.0 <= seconds <= 1_010.0 for seconds in gained.values())


def test_timers_run_on_the_nodes_own_clock() -> None:
    world = fake_world(names="")
    world.add_node("a", rate=2.0)
    chatter(world)
    world.run(10.2)
    assert len(core(world, "a").timers) == 20
    world.set_clock_rate("a", 0.5)
    world.run(20.0)
    assert len(core(world, "a").timers) == 30


def test_wall_clocks_are_near_each_other_whatever_the_monotonic_ones_show() -> None:
    world = fake_world(names="abc", skew=0.5)
    world.add_node("d", wall_shift=3_600.0)
    walls = {name: core(world, name).wall(world.nodes[name].now()) for name in "abcd"}
    assert all(abs(walls[name] - walls["a"]) <= 1.0 for name in "bc")
    assert walls["d"] - walls["a"] == pytest.approx(3_600.0, abs=1.0)


def test_a_paused_process_reads_its_sockets_before_it_looks_at_its_timers() -> None:
    world = fake_world()
    core(world, "b").period = 100.0
    world.nodes["b"].call(core(world, "b").chatter, 1.0, [])
    world.pause("b", 5.0)
    for _ in range(3):
        send(world, "a", "b")
    world.run(4.99)
    assert core(world, "b").order == []
    world.run(0.02)
    assert core(world, "b").order == ["datagram"] * 3 + ["timer"]
    world.run(1.0)
    assert core(world, "b").order[4:] == ["timer"], "late once, then on time again"


def test_the_socket_buffer_of_a_paused_process_is_bounded() -> None:
    world = fake_world()
    world.pause("b", 5.0)
    for _ in range(SOCKET_BUFFER + 10):
        send(world, "a", "b")
    world.run(6.0)
    assert len(_received(world, "b")) == SOCKET_BUFFER
    assert world.nodes["b"].traffic.packets_overflowed == 10
    send(world, "a", "b")
    world.run(1.0)
    assert len(_received(world, "b")) == SOCKET_BUFFER + 1


def test_a_longer_pause_wins() -> None:
    world = fake_world()
    world.pause("b", 5.0)
    world.pause("b", 2.0)
    send(world, "a", "b")
    world.run(4.9)
    assert not _received(world, "b")
    world.run(0.2)
    assert _received(world, "b")


def test_blocked_receive_lets_timers_run() -> None:
    world = fake_world()
    chatter(world)
    world.block_receive("b", 5.5)
    world.run(5.4)
    assert len(core(world, "b").timers) == 5
    assert not _received(world, "b")
    assert _received(world, "a").count(b"ping") == 5
    assert _received(world, "a").count(b"pong") == 0
    world.run(0.2)
    assert len(_received(world, "b")) == 10, "five pings, five pongs"


def test_blocked_send_lets_timers_run() -> None:
    world = fake_world()
    chatter(world)
    world.block_send("b", 5.5)
    world.run(5.4)
    assert _received(world, "a") == []
    assert _received(world, "b") == [b"ping"] * 5
    world.run(0.2)
    assert sorted(_received(world, "a")) == [b"ping"] * 5 + [b"pong"] * 5


def test_restart_makes_a_new_core_with_another_generator() -> None:
    world = fake_world()
    old = core(world, "b")
    send(world, "a", "b")
    world.restart("b")
    new = core(world, "b")
    assert new is not old
    assert new.address == old.address
    assert new.rng.random() != old.rng.random()
    world.run(1.0)
    assert _received(world, "b") == [b"hello"], "the address is the same: the packet finds the new process"


def test_restart_at_a_new_address_leaves_silence_at_the_old_one() -> None:
    world = fake_world()
    old = world.address("b")
    world.restart("b", new_address=True)
    assert world.address("b") != old
    world.nodes["a"].call(core(world, "a").send, b"old", old)
    send(world, "a", "b", b"new")
    world.run(1.0)
    assert _received(world, "b") == [b"new"]
    assert not core(world, "a").unreachable


def test_seeds_are_looked_up_afresh() -> None:
    world = fake_world(names="a")
    world.add_node("c", ["a"])
    assert core(world, "c").seeds == [world.address("a")]
    world.restart("a", new_address=True)
    world.run(6.0)
    assert core(world, "c").seeds == [world.address("a")]


def test_a_node_that_has_left_is_gone() -> None:
    world = fake_world()
    world.leave("b")
    assert world.nodes["b"].life is Life.LEFT
    with pytest.raises(LookupError, match="left"):
        core(world, "b")


def test_events_are_recorded_with_true_times_and_shown_to_watchers() -> None:
    world = fake_world()
    seen = []
    world.watchers.append(lambda node, event: seen.append((node.name, event)))
    world.run(3.0)
    event = MemberFailed(Member("b", Address("10.0.0.2", 7946)), "silence")
    world.nodes["a"].call(core(world, "a").tell, event)
    (record,) = world.events(MemberFailed, at="a", about="b")
    assert record.time == 3.0
    assert seen == [("a", event)]


def test_an_observer_may_end_the_process_that_reports() -> None:
    world = fake_world()
    world.watchers.append(lambda node, event: world.crash(node.name))
    world.nodes["a"].call(core(world, "a").tell, MemberFailed(Member("b", Address("::1", 1)), "told"))
    assert not world.nodes["a"].running


def test_an_error_tells_the_seed_and_what_happened_last() -> None:
    world = fake_world(seed=77)
    world.crash("b")
    world.after(1.0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        world.run(2.0)
    (note,) = caught.value.__notes__
    assert "seed=77" in note
    assert "crash b" in note
    assert "test_an_error_tells_the_seed" in note


def test_a_deadline_that_does_not_advance_is_noticed() -> None:
    world = fake_world()
    fake = core(world, "a")
    fake.handle_timer = lambda now: None  # type: ignore[method-assign]
    fake.deadline = world.nodes["a"].now() + 1.0
    world.nodes["a"].flush()
    with pytest.raises(AssertionError, match="does not advance"):
        world.run(2.0)


def busy_world(seed: int) -> World:
    """A bit of everything."""
    network = Network.wan(loss=0.1, duplicate=0.1, burst=Burst(good=2.0))
    world = fake_world(seed, "abcdef", network=network)
    chatter(world, 0.1)
    world.run(2.0)
    world.pause("a", 1.0)
    world.crash("b")
    world.partition(["c"])
    world.run(2.0)
    world.heal()
    world.restart("b")
    world.run(2.0)
    return world


def test_the_same_seed_gives_the_same_trace() -> None:
    assert busy_world(5).trace.digest() == busy_world(5).trace.digest()
    assert busy_world(5).trace.digest() != busy_world(6).trace.digest()


def test_the_trace_does_not_depend_on_how_python_hashes_text() -> None:
    program = "from tests.simulation import test_world; print(test_world.busy_world(5).trace.digest())"
    assert printed(program, ("1", "2", "3")) == {busy_world(5).trace.digest() + "\n"}


def test_a_consumer_of_chance_more_changes_no_other() -> None:
    plain, other = fake_world(3), fake_world(3)
    other.random("something else").random()
    assert plain.fabric.delay("a", "b") == other.fabric.delay("a", "b")
    assert core(plain, "b").rng.random() == core(other, "b").rng.random()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda world: world.partition("ab"), ValueError),
        (lambda world: world.partition(["a"], ["typo"]), KeyError),
        (lambda world: world.set_loss(7.0), ValueError),
        (lambda world: world.set_loss(math.nan), ValueError),
        (lambda world: world.set_loss(incoming={"a": -1.0}), ValueError),
        (lambda world: world.set_loss(outgoing={"typo": 1.0}), KeyError),
        (lambda world: world.set_loss(links={("a", "typo"): 1.0}), KeyError),
        (lambda world: world.pause("a", math.nan), ValueError),
        (lambda world: world.pause("typo", 1.0), KeyError),
        (lambda world: world.block_send("a", -5.0), ValueError),
        (lambda world: world.block_receive("a", math.inf), ValueError),
        (lambda world: world.set_clock_rate("a", 0.0), ValueError),
        (lambda world: world.set_clock_rate("a", math.nan), ValueError),
        (lambda world: world.add_node("b"), ValueError),
        (lambda world: world.add_node("c", rate=-1.0), ValueError),
        (lambda world: world.assemble(3), ValueError),
        (lambda world: world.every(0.0, print), ValueError),
        (lambda world: world.after(-1.0, print), ValueError),
        (lambda world: world.grow(2, stagger=-1.0), ValueError),
        (lambda world: world.run(math.nan), ValueError),
        (lambda world: world.run_until(world.converged, math.inf), ValueError),
        (lambda world: world.run_until(world.converged, 1.0, step=0.0), ValueError),
        (lambda world: World(1, drift=math.nan), ValueError),
        (lambda world: World(1, skew=math.inf), ValueError),
        (lambda world: Network.lan(loss=2.0), ValueError),
        (lambda world: Network.lan(duplicate=math.nan), ValueError),
        (lambda world: Network.lan(median=-1.0), ValueError),
        (lambda world: Network(regions=0), ValueError),
        (lambda world: Network.wan(region_rtt=(0.1, math.inf)), ValueError),
        (lambda world: Burst(good=0.0), ValueError),
        (lambda world: Burst(loss=1.5), ValueError),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    wrong: Callable[[World], object], error: type[Exception]
) -> None:
    world = fake_world()
    before = world.trace.digest()
    with pytest.raises(error):
        wrong(world)
    assert world.trace.digest() == before
    assert not world.fabric.cuts
    assert _reach(world, "ab") == {"ab", "ba"}


@pytest.mark.parametrize("fault", [World.pause, World.block_receive, World.block_send])
def test_a_process_that_does_not_run_is_not_held_up(fault: Callable[[World, str, float], None]) -> None:
    world = fake_world()
    world.crash("b")
    fault(world, "b", 100.0)
    world.restart("b")
    assert _reach(world, "ab") == {"ab", "ba"}


def test_a_machine_that_moves_often_comes_by_addresses_that_are_its_own() -> None:
    world = fake_world()
    hosts = [world.address("a").host]
    for _ in range(300):
        world.restart("a", new_address=True)
        hosts.append(world.address("a").host)
    assert len(set(hosts)) == 126
    assert all(IPv4Address(host) < IPv4Address("127.0.0.0") for host in hosts)
    assert len(set(hosts[:100])) == 100
    assert _reach(world, "ab") == {"ab", "ba"}


def test_a_node_that_runs_and_moves_is_gone_without_a_word() -> None:
    world = World(seed=1)
    world.grow(3)
    world.run_until_converged(10.0)
    world.run(5.0)
    began = world.now
    world.restart("n2", new_address=True, seeds=())
    world.run(1.0)
    assert not [record for record in world.events(MemberFailed, about="n2") if record.time > began]


def test_faults_are_told_for_people() -> None:
    world = fake_world(names="abc")
    world.partition(["a"], ["b", "c"], one_way=True)
    world.set_loss(0.25, incoming={"a": 0.5}, outgoing={"b": 0.1}, links={("a", "c"): 1.0})
    world.pause("a", 1.23456)
    said = [line.partition(" ")[2] for line in world.trace.tail().splitlines()[-3:]]
    assert said == [
        "partition one way a | b, c",
        "set loss everywhere 0.25, to a 0.5, from b 0.1, a to c 1",
        "pause a for 1.23 s",
    ]
    for i in range(20):
        world.add_node(f"n{i}")
    world.partition([f"n{i}" for i in range(20)])
    assert world.trace.tail().endswith(" partition n0, n1, n2 ... n19 (20)")
