"""Direct messages: who may be sent to, what is on its way to whom, and what has come from whom.

The kept streams carry them (`swim.keeper`, `swim.kept`).
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from swim.errors import PayloadTooLarge, SendError
from swim.inbox import Inbox
from swim.messages import DirectMessage
from swim.protocol.node import Node
from swim.receiving import ReceiveWindow
from swim.sending import SendWindow
from swim.wire.kept import MESSAGE_SIZE_MAX

__all__ = ["Mail"]

_SENDERS_MAX = 4_096
"""Processes of which it is remembered what has come from them."""
_REACH_PATIENCE = 30.0
"""So much longer than a pause a member that is alive may be out of reach for a stream."""


class Mail:
    """The messages of one node to and from each of the others."""

    def __init__(self, node: Node, inbox: Inbox) -> None:
        self.carry: Callable[[SendWindow], bool] = lambda window: False
        """See to it that a stream carries this; whether one does already."""
        self._node = node
        self._inbox = inbox
        self._windows: dict[str, SendWindow] = {}
        self._sources: dict[bytes, ReceiveWindow] = {}
        self._numbered = self._sent = 0
        self._closed = False

    # --- sending
    async def send(self, name: str, payload: bytes) -> None:
        """See `Cluster.send`."""
        payload = _checked(payload)
        window = self._windows.get(name)
        if window is None or window.closed:
            window = self._window_to(name)
        if name == self._node.name:
            await self._send_to_self(window, payload)
            return
        if not window.carried:
            self.carry(window)
        await window.put(payload)
        self._sent += 1

    def _window_to(self, name: str) -> SendWindow:
        if self._closed:
            raise trio.ClosedResourceError("the cluster is closed")
        member, boot = self._node.member(name), self._node.boot_of(name)
        if member is None:
            raise SendError(f"{name!r} is no member: see Cluster.members()", name)
        if boot is None:
            raise SendError(f"{member} is no swim node (memberlist or Serf): it takes no messages", member)
        window = SendWindow(member, boot.encode(), self._numbered + 1, trio.current_time())
        self._windows[name] = window
        return window

    async def _send_to_self(self, window: SendWindow, payload: bytes) -> None:
        await window.put(payload)
        self._sent += 1
        number = window.next_number - 1
        while window.next_data() is not None:
            pass

        def taken() -> None:
            window.taken(number, trio.current_time())

        self._inbox.deliver(DirectMessage(self._node.me, payload), taken)

    def window(self, name: str) -> SendWindow | None:
        """What is on its way to this member."""
        return self._windows.get(name)

    def lose(self, name: str, why: str) -> int:
        """The member is gone, or out of reach. How many messages to it may not have arrived."""
        window = self._windows.pop(name, None)
        if window is None:
            return 0
        self._numbered = max(self._numbered, window.next_number)
        lost = len(window)
        unknown = f"; of {lost} messages before this one it is not known whether they arrived" if lost else ""
        window.close(SendError(f"{window.member} {why}{unknown}", window.member, lost))
        return lost

    def look(self, now: float) -> int:
        """Keep going what is on its way, or give it up. How many messages were lost."""
        lost = 0
        patience = _REACH_PATIENCE + self._node.config.pause_tolerance
        for name, window in list(self._windows.items()):
            if not window or name == self._node.name:
                continue
            if self.carry(window):
                window.used = now
            elif now - window.used > patience:
                lost += self.lose(name, f"could not be reached for {patience:.0f} s")
        return lost

    def counts(self) -> dict[str, int]:
        """See `Statistics.messages`."""
        return {"sent": self._sent, "received": self._inbox.received, "heard": self._inbox.heard}

    @property
    def unacknowledged(self) -> int:
        """Messages on their way."""
        return sum(map(len, self._windows.values()))

    async def drain(self) -> None:
        """Until all that was sent was taken."""
        for name, window in list(self._windows.items()):
            if name != self._node.name:
                await window.wait_empty()

    def close(self) -> None:
        """Nothing can be sent any more."""
        self._closed = True
        for window in self._windows.values():
            window.close(trio.ClosedResourceError("the cluster is closed"))

    # --- receiving
    def source(self, boot: bytes) -> ReceiveWindow:
        """What comes from this process."""
        source = self._sources.pop(boot, None) or ReceiveWindow(self._inbox.deliver)
        self._sources[boot] = source
        if len(self._sources) > _SENDERS_MAX:
            del self._sources[next(iter(self._sources))]
        return source


def _checked(payload: bytes) -> bytes:
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"a payload must be bytes, not {type(payload).__name__}")
    payload = bytes(payload)  # its own, whatever becomes of the application's
    if len(payload) > MESSAGE_SIZE_MAX:
        raise PayloadTooLarge(f"a message has at most {MESSAGE_SIZE_MAX} bytes (1 MiB), not {len(payload)}")
    return payload
