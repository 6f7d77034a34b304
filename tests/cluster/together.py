"""Several clusters' nodes in one process, on real sockets of the loopback interface."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

import swim
from swim.config import Config

PATIENCE = 90.0
"""Seconds for what takes far less on a machine that is not busy."""
CONFIG = Config.local(leave_linger=0.1)
E = TypeVar("E")


def open_node(name: str | None = None, *others: swim.Cluster, **options: Any) -> Any:
    """`open_cluster` on loopback, with the others as seeds."""
    settings: dict[str, Any] = {
        "bind": "127.0.0.1:0",
        "config": CONFIG,
        "seeds": [str(other.address) for other in others],
    }
    return swim.open_cluster(name, **settings | options)


@asynccontextmanager
async def cluster_of(*names: str, **options: Any) -> AsyncIterator[list[swim.Cluster]]:
    """Nodes that all know each other."""
    with trio.fail_after(PATIENCE) as scope:
        async with AsyncExitStack() as stack:
            nodes: list[swim.Cluster] = []
            for name in names:
                nodes.append(await stack.enter_async_context(open_node(name, *nodes[:1], **options)))
            for node in nodes:
                await node.wait_for(sees(*names))
            scope.deadline = math.inf
            yield nodes


def sees(*names: str) -> Callable[[swim.Cluster], bool]:
    """Whether a node sees exactly these members."""
    return lambda cluster: {member.name for member in cluster.members()} == set(names)


def led_by(name: str) -> Callable[[swim.Cluster], bool]:
    return lambda cluster: cluster.leader is not None and cluster.leader.name == name


async def everybody(nodes: list[swim.Cluster], predicate: Callable[[swim.Cluster], bool]) -> None:
    """Wait until it is true for all of them."""
    with trio.fail_after(PATIENCE):
        for node in nodes:
            await node.wait_for(predicate)


async def next_of(events: Any, kind: type[E]) -> E:
    """The next event of this kind."""
    with trio.fail_after(PATIENCE):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


class Stopwatch:
    """Seconds that have passed, but for those in which this thread had to wait for a processor."""

    def __init__(self) -> None:
        self._started = time.monotonic() - self._kept_waiting()

    @staticmethod
    def _kept_waiting() -> float:
        try:
            return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
        except OSError:
            return 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._kept_waiting() - self._started
