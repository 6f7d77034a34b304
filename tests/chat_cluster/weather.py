"""Members of a chat in bad weather, in simulated time and from one seed.

Crashes (also in the very moment in which a line is accepted), pauses, joins, broken connections, partitions,
and members who wrongly believe that they lead.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from examples.chat_cluster.lines import Line
from examples.chat_cluster.messages import Message
from examples.chat_cluster.transcript import Shown, Transcript

TICK = 0.5
STORM = 8.0
CALM = 10.0


@dataclass
class Person:
    transcript: Transcript
    rank: int
    """Who leads: the lowest in one's view."""
    view: dict[str, int] = field(default_factory=dict)
    alive: bool = True
    paused: bool = False
    believes: bool = False
    """It takes itself for the leader, whatever the others say."""
    screen: list[Shown] = field(default_factory=list)
    said: list[Line] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.transcript.me


class Weather:
    """Run with `run`, then look at `people`."""

    def __init__(self, seed: int, *, partitions: bool = False) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.people: dict[str, Person] = {}
        self.witnesses: dict[Line, list[str]] = {}
        """Whom the leader counted as present when it had the line accepted."""
        self.misjudged = False
        """Whether anybody was given up, or never met, who lived."""
        self._partitions = partitions
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._ranks = 0
        self._arrivals: dict[tuple[str, str], float] = {}
        self._lifetime: dict[tuple[str, str], int] = {}
        self._side: dict[str, int] = {}
        self._delays: dict[tuple[str, str], float] = {}
        self._traps = 0

    def run(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(2, 6)):
            self.join()
        wrong = [self.crash, self.trap, self.trap, self.join, self.pause, self.believe, self.cut]
        if self._partitions:
            wrong += [self.part] * 2
        for _ in range(rng.randint(1, 8)):
            self.at(rng.uniform(0, STORM), rng.choice(wrong))
        for _ in range(rng.randint(1, 30)):
            self.at(rng.uniform(0, STORM), self.talk)
        self._go_on_until(STORM)
        self.calm_down()
        self._go_on_until(STORM + CALM)

    # --- time
    def at(self, time: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def _go_on_until(self, end: float) -> None:
        while self._events and self._events[0][0] < end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def _someone(self, *, paused: bool = False) -> Person | None:
        candidates = [person for person in self.people.values() if person.alive and person.paused <= paused]
        return self.rng.choice(candidates) if candidates else None

    def alive(self) -> list[Person]:
        return [person for person in self.people.values() if person.alive]

    # --- what happens
    def join(self) -> None:
        if len(self.alive()) >= 7:
            return
        name = f"p{len(self.people)}"
        sponsor = self._someone()
        self._side[name] = self._side[sponsor.name] if sponsor else 0
        person = self.people[name] = Person(Transcript(name), self._next_rank())
        near = [other for other in self.alive() if self._side[other.name] == self._side[name]]
        person.view = {other.name: other.rank for other in near}
        self.misjudged = self.misjudged or len(near) < len(self.alive())
        self.look(person)
        self.after(self.rng.uniform(0, TICK), lambda: self._tick(person))
        for other in near:
            if other is not person:
                self.after(self.rng.uniform(0, 0.1), lambda other=other: self.notice(other, person))

    def crash(self) -> None:
        """Mostly the leader, which is the interesting one."""
        leader = min(self.alive(), key=lambda person: person.rank)
        person = leader if self.rng.random() < 0.6 else self._someone(paused=True)
        assert person is not None
        self._kill(person)

    def trap(self) -> None:
        """Who has a line accepted next dies in that very moment, and perhaps others with it."""
        self._traps += 1

    def _spring_trap(self, person: Person) -> None:
        self._traps -= 1
        self._kill(person)
        while self.rng.random() < 0.5 and (other := self._someone()):
            self._kill(other)

    def _kill(self, person: Person) -> None:
        if len(self.alive()) >= 2:
            person.alive = False
            for other in self.alive():
                self.after(self.rng.uniform(0, 1), lambda other=other: self.lose(other, person))

    def pause(self) -> None:
        """Long ones are taken for a death; who wakes up is taken back, at the end of the queue."""
        if (person := self._someone()) is None:
            return
        person.paused = True
        length = self.rng.uniform(0.1, 5)
        self.after(length, lambda: self.wake(person))
        if length > 3:
            for other in self.alive():
                if other is not person:
                    self.after(self.rng.uniform(2, 3), lambda other=other: self.lose(other, person))

    def wake(self, person: Person) -> None:
        person.paused = False
        waiting, person.waiting = person.waiting, []
        for action in waiting:
            action()
        self._return(person)

    def believe(self) -> None:
        if person := self._someone():
            person.believes = True
            self.look(person)
            self.after(self.rng.uniform(0, 3), lambda: self._stop_believing(person))

    def _stop_believing(self, person: Person) -> None:
        person.believes = False
        self.look(person)

    def cut(self) -> None:
        """A connection breaks: what is under way on it is lost."""
        one, other = self._someone(), self._someone()
        if one and other:
            self._break(one.name, other.name)

    def part(self) -> None:
        """Two sides; each takes the other for dead after a while."""
        for name in self.people:
            self._side[name] = self.rng.randint(0, 1)
        for one in self.alive():
            for other in self.alive():
                if self._side[one.name] != self._side[other.name]:
                    self._break(one.name, other.name)
                    delay = self.rng.uniform(0.2, 2)
                    self.after(delay, lambda one=one, other=other: self._lose_if_apart(one, other))
        self.after(self.rng.uniform(0.5, 5), self.heal)

    def _lose_if_apart(self, one: Person, other: Person) -> None:
        if self._side[one.name] != self._side[other.name]:
            self.lose(one, other)

    def heal(self) -> None:
        self._side = dict.fromkeys(self.people, 0)
        for person in self.rng.sample(self.alive(), len(self.alive())):
            if self.rng.random() < 0.5:
                person.rank = self._next_rank()
            self._return(person)

    def calm_down(self) -> None:
        """The end of all trouble: everybody sees everybody."""
        self.heal()
        for person in self.alive():
            person.believes = False
            if person.paused:
                self.wake(person)
        for person in self.alive():
            person.view = {other.name: other.rank for other in self.alive()}
            self.look(person)

    def talk(self) -> None:
        if person := self._someone():
            for _ in range(self.rng.choice([1, 1, 2, 5, 25])):
                person.said.append(person.transcript.say(f"{person.name}: {len(person.said) + 1}"))
            self._settle(person)

    # --- views
    def look(self, person: Person) -> None:
        if person.alive:
            person.view[person.name] = person.rank
            leader = person.name if person.believes else min(person.view, key=lambda name: person.view[name])
            person.transcript.see(list(person.view), leader)
            self._settle(person)

    def notice(self, one: Person, other: Person) -> None:
        if other.alive and self._side[one.name] == self._side[other.name]:
            one.view[other.name] = other.rank
            self._when_awake(one, lambda: self.look(one))

    def lose(self, one: Person, other: Person) -> None:
        if other.paused or not other.alive or self._side[one.name] != self._side[other.name]:
            self.misjudged = self.misjudged or other.alive
            one.view.pop(other.name, None)
            self._when_awake(one, lambda: self.look(one))

    def _return(self, person: Person) -> None:
        """Whoever gave it up takes it back."""
        if any(person.name not in other.view for other in self.alive()):
            person.rank = self._next_rank()
        for other in self.alive():
            self.after(self.rng.uniform(0, 0.5), lambda other=other: self.notice(other, person))

    def _next_rank(self) -> int:
        self._ranks += 1
        return self._ranks

    # --- the machinery
    def _tick(self, person: Person) -> None:
        if person.alive:
            if not person.paused:
                person.transcript.tick()
                self._settle(person)
            self.after(TICK, lambda: self._tick(person))

    def _when_awake(self, person: Person, action: Callable[[], None]) -> None:
        if person.paused:
            person.waiting.append(action)
        elif person.alive:
            action()

    def _settle(self, person: Person) -> None:
        """Send and show what there is."""
        messages = person.transcript.outgoing()
        news = person.transcript.news()
        person.screen += news
        term = person.transcript._term
        if news and term is not None and term.followers is not None:
            for shown in news:
                self.witnesses.setdefault(plain(shown.line), list(person.view))
            if self._traps:
                messages = messages[: self.rng.randint(0, len(messages))]
                self._spring_trap(person)
        for receiver, message in messages:
            self._send(person.name, receiver, message)

    def _send(self, sender: str, receiver: str, message: Message) -> None:
        if self._side[sender] != self._side.get(receiver):
            return
        link = (sender, receiver)
        lifetime = self._lifetime.get(link, 0)
        if link not in self._delays:
            self._delays[link] = self.rng.choice([0.001, 0.02, 0.3])
        arrival = max(self.now + self.rng.expovariate(1 / self._delays[link]), self._arrivals.get(link, 0.0))
        self._arrivals[link] = arrival

        def deliver() -> None:
            if self._lifetime.get(link, 0) == lifetime:
                person = self.people[receiver]
                self._when_awake(person, lambda: self._receive(person, sender, message))

        self.at(arrival, deliver)

    def _receive(self, person: Person, sender: str, message: Message) -> None:
        if person.alive:
            person.transcript.receive(sender, message)
            self._settle(person)

    def _break(self, one: str, other: str) -> None:
        for link in ((one, other), (other, one)):
            self._lifetime[link] = self._lifetime.get(link, 0) + 1


def plain(line: Line) -> Line:
    """Without the mark that it was said on the other side."""
    return line._replace(aside=False)


def plain_lines(lines: Iterable[Line]) -> list[Line]:
    return [plain(line) for line in lines]
