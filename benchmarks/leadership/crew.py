"""Five agents that say when they lead, on loopback or each on a host of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from subprocess import PIPE

import trio

from benchmarks.driver import ROOT, Agent, Fleet, open_fleet
from benchmarks.leadership.tenures import Tenure, Tenures
from benchmarks.leadership.witness import grants
from benchmarks.namespaces import Network
from benchmarks.peers import Peer

__all__ = ["LEASE", "NAMES", "Crew", "open_crew"]

NAMES = ("n0", "n1", "n2", "n3", "n4")
LEASE = 3.0
SETTLED_SECONDS = 3.5
"""Until all who observe somebody have had a stream to it for a while."""
PATIENCE = 40.0
_PORT = 7946
_GRACE = 0.1
"""For questions that were on their way when their sender was killed."""
_POLL = 0.01


@dataclass
class Meddler:
    """What a meddler came to."""

    sent: int = 0


class Crew:
    """The agents of one cluster; those that are killed are started again under the same name and address."""

    def __init__(
        self,
        fleet: Fleet,
        peer: Peer,
        *,
        voters: Sequence[str] = (),
        options: Sequence[str] = (),
        network: Network | None = None,
        settle: float = SETTLED_SECONDS,
    ) -> None:
        self.fleet = fleet
        self.agents: dict[str, Agent] = {}
        self.names = list(NAMES)
        """Those that are to be members."""
        self._peer = peer
        self._options = ["--ticks", *(["--voters", ",".join(voters)] if voters else []), *options]
        self._network = network
        self._settle = settle
        self._tenures = Tenures()
        fleet.listeners.append(self._tenures.take)

    async def gather(self) -> Tenure:
        """Start all; returns the leader's tenure when all see all and agree."""
        for name in NAMES:
            await self.start(name)
            await self.fleet.until_bound(self.agents[name])
        return await self.settled()

    async def start(self, name: str) -> None:
        """Start the node, for the first time or again."""
        before = self.agents.get(name)
        if name not in self.names:
            self.names.append(name)
        seeds = [self.agents[other].address for other in self.names if other in self.agents and other != name]
        peer, host, port = self._peer, "127.0.0.1", None
        if before is not None:
            port = int(before.address.rpartition(":")[2])
        if self._network is not None:
            command = (*self._network.command(name), *peer.command)
            peer, host, port = Peer(peer.kind, command, peer.version), self._network.addresses[name], _PORT
        self.agents[name] = await self.fleet.start(
            peer, name, join=seeds, options=self._options, host=host, port=port
        )

    async def settled(self) -> Tenure:
        """When all see all, one node acts, all name it, and all streams are kept; its tenure."""
        try:
            await self.fleet.until_all_see(self.names, PATIENCE)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the last lines:\n{self.history()}") from None
        await until(lambda: self.acting() is not None, "all name the one that acts")
        await trio.sleep(self._settle)
        await until(lambda: self.acting() is not None, "all still name the one that acts")
        found = self.acting()
        assert found is not None
        return found

    def acting(self) -> Tenure | None:
        """The tenure of the one that acts, if all nodes name it as their leader."""
        named = {self.fleet.leaders.get(name) for name in self.names}
        found = self.tenures()
        if not found or len(named) != 1 or found[-1].node not in named or found[-1].off is not None:
            return None
        return found[-1]

    def tenures(self, since: float = 0.0) -> list[Tenure]:
        """Those that began since then."""
        return [tenure for tenure in self._tenures.all if tenure.on >= since]

    async def next_tenure(self, since: float, among: Collection[str]) -> Tenure:
        """The first that begins after `since` at one of these."""
        found: list[Tenure] = []

        def begun() -> bool:
            found[:] = [each for each in self.tenures(since) if each.on > since and each.node in among]
            return bool(found)

        await until(begun, f"one of {sorted(among)} leads")
        return found[0]

    def lease_out(self, leader: Tenure, killed: float) -> float | None:
        """When most voters were free to grant the lease to another; None without voters that tell of it."""
        granted = []
        for name in NAMES:
            told = [until for t, until in grants(list(self.agents[name].complaints)) if t < killed + _GRACE]
            if told and name != leader.node:
                granted.append(told[-1])
        majority = len(NAMES) // 2 + 1
        return sorted(granted)[majority - 1] if len(granted) >= majority else None

    def history(self, last: int = 60) -> str:
        """The last lines but for ticks, to see what went wrong."""
        told = [line for line in self.fleet.lines if line["event"] != "tick"]
        return "\n".join(map(str, told[-last:]))

    def id_of(self, name: str) -> str:
        """The newest id that the node has given itself."""
        ids = [
            line["id"]
            for line in self.fleet.lines
            if line["node"] == name
            and (line["event"] == "started" or (line["event"] == "update" and line["member"] == name))
        ]
        return str(ids[-1]) if ids else ""

    async def set_voters(self, names: Sequence[str], *, at: str) -> float:
        """`swim voters`, asked of one member; how long it took."""
        command = [sys.executable, "-m", "swim", "voters", *names, "--at", self.agents[at].address]
        began = time.monotonic()
        await trio.run_process(command, capture_stdout=True)
        return time.monotonic() - began

    @asynccontextmanager
    async def meddler(self, how: str, *names: str) -> AsyncIterator[Meddler]:
        """Meanwhile the router repeats datagrams, as `benchmarks.leadership.meddler` does, of these nodes."""
        assert self._network is not None
        addresses = [self._network.addresses[name] for name in names]
        command = [sys.executable, "-m", "benchmarks.leadership.meddler", how, *addresses]
        found = Meddler()
        process = await trio.lowlevel.open_process(
            [*self._network.command("router"), *command], stdout=PIPE, cwd=ROOT
        )
        try:
            assert await _line(process) == b"begun\n"
            yield found
            process.terminate()
            found.sent = int(await _line(process))
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    @contextmanager
    def cut(self, pairs: Collection[tuple[str, str]]) -> Iterator[float]:
        """Yields the time just before the cut."""
        assert self._network is not None
        began = time.monotonic()
        self._network.cut(pairs)
        try:
            yield began
        finally:
            self._network.heal()


async def _line(process: trio.Process) -> bytes:
    """The next that it writes, which has no more than one at a time to say."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        more = await process.stdout.receive_some()
        if not more:
            raise EOFError(f"{process.args!r} ended")
        line += more
    return line


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for it to be true; raises TimeoutError."""
    with trio.move_on_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for is in other processes
            await trio.sleep(_POLL)
        return
    raise TimeoutError(f"after {PATIENCE:.0f} s still not: {what}")


@asynccontextmanager
async def open_crew(
    peer: Peer,
    *,
    voters: Sequence[str] = (),
    options: Sequence[str] = (),
    network: Network | None = None,
) -> AsyncIterator[Crew]:
    """Not gathered yet. No process outlives the block."""
    async with open_fleet() as fleet:
        yield Crew(fleet, peer, voters=voters, options=options, network=network)
