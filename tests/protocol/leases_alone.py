"""The real lease in virtual time, without a detector: views of who lives are arbitrary, and often wrong.

So there is more contest than any cluster sees, and a seed costs a fiftieth of one in `swim.simulation`. And
somebody without the keys is in the way of all packets: any of them comes again later, is sent back to its
sender, or on to another from anybody's address.

    python -m tests.protocol.leases_alone [FIRST LAST]      # seeds; two holders at one instant are an error
"""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from swim.config import Config
from swim.protocol.configuration import founding_configuration
from swim.protocol.context import Context
from swim.protocol.dissemination import Dissemination
from swim.protocol.electorate import ABOUT_VOTERS, Electorate
from swim.protocol.leadership import HolderLeads
from swim.protocol.lease import Lease
from swim.protocol.myself import Myself
from swim.protocol.outbox import Outbox
from swim.protocol.post import Post
from swim.protocol.rings import Rings
from swim.protocol.table import MemberTable, Record
from swim.simulation.fast import ObjectCodec
from swim.simulation.schedule import Clock
from swim.types import Address, MemberState
from swim.wire import unpack_address
from swim.wire.messages import Alive, Claim, ClaimKind, Message

__all__ = ["Overlap", "Run", "run"]

STORM_S, CALM_S = 30.0, 30.0
CLOCK_ERROR = 0.01
EPOCH = 1_700_000_000.0


class Overlap(AssertionError):
    """Two processes held the lease at one instant of true time, or a token was below an earlier one."""


@dataclass
class Run:
    """What a seed came to."""

    seed: int
    terms: int = 0
    held_s: float = 0.0
    live_after: float | None = None
    """Seconds of calm until somebody held the lease."""


@dataclass
class Process:
    """One process of a member: the parts that the lease needs, and what its kernel keeps."""

    name: str
    context: Context
    myself: Myself
    leadership: HolderLeads
    electorate: Electorate
    post: Post
    lease: Lease
    paused_until: float = 0.0
    armed: float | None = None
    waiting: list[Callable[[], None]] = field(default_factory=list)


class World:
    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(f"alone:{seed}")
        self.seed, self.now, self.count = seed, 0.0, 0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.config = Config.lan(lease=rng.choice([1.0, 3.0]))
        size = rng.randint(3, 9)
        self.addresses = {f"n{i}": Address(f"10.0.0.{i + 1}", 7946) for i in range(size)}
        self.names = {address: name for name, address in self.addresses.items()}
        self.voters = tuple(self.addresses)[: min(size, rng.randint(3, 5))]
        skew = 0.6 * self.config.lease  # tokens rise if clocks differ by less than two thirds of a lease
        self.clocks = {
            name: Clock(
                rng.uniform(0, 1e5),
                1 + rng.uniform(-CLOCK_ERROR, CLOCK_ERROR),
                EPOCH + skew * rng.random(),
            )
            for name in self.addresses
        }
        self.cut: dict[tuple[str, str], bool] = {}
        self.loss, self.duplicate = rng.choice([0.0, 0.05, 0.3]), rng.choice([0.0, 0.2])
        self.slow = rng.choice([0.0, 0.02, 0.2])
        self.hostile = rng.choice([0.0, 0.02, 0.2])
        self.recorded: list[tuple[str, str, Message]] = []
        self.processes: dict[str, Process] = {}
        self.run = Run(seed)
        self.terms: dict[str, object] = {}
        self.highest = ""
        self.ends: dict[str, tuple[Process, float]] = {}
        """When the latest lease of each ends by its clock, also when its term is over and it cleans up."""
        for name in self.addresses:
            self.boot(name)
        self.meet()

    # --- processes

    def boot(self, name: str) -> None:
        clock = self.clocks[name]
        rng = Random(self.rng.getrandbits(64))
        table = MemberTable(Rings(self.config.rings), 64)
        context = Context(name, self.config, table, Outbox(ObjectCodec()), rng, clock.wall)
        spread = Dissemination(context, suspected=lambda other: False, loss=lambda: 0.0)
        configuration = founding_configuration(self.voters, self.config.lease)
        myself = Myself(context, spread, self.addresses[name], {}, None, True, configuration.tag)
        post = Post(context, myself)
        electorate = Electorate(context, myself, post, configuration)
        electorate.settle()
        leadership = HolderLeads(
            context,
            myself,
            acts=lambda: self.processes[name].lease.term is not None,
            why_none=lambda now: "",
            length=lambda: electorate.configuration.length,
        )
        lease = Lease(context, myself, leadership, electorate, post)
        process = Process(name, context, myself, leadership, electorate, post, lease)
        self.processes[name] = process
        now = clock.local(self.now)
        electorate.voter.start(now)
        newest = max((p.context.table.newest_minted for p in self.processes.values()), default="")
        myself.mint(now, newest)
        myself.publish(now)
        self.call(process, lambda at: None)

    def meet(self, name: str | None = None) -> None:
        """All know each other, or one of them again."""
        for process in self.processes.values():
            for other in self.processes.values():
                if process is not other and name in (None, process.name, other.name):
                    record = other.myself.record
                    assert record is not None
                    process.context.table.put(record, self.local(process))

    def local(self, process: Process) -> float:
        return self.clocks[process.name].local(self.now)

    def call(self, process: Process, action: Callable[[float], object]) -> None:
        """As `Node` does it: attend, act, settle; and what a driver does after that."""
        if self.processes.get(process.name) is not process:
            return
        if process.paused_until > self.now:
            process.waiting.append(lambda: self.call(process, action))
            return
        now, lease = self.local(process), process.lease
        lease.attend(now, 0.0)
        action(now)
        process.electorate.update(now)
        process.leadership.update(now)
        lease.update(now)
        self.check(process)
        outbox = process.context.outbox
        for data, address in outbox.datagrams:
            for message in outbox.codec.open_packet(data).messages:
                self.send(process.name, self.names[address], message)
        outbox.datagrams.clear()
        outbox.events.clear()
        deadline = process.context.timers.next_deadline()
        if deadline is not None and deadline != process.armed:
            process.armed = deadline
            self.at(self.clocks[process.name].true(deadline) + 1e-9, lambda: self.timer(process, deadline))

    def timer(self, process: Process, deadline: float) -> None:
        if process.armed == deadline:
            process.armed = None
            self.call(process, lambda now: process.context.timers.run(max(now, deadline)))

    def check(self, process: Process) -> None:
        lease = process.lease
        if lease.term is None:
            return
        if self.terms.get(process.name) is not lease.term:
            self.terms[process.name] = lease.term
            self.run.terms += 1
            if lease.term.token <= self.highest:
                raise Overlap(f"seed {self.seed}: the token of {process.name} fell at {self.now:.6f}")
            self.highest = lease.term.token
        self.ends[process.name] = (process, lease.ends)
        for other, ends in self.ends.values():
            if other is not process and other is self.processes[other.name] and ends > self.local(other):
                raise Overlap(f"seed {self.seed}: {process.name} and {other.name} at {self.now:.6f}")

    # --- the network

    def at(self, when: float, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.queue, (max(when, self.now), self.count, action))

    def send(self, source: str, target: str, message: Message) -> None:
        rng = self.rng
        if self.hostile:
            self.recorded.append((source, target, message))
            if rng.random() < self.hostile:
                self.at(self.now + rng.expovariate(1.0), self.attack)
        for _ in range(1 + (rng.random() < self.duplicate)):
            if rng.random() < self.loss or self.cut.get((source, target)):
                continue
            delay = rng.uniform(0.0, 10.0) if rng.random() < self.slow else rng.expovariate(1000.0)
            self.at(self.now + delay, lambda: self.arrive(source, target, message))

    def attack(self) -> None:
        """Somebody who has no key repeats a packet: later, back to its sender, or from another address."""
        rng = self.rng
        newest = rng.random() < 0.5
        source, target, message = rng.choice(self.recorded[-20:] if newest else self.recorded)
        kind = rng.choice(["replay", "replay", "reflect", "relay", "divert"])
        other = rng.choice(list(self.addresses))
        if kind == "reflect":
            source, target = target, source
        elif kind == "relay":
            source = other
        elif kind == "divert":
            target = other
        if source != target and self.hostile:
            self.arrive(source, target, message)

    def arrive(self, source: str, target: str, message: Message) -> None:
        process = self.processes[target]
        self.call(process, lambda now: self.receive(process, source, message, now))

    def receive(self, process: Process, source: str, message: Message, now: float) -> None:
        table = process.context.table
        if isinstance(message, Claim):
            sender = table.get(source)
            assert sender is not None
            answers = (ClaimKind.GRANT, ClaimKind.REFUSE, ClaimKind.WOULD)
            if (sender.present or message.kind in answers) and process.post.check(message, sender):
                about = process.electorate if message.kind in ABOUT_VOTERS else process.lease
                about.receive(message, sender, now)
        elif isinstance(message, Alive) and message.node != process.name:
            known = table.get(message.node)
            address = unpack_address(message.address, message.port)
            state = MemberState.ALIVE if known is None else known.state
            record = Record.make(
                message.node, address, message.incarnation, state, message.meta, message.versions, now
            )
            if known is None or (record.id or "", record.incarnation) > (known.id or "", known.incarnation):
                table.put(record, now)

    def step(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self.queue)
            action()
        self.now = until

    # --- faults

    def strike(self) -> None:
        rng = self.rng
        holders = [each for each in self.processes.values() if each.lease.term is not None]
        chosen = holders if holders and rng.random() < 0.5 else list(self.processes.values())
        process = rng.choice(chosen)
        fault = rng.choice(
            ["pause", "restart", "cut", "cut", "heal", "view", "view", "view", "clock", "yield", "floor"]
        )
        if fault == "pause":
            process.paused_until = self.now + rng.choice([0.5, 2.0, 5.0, 15.0]) * rng.random()
            self.at(process.paused_until, lambda: self.wake(process))
        elif fault == "restart":
            self.boot(process.name)
            self.meet(process.name)
        elif fault == "cut":
            others = [name for name in self.addresses if name != process.name]
            side = [process.name, *rng.sample(others, rng.randint(0, len(others) - 1))]
            one_way = rng.random() < 0.4
            self.cut.clear()
            for a in side:
                for b in self.addresses:
                    if b not in side:
                        self.cut[a, b] = not one_way or rng.random() < 0.5
                        self.cut[b, a] = not one_way or not self.cut[a, b]
        elif fault == "heal":
            self.cut.clear()
        elif fault == "view":
            other = rng.choice([name for name in self.addresses if name != process.name])
            state = rng.choice(
                [MemberState.ALIVE, MemberState.SUSPECT, MemberState.SUSPECT, MemberState.DEAD]
            )
            self.call(process, lambda now: self.believe(process, other, state, now))
        elif fault == "clock":
            rate = 1 + rng.uniform(-CLOCK_ERROR, CLOCK_ERROR)
            self.clocks[process.name].set_rate(rate, self.now)
            process.armed = None
            self.call(process, lambda now: None)
        elif fault == "yield":
            self.call(process, lambda now: self.step_down(process, now))
        else:
            floor = self.processes[rng.choice(list(self.processes))].leadership.floor
            self.call(process, lambda now: process.leadership.hear_floor(floor, now))

    def wake(self, process: Process) -> None:
        if process.paused_until <= self.now:
            waiting, process.waiting = process.waiting, []
            for action in waiting:
                action()

    def believe(self, process: Process, name: str, state: MemberState, now: float) -> None:
        record = process.context.table.get(name)
        if record is not None and record.state is not state:
            process.context.table.put(record.become(state, now), now)

    def step_down(self, process: Process, now: float) -> None:
        if process.lease.term is not None:
            process.lease.release(now)
            del self.ends[process.name]
            process.leadership.step_back(now)

    def calm(self) -> None:
        """The truth, for all."""
        self.cut.clear()
        self.loss = self.duplicate = self.slow = self.hostile = 0.0
        self.meet()
        top = max(process.leadership.floor for process in self.processes.values())
        for process in self.processes.values():
            process.paused_until = min(process.paused_until, self.now)
            self.wake(process)
            self.call(process, lambda now, process=process: process.leadership.hear_floor(top, now))  # type: ignore[misc]


def run(seed: int) -> Run:
    """One schedule. Raises `Overlap`."""
    world = World(seed)
    while world.now < STORM_S:
        world.step(world.now + world.rng.expovariate(2.0))
        world.strike()
    world.calm()
    begin = world.now
    while world.now < begin + CALM_S:
        if any(process.lease.term is not None for process in world.processes.values()):
            world.run.live_after = world.now - begin
            break
        world.step(world.now + 0.1)
    return world.run


def main(argv: list[str]) -> int:
    first, last = map(int, argv or ["0", "1000"])
    began, runs, failed = time.process_time(), [], 0
    for seed in range(first, last):
        try:
            runs.append(run(seed))
        except Overlap as error:
            failed += 1
            print(error, flush=True)
    live = sorted(one.live_after for one in runs if one.live_after is not None)
    never = [one.seed for one in runs if one.live_after is None]
    worst = live[-1] if live else None
    print(
        f"seeds {first}:{last}: {failed} with two holders; {sum(one.terms for one in runs)} terms; a holder "
        f"{live[len(live) // 2] if live else None:.1f} s after the storm (worst {worst:.1f}), "
        f"none within {CALM_S:.0f} s: {never}; {time.process_time() - began:.0f} CPU s"
    )
    return 1 if failed or never else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
