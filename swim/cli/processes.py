"""Agents as processes of their own, seen only through the lines that they print."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

__all__ = ["AgentProcess", "AgentProcesses"]

_LEAVE_PATIENCE = 3.0


@dataclass(slots=True)
class AgentProcess:
    """One `swim agent --json`, and what it has reported so far."""

    name: str
    process: trio.Process
    address: str = ""
    id: str | None = None
    """Set when it has become a member."""
    others: dict[str, str | None] = field(default_factory=dict)
    """The other members in its view, and their ids."""
    leader: str | None = None
    ended: bool = False
    """By itself: it was neither killed nor asked to leave."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    """All it has printed, but for its statistics."""

    def take(self, line: dict[str, Any]) -> None:
        """One line that it printed."""
        if line["event"] == "stats":
            return
        self.lines.append(line)
        match line["event"]:
            case "started":
                self.address, self.id = line["address"], line["id"]
            case "join":
                self.others[line["member"]] = line["id"]
            case "update" if line["member"] == self.name:
                self.id = line["id"]
            case "update":
                self.others[line["member"]] = line["id"]
            case "dead" | "leave":
                self.others.pop(line["member"], None)
            case "leader":
                self.leader = line["leader"]

    def time_of(self, event: str, since: float, **fields: Any) -> float | None:
        """When it first printed such a line after `since`, on the clock that all agents share."""
        for line in self.lines:
            if line["event"] == event and line["t"] >= since and fields.items() <= line.items():
                return float(line["t"])
        return None


class AgentProcesses:
    """A handful of agent processes. None of them outlives `close`.

    Their standard input is a pipe from us: should we be killed, its end makes them leave by themselves.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.agents: dict[str, AgentProcess] = {}
        self._nursery = nursery
        self._processes: list[trio.Process] = []
        self._ending: set[str] = set()
        self._changed = trio.lowlevel.ParkingLot()

    async def start(self, name: str, *, bind: str, join: str, options: tuple[str, ...] = ()) -> AgentProcess:
        """Start an agent; one of the same name is forgotten."""
        command = [sys.executable, "-m", "swim", "agent", "--json", "--name", name, "--bind", bind]
        # A session of its own: Ctrl-C on the terminal is ours to deal with, not the agents'.
        with trio.CancelScope(shield=True):  # a process that was started is always in our list
            process = await trio.lowlevel.open_process(
                [*command, "--join", join, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self._processes.append(process)
        self._ending.discard(name)
        agent = self.agents[name] = AgentProcess(name, process)
        self._nursery.start_soon(self._read, agent)
        return agent

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait for something that the agents' lines show."""
        while not seen():
            await self._changed.park()

    async def kill(self, agent: AgentProcess) -> None:
        """SIGKILL: no farewell."""
        self._ending.add(agent.name)
        agent.process.kill()
        await agent.process.wait()

    async def dismiss(self) -> dict[str, int | None]:
        """Ask all to leave; their exit statuses (None: it did not end in time)."""
        self._ending.update(self.agents)
        for agent in self.agents.values():
            if agent.process.stdin is not None:
                await agent.process.stdin.aclose()
        with trio.move_on_after(_LEAVE_PATIENCE):
            for agent in self.agents.values():
                await agent.process.wait()
        return {agent.name: agent.process.returncode for agent in self.agents.values()}

    async def close(self) -> None:
        """Whatever happened: no process is left when this returns."""
        with trio.CancelScope(shield=True):
            for process in self._processes:
                process.kill()
            for process in self._processes:
                await process.wait()

    async def _read(self, agent: AgentProcess) -> None:
        assert agent.process.stdout is not None
        rest = b""
        async for data in agent.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                agent.take(json.loads(line))
            self._changed.unpark_all()
        agent.ended = agent.name not in self._ending
        self._changed.unpark_all()
