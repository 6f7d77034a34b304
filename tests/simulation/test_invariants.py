"""The checker must notice: each invariant is broken here on purpose, by a fake core."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.events import Event, LeaderChanged, MemberFailed, MemberJoined, MemberLeft, MemberUpdated
from swim.simulation import World
from swim.types import Member
from tests.simulation.fake_core import core, fake_world


def tell(world: World, *events: Event, at: str = "a") -> None:
    for event in events:
        world.nodes[at].call(core(world, at).tell, event)


def known(world: World, name: str, incarnation: int = 1) -> Member:
    return replace(core(world, name).me, incarnation=incarnation)


def test_a_dead_member_does_not_join_again_at_the_same_incarnation() -> None:
    for event in (MemberFailed, MemberLeft):
        world = fake_world(seed=4711)
        b = known(world, "b")
        world.crash("b")
        gone = MemberFailed(b, "told") if event is MemberFailed else MemberLeft(b)
        tell(world, MemberJoined(b), gone)
        with pytest.raises(AssertionError, match=r"a resurrected b .* long gone") as caught:
            tell(world, MemberJoined(b))
        assert "seed=4711" in str(caught.value)
        assert "crash b" in str(caught.value)


def test_it_may_refute() -> None:
    world = fake_world()
    tell(world, MemberFailed(known(world, "b"), "told"), MemberJoined(known(world, "b", 2)))
    assert [str(record.event.member) for record in world.invariants.false_deaths] == ["b (10.0.0.2:7946)"]  # type: ignore[union-attr]


def test_another_process_under_the_name_is_another_matter() -> None:
    world = fake_world()
    tell(world, MemberFailed(known(world, "b", 5), "told"))
    world.restart("b")
    core(world, "b").id = "Z" * 26
    tell(world, MemberJoined(known(world, "b", 1)))
    assert not world.events(MemberFailed, at="b")


def test_incarnations_do_not_go_back() -> None:
    world = fake_world()
    tell(world, MemberJoined(known(world, "b", 3)))
    with pytest.raises(AssertionError, match="go back from incarnation 3"):
        tell(world, MemberUpdated(known(world, "b", 2), known(world, "b", 3)))


def test_the_leader_does_not_go_back() -> None:
    world = fake_world(names="abc")
    for name in "bc":
        core(world, "a").leader = known(world, name)
        tell(world, LeaderChanged(known(world, name), None))
    core(world, "a").leader = known(world, "b")
    with pytest.raises(AssertionError, match="leader fell"):
        world.run(2.0)


def test_a_restarted_process_may_follow_another() -> None:
    world = fake_world(names="abc")
    for name in "cb":
        core(world, "a").leader = known(world, name)
        world.run(2.0)
        world.restart("a")
