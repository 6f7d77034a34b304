"""Direct messages between simulated nodes, as the kept streams carry them.

Each once and in order, as long as both processes live and the sender counts the other as a member. Lost
packets cost time. There is no bound on what is on its way: `World.send` does not wait.
"""

from __future__ import annotations

from collections import deque

from swim.errors import SendError
from swim.messages import DirectMessage
from swim.simulation.host import Medium, SimulatedNode
from swim.simulation.streams import transfer

__all__ = ["Channels"]

USER_TIMEOUT = 3.0
"""After so many seconds in which nothing gets through a fresh connection is tried."""


class Channels:
    """All channels of a world: one for each pair, in each direction."""

    def __init__(self, world: Medium) -> None:
        self._world = world
        self._channels: dict[tuple[str, str], _Channel] = {}

    def send(self, sender: SimulatedNode, to: str, payload: bytes) -> None:
        """Raises `SendError` when the sender knows no such member, or one that is none of ours."""
        member = sender.core.member(to)
        if member is None or member.id is None:
            raise SendError(f"{to!r} is no member that can be sent to", member or to)
        target = self._world.listener(member.address)
        assert target is not None
        channel = self._channels.get((sender.name, target.name))
        if channel is None or channel.over:
            channel = _Channel(self._world, sender, target)
            self._channels[sender.name, target.name] = channel
        channel.put(payload)


class _Channel:
    """From one process to another."""

    def __init__(self, world: Medium, client: SimulatedNode, server: SimulatedNode) -> None:
        self._world = world
        self._client, self._client_life = client, client.lives
        self._server, self._server_life = server, server.lives
        self._to = server.core.name if server.running else server.name
        self._sender = client.core.me
        self._waiting: deque[bytes] = deque()
        self._attempt = 0

    @property
    def over(self) -> bool:
        """Either process has ended, or the sender has given the other up."""
        client, server = self._client, self._server
        if client.lives != self._client_life or server.lives != self._server_life:
            return True
        return not (client.running and server.running) or client.core.member(self._to) is None

    def put(self, payload: bytes) -> None:
        self._waiting.append(payload)
        if len(self._waiting) == 1:
            self._begin()

    def _begin(self) -> None:
        self._attempt += 1
        attempt = self._attempt

        def stale() -> bool:
            return self.over or attempt != self._attempt

        def arrive() -> None:
            if not stale():
                self._attempt += 1
                self._server.input(self._read)

        def retry() -> None:
            if not stale():
                self._begin()

        if self.over:
            self._world.note(f"{len(self._waiting)} messages of {self._client.name} to {self._to} are lost")
            self._waiting.clear()
            return
        size = len(self._waiting[0])
        self._client.traffic.stream_bytes_sent += size
        transfer(self._world, self._client, self._server, size, arrive, stale)
        self._world.schedule.after(USER_TIMEOUT, retry)

    def _read(self) -> None:
        """The other process reads what its kernel has. (How it acknowledges is not modelled.)"""
        if self._waiting and self._server.lives == self._server_life:
            sender = self._server.core.member(self._sender.name) or self._sender
            self._world.told(self._server, DirectMessage(sender, self._waiting.popleft()))
            if self._waiting:
                self._begin()
