"""Real Serf agents (Debian's `serf`), for the tests that live with them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from benchmarks.ports import HOST, Ports
from tests.integration.harness import PATIENCE, until

__all__ = ["TROUBLE", "Serf", "Serfs", "open_serfs"]

_LOOK_INTERVAL = 0.1
TROUBLE = re.compile(r"fail|suspect|\[WARN\]|\[ERR\]", re.IGNORECASE)


@dataclass(slots=True)
class Serf:
    """One `serf agent`."""

    name: str
    address: str
    rpc: str
    process: trio.Process
    log: list[str] = field(default_factory=list)

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command of `serf` to this agent."""
        verb, *rest = arguments
        return await trio.run_process(
            ["serf", verb, f"-rpc-addr={self.rpc}", *rest],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

    async def members(self) -> dict[str, dict[str, Any]]:
        """What `serf members` shows, by name; nothing while the agent does not answer."""
        done = await self.run("members", "-format=json")
        if done.returncode != 0:
            return {}
        return {member["name"]: member for member in json.loads(done.stdout)["members"]}

    async def until_statuses(self, wanted: dict[str, str], seconds: float = PATIENCE) -> None:
        """Until `serf members` shows exactly these names with these statuses."""

        def as_wanted(members: dict[str, dict[str, Any]]) -> bool:
            return {name: member["status"] for name, member in members.items()} == wanted

        await self.until_shows(as_wanted, str(wanted), seconds)

    async def until_shows(
        self, holds: Callable[[dict[str, dict[str, Any]]], bool], what: str, seconds: float = PATIENCE
    ) -> None:
        """Until this is true of `members`."""
        deadline = time.monotonic() + seconds
        while not holds(found := await self.members()):
            if time.monotonic() > deadline:
                log = "\n".join(self.log[-50:])
                raise TimeoutError(f"{self.name} shows {found}, not {what}:\n{log}")
            await trio.sleep(_LOOK_INTERVAL)

    def trouble(self, since: int = 0) -> list[str]:
        """The lines of its log that speak of failures or suspicions, or warn."""
        return [line for line in self.log[since:] if TROUBLE.search(line)]


@dataclass(slots=True)
class Serfs:
    """The agents of one test."""

    nursery: trio.Nursery
    ports: Ports = field(default_factory=Ports)
    agents: dict[str, Serf] = field(default_factory=dict)

    async def start(self, name: str, *options: str, join: Iterable[str] = ()) -> Serf:
        """Start an agent and wait until it runs (and has joined)."""
        port = self.ports.take(2)
        address, rpc = f"{HOST}:{port}", f"{HOST}:{port + 1}"
        process = await trio.lowlevel.open_process(
            [
                *("serf", "agent", f"-node={name}", f"-bind={address}", f"-rpc-addr={rpc}"),
                *("-log-level=debug", *(f"-join={seed}" for seed in join), *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        agent = self.agents[name] = Serf(name, address, rpc, process)
        self.nursery.start_soon(_read, agent)
        await until(lambda: _is_ready(agent, bool(join)), f"{name} runs")
        return agent

    async def close(self) -> None:
        for agent in self.agents.values():
            if agent.process.poll() is None:
                agent.process.kill()
            await agent.process.wait()
        self.ports.close()


def _is_ready(agent: Serf, joining: bool) -> bool:
    if agent.process.poll() is not None:
        raise RuntimeError(f"{agent.name} ended: {agent.log}")
    wanted = "agent: joined: " if joining else "Serf agent starting"
    return any(wanted in line for line in agent.log)


async def _read(agent: Serf) -> None:
    assert agent.process.stdout is not None
    rest = b""
    async for chunk in agent.process.stdout:
        *lines, rest = (rest + chunk).split(b"\n")
        agent.log.extend(line.decode(errors="replace") for line in lines)


@asynccontextmanager
async def open_serfs() -> AsyncIterator[Serfs]:
    """Agents live as long as this block."""
    async with trio.open_nursery() as nursery:
        serfs = Serfs(nursery)
        try:
            yield serfs
        finally:
            with trio.CancelScope(shield=True):
                await serfs.close()
            nursery.cancel_scope.cancel()
