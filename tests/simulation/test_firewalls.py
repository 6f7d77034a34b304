"""What a node is shown of firewalls and of networks that let only some packets through, with a fake core."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swim.simulation import Network, World
from tests.simulation.fake_core import ask, core, fake_world, send

FLAT = Network(sigma=0.0, median=0.001)


def refusals(world: World, name: str = "a") -> int:
    return len(core(world, name).unreachable)


def heard(world: World, name: str = "b") -> int:
    return len(core(world, name).received)


def over_stream(world: World, source: str, target: str, data: bytes = b"packet") -> None:
    node = world.nodes[source]
    node.call(core(world, source).send_over_stream, data, world.address(target))


def keep(world: World) -> None:
    core(world, "a").keep = [world.address("b")]
    world.run(1.5)


# --- datagrams


def test_a_host_that_refuses_datagrams_says_so_and_a_router_does_not_in_its_name() -> None:
    world = fake_world(network=FLAT)
    by_host = world.reject("b", protocol="udp")
    send(world, "a", "b")
    send(world, "b", "a")
    world.run(0.1)
    assert (refusals(world), heard(world), heard(world, "a")) == (1, 0, 1)
    world.heal(by_host)
    world.reject_between(["a"], ["b"])
    send(world, "a", "b")
    send(world, "b", "a")
    world.run(0.1)
    assert (refusals(world), heard(world), heard(world, "a")) == (1, 0, 1)
    world.heal()
    send(world, "a", "b")
    world.run(0.1)
    assert heard(world) == 1


def test_what_is_blocked_is_lost_without_a_word() -> None:
    world = fake_world(names="abc")
    world.block("udp", ["a"], ["b"], one_way=True)
    for source, target in ("ab", "ba", "ac"):
        send(world, source, target)
    world.run(1.0)
    assert [heard(world, name) for name in "abc"] == [1, 0, 1]
    world.block("udp")
    send(world, "a", "c")
    world.run(1.0)
    assert heard(world, "c") == 1
    assert refusals(world) == 0


def test_a_firewall_that_lets_nothing_in_does_not_hear_that_others_refuse() -> None:
    world = fake_world()
    world.reject("a", "b")
    send(world, "a", "b")
    world.run(1.0)
    assert refusals(world) == 0


def test_large_packets_vanish() -> None:
    world = fake_world()
    world.set_size_max(1_280)
    send(world, "a", "b", b"x" * 1_253)
    world.run(1.0)
    assert heard(world) == 0
    send(world, "a", "b", b"x" * 1_252)
    world.run(1.0)
    assert heard(world) == 1
    assert refusals(world) == 0


def test_a_forged_refusal_is_told_to_those_that_are_watched_only() -> None:
    world = fake_world(names="abc")
    world.forge_refusal("b", "a")
    assert [address for _, address in core(world, "a").unreachable] == [world.address("b")]
    assert refusals(world, "c") == 0


# --- streams


@pytest.mark.parametrize(
    "block",
    [
        lambda world: world.reject("b", protocol="udp"),
        lambda world: world.block("udp"),
        lambda world: world.reject_between(["a"], ["b"], protocol="udp"),
    ],
)
def test_streams_pass_where_only_datagrams_do_not(block: Callable[[World], object]) -> None:
    world = fake_world()
    block(world)
    ask(world, "a", "b")
    send(world, "a", "b")
    world.run(1.0)
    assert [answer for _, _, answer in core(world, "a").answers] == [b"WHAT."]
    assert heard(world) == 0


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("router", [False, True])
def test_a_connection_is_refused_by_firewalls_and_by_routers(router: bool, resets: bool) -> None:
    world = fake_world()
    if router:
        world.reject_between(["a"], ["b"], resets=resets)
    else:
        world.reject("b", resets=resets)
    ask(world, "a", "b")
    world.run(1.0)
    ((_, _, answer),) = core(world, "a").answers
    assert isinstance(answer, ConnectionRefusedError)
    keep(world)
    assert refusals(world) > 0


def test_content_that_a_firewall_resets_ends_the_exchange() -> None:
    world = fake_world(network=FLAT)
    ask(world, "a", "b")
    world.run(0.0015)
    world.reject("b", protocol="tcp", resets=True)
    world.run(1.0)
    ((_, _, answer),) = core(world, "a").answers
    assert isinstance(answer, ConnectionResetError)


def test_a_connection_survives_a_refusal_by_icmp() -> None:
    world = fake_world()
    keep(world)
    cuts = world.reject("b", protocol="tcp")
    over_stream(world, "a", "b")
    world.run(0.5)
    assert not core(world, "b").streamed
    world.heal(cuts)
    world.run(2.0)
    assert core(world, "b").streamed == [(b"packet", "a")]
    assert not core(world, "a").closed
    assert not refusals(world)


def test_a_connection_that_a_firewall_resets_is_a_refusal_and_no_end() -> None:
    world = fake_world()
    keep(world)
    cuts = world.reject("b", protocol="tcp", resets=True)
    world.run(60.0)
    assert not refusals(world), "nobody has said anything"
    over_stream(world, "a", "b")
    world.run(0.5)
    assert refusals(world) >= 1
    assert world.nodes["b"].accepted, "the other end has not heard of it"
    world.heal(cuts)
    world.run(3.0)
    assert len(world.nodes["b"].accepted) == 1
    over_stream(world, "b", "a")
    world.run(1.0)
    assert core(world, "a").streamed == [(b"packet", "b")]
    assert not core(world, "a").closed
    assert not core(world, "b").closed


def test_what_is_written_to_a_forgotten_connection_is_refused() -> None:
    world = fake_world()
    keep(world)
    cut = world.partition(["a"], ["b"])
    over_stream(world, "a", "b")
    world.run(5.0)
    assert not any(stream.is_open(world.nodes["a"]) for stream in world.nodes["b"].accepted)
    core(world, "a").keep = []
    world.heal(cut)
    over_stream(world, "b", "a")
    world.run(0.5)
    assert refusals(world, "b") == 1
    assert not world.nodes["b"].accepted


def test_the_end_of_a_process_is_not_heard_through_a_firewall_that_resets() -> None:
    world = fake_world()
    keep(world)
    cuts = world.reject("a", protocol="tcp", resets=True)
    world.crash("b")
    world.run(1.0)
    world.heal(cuts)
    world.run(10.0)
    assert not core(world, "a").closed


def test_a_process_that_dies_with_something_unread_resets_its_streams() -> None:
    world = fake_world(network=FLAT)
    keep(world)
    world.pause("b", 5.0)
    over_stream(world, "a", "b")
    world.run(0.5)
    world.crash("b")
    world.run(0.5)
    assert not core(world, "a").closed
    assert refusals(world) >= 1


def test_something_on_the_way_forgets_all_connections() -> None:
    world = fake_world()
    keep(world)
    world.reset_streams()
    world.run(0.1)
    assert (refusals(world, "a"), refusals(world, "b")) == (1, 1)
    world.run(2.0)
    assert len(world.nodes["b"].accepted) == 1, "opened again"
    world.reset_streams("b")
    world.run(0.1)
    assert refusals(world, "b") == 2


# --- packets over streams


def test_a_packet_that_waits_for_a_stream_is_sent_when_it_is_open() -> None:
    world = fake_world()
    over_stream(world, "a", "b")
    world.run(1.0)
    assert core(world, "b").streamed == [(b"packet", "a")]


def test_a_packet_goes_over_the_stream_that_the_other_side_opened() -> None:
    world = fake_world()
    keep(world)
    over_stream(world, "b", "a")
    world.run(0.1)
    assert core(world, "a").streamed == [(b"packet", "b")]
    assert not world.nodes["b"].kept


def test_a_process_that_stands_still_answers_nothing_over_the_stream() -> None:
    world = fake_world()
    keep(world)
    world.pause("b", 2.0)
    over_stream(world, "a", "b")
    world.run(1.9)
    assert not core(world, "b").streamed
    world.run(0.2)
    assert core(world, "b").streamed == [(b"packet", "a")]


# --- hosts that get another address


def test_a_host_that_moves_is_found_at_its_new_address_only_and_its_streams_end_without_a_word() -> None:
    world = fake_world(names="ab")
    keep(world)
    old = world.address("b")
    world.move("b")
    assert world.address("b") != old
    over_stream(world, "b", "a")
    send(world, "a", "b")
    world.run(0.5)
    assert heard(world) == 1
    node = world.nodes["a"]
    node.call(core(world, "a").send, b"who?", old)
    core(world, "a").keep = [old]
    over_stream(world, "a", "b")
    world.run(0.4)
    assert heard(world) == 1
    assert core(world, "b").moves == []
    world.run(0.2)
    assert core(world, "b").moves == [world.address("b")], "the driver notices within a second"
    assert not world.nodes["b"].accepted
    assert not core(world, "a").closed
    assert not refusals(world)
    assert core(world, "a").streamed == []


def test_members_find_one_that_moved() -> None:
    world = World(seed=3)
    world.grow(5)
    world.run_until_converged(10.0)
    world.move("n0")
    assert world.run_until(lambda: world.view("n4")["n0"].address == world.address("n0"), 5.0) is not None
    world.run_until_converged(5.0)
    assert world.leader("n4") == "n0"
    assert not world.invariants.false_deaths
