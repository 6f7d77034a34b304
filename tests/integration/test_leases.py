"""64 shards on five real processes, each in a network of its own: cut in two, and without their leader."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from benchmarks.namespaces import Network, open_network
from tests.integration.harness import until
from tests.integration.sharding import CONFIG, SHARDS, TICK_S

ROOT = Path(__file__).parents[2]
NAMES = ["a", "b", "c", "d", "e"]
PORT = 7946
FRESH_S = 5 * TICK_S
"""A shard that has ticked so lately is being served."""


@dataclass
class Said:
    """A line of `tests.integration.sharding`."""

    by: str
    at: float
    what: str
    about: str
    token: str


@dataclass
class Nodes:
    """Five processes, and all that they have said."""

    network: Network
    nursery: trio.Nursery
    processes: dict[str, trio.Process] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)

    async def start(self, name: str) -> None:
        hosts, everybody = self.network.addresses, ",".join(NAMES)
        command = [*self.network.command(name), sys.executable, "-m", "tests.integration.sharding", name]
        where = [f"{hosts[name]}:{PORT}", ",".join(f"{host}:{PORT}" for host in hosts.values()), everybody]
        self.processes[name] = await trio.lowlevel.open_process([*command, *where], stdout=-1, cwd=ROOT)
        self.nursery.start_soon(self._read, name)

    async def _read(self, name: str) -> None:
        stdout, rest = self.processes[name].stdout, b""
        assert stdout is not None
        async with stdout:
            async for data in stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    at, what, about, token = line.decode().split()
                    self.said.append(Said(name, float(at), what, about, token))

    @property
    def leader(self) -> str:
        return max((said.token, said.about) for said in self.said if said.what == "leads")[1]

    def served_by(self, names: Collection[str]) -> bool:
        """Whether all shards are, by these and within one of each other."""
        now, serving = time.monotonic(), dict[str, str]()
        for said in reversed(self.said):
            if said.at < now - FRESH_S:
                break
            if said.what != "leads":
                serving.setdefault(said.about, said.by if said.what == "tick" else "")
        shares = [Counter(serving.values())[name] for name in names]
        return sum(shares) == len(SHARDS) and max(shares) - min(shares) <= 1

    async def wait_until_served_by(self, names: Collection[str]) -> None:
        await until(lambda: self.served_by(names), f"all shards are served by {names}")

    def check(self) -> None:
        """No tick of a shard comes after one under a newer token, and no two processes share a token."""
        for shard in SHARDS:
            told = sorted((said for said in self.said if said.about == shard), key=lambda said: said.at)
            tokens = [said.token for said in told]
            assert tokens == sorted(tokens), f"{shard} had two owners at once: {told}"
            owners = defaultdict[str, set[str]](set)
            for said in told:
                owners[said.token].add(said.by)
            assert all(len(names) == 1 for names in owners.values()), f"{shard}: {owners}"


@pytest.fixture
async def nodes(may_build_networks: None) -> AsyncIterator[Nodes]:
    with open_network(NAMES) as network:
        async with trio.open_nursery() as nursery:
            nodes = Nodes(network, nursery)
            try:
                for name in NAMES:
                    await nodes.start(name)
                await nodes.wait_until_served_by(NAMES)
                yield nodes
            finally:
                with trio.CancelScope(shield=True):
                    for process in nodes.processes.values():
                        process.kill()
                        await process.wait()
            nursery.cancel_scope.cancel()


async def test_no_shard_has_two_owners_in_a_real_partition(nodes: Nodes) -> None:
    few = [nodes.leader, next(name for name in NAMES if name != nodes.leader)]
    many = [name for name in NAMES if name not in few]
    nodes.network.cut([pair for one in few for other in many for pair in ((one, other), (other, one))])
    await nodes.wait_until_served_by(many)
    await trio.sleep(CONFIG.session)
    nodes.network.heal()
    await nodes.wait_until_served_by(NAMES)
    nodes.check()


async def test_the_leaders_death_interrupts_no_owner(nodes: Nodes) -> None:
    await trio.sleep(1)
    leader = nodes.leader
    nodes.processes[leader].kill()
    killed = time.monotonic()
    await nodes.wait_until_served_by([name for name in NAMES if name != leader])
    ended = [said for said in nodes.said if said.what == "end" and said.by != leader and said.at > killed]
    assert ended == []
    nodes.check()
