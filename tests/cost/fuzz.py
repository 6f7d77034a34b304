"""What inputs cost a whole node: in processor time for each byte and packet, and in memory afterwards.

Each input goes to one node of a cluster, through the decoder to the last consequence that is due at once.
What it takes is compared with what a ping takes. The worst are looked at again, on fresh nodes and each time
beside pings: a machine that is busy, or slow, makes those dear as well. What is expensive only on a node that
has seen much is looked at again on another one that has seen the same.

A few bytes may ask for all that a node knows, as a newcomer must. What that takes grows with the cluster,
whatever a node does; memberlist answers so, too. So bytes that are answered on a stream may cost something as
well, a four-hundredth of what one may cost that is received: no more than to copy what was packed before. How
many bytes one host is answered in a second has a limit of its own (`swim.runtime.visits`).
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from swim.protocol.node import Node
from swim.wire import DecodeError
from swim.wire.messages import Ping
from tests.cost.inputs import Input, Inputs
from tests.protocol.fakes import Net, Puppet

__all__ = ["LIMIT_PER_BYTE", "LIMIT_PER_PACKET", "Arena", "Report", "fuzz"]

LIMIT_PER_BYTE = 2e-6
LIMIT_PER_PACKET = 1e-3
"""Seconds above the cost of a ping. A packet that is full may cost what its bytes may."""
_LIMIT_PER_BYTE_ANSWERED = 5e-9
_LONG_TURN = 0.05
"""No step of any work may take so long: whatever it is, something waits for it."""
_APART = 0.002
_AGAIN = 5
_BY_FAR = 5.0
_USUAL_PING = 25e-6
"""Seconds that a ping takes where the limits are meant for; where it takes longer, they are higher."""
_SLOWER_MAX = 10.0


@dataclass
class Found:
    """An input, and what it took; in seconds."""

    input: Input
    cost: float
    turn: float
    answered: int = 0
    """Bytes, on a stream."""
    number: int = 0
    """Its place in the run."""

    @property
    def excess(self) -> float:
        """By how much it is above what it may cost; 1 is just within."""
        by_size = LIMIT_PER_BYTE * self.input.size + _LIMIT_PER_BYTE_ANSWERED * self.answered
        may = LIMIT_PER_PACKET + by_size if self.input.stream else max(LIMIT_PER_PACKET, by_size)
        return max(self.cost / may, self.turn / _LONG_TURN)

    def __str__(self) -> str:
        item, size = self.input, self.input.size
        what = "stream" if item.stream else "packet"
        return (
            f"{self.excess:.2f} of the limit: {1e3 * self.cost:.2f} ms above a ping, "
            f"{1e6 * self.cost / size:.2f} us/byte, longest turn {1e3 * self.turn:.1f} ms: "
            f"{what} of {len(item.data)} bytes"
            f"{f' ({size} expanded)' if size > len(item.data) else ''} from {item.source}, {item.kind}"
            f"{f', answered with {self.answered} bytes' if self.answered else ''}"
        )


@dataclass
class Report:
    """What came of a run."""

    count: int = 0
    ping: float = 0.0
    worst: list[Found] = field(default_factory=list)
    """Those that were confirmed, the worst first."""
    beyond: list[Found] = field(default_factory=list)
    kinds: dict[str, float] = field(default_factory=dict)
    """The highest excess of each kind, not confirmed."""
    rss: tuple[int, int] = (0, 0)
    """Bytes before and after."""


class Arena:
    """A node in a cluster of puppets, that only inputs happen to."""

    def __init__(self, seed: int) -> None:
        self.net = Net(seed=seed)
        self.node: Node = self.net.start("a")
        self.members = [Puppet(self.net, f"p{number}") for number in range(4)]
        for member in self.members:
            self.net._puppets[member.address] = member
            member.join(self.node)
        self.net.run(3)

    def pass_time(self, seconds: float) -> None:
        """Go on, and forget what was said."""
        self.net.run(seconds)
        for told in (self.net.sent, self.net.streamed, self.net.requested):
            told.clear()
        for process in self.net._processes.values():
            for said in (process.events, process.broadcasts, process.queries, process.replies):
                said.clear()
            process.warnings.clear()
            process.verdicts.clear()
        for member in self.members:
            member.received.clear()
            member.asked.clear()
            member.datagrams.clear()

    def take(self, item: Input) -> Found:
        """What the input costs, and the longest turn of that; without what the collector happens to do."""
        collects = gc.isenabled()
        gc.disable()
        try:
            return self._take(item)
        finally:
            if collects:
                gc.enable()

    def _take(self, item: Input) -> Found:
        node, now = self.node, self.net.now
        turns: list[float] = []

        def turn(work: Callable[[], object]) -> object:
            begun = time.thread_time()
            try:
                return work()
            finally:
                turns.append(time.thread_time() - begun)

        answered = 0
        if not item.stream:
            turn(lambda: node.receive_datagram(item.data, item.source, now))
        else:
            answered = self._stream(item, turn)
        while (deadline := node.next_deadline()) is not None and deadline <= now:
            turn(lambda: node.handle_timer(now))
        return Found(item, sum(turns), max(turns, default=0.0), answered)

    def _stream(self, item: Input, turn: Callable[[Callable[[], object]], object]) -> int:
        """How many bytes it is answered with."""
        node, now = self.node, self.net.now
        decoder = node.stream_decoder(answering=False)
        try:
            for start in range(0, len(item.data), 65_536):
                turn(lambda start=start: decoder.add(item.data[start : start + 65_536]))
                while decoder.busy:
                    turn(decoder.advance)
        except DecodeError as error:
            problem = error.with_traceback(None)  # this frame would hold on to itself with all that was read
            turn(lambda: node.receive_bad_stream(problem, item.source, now))
            return 0
        message = decoder.message
        decoder.close()
        answer = None if message is None else turn(lambda: node.answer(message, item.source, now))
        if answer is None:
            return 0
        steps = node.codec.streaming(answer, answering=True)  # type: ignore[arg-type]
        try:
            while True:
                turn(lambda: next(steps))
        except StopIteration as finished:
            return len(finished.value)


def ping_cost(arena: Arena, count: int = 101) -> float:
    """Of one ping of a member; the median of many."""
    member = arena.members[0]
    data = arena.net.codec.part(Ping(7, "a", sender_id=bytes(16)))
    costs = []
    for _ in range(count):
        costs.append(arena.take(Input("ping", data, member.address, stream=False, size=len(data))).cost)
        arena.pass_time(_APART)
    return sorted(costs)[len(costs) // 2]


def beside_pings(arena: Arena, item: Input, number: int = 0) -> Found:
    """What it takes, with the time that the machine needs for a ping of another, before and after."""
    fresh = Arena(0)
    before = ping_cost(fresh, 11)
    found = arena.take(item)
    ping = max(before, ping_cost(fresh, 11))
    slower = min(max(1.0, ping / _USUAL_PING), _SLOWER_MAX)
    cost = max(0.0, found.cost - ping) / slower
    return replace(found, cost=cost, turn=found.turn / slower, number=number)


def confirm(item: Input, seed: int) -> Found:
    """The least that it takes on several fresh nodes."""
    found = [beside_pings(Arena(seed + number), item) for number in range(_AGAIN)]
    return min(found, key=lambda each: each.excess)


def confirm_late(suspects: list[Found], seed: int) -> dict[int, Found]:
    """What they take, by number, on a node to which all has happened that came before them in the run."""
    arena, wanted = Arena(seed), {found.number for found in suspects}
    inputs, confirmed = Inputs(seed, arena.members), dict[int, Found]()
    ping_cost(arena)
    for number in range(1, max(wanted, default=0) + 1):
        item = inputs.next()
        if number in wanted:
            confirmed[number] = beside_pings(arena, item, number)
        else:
            arena.take(item)
        arena.pass_time(_APART)
    return confirmed


def resident() -> int:
    """Bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def fuzz(
    seed: int,
    *,
    seconds: float | None = None,
    count: int | None = None,
    slack: float = 1.0,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Until so much time has passed, or so many inputs. `slack`: how slow this machine may be."""
    report, arena = Report(), Arena(seed)
    inputs = Inputs(seed, arena.members)
    report.ping = ping_cost(arena)
    candidates: list[Found] = []
    begun, before = time.monotonic(), 0
    gc.collect()
    gc.disable()
    try:
        while (seconds is None or time.monotonic() - begun < seconds) and report.count != count:
            item = inputs.next()
            report.count += 1
            taken = arena.take(item)
            found = replace(taken, cost=max(0.0, taken.cost - report.ping), number=report.count)
            report.kinds[item.kind] = max(report.kinds.get(item.kind, 0.0), found.excess)
            if len(candidates) < 20 or found.excess > candidates[-1].excess:
                candidates = sorted([*candidates, found], key=lambda each: -each.excess)[:20]
            arena.pass_time(_APART)
            if report.count % 500 == 0:
                gc.collect()
                if report.count == 2_000:
                    before = resident()
                if progress is not None:
                    progress(report)
    finally:
        gc.enable()
    arena.pass_time(120.0)
    gc.collect()
    report.rss = (before, resident())
    report.worst = candidates
    suspects = []
    for found in candidates[:8]:
        again = confirm(found.input, random.Random(seed).getrandbits(30))
        if again.excess > slack:
            report.beyond.append(again)
        elif found.excess > _BY_FAR * slack:
            suspects.append(found)
    # What is expensive only on a node that has seen much counts as well, if it is so by far.
    late = confirm_late(suspects, seed).values()
    report.beyond += [again for again in late if again.excess > _BY_FAR * slack]
    return report
