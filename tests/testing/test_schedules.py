"""Our own trio layer under random schedules of faults; bugs that were planted are found, and replayed."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings

import swim
from swim.testing import Fault, World, for_each_seed, inflict, random_faults
from swim.testing.plugin import world as world_fixture
from swim.testing.strategies import schedules

NAMES = ["a", "b", "c", "d"]
VOTERS = ["a", "b", "c"]
SHARDS = ["shard/1", "shard/2"]
TICK_S = 0.2
OVERSTAY_S = 30.0
FAULTS_S = 30.0

world = world_fixture


@dataclass
class Crew:
    """What the programs of one world have done, in true time."""

    world: World
    overstay: bool = False
    """A planted bug: who works goes on for a while when its term or lease is over."""
    misname: bool = False
    """A planted bug: who answers for another."""
    done: dict[str, list[str]] = field(default_factory=dict)
    """The tokens with which each thing was done."""
    taken: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    lives: int = 0

    async def serve(self, name: str) -> None:
        """One program: it leads if it may, writes to all others, and reads what they write."""
        self.lives += 1
        me = f"{name}{self.lives}"
        async with (
            swim.open_cluster(name, seeds=NAMES, voters=VOTERS) as cluster,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self.read, cluster, me)
            nursery.start_soon(self.write, cluster, me)
            nursery.start_soon(self.lock, cluster, name)
            for shard in SHARDS:
                nursery.start_soon(
                    cluster.run_while_owner, shard, lambda lease: self.work(lease.name, name, lease.token)
                )
            await cluster.run_while_leader(lambda term: self.work("lead", name, term.token))

    async def work(self, what: str, name: str, token: str) -> None:
        """Nobody may do this while somebody else does, nor after somebody with a newer token has."""
        until = trio.current_time() + OVERSTAY_S if self.overstay else math.inf
        with trio.CancelScope(shield=self.overstay, deadline=until):
            while True:
                done = self.done.setdefault(what, [])
                assert [token] >= done[-1:], f"{name} is still at {what}, but somebody else has been since"
                done.append(token)
                await trio.sleep(TICK_S)

    async def lock(self, cluster: swim.Cluster, name: str) -> None:
        while True:
            with suppress(swim.LeaseLost), trio.move_on_after(1):
                async with cluster.hold("lock") as lease:
                    await self.work("lock", name, lease.token)
            await trio.sleep(1)

    async def write(self, cluster: swim.Cluster, me: str) -> None:
        number = 0
        while True:
            for member in cluster.members():
                number += 1
                try:
                    with trio.move_on_after(1):
                        await cluster.send(member, f"{me} {number}".encode())
                except swim.SendError:
                    continue
            await trio.sleep(1)

    async def read(self, cluster: swim.Cluster, me: str) -> None:
        async with cluster.messages() as messages:
            async for message in messages:
                assert isinstance(message, swim.DirectMessage)
                sender, number = message.payload.decode().split()
                name = self.world.random("names").choice(NAMES) if self.misname else message.sender.name
                assert sender.startswith(name), f"{sender} wrote it, not {name}"
                before = self.taken.setdefault((sender, me), [])
                assert [int(number)] > before[-1:], f"{sender} to {me}: {number} after {before}"
                before.append(int(number))


def scenario(world: World, faults: list[Fault] | None = None, **planted: bool) -> Crew:
    """Four programs and random faults; at the end of them all is well again."""
    crew = Crew(world, **planted)
    for name in NAMES:
        world.start(name, crew.serve, name)
    world.run_until_converged(30)
    drawn = random_faults(world.random("faults"), NAMES, FAULTS_S, 8) if faults is None else faults
    inflict(world, drawn)
    world.run(FAULTS_S + 20)
    for name in NAMES:
        error = world.error(name)
        if error is not None:
            raise error
    world.run_until_converged(60)
    before = {what: len(crew.done.get(what, ())) for what in ("lead", "lock", *SHARDS)}
    world.run(10)
    idle = [what for what, count in before.items() if len(crew.done.get(what, ())) <= count]
    assert not idle, f"nobody is at {idle}\n{world.describe()}"
    return crew


def test_a_message_is_not_read_again_from_a_member_that_was_given_up_for_a_while() -> None:
    """It had sent on, and sends again what it has heard nothing of."""
    with World(13) as world:
        scenario(world)


@pytest.mark.long
def test_random_schedules() -> None:
    for_each_seed(scenario, 2)


@settings(max_examples=2)
@given(faults=schedules(NAMES, FAULTS_S))
def test_schedules_of_hypothesis(faults: list[Fault]) -> None:
    with World(1) as world:
        scenario(world, faults)


@pytest.mark.parametrize("bug", ["overstay", "misname"])
def test_a_planted_bug_is_found_and_replayed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(world: World) -> None:
        seen.append(world.seed)
        scenario(world, **{bug: True})

    seen: list[int] = []
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        for_each_seed(planted, 200)
    found = seen[-1]
    note = next(note for note in caught.value.__notes__ if note.startswith("seed "))
    assert note == (
        f"seed {found}; to replay it: SWIM_SEED={found} pytest "
        f"'tests/testing/test_schedules.py::test_a_planted_bug_is_found_and_replayed[{bug}]'"
    )
    seen.clear()
    monkeypatch.setenv("SWIM_SEED", str(found))
    with pytest.raises(type(caught.value)):
        for_each_seed(planted, 200)
    assert seen == [found]


def test_the_fixture(world: World) -> None:
    world.start("a", Crew(world).serve, "a")
    world.start("b", Crew(world).serve, "b")
    world.run_until_converged(30)
