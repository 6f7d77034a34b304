"""Starts agents of any kind as real processes, reads their JSON lines, and measures by their own clocks.

    async with open_fleet() as fleet:
        seed = await fleet.start(peer, "seed")
        others = await fleet.start(peer, "n", count=7, join=[seed.address])
        await fleet.until_all_see(seed.names + others.names, seconds=30)
        with fleet.watch(reports("dead", "seed"), others.names) as deaths:
            killed = seed.kill()
            await deaths.complete(seconds=60)
        print(deaths.after(killed))

Every time is CLOCK_MONOTONIC, which all processes of a machine share (`t` of the lines, `time.monotonic()`
here), so what the driver itself takes to read does not count. Whatever ends the block, Ctrl-C included,
every process started in it is killed and awaited; no other process is ever touched. Should the driver
itself be killed, its agents see the end of their standard input and leave.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any, TypeAlias, TypeVar

import trio

from benchmarks.peers import Peer
from benchmarks.ports import HOST, Ports

__all__ = ["Agent", "Fleet", "Line", "Matcher", "Spread", "Watch", "drive", "open_fleet", "reports"]

T = TypeVar("T")
Line: TypeAlias = dict[str, Any]
"""One line of an agent: `t`, `node`, `event`, and the event's own fields."""

Matcher: TypeAlias = Callable[[Line], bool]

ROOT = Path(__file__).parent.parent
KEPT_LINES = 2_000
CLEAN_UP_SECONDS = 10.0
START_SECONDS = 30.0


@dataclass(slots=True)
class Agent:
    """One process with one node or several."""

    peer: Peer
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    process: trio.Process
    silent: trio.Event = field(default_factory=trio.Event)
    """Set when standard error is at its end, all of it in `complaints`."""
    stats: Line = field(default_factory=dict)
    """The newest `stats` line."""
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    """What it wrote to standard error, and lines on standard output that are not JSON objects."""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def command(self, text: str, node: str | None = None) -> float:
        """Send one command, to all nodes of the process or to one. Returns the time just before."""
        assert self.process.stdin is not None
        line = f"@{node} {text}\n" if node else f"{text}\n"
        now = time.monotonic()
        await self.process.stdin.send_all(line.encode())
        return now

    async def close_input(self) -> float:
        """End of file on its standard input: it leaves gracefully. Returns the time just before."""
        assert self.process.stdin is not None
        now = time.monotonic()
        await self.process.stdin.aclose()
        return now

    def kill(self) -> float:
        """SIGKILL. Returns the time just before, as the others do."""
        return self.signal(signal.SIGKILL)

    def terminate(self) -> float:
        return self.signal(signal.SIGTERM)

    def pause(self) -> float:
        return self.signal(signal.SIGSTOP)

    def resume(self) -> float:
        return self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> float:
        now = time.monotonic()
        self.process.send_signal(number)
        return now

    async def exit_status(self, seconds: float) -> int | None:
        """Wait for the end of the process; None if it is still running after so long."""
        with trio.move_on_after(seconds):
            return await self.process.wait()
        return None


@dataclass(frozen=True, slots=True)
class Spread:
    """How something spread: seconds until the first, half and all observers knew; None: not so many did."""

    first: float | None
    half: float | None
    all: float | None
    seen: int
    of: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many observers gave which `reason`, where the event has one."""


class Watch:
    """Notes when each of some observers first reports something."""

    def __init__(self, matches: Matcher, observers: Iterable[str]) -> None:
        self._matches = matches
        self.times: dict[str, float] = {}
        self.reasons: Counter[str] = Counter()
        self.pending = set(observers)
        self._count = len(self.pending)
        self._done = trio.Event()
        self._check()

    def offer(self, line: Line) -> None:
        if line["node"] in self.pending and self._matches(line):
            self.note(line["node"], line["t"])
            if "reason" in line:
                self.reasons[line["reason"]] += 1

    def note(self, observer: str, when: float) -> None:
        self.times[observer] = when
        self.pending.discard(observer)
        self._check()

    def _check(self) -> None:
        if not self.pending:
            self._done.set()

    async def complete(self, seconds: float) -> bool:
        """Wait until every observer has reported; False if that takes longer than `seconds`."""
        with trio.move_on_after(seconds):
            await self._done.wait()
        return not self.pending

    def after(self, start: float) -> Spread:
        """The times as seconds after `start`."""
        times = sorted(t - start for t in self.times.values())

        def nth(number: int) -> float | None:
            return times[number - 1] if 0 < number <= len(times) else None

        half, count = math.ceil(self._count / 2), self._count
        return Spread(nth(1), nth(half), nth(count), len(times), count, dict(self.reasons))


class Fleet:
    """The agents of one measurement, and what each of their nodes has reported so far."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ports = Ports()
        self._watches: list[Watch] = []
        self.agents: list[Agent] = []
        self.views: dict[str, dict[str, Mapping[str, str]]] = {}
        """For each node, the members that it takes for alive (itself not among them), with their tags."""
        self.leaders: dict[str, str | None] = {}
        """For each node, the leader in its view."""
        self.bound: dict[str, float] = {}
        """When each node was listening; missing until it is."""
        self.lines: deque[Line] = deque(maxlen=200_000)
        """All lines of all agents but `stats`, as they were read."""
        self.listeners: list[Callable[[Line], None]] = []
        """Called with each of these lines."""

    async def start(
        self,
        peer: Peer,
        name: str,
        *,
        count: int = 1,
        join: Iterable[str] = (),
        profile: str = "lan",
        tags: Mapping[str, str] | None = None,
        options: Iterable[str] = (),
        host: str = HOST,
        port: int | None = None,
        bind: str | None = None,
        environment: Mapping[str, str] | None = None,
        known_as: str | None = None,
    ) -> Agent:
        """Start one process with `count` nodes, NAME or NAME-0 .. NAME-(count-1). Does not wait for it.

        It is bound to its host and port, or elsewhere (a wildcard), if `bind` says so. `known_as`: what it is
        called here, where another process of its name runs.
        """
        port = port or self._ports.take(count)
        names = (known_as or name,) if count == 1 else tuple(f"{name}-{i}" for i in range(count))
        addresses = tuple(f"{host}:{port + i}" for i in range(count))
        command = [*peer.command, "--name", name, "--bind", bind or addresses[0], "--profile", profile]
        command += [] if count == 1 else ["--count", str(count)]
        command += [word for seed in join for word in ("--join", seed)]
        command += [word for key, value in (tags or {}).items() for word in ("--tag", f"{key}={value}")]
        command += options
        for node in names:  # a restart under the same name begins with nothing known
            self.views[node] = {}
            self.leaders.pop(node, None)
            self.bound.pop(node, None)
        process = await trio.lowlevel.open_process(
            command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
            env=dict(os.environ) | dict(environment or {}),
            start_new_session=True,  # Ctrl-C is for us alone: we end them
        )
        agent = Agent(peer, names, addresses, process)
        self.agents.append(agent)
        self._nursery.start_soon(self._read_output, agent, name if known_as else None)
        self._nursery.start_soon(self._read_errors, agent)
        return agent

    # --- what the agents report

    @contextmanager
    def watch(self, matches: Matcher, observers: Iterable[str]) -> Iterator[Watch]:
        """Note from now on when each observer first writes a line that `matches`."""
        watch = Watch(matches, observers)
        self._watches.append(watch)
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    @contextmanager
    def watch_all_see(self, nodes: Iterable[str], observers: Iterable[str] | None = None) -> Iterator[Watch]:
        """Note when each observer (by default each of the nodes) sees all the nodes alive."""
        wanted = frozenset(nodes)

        def sees_all(node: str) -> bool:
            view = self.views.get(node, {})
            return len(view) >= len(wanted) - 1 and wanted <= view.keys() | {node}

        with self.watch(lambda line: sees_all(line["node"]), observers or wanted) as watch:
            now = time.monotonic()
            for node in sorted(watch.pending):
                if sees_all(node):
                    watch.note(node, now)
            yield watch

    async def until_all_see(self, nodes: Iterable[str], seconds: float) -> None:
        """Wait until each of the nodes sees all of them; raises TimeoutError after `seconds`."""
        with self.watch_all_see(nodes) as watch:
            if not await watch.complete(seconds):
                raise TimeoutError(f"after {seconds} s not all seen by {sorted(watch.pending)}")

    async def until_bound(self, *agents: Agent, seconds: float = START_SECONDS) -> None:
        """Wait until all nodes of the agents are listening; raises with their last words if one ends."""
        with trio.move_on_after(seconds):
            while missing := [n for agent in agents for n in agent.names if n not in self.bound]:
                for agent in agents:
                    if agent.process.poll() is not None:
                        await agent.silent.wait()
                        raise RuntimeError(f"{agent.name} ended: {' / '.join(agent.complaints)}")
                await trio.sleep(0.005)
            return
        raise TimeoutError(f"after {seconds} s not bound: {missing}")

    def _take(self, agent: Agent, line: Line, own: str | None = None) -> None:
        """`own`: what the node calls itself, if that is not what it is called here."""
        node, event = line["node"], line["event"]
        if event == "stats":
            agent.stats = line
            return
        self.lines.append(line)
        view = self.views.setdefault(node, {})
        match event:
            case "bound":
                self.bound[node] = line["t"]
            case "join" | "update" if line["member"] != (own or node):
                view[line["member"]] = line["tags"]
            case "dead" | "leave":
                view.pop(line["member"], None)
            case "leader":
                self.leaders[node] = line["leader"]
        for watch in self._watches:
            watch.offer(line)
        for listener in self.listeners:
            listener(line)

    async def _read_output(self, agent: Agent, own: str | None) -> None:
        async for text in _lines(agent.process.stdout):
            try:
                line = json.loads(text)
                self._take(agent, line if own is None else line | {"node": agent.name}, own)
            except (ValueError, KeyError, TypeError) as error:
                agent.complaints.append(f"not a line of the agent ({error!r}): {text!r}")

    async def _read_errors(self, agent: Agent) -> None:
        async for text in _lines(agent.process.stderr):
            agent.complaints.append(text.decode(errors="replace"))
        agent.silent.set()

    async def _clean_up(self) -> None:
        running = [agent.process for agent in self.agents if agent.process.poll() is None]
        for process in running:
            process.kill()  # ends a stopped process too
        for process in running:
            await process.wait()
        self._ports.close()


def reports(event: str, member: str | None = None, **fields: Any) -> Matcher:
    """Matches lines with this event, about this member, with these fields (of a mapping: these items)."""
    wanted = {"event": event} | ({} if member is None else {"member": member}) | fields

    def holds(line: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
        for key, value in expected.items():
            found = line.get(key)
            if isinstance(value, Mapping) and isinstance(found, Mapping):
                if not holds(found, value):
                    return False
            elif found != value:
                return False
        return True

    return lambda line: holds(line, wanted)


@asynccontextmanager
async def open_fleet() -> AsyncIterator[Fleet]:
    """Agents live as long as this block."""
    try:
        async with trio.open_nursery() as nursery:
            fleet = Fleet(nursery)
            try:
                yield fleet
            finally:
                with trio.move_on_after(CLEAN_UP_SECONDS) as scope:
                    scope.shield = True
                    await fleet._clean_up()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the readers raise nothing: it is the body's own
            raise group.exceptions[0] from None
        raise


def drive(measure: Callable[..., Awaitable[T]], *args: Any) -> T:
    """As `trio.run`; after Ctrl-C or SIGTERM everything is cleaned up, and the exit status is 130."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return trio.run(measure, *args)
    except KeyboardInterrupt:
        print("interrupted; every process started here is gone", file=sys.stderr)
        raise SystemExit(130) from None


async def _lines(stream: trio.abc.ReceiveStream | None) -> AsyncIterator[bytes]:
    assert stream is not None
    rest = b""
    async for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest
