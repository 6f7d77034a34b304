"""Programs that use all of the trio layer, and what has to be true of them whatever goes wrong."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

import trio

import swim
from swim.testing import Fault, World, inflict, random_faults

NAMES = ["a", "b", "c", "d"]
VOTERS = ["a", "b", "c"]
SHARDS = ["shard/1", "shard/2"]
POOL, POOL_SIZE = "pool", 2
CONFIG = swim.Config.lan(lease=1.0, session=2.0)
TICK_S = 0.2
OVERSTAY_S = 30.0
FAULTS_S, FAULTS = 12.0, 5
WHIM_S = 10.0
"""Between two things that a program does of its own will, on the average."""
WHIMS = ["yield", "yield", "leave", "close", "abort"]
STEP_S, STEPS_MAX = 0.1, 40
"""In which all tasks of a node end that has left."""
SETTLE_S = 5.0
"""From one view until all names have owners, and all messages have arrived."""

GOES_ON, BY_NAME = "goes on after its lease", "answered by another process"

Pair = tuple[str, str]
"""Two processes, as `Member.process` names them."""


@dataclass
class Crew:
    """What the programs of one world have done, in true time."""

    world: World
    bug: str = ""
    """A planted one: `GOES_ON` for a while when the term or lease is over; `BY_NAME` a process is asked
    that it knew once, and whatever has the name now answers."""
    calm: bool = False
    """The programs do nothing of their own will any more, and send nothing."""
    acts: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    """When each thing was done first and last with each token; the newest token is the last."""
    working: Counter[str] = field(default_factory=Counter)
    """Functions that run, by process."""
    sent: dict[Pair, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each message was accepted; their numbers count from 0."""
    read: dict[Pair, list[int]] = field(default_factory=lambda: defaultdict(list))
    losses: dict[Pair, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When a process was told that it has lost another one."""
    carried_out: set[str] = field(default_factory=set)
    """Requests."""
    known: dict[Pair, swim.Member] = field(default_factory=dict)
    """As a process saw those of each name first."""
    present: dict[str, str] = field(default_factory=dict)
    """The process that runs under each name."""
    lives: Counter[str] = field(default_factory=Counter)

    async def serve(self, name: str) -> None:
        """One program. Again and again it is a member for a while."""
        self.lives[name] += 1
        chance = self.world.random(f"{name} {self.lives[name]}")
        while True:
            before = trio.lowlevel.current_statistics().tasks_living
            async with swim.open_cluster(name, seeds=NAMES, voters=VOTERS, config=CONFIG) as cluster:
                process = self.present[name] = process_of(cluster.me)
                await Stay(self, cluster, process, chance).run()
            assert not self.working[process], f"{name} is no member any more, and works"
            left = trio.lowlevel.current_statistics().tasks_living - before
            assert not left, f"{left} tasks have outlived the cluster of {name}"
            await trio.sleep(chance.uniform(0.0, 3.0))

    async def work(self, what: str, process: str, token: str) -> None:
        """Nobody may do this while somebody else does, nor after somebody with a newer token has."""
        until = trio.current_time() + OVERSTAY_S if self.bug == GOES_ON else math.inf
        self.working[process] += 1
        try:
            with trio.CancelScope(shield=self.bug == GOES_ON, deadline=until):
                while True:
                    self.act(what, process, token)
                    await trio.sleep(TICK_S)
        finally:
            self.working[process] -= 1

    def act(self, what: str, process: str, token: str) -> None:
        acts, now = self.acts[what], self.world.now
        newest = next(reversed(acts), "")
        if what != POOL:
            assert token >= newest, f"{process} is still at {what}, but somebody else has been since"
        acts.setdefault(token, [now, now])[1] = now

    def check(self) -> None:
        """What can be said only when it is over."""
        spans = list(self.acts[POOL].values())
        for begin, _ in spans:
            at_once = sum(first <= begin <= last for first, last in spans)
            assert at_once <= POOL_SIZE, f"{at_once} are in the pool at {begin}"
        for pair, times in self.sent.items():
            got = dict.fromkeys(self.read[pair])
            present = {*pair} <= {*self.present.values()}
            end = len(times) if present else next(reversed(got), 0)
            for number in range(end):
                lost = any(loss >= times[number] for loss in self.losses[pair])
                assert number in got or lost, f"message {number} of {pair}, of {times[number]}, is missing"


class Stay:
    """A program's time as a member of the cluster."""

    def __init__(self, crew: Crew, cluster: swim.Cluster, process: str, chance: Random) -> None:
        self.crew = crew
        self.cluster = cluster
        self.process = process
        self.chance = chance

    async def run(self) -> None:
        """All tasks, until this node leaves, or is closed. What waits for a cluster that is closed ends."""
        tasks = (self.watch, self.write, self.read, self.ask, self.answer, self.lock, self.pool, self.lead)
        async with trio.open_nursery() as nursery:
            for task in (*tasks, *(partial(self.own, shard) for shard in SHARDS)):
                nursery.start_soon(self.until_closed, task, name=getattr(task, "__name__", "own"))  # type: ignore[arg-type]
            if await self.follow_whims():
                for _ in range(STEPS_MAX):
                    if nursery.child_tasks:
                        await trio.sleep(STEP_S)
                late = sorted(task.name for task in nursery.child_tasks)
                assert not late, f"{self.process} is closed, and {late} go on"
            nursery.cancel_scope.cancel()

    async def until_closed(self, task: Callable[[], Awaitable[object]]) -> None:
        with suppress(trio.ClosedResourceError):
            await task()

    async def follow_whims(self) -> bool:
        """Until it is not to be a member any more; whether the cluster is closed already."""
        while True:
            await trio.sleep(self.chance.expovariate(1 / WHIM_S))
            whim = "nothing" if self.crew.calm else self.chance.choice(WHIMS)
            self.crew.world.note(f"{self.process}: {whim}")
            if whim == "yield":
                self.cluster.yield_leadership()
            elif whim == "leave":
                await self.cluster.leave()
                assert not self.crew.working[self.process], "it has left, and works"
            elif whim == "abort":
                self.cluster.abort()
            if whim in ("leave", "abort", "close"):
                return whim != "close"

    # --- names
    async def lead(self) -> None:
        await self.cluster.run_while_leader(lambda term: self.work("lead", term.token))

    async def own(self, shard: str) -> None:
        await self.cluster.run_while_owner(shard, lambda lease: self.work(shard, lease.token))

    async def lock(self) -> None:
        await self.use("lock", 1)

    async def pool(self) -> None:
        await self.use(POOL, POOL_SIZE)

    async def use(self, name: str, limit: int) -> None:
        while True:
            with suppress(swim.LeaseLost), trio.move_on_after(3):
                async with self.cluster.hold(name, limit=limit) as lease:
                    with trio.move_on_after(self.chance.uniform(0.0, 1.0)):
                        await self.work(name, lease.token)
            await trio.sleep(self.chance.uniform(0.0, 1.0))

    async def work(self, what: str, token: str) -> None:
        await self.crew.work(what, self.process, token)

    # --- messages
    async def watch(self) -> None:
        """Write down which processes this one is told to have lost."""
        async with self.cluster.events() as events:
            async for event in events:
                if isinstance(event, swim.MemberFailed | swim.MemberLeft):
                    self.lose(event.member)

    def lose(self, member: swim.Member) -> None:
        self.crew.losses[self.process, process_of(member)].append(self.crew.world.now)

    async def write(self) -> None:
        """To all members, itself included. What is not accepted is not sent: its number is used again."""
        while not self.crew.calm:
            for member in self.cluster.members():
                accepted = self.crew.sent[self.process, process_of(member)]
                try:
                    with trio.move_on_after(1):
                        await self.cluster.send(member, f"{self.process} {len(accepted)}".encode())
                        accepted.append(self.crew.world.now)
                except swim.SendError:
                    self.lose(member)
            await trio.sleep(self.chance.uniform(0.0, 2.0))

    async def read(self) -> None:
        async with self.cluster.messages() as messages:
            async for message in messages:
                assert isinstance(message, swim.DirectMessage)
                sender, number = message.payload.decode().split()
                assert sender == process_of(message.sender), f"{sender} wrote it, not {message.sender}"
                before = self.crew.read[sender, self.process]
                assert [int(number)] > before[-1:], f"{sender} to {self.process}: {number} after {before}"
                before.append(int(number))

    async def ask(self) -> None:
        number = 0
        while True:
            await trio.sleep(self.chance.uniform(0.0, 2.0))
            asked = self.chance.choice(self.cluster.members())
            if self.crew.bug == BY_NAME:
                asked = self.crew.known.setdefault((self.process, asked.name), asked)
            number += 1
            question = f"{self.process} {number}"
            with suppress(swim.SendError, swim.RequestError), trio.move_on_after(2):
                to = asked.name if self.crew.bug == BY_NAME else asked
                answer = await self.cluster.request(to, question.encode(), topic="ask")
                assert answer.decode() == f"{process_of(asked)} {question}", f"{asked} was asked"
                assert question in self.crew.carried_out

    async def answer(self) -> None:
        async def handle(sender: swim.Member, payload: bytes) -> bytes:
            question = payload.decode()
            assert question.startswith(process_of(sender))
            assert question not in self.crew.carried_out, f"{question} is carried out twice"
            self.crew.carried_out.add(question)
            await trio.sleep(self.chance.uniform(0.0, 0.3))
            return f"{self.process} {question}".encode()

        async with self.cluster.serve("ask", handle):
            await self.cluster.wait_for(lambda cluster: False)


def process_of(member: swim.Member) -> str:
    assert member.process is not None
    return f"{member.name}/{member.process}"


def scenario(world: World, faults: list[Fault] | None = None, bug: str = "") -> Crew:
    """Four programs and random faults; at the end of them all is well again, and each thing is done."""
    crew = Crew(world, bug)
    for name in NAMES:
        world.start(name, crew.serve, name)
    world.run_until_converged(30)
    drawn = random_faults(world.random("faults"), NAMES, FAULTS_S, FAULTS) if faults is None else faults
    drawn = [replace(fault, seconds=fault.seconds / 2) for fault in drawn]
    inflict(world, drawn)
    world.run(max((fault.at + fault.seconds for fault in drawn), default=FAULTS_S))
    crew.calm = True
    raise_errors(world)
    world.run_until_converged(60)
    world.run(SETTLE_S)
    before = {what: newest_act(crew, what) for what in ("lead", "lock", POOL, *SHARDS)}
    world.run(1)
    raise_errors(world)
    crew.check()
    idle = [what for what, when in before.items() if newest_act(crew, what) <= when]
    assert not idle, f"nobody is at {idle}\n{world.describe()}"
    return crew


def raise_errors(world: World) -> None:
    for name in NAMES:
        error = world.error(name)
        if error is not None:
            raise error


def newest_act(crew: Crew, what: str) -> float:
    return max((last for _, last in crew.acts[what].values()), default=-1.0)
