"""A process that is started again is back in all views at once, on real sockets.

Killed or gone by itself, at its old address or a new one, and when two change places. What is expected is a
twentieth of a second; `SOON` on a busy machine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import swim
from tests.cluster.together import PATIENCE, Stopwatch, open_node, sees

SOON = 1.0
NAMES = ("n0", "n1", "n2", "n3", "n4")


class Group:
    """Nodes by name, each of which can be ended and started again."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nodes: dict[str, swim.Cluster] = {}
        self._nursery = nursery
        self._ends: dict[str, tuple[trio.Event, trio.Event]] = {}

    async def start(self, name: str, bind: str = "127.0.0.1:0") -> None:
        await self._nursery.start(self._run, name, bind)

    async def _run(self, name: str, bind: str, task_status: trio.TaskStatus[None]) -> None:
        end, ended = trio.Event(), trio.Event()
        others = list(self.nodes.values())[:3]
        async with open_node(name, *others, bind=bind, config=swim.Config.lan()) as node:
            self.nodes[name], self._ends[name] = node, (end, ended)
            task_status.started()
            await end.wait()
        ended.set()

    async def end(self, name: str, *, kill: bool) -> str:
        """Returns the address that it had."""
        node, (end, ended) = self.nodes.pop(name), self._ends.pop(name)
        address = str(node.address)
        if kill:
            node.abort()
        end.set()
        await ended.wait()
        return address

    async def all_see(self, *names: str) -> None:
        """Until each of the others sees the processes that there are now."""
        with trio.fail_after(PATIENCE):
            for name in names:
                mine = self.nodes[name].me.id
                for other in self.nodes.values():
                    await other.wait_for(
                        lambda cluster, name=name, mine=mine: (
                            (member := cluster.member(name)) is not None and member.id == mine
                        )
                    )

    async def one_leader(self) -> None:
        with trio.fail_after(PATIENCE):
            leader = next(iter(self.nodes.values())).leader
            for node in self.nodes.values():
                await node.wait_for(lambda cluster: cluster.leader == leader)


@asynccontextmanager
async def five() -> AsyncIterator[Group]:
    async with trio.open_nursery() as nursery:
        group = Group(nursery)
        for name in NAMES:
            await group.start(name)
        with trio.fail_after(PATIENCE):
            for node in group.nodes.values():
                await node.wait_for(sees(*NAMES))
        await trio.sleep(1.5)  # so that streams are kept
        yield group
        for name in list(group.nodes):
            await group.end(name, kill=True)


@pytest.mark.parametrize("moved", [False, True], ids=["same address", "new address"])
@pytest.mark.parametrize("kill", [False, True], ids=["left", "killed"])
async def test_one_that_is_started_again_is_in_all_views_at_once(kill: bool, moved: bool) -> None:
    async with five() as group:
        for name, pause in (("n0", 0.1), ("n2", 0.0), ("n1", 0.0)):  # n0 and n1 lead
            address = await group.end(name, kill=kill)
            await trio.sleep(pause)
            stopwatch = Stopwatch()
            await group.start(name, "127.0.0.1:0" if moved else address)
            await group.all_see(name)
            await group.one_leader()
            assert stopwatch.seconds < SOON
            await trio.sleep(1.2)


async def test_two_that_change_places_are_in_all_views_at_once() -> None:
    async with five() as group:
        first, second = await group.end("n1", kill=True), await group.end("n3", kill=True)
        stopwatch = Stopwatch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.start, "n1", second)
            nursery.start_soon(group.start, "n3", first)
        await group.all_see("n1", "n3")
        assert stopwatch.seconds < SOON
