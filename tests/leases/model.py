"""Holders and grantors on a bad network, with leaders by decree: at most one at a time, as voters see to it.

Clocks are off by 1 %, messages are lost, doubled and late by up to fifteen seconds, processes pause and are
started anew, and the leader changes every few seconds. What must hold:
- at no instant of true time more uses have a name than may have it, clean-up included;
- the tokens of a name rise;
- when all is calm, whoever waits gets its turn, and the leader's books are empty when all is released;
- no exchange of messages feeds itself.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from swim.protocol.leases.books import group_of
from swim.protocol.leases.grantor import Grantor
from swim.protocol.leases.holder import Change, Holder
from swim.wire.bodies import encode, packet_message
from swim.wire.leases import LeaseMessage

__all__ = ["Finding", "Model", "play"]

SESSION = 6.0
MARGIN_S = SESSION / 12
"""For clean-up."""
NAMES = {
    "a": (1, False),
    "b": (1, False),
    "c": (2, False),
    "g/1": (1, True),
    "g/2": (1, True),
    "g/3": (1, True),
}
CALM_S = 60.0
MESSAGES_MAX = 20_000
"""Of one schedule, which has some two thousand: more is an exchange that feeds itself."""
ROOM = 400
ROUND_S = 1.0
PAUSE_MAX_S = 15.0


class Finding(AssertionError):
    """Something that must not be."""


@dataclass(eq=False)
class Task:
    """Of an application: one use of a name."""

    name: str
    id: int = 0
    token: bytes = b""
    until: float = -math.inf
    """Its clean-up included, by its process's clock."""
    over: bool = False


@dataclass(eq=False)
class Process:
    """A member that may be started anew; then it has another identity, and remembers nothing."""

    index: int
    rate: float
    origin: float
    boots: int = 0
    holder: Holder = field(default_factory=lambda: Holder(SESSION, ROOM))
    grantor: Grantor = field(default_factory=lambda: Grantor(SESSION, 1_000))
    leader: int = -1
    term: int = -1
    """Its own, while it leads."""
    backed: float = -math.inf
    """When it sent the latest round that was granted, by its clock."""
    paused_until: float = 0.0
    armed: float = math.inf
    late: list[Callable[[], None]] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)

    @property
    def identity(self) -> bytes:
        return b"p%d.%d" % (self.index, self.boots)


class Model:
    """One schedule."""

    def __init__(self, seed: int, *, count: int = 4) -> None:
        self.rng = Random(f"leases:{seed}")
        rng = self.rng
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.loss = rng.choice([0.0, 0.05, 0.3])
        self.late = rng.choice([0.0, 0.02, 0.2])
        self.double = rng.choice([0.0, 0.1])
        self.calm = False
        self.processes = [
            Process(index, rng.uniform(0.99, 1.01), rng.uniform(0.0, 100.0)) for index in range(count)
        ]
        self.terms: list[tuple[int, int]] = []
        """Process and its boots, of every term."""
        self.leading = -1
        self.granted_at = 0.0
        """When a round of any leader was granted last, in true time."""
        self.highest: dict[str, bytes] = {}
        self.grants = 0
        self.messages = 0

    # --- time and network

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + seconds, self._sequence, action))

    def local(self, process: Process) -> float:
        return process.origin + self.now * process.rate

    def at(self, process: Process, action: Callable[[], None]) -> None:
        """Something for a process to do; when it is paused, as soon as it goes on."""
        boots = process.boots

        def act() -> None:
            if process.boots != boots:
                return
            if process.paused_until > self.now:
                process.late.append(act)
                return
            self.attend(process)
            action()
            self.settle(process)

        act()

    def attend(self, process: Process) -> None:
        """Before anything else: is its term over?"""
        if process.term != self.leading and process.term >= 0:
            process.term = -1
            process.grantor.end()

    def settle(self, process: Process) -> None:
        """What a node does after every input."""
        now = self.local(process)
        for part in (process.holder, process.grantor):
            if now >= part.deadline():
                part.tick(now)
        for message in process.holder.flush(now):
            target = self.processes[process.leader] if process.leader >= 0 else None
            if target is not None:
                self.send(process, target, None, message)
        age_ms = math.ceil(1000 * max(0.0, now - process.backed)) if process.term >= 0 else 0
        for identity, member, message in process.grantor.flush(ROOM, age_ms):
            self.send(process, self.processes[int(member)], identity, message)
        changes, process.holder.changes = process.holder.changes, []
        for change in changes:
            self.changed(process, change)
        due = min(process.holder.deadline(), process.grantor.deadline())
        when = self.now + max((due - now) / process.rate, 1e-6)
        if when < process.armed:
            process.armed = when
            self.after(when - self.now, lambda: self.wake(process, when))

    def wake(self, process: Process, when: float) -> None:
        if process.armed == when:
            process.armed = math.inf
            self.at(process, lambda: None)

    def send(self, source: Process, target: Process, identity: bytes | None, message: LeaseMessage) -> None:
        message = replace(message, process=source.identity)
        packet = packet_message(encode(message))
        assert packet == message
        self.messages += 1
        if self.messages > MESSAGES_MAX:
            raise Finding(f"{self.now:.3f}: {self.messages} messages, the last one {message}")
        for _ in range(2 if self.rng.random() < self.double and not self.calm else 1):
            if self.rng.random() < self.loss and not self.calm:
                continue
            delay = self.rng.expovariate(1_000.0)
            if self.rng.random() < self.late and not self.calm:
                delay = self.rng.choice([0.3, 10.0, 15.0]) * self.rng.random()
            self.after(
                delay, lambda: self.at(target, lambda: self.receive(target, source, identity, message))
            )

    def receive(
        self, target: Process, source: Process, identity: bytes | None, message: LeaseMessage
    ) -> None:
        if identity is None:
            if message.term == target.grantor.term != b"":
                target.grantor.receive(message, str(source.index), None, self.local(target))
        elif identity == target.identity and message.term == target.holder.term:
            target.holder.receive(message, self.local(target))

    # --- leaders

    def lead(self, process: Process) -> None:
        """A term begins; the one before was over."""
        self.terms.append((process.index, process.boots))
        self.leading = len(self.terms) - 1
        term = self.leading
        packed = (term + 1).to_bytes(16, "big")
        quiet, self.granted_at = (self.now - self.granted_at) * self.rng.uniform(0.99, 1.01), self.now
        backed = self.local(process) - self.rng.random()

        def begin() -> None:
            if self.leading == term:
                process.term, process.backed = term, backed
                process.grantor.begin(packed, self.local(process) - quiet)
                self.ask(process, term)

        self.at(process, begin)
        for other in self.processes:
            delay = self.rng.choice([0.0, 0.01, 1.0]) * self.rng.random() if other is not process else 0.0
            self.after(delay, lambda other=other: self.at(other, lambda: self.follow(other, process, packed)))

    def ask(self, process: Process, term: int) -> None:
        """A round of this leader: granted a while later, or lost."""
        if process.term != term:
            return
        sent = self.local(process)

        def grant() -> None:
            if self.leading == term:
                self.granted_at = self.now
                self.after(self.rng.random() * self.late, lambda: self.at(process, count))

        def count() -> None:
            if process.term == term:
                process.backed = max(process.backed, sent)

        if self.calm or self.rng.random() >= self.loss:
            self.after(self.rng.random() * self.late, grant)
        self.after(ROUND_S, lambda: self.at(process, lambda: self.ask(process, term)))

    def follow(self, process: Process, leader: Process, packed: bytes) -> None:
        if packed > process.holder.term:
            process.leader = leader.index
            process.holder.follow(packed, self.local(process))

    def change_leader(self) -> None:
        """The leader's term is over; another one's begins at once, or after a while."""
        self.leading = -1
        term = len(self.terms)
        wait = self.rng.choice([0.0, 0.5, 3.0, 8.0]) * self.rng.random()
        process = self.rng.choice(self.processes)
        self.after(wait, lambda: self.lead(process) if len(self.terms) == term else None)

    # --- applications

    def begin(self, process: Process, name: str) -> None:
        task = Task(name)
        limit, owned = NAMES[name]
        task.id = process.holder.want(name, limit, owned, self.local(process))
        process.tasks[task.id] = task

    def changed(self, process: Process, change: Change) -> None:
        task = process.tasks.get(change.id)
        if task is None:
            return
        if change.token:
            fresh = not task.token
            task.token, task.until = change.token, max(task.until, change.ends + MARGIN_S)
            if fresh:
                self.grants += 1
                self.check(process, task)
                if not NAMES[task.name][1]:
                    self.end_later(process, task, self.rng.choice([0.01, 1.0, 8.0]) * self.rng.random())
            return
        if change.refusal:
            raise Finding(f"{task.name} was refused: {change.refusal}")
        self.end_later(process, task, MARGIN_S / process.rate * self.rng.random())

    def end_later(self, process: Process, task: Task, seconds: float) -> None:
        self.after(seconds, lambda: self.at(process, lambda: self.end(process, task)))

    def end(self, process: Process, task: Task) -> None:
        if process.tasks.pop(task.id, None) is None:
            return
        task.over = True
        process.holder.release(task.id, self.local(process))
        if NAMES[task.name][1] and not self.calm and self.rng.random() < 0.8:
            self.begin(process, task.name)

    def check(self, process: Process, task: Task) -> None:
        """It has just been granted: does it share the name with no more than may have it?"""
        limit, _ = NAMES[task.name]
        holders = [
            (each.identity, other.token)
            for each in self.processes
            for other in each.tasks.values()
            if other.name == task.name and other.token and self.local(each) < other.until
        ]
        if len(holders) > limit:
            raise Finding(f"{self.now:.3f}: {task.name} is held by {holders}")
        if limit == 1:
            if task.token <= self.highest.get(task.name, b""):
                raise Finding(
                    f"{self.now:.3f}: {task.name} has {task.token!r} after {self.highest[task.name]!r}"
                )
            self.highest[task.name] = task.token

    # --- faults

    def strike(self) -> None:
        rng = self.rng
        process = rng.choice(self.processes)
        kind = rng.choice(["want", "want", "want", "want", "cancel", "lead", "pause", "restart", "own"])
        if kind == "want" and len(process.tasks) < 8:
            name = rng.choice([name for name in NAMES if not NAMES[name][1]])
            self.at(process, lambda: self.begin(process, name))
        elif kind == "own":
            used = [task.name for task in process.tasks.values()]
            names = [name for name in NAMES if NAMES[name][1] and name not in used]
            for name in names[: rng.randint(1, 3)]:
                self.at(process, lambda name=name: self.begin(process, name))
        elif kind == "cancel" and process.tasks:
            task = rng.choice(list(process.tasks.values()))
            self.at(process, lambda: self.end(process, task))
        elif kind == "lead" and rng.random() < 0.5:
            self.change_leader()
        elif kind == "pause" and rng.random() < 0.5:
            self.pause(process, rng.choice([0.5, 5.0, PAUSE_MAX_S]) * rng.random())
        elif kind == "restart" and rng.random() < 0.3:
            self.restart(process)

    def pause(self, process: Process, seconds: float) -> None:
        process.paused_until = max(process.paused_until, self.now + seconds)
        self.after(process.paused_until - self.now, lambda: self.resume(process))

    def resume(self, process: Process) -> None:
        if process.paused_until > self.now:
            return
        late, process.late = process.late, []
        for action in late:
            action()

    def restart(self, process: Process) -> None:
        if self.leading >= 0 and self.terms[self.leading] == (process.index, process.boots):
            self.change_leader()
        leader = process.leader
        fresh = Process(process.index, process.rate, process.origin, process.boots + 1)
        for name in ("boots", "holder", "grantor", "term", "paused_until", "armed", "late", "tasks"):
            setattr(process, name, getattr(fresh, name))
        process.leader = leader
        if self.terms and self.leading >= 0:
            packed = (self.leading + 1).to_bytes(16, "big")
            leading = self.processes[self.terms[self.leading][0]]
            self.at(process, lambda: self.follow(process, leading, packed))

    # --- the schedule

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def play(self, seconds: float) -> None:
        self.change_leader()
        end = self.now + seconds
        while self.now < end:
            self.run(self.rng.expovariate(2.0))
            self.strike()
        self.settle_down()

    def settle_down(self) -> None:
        """Nothing is forgotten, and nothing is kept for nobody."""
        self.calm = True
        if self.leading < 0:
            self.run(4.0)
        self.run(PAUSE_MAX_S + 2 * SESSION)
        names = {task.name for process in self.processes for task in process.tasks.values()}
        for name in sorted(names):
            held = [
                task
                for each in self.processes
                for task in each.tasks.values()
                if task.name == name and task.token
            ]
            if not held:
                raise Finding(f"{self.now:.3f}: nobody has {name}, although it is wanted")
        self.balanced()
        self.run(CALM_S)
        for process in self.processes:
            for task in list(process.tasks.values()):
                if not NAMES[task.name][1] and not task.token:
                    raise Finding(
                        f"{self.now:.3f}: {process.identity!r} waits for {task.name}, and is forgotten"
                    )
                self.at(process, lambda process=process, task=task: self.end(process, task))
        self.run(2.0)
        books = [len(process.grantor.books) for process in self.processes]
        if any(books) or any(process.holder.states for process in self.processes):
            raise Finding(f"{self.now:.3f}: all is released, but {books} uses are in the books")

    def balanced(self) -> None:
        """Of those that offer themselves for all names of a group, none has two more than another."""
        group = [name for name in NAMES if NAMES[name][1]]
        counts = []
        for process in self.processes:
            offers = [task for task in process.tasks.values() if task.name in group]
            if len({task.name for task in offers}) == len(group) == len(offers):
                counts.append(sum(1 for task in offers if task.token))
        assert all(group_of(name) == "g" for name in group)
        if counts and max(counts) - min(counts) > 1:
            raise Finding(f"{self.now:.3f}: the group is spread as {counts}")


def play(seed: int, seconds: float = 60.0) -> Model:
    """Raises `Finding`."""
    model = Model(seed, count=3 + seed % 3)
    model.play(seconds)
    return model
