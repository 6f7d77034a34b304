"""What a node learns from others' kernels: kept streams and kernel probes, with a fake core."""

from __future__ import annotations

import pytest

from swim.simulation import Network, World
from tests.simulation.fake_core import core, fake_world

FLAT = Network(sigma=0.0, median=0.001)


def keep(world: World, client: str, server: str) -> None:
    core(world, client).keep = [world.address(server)]
    world.run(1.5)


def probe(world: World, client: str, server: str) -> None:
    world.nodes[client].call(core(world, client).probe, world.address(server))


def test_a_kernel_answers_for_a_process_that_runs_or_stands_still() -> None:
    world = fake_world(network=FLAT)
    probe(world, "a", "b")
    world.run(0.0019)
    assert not core(world, "a").kernel_answers
    world.run(0.0002)
    world.pause("b", 5.0)
    probe(world, "a", "b")
    world.run(1.0)
    assert [address for _, address in core(world, "a").kernel_answers] == [world.address("b")] * 2
    assert not core(world, "a").unreachable


def test_a_kernel_refuses_for_a_dead_process() -> None:
    world = fake_world(network=Network(unreachable=False))
    world.crash("b")
    probe(world, "a", "b")
    world.run(1.0)
    assert len(core(world, "a").unreachable) == 1
    assert not core(world, "a").kernel_answers


@pytest.mark.parametrize("why", ["lost", "there", "back"])
def test_a_kernel_that_cannot_be_reached_says_nothing(why: str) -> None:
    world = fake_world()
    match why:
        case "lost":
            world.lose_host("b")
        case "there":
            world.partition(["a"], ["b"], one_way=True)
        case "back":
            world.partition(["b"], ["a"], one_way=True)
    probe(world, "a", "b")
    world.run(5.0)
    assert not core(world, "a").unreachable
    assert not core(world, "a").kernel_answers


def test_a_kept_stream_is_closed_when_the_process_dies() -> None:
    world = fake_world(network=FLAT)
    keep(world, "a", "b")
    assert len(core(world, "a").kernel_answers) == 1, "the connection was accepted"
    world.run(100.0)
    assert len(core(world, "a").kernel_answers) == 1
    start = world.nodes["a"].now()
    world.crash("b")
    world.run(0.5)
    ((time, name),) = core(world, "a").closed
    assert name == "b"
    assert time - start == pytest.approx(0.001, abs=1e-5)


def test_a_kept_stream_says_nothing_of_a_pause_or_a_lost_host() -> None:
    world = fake_world()
    keep(world, "a", "b")
    world.pause("b", 5.0)
    world.run(6.0)
    world.lose_host("b")
    world.run(10.0)
    assert not core(world, "a").closed


def test_the_end_of_a_kept_stream_is_repeated_when_it_is_lost() -> None:
    world = fake_world()
    keep(world, "a", "b")
    cut = world.partition(["a"], ["b"])
    world.crash("b")
    world.run(1.0)
    assert not core(world, "a").closed
    world.heal(cut)
    world.run(1.0)
    assert len(core(world, "a").closed) == 1


def test_a_restarted_process_has_none_of_the_old_streams_and_is_connected_to_anew() -> None:
    world = fake_world()
    keep(world, "a", "b")
    world.restart("b")
    world.run(3.0)
    assert len(core(world, "a").closed) == 1
    assert len(core(world, "a").kernel_answers) == 2
    world.restart("a")
    world.run(0.1)
    assert not world.nodes["b"].accepted
    assert not world.nodes["a"].kept


def test_a_stream_that_is_not_wanted_any_more_is_closed() -> None:
    world = fake_world()
    keep(world, "a", "b")
    core(world, "a").keep = []
    world.run(2.0)
    assert not world.nodes["b"].accepted
    world.crash("b")
    world.run(2.0)
    assert not core(world, "a").closed


def test_a_connection_that_fails_is_tried_again() -> None:
    world = fake_world()
    cut = world.partition(["a"], ["b"])
    keep(world, "a", "b")
    world.run(10.0)
    world.heal(cut)
    world.run(5.0)
    assert len(core(world, "a").kernel_answers) == 1
    assert len(world.nodes["b"].accepted) == 1


def test_the_server_of_a_stream_hears_when_its_client_dies() -> None:
    world = fake_world(network=FLAT)
    keep(world, "a", "b")
    world.crash("a")
    world.run(0.5)
    assert [name for _, name in core(world, "b").closed] == ["a"]


def test_after_the_end_of_a_stream_the_next_thing_heard_is_a_refusal() -> None:
    world = fake_world(network=FLAT)
    keep(world, "a", "b")
    world.crash("b")
    world.run(0.1)
    assert len(core(world, "a").closed) == 1
    assert [address for _, address in core(world, "a").unreachable] == [world.address("b")]


def test_a_probe_on_a_stream_is_acknowledged_by_the_kernel_and_repeated_when_lost() -> None:
    world = fake_world(network=FLAT)
    keep(world, "a", "b")
    world.pause("b", 5.0)
    probe(world, "a", "b")
    world.run(0.01)
    assert len(core(world, "a").kernel_answers) == 2
    cut = world.partition(["a"], ["b"])
    probe(world, "a", "b")
    world.run(0.1)
    world.heal(cut)
    world.run(0.15)
    assert len(core(world, "a").kernel_answers) == 3


def test_a_stream_on_which_nothing_is_acknowledged_ends_silently_and_is_opened_again() -> None:
    world = fake_world()
    keep(world, "a", "b")
    first = next(iter(world.nodes["b"].accepted))
    cut = world.partition(["a"], ["b"])
    world.run(100.0)
    assert next(iter(world.nodes["b"].accepted)) is first, "nobody has asked anything"
    probe(world, "a", "b")
    world.run(10.0)
    assert next(iter(world.nodes["b"].accepted)) is first, "the other end has not heard of it"
    world.heal(cut)
    world.run(5.0)
    (second,) = world.nodes["b"].accepted
    assert second is not first
    assert not core(world, "a").closed


def test_a_probe_of_a_process_that_died_behind_a_partition_is_answered_by_a_reset() -> None:
    world = fake_world(network=FLAT)
    keep(world, "a", "b")
    cut = world.partition(["a"], ["b"])
    world.crash("b")
    world.run(60.0)
    world.heal(cut)
    assert not core(world, "a").closed, "its kernel has given up saying so"
    probe(world, "a", "b")
    world.run(0.1)
    assert not core(world, "a").closed, "a firewall might have said so"
    assert [address for _, address in core(world, "a").unreachable] == [world.address("b")] * 2
