"""What the agent sends to other members: in order to each, and without holding up its commands."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swim.cli.running import RunningNode
from swim.cluster import Cluster
from swim.errors import SwimError

__all__ = ["Post"]

_WAITING_MAX = 1_024


class Post:
    """A queue for each member that something is sent to, and a task that empties it."""

    def __init__(self, nursery: trio.Nursery, failed: Callable[[RunningNode, str], None]) -> None:
        self._nursery = nursery
        self._failed = failed
        self._queues: dict[tuple[RunningNode, str], trio.MemorySendChannel[bytes]] = {}

    def send(self, node: RunningNode, cluster: Cluster, member: str, payload: bytes) -> None:
        """Raises ValueError when too much is waiting to be sent to this member."""
        queue = self._queues.get((node, member))
        if queue is None:
            queue, waiting = trio.open_memory_channel[bytes](_WAITING_MAX)
            self._queues[node, member] = queue
            self._nursery.start_soon(self._empty, node, cluster, member, waiting)
        try:
            queue.send_nowait(payload)
        except trio.WouldBlock:
            raise ValueError(f"{_WAITING_MAX} messages to {member} are waiting already") from None

    async def _empty(
        self, node: RunningNode, cluster: Cluster, member: str, waiting: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        try:
            while True:
                try:
                    await cluster.send(member, waiting.receive_nowait())
                except SwimError as error:
                    self._failed(node, f"send: {error}")
        except (trio.WouldBlock, trio.ClosedResourceError):  # all sent, or the node has ended
            del self._queues[node, member]
