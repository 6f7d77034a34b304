"""Connections of which one end, or both, do not know that they are over: no member that lives is given up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swim.events import LeaderChanged, MemberFailed
from swim.simulation import World


def settled(seed: int, size: int) -> World:
    world = World(seed)
    world.grow(size)
    world.run_until_converged(30.0)
    world.run(5.0)
    return world


def a_middlebox_resets_all_at_once(world: World) -> None:
    world.reset_streams()


def a_nat_forgets_all_without_a_word(world: World) -> None:
    for node in world.running():
        for stream in node.kept.values():
            stream.sever()


def one_end_of_each_forgets(world: World) -> None:
    """What the other end writes is reset from then on."""
    for node in world.running():
        for stream in list(node.accepted):
            stream.forget(node)


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("refused", [0.0, 1.0])
@pytest.mark.parametrize(
    "fault", [a_middlebox_resets_all_at_once, a_nat_forgets_all_without_a_word, one_end_of_each_forgets]
)
def test_nobody_is_given_up_when_connections_break(
    fault: Callable[[World], None], refused: float, size: int
) -> None:
    """Also when all that is sent in the second after that is refused, as by a firewall that forgot them."""
    world = settled(size, size)
    began = world.now
    fault(world)
    cuts = world.reject(*(node.name for node in world.running())) if refused else []
    world.run(refused)
    world.heal(cuts)
    world.run(18.0)
    assert not world.events(MemberFailed)
    assert not [record for record in world.events(LeaderChanged) if record.time > began]
    assert world.converged()


@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize("seconds", [0.5, 10.0])
def test_a_host_that_reboots_takes_no_other_with_it(size: int, seconds: float) -> None:
    """Its old streams are half open at the others: what they write there is reset when it is back."""
    world = settled(size, size)
    world.lose_host("n1")
    world.run(seconds)
    world.restart("n1")
    world.run_until_converged(10.0)
    world.run(20.0)
    assert {record.member.name for record in world.events(MemberFailed) if record.member} <= {"n1"}
    assert not world.invariants.false_deaths
    assert world.converged()


@pytest.mark.parametrize("size", [3, 8])
def test_an_interface_that_vanishes_with_its_processes_end_is_silence(size: int) -> None:
    """As when a container is removed: no end of a stream gets out, and nothing refuses."""
    world = settled(size, size)
    world.lose_host("n1")
    lost = world.now
    assert world.run_until(lambda: len(world.events(MemberFailed)) == size - 1, 6.0) is not None
    failures = world.events(MemberFailed)
    assert {record.member.name for record in failures if record.member} == {"n1"}
    assert min(record.time for record in failures) - lost > 1.5, "nothing proves it"


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("victims", ["one", "all"])
def test_an_attacker_that_resets_streams_and_forges_refusals_proves_no_death(size: int, victims: str) -> None:
    """It sees all packets, so both are authentic: but the streams do not end by themselves."""
    world = settled(size, size)
    began, names = world.now, list(world.nodes)
    attacked = names if victims == "all" else names[:1]
    while world.now < began + 10.0:
        world.reset_streams(*attacked)
        for victim in attacked:
            world.forge_refusal(victim, *(name for name in names if name != victim))
        world.run(world.random("attacker").uniform(0.0, 0.2))
    world.run(5.0)
    assert not world.events(MemberFailed)
    assert not [record for record in world.events(LeaderChanged) if record.time > began]
    assert world.converged()
