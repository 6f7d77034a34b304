"""The same signals to a leading client of ZooKeeper or etcd (five clients, three servers), or pysyncobj."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from benchmarks.driver import Agent, Fleet, open_fleet
from benchmarks.leadership.crew import NAMES, until
from benchmarks.leadership.scenarios import AFTERWARDS, PAUSE, Figures
from benchmarks.leadership.servers import client, open_servers
from benchmarks.leadership.tenures import Tenure, Tenures, overlaps
from benchmarks.peers import Peer

__all__ = ["measure"]

SETTLED_SECONDS = 1.0


class Clients:
    """Five of them; one that was killed is started again."""

    def __init__(self, fleet: Fleet, peer: Peer) -> None:
        self.agents: dict[str, Agent] = {}
        self._fleet = fleet
        self._peer = peer
        self._tenures = Tenures()
        fleet.listeners.append(self._tenures.take)

    async def start(self, name: str) -> None:
        self.agents[name] = await self._fleet.start(self._peer, name)
        await self._fleet.until_bound(self.agents[name])

    async def leader(self, *, besides: str = "", since: float = 0.0) -> Tenure:
        """The newest tenure, of any but this one, once there is one that began since then."""
        found: list[Tenure] = []

        def leads() -> bool:
            found[:] = [each for each in self._tenures.all if each.node != besides and each.on > since][-1:]
            return bool(found)

        await until(leads, "one of them leads")
        return found[0]

    async def _replace(self, name: str) -> None:
        assert await self.agents[name].exit_status(AFTERWARDS + 10) is not None
        await self.start(name)
        await trio.sleep(SETTLED_SECONDS)

    async def kill(self, leader: Tenure) -> Figures:
        return await self._succeeded(leader, self.agents[leader.node].kill())

    async def leave(self, leader: Tenure) -> Figures:
        return await self._succeeded(leader, self.agents[leader.node].terminate())

    async def _succeeded(self, leader: Tenure, began: float) -> Figures:
        """Once another one leads: figures since the signal."""
        following = await self.leader(besides=leader.node, since=began)
        await self._replace(leader.node)
        return {"to_the_next": following.on - began, "overlap": overlaps([leader, following])}

    async def pause(self, leader: Tenure) -> Figures:
        agent = self.agents[leader.node]
        began = agent.pause()
        try:
            following = await self.leader(besides=leader.node, since=began)
            await trio.sleep(began + PAUSE - time.monotonic())
        finally:
            woken = agent.resume()
        await trio.sleep(AFTERWARDS)
        late = [tick for tick in leader.ticks if tick >= woken]
        if leader.off is None:  # it would go on for ever
            agent.kill()
            await self._replace(leader.node)
        return {
            "to_the_next": following.on - began,
            "ticks_after_waking": len(late),
            "overlap": overlaps([leader, following]),
        }


async def measure(kind: str, seconds: float, runs: int, tell: Callable[[str, Figures], None]) -> None:
    """Tells of each run by its scenario."""
    with open_servers(kind) as servers:
        async with open_fleet() as fleet:
            clients = Clients(fleet, client(kind, servers, seconds))
            for name in NAMES:
                await clients.start(name)
            leader = await clients.leader()
            await trio.sleep(SETTLED_SECONDS)
            for scenario in (clients.kill, clients.leave, clients.pause):
                for _ in range(runs):
                    tell(scenario.__name__, await scenario(leader))
                    leader = await clients.leader()
