"""A cluster of one kind of peer, spread over few processes so that many nodes fit on one machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.driver import Agent, Fleet
from benchmarks.namespaces import Network
from benchmarks.peers import Peer

__all__ = ["GROUPS", "REST", "gather", "names_of", "start"]

GROUPS = 2
"""Processes that share the nodes which are not alone in theirs."""
PATIENCE = 120.0


REST = "rest"
"""The host of a network on which all run that have none of their own."""


async def start(
    fleet: Fleet, peer: Peer, nodes: int, alone: Sequence[str] = (), network: Network | None = None
) -> list[Agent]:
    """Start so many nodes: one called `seed`, those that are `alone` in their processes, and the rest.

    Those whose name is a host of the network run there. Returns when the seed listens.
    """

    async def run(name: str, count: int, seeds: Iterable[str]) -> Agent:
        if network is None:
            return await fleet.start(peer, name, count=count, join=seeds)
        host = name if name in network.addresses else REST
        there = replace(peer, command=(*network.command(host), *peer.command))
        return await fleet.start(there, name, count=count, join=seeds, host=network.addresses[host])

    seed = await run("seed", 1, [])
    await fleet.until_bound(seed)
    groups = {f"n{group}": size for group, size in enumerate(_split(nodes - 1 - len(alone), GROUPS))}
    sizes = groups | dict.fromkeys(alone, 1)
    return [seed, *[await run(name, size, [seed.address]) for name, size in sizes.items()]]


async def gather(
    fleet: Fleet, peer: Peer, nodes: int, alone: Sequence[str] = (), network: Network | None = None
) -> dict[str, Agent]:
    """The same, but returns when all see all: the process of every node."""
    agents = await start(fleet, peer, nodes, alone, network)
    await fleet.until_bound(*agents)
    await fleet.until_all_see(names_of(agents), PATIENCE)
    return {name: agent for agent in agents for name in agent.names}


def names_of(agents: Iterable[Agent]) -> list[str]:
    return [name for agent in agents for name in agent.names]


def _split(count: int, parts: int) -> list[int]:
    """Nodes for each process, none empty; a lone node would be named without a number, which is fine."""
    sizes = [count // parts + (i < count % parts) for i in range(parts)]
    return [size for size in sizes if size > 0]
