"""The chat as it is, `Chat` and `Transcript` on real clusters, in worlds in which much goes wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest
import trio

import swim
from examples.chat_cluster.chat import TAG, Chat, peer
from examples.chat_cluster.lines import Line
from examples.chat_cluster.terminal import Terminal
from examples.chat_cluster.transcript import Shown
from swim.testing import World, for_each_seed, inflict, random_faults
from tests.chat_cluster.weather import plain_lines

NAMES = ["ann", "bob", "cat", "dan"]
CONFIG = swim.Config.lan(pause_tolerance=5.0)
DEATHS = ("crash", "lose_host", "reset")
"""What makes nobody take a living member for dead."""
TALK_S, CALM_S = 15.0, 15.0


@dataclass
class Person:
    """One process: what it says, and what it is shown."""

    me: str
    chance: Random
    began: float
    screen: list[Line] = field(default_factory=list)
    said: int = 0
    waiting: int = 0


class Talk(Chat):
    """Instead of to a screen it writes to the test."""

    def __init__(self, cluster: swim.Cluster, person: Person, world: World) -> None:
        super().__init__(cluster, cast(Terminal, self))
        self.person = person
        self.world = world

    async def read(self) -> str:
        await trio.sleep(self.person.chance.expovariate(1.0))
        if self.world.now > TALK_S:
            await trio.sleep_forever()
        self.person.said += 1
        return str(self.person.said)

    def print(self, line: str) -> None:
        """It is shown what `_say` is told."""

    def style(self, text: str, *codes: int) -> str:
        return text

    def nick(self, name: str) -> str:
        return name

    def set_prompt(self, prompt: str) -> None:
        self.person.waiting = self._transcript.unaccepted

    def _say(self, shown: Shown) -> None:
        self.person.screen += plain_lines([shown.line])


class Room:
    """All processes of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.people: dict[str, Person] = {}
        """The present one of each name."""

    async def take_part(self, name: str) -> None:
        chance = self.world.random(f"{name} {self.world.now}")
        tags = {TAG: chance.randbytes(4).hex()}
        async with swim.open_cluster(name, seeds=NAMES, config=CONFIG, tags=tags) as cluster:
            person = self.people[name] = Person(peer(cluster.me), chance, self.world.now)
            await Talk(cluster, person, self.world).run()

    def check(self, *, misjudged: bool) -> None:
        people = list(self.people.values())
        for person in people:
            assert person.waiting == 0, f"{person.waiting} lines of {person.me} were not accepted"
            twice = [line for line, count in Counter(person.screen).items() if count > 1]
            assert not twice, f"{person.me} is shown {twice} twice"
            for author in people:
                shown = [line.n for line in person.screen if line.author == author.me]
                assert shown == sorted(shown), f"{person.me} is shown lines of {author.me} as {shown}"
                if person.began <= author.began:
                    assert shown == list(range(1, author.said + 1)), (
                        f"of {author.me}, at {person.me}: {shown}"
                    )
        if not misjudged:
            for one in people:
                for other in people:
                    assert common(one, other) == common(other, one), (
                        f"{one.me} and {other.me} read differently"
                    )


def common(one: Person, other: Person) -> list[Line]:
    seen = set(other.screen)
    return [line for line in one.screen if line in seen]


def scenario(world: World) -> Room:
    room = Room(world)
    for name in NAMES:
        world.start(name, room.take_part, name)
    only_deaths = world.seed % 2 == 0
    faults = random_faults(world.random("faults"), NAMES, TALK_S, 6)
    inflict(world, [fault for fault in faults if not only_deaths or fault.kind in DEATHS])
    world.run(TALK_S + 15)
    world.run_until_converged(60)
    world.run(CALM_S)
    for name in NAMES:
        assert world.error(name) is None, world.error(name)
    room.check(misjudged=not only_deaths)
    return room


@pytest.mark.long
def test_the_chat_in_worlds_with_faults() -> None:
    for_each_seed(scenario, 2)
