"""Clusters of real processes for the acceptance tests, on top of the benchmarks' fleet."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio

from benchmarks.driver import Agent, Fleet, Line, Spread, open_fleet, reports
from benchmarks.peers import Absent, Peer, find_peer

__all__ = [
    "PATIENCE",
    "PROBE_ROUND",
    "Nodes",
    "noises",
    "open_nodes",
    "required_peer",
    "suspicions",
    "until",
]

PATIENCE = 40.0
"""For what takes a second or two when the machine has nothing else to do."""
PROBE_ROUND = 1.0
_POLL_INTERVAL = 0.01


async def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Wait for it to be true. Returns the time, by the clock of the lines."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        await trio.sleep(_POLL_INTERVAL)
    return time.monotonic()


@functools.cache
def required_peer(kind: str) -> Peer:
    """The peer, or the test is skipped with the reason why there is none."""
    found = find_peer(kind)
    if isinstance(found, Absent):
        pytest.skip(str(found))
    return found


@dataclass(slots=True)
class Nodes:
    """Some nodes, each known by its name, with what they have reported."""

    fleet: Fleet
    agents: dict[str, Agent] = field(default_factory=dict)
    """The process of every node that is (or should be) running."""

    @property
    def names(self) -> list[str]:
        return list(self.agents)

    def others(self, *names: str) -> list[str]:
        return [name for name in self.agents if name not in names]

    async def start(
        self, name: str, *, kind: str = "swim", peer: Peer | None = None, wait: bool = True, **how: Any
    ) -> Agent:
        """Start a process (see `Fleet.start`) and wait until its nodes listen."""
        agent = await self.fleet.start(peer or required_peer(kind), name, **how)
        self.agents.update(dict.fromkeys(agent.names, agent))
        if wait:
            await self.fleet.until_bound(agent)
        return agent

    async def gather(self, count: int, *, first: Sequence[str] = (), **how: Any) -> None:
        """Start n0 .. n(count-1), the first of them with the seeds `first`; returns when all see all."""
        seed = await self.start("n0", join=first, **how)
        for number in range(1, count):
            await self.start(f"n{number}", wait=False, join=[seed.address, *first], **how)
        await self.fleet.until_bound(*self.agents.values())
        await self.all_see_all()

    async def all_see_all(self, seconds: float = PATIENCE) -> None:
        """Until every node sees exactly the nodes that should be running."""

        def complete() -> bool:
            for name, agent in self.agents.items():
                if agent.process.poll() is not None and agent.silent.is_set():
                    raise RuntimeError(f"{name} has ended: {list(agent.complaints)}")
            return all(set(self.fleet.views.get(name, ())) == set(self.others(name)) for name in self.agents)

        try:
            await until(complete, "all see all", seconds)
        except TimeoutError:
            views = {name: sorted(self.fleet.views.get(name, ())) for name in self.agents}
            raise TimeoutError(f"after {seconds:g} s not all see all: {views}\n{self.history()}") from None

    def history(self, last: int = 60) -> str:
        return "\n".join(str(line) for line in list(self.fleet.lines)[-last:])

    # --- ids and leaders

    def id_of(self, name: str) -> str | None:
        """The newest id that the node has given itself."""
        for line in reversed(self.fleet.lines):
            own = line["event"] == "started" or (line["event"] == "update" and line["member"] == name)
            if line["node"] == name and own:
                return str(line["id"])
        return None

    async def started(self, name: str) -> str:
        """The node's id, once it is a member under its present process."""
        since = self.fleet.bound[name]
        line = await self.line(lambda line: line["event"] == "started" and line["node"] == name, since)
        return str(line["id"])

    async def line(self, matches: Callable[[Line], bool], since: float = 0.0) -> Line:
        """The first such line since then."""
        found: list[Line] = []

        def look() -> bool:
            found[:] = [line for line in self.fleet.lines if line["t"] >= since and matches(line)][:1]
            return bool(found)

        await until(look, "such a line")
        return found[0]

    def lowest(self) -> str:
        """Who has to lead, if no node's id has fallen below the floor."""
        return min(self.agents, key=lambda name: self.id_of(name) or "~")

    async def all_follow(self, leader: str) -> float:
        """Until all nodes name this leader. Returns when the last of them said so."""

        def agreed() -> bool:
            return all(self.fleet.leaders.get(name) == leader for name in self.agents)

        try:
            await until(agreed, f"all follow {leader}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.fleet.leaders}\n{self.history()}") from None
        said = [
            line["t"]
            for line in self.fleet.lines
            if line["event"] == "leader" and line["leader"] == leader and line["node"] in self.agents
        ]
        return max(said)

    # --- ends

    async def kill(self, name: str) -> tuple[float, Spread]:
        """SIGKILL the node's process; until all others have reported all its nodes dead."""
        agent = self.agents[name]
        observers = self.others(*agent.names)
        with self.fleet.watch(reports("dead", name), observers) as deaths:
            killed = agent.kill()
            await self._forget(agent)
            if not await deaths.complete(PATIENCE):
                raise TimeoutError(f"{name} not dead for {deaths.pending}\n{self.history()}")
        return killed, deaths.after(killed)

    async def dismiss(self, name: str) -> tuple[float, Spread]:
        """SIGTERM to the node's process; until all others have reported that it left."""
        agent = self.agents[name]
        observers = self.others(*agent.names)
        with self.fleet.watch(reports("leave", name), observers) as leaves:
            asked = agent.terminate()
            assert await agent.exit_status(PATIENCE) == 0, list(agent.complaints)
            await self._forget(agent)
            if not await leaves.complete(PATIENCE):
                raise TimeoutError(f"{name} has not left for {leaves.pending}\n{self.history()}")
        died = [line for line in self.since(asked) if reports("dead", name)(line)]
        assert not died, died
        return asked, leaves.after(asked)

    async def _forget(self, agent: Agent) -> None:
        for node in agent.names:
            self.agents.pop(node, None)
        assert await agent.exit_status(PATIENCE) is not None
        await agent.silent.wait()

    def since(self, when: float) -> list[Line]:
        return [line for line in self.fleet.lines if line["t"] >= when]


def noises(agents: Iterable[Agent]) -> list[str]:
    """Whatever our processes have written to standard error, and lines that were none."""
    ours = [agent for agent in agents if agent.peer.kind == "swim"]
    return [f"{agent.name}: {text}" for agent in ours for text in agent.complaints]


@asynccontextmanager
async def open_nodes() -> AsyncIterator[Nodes]:
    """Nodes live as long as this block; at its end none of them may have written to standard error."""
    async with open_fleet() as fleet:
        nodes = Nodes(fleet)
        yield nodes
        # As the killed ones did, so the others: until then they may still have something to say.
        for agent in fleet.agents:
            if agent.process.returncode is None:
                agent.kill()
        for agent in fleet.agents:
            await agent.silent.wait()
        assert noises(fleet.agents) == []


def suspicions(lines: Iterable[Line], until: float) -> list[tuple[str, str, float]]:
    """Who suspected whom for how long; of those that did not end, so far."""
    found: list[tuple[str, str, float]] = []
    began: dict[tuple[str, str], float] = {}
    for line in lines:
        event, pair = line["event"], (line["node"], line.get("member", ""))
        if event == "suspect":
            began.setdefault(pair, line["t"])
        elif event in ("recover", "dead", "leave") and pair in began:
            found.append((*pair, line["t"] - began.pop(pair)))
    return found + [(*pair, until - since) for pair, since in began.items()]
