"""Direct messages: who may be sent to, what is on its way to whom, and what has come from whom.

The kept streams carry them (`swim.runtime.kept.keeper`, `swim.runtime.kept.streams`).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import trio

from swim.errors import PayloadTooLarge, SendError
from swim.messages import DirectMessage
from swim.protocol.node import Node
from swim.runtime.feeds.inbox import Inbox
from swim.runtime.kept.receiving import ReceiveWindow, Unread
from swim.runtime.kept.sending import SendWindow
from swim.wire.kept import LINE_SIZE, MESSAGE_SIZE_MAX

__all__ = ["Mail"]

_LEFT_MAX = 2_097_152
"""Bytes of memory that messages may take which members left unread that are none any more, all together."""
_REACH_PATIENCE = 30.0
"""So much longer than a pause a member that is alive may be out of reach for a stream."""


class Mail:
    """The messages of one node to and from each of the others."""

    def __init__(self, node: Node, inbox: Inbox, random_bytes: Callable[[int], bytes]) -> None:
        self.random_bytes = random_bytes
        self.carry: Callable[[SendWindow], bool] = lambda window: False
        """See to it that a stream carries this; whether one does already."""
        self._node = node
        self._inbox = inbox
        self._windows: dict[str, SendWindow] = {}
        self._secret = random_bytes(16)
        self._unread: dict[str, Unread] = {}
        self._gone: dict[str, Unread] = {}
        """Of those that are members no more."""
        self.given_up = 0
        """Messages of such that nobody will read."""
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

    def line(self, to: str) -> bytes:
        """See `Hello.line`."""
        return blake2b(to.encode(), key=self._secret, digest_size=LINE_SIZE).digest()

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
    def source(self, name: str, boot: bytes, line: bytes, *, trusted: bool) -> ReceiveWindow:
        """What comes from this process; its member may be gone already, while its stream is still open."""
        self._gone.pop(name, None)
        unread = self._unread.pop(name, None) or Unread(self._inbox, self._trim)
        unread.gone = self._node.member(name) is None
        self._unread[name] = unread
        if unread.gone:
            self._gone[name] = unread
        self._inbox.senders = len(self._unread)
        return unread.window(boot, line, trusted=trusted)

    def forget(self, name: str) -> None:
        """The member is none any more. What it has left is for the reader, if it is not too much."""
        if (unread := self._unread.get(name)) is not None:
            unread.gone = True
            self._gone[name] = unread
            self._trim()

    def _trim(self) -> None:
        """Keep little of those who are gone: first goes what the first of them have left."""
        size = sum(unread.memory for unread in self._gone.values())
        for name, unread in list(self._gone.items()):
            if unread.memory and size <= _LEFT_MAX:
                continue
            size -= unread.memory
            self.given_up += unread.give_up()
            del self._gone[name], self._unread[name]
        self._inbox.senders = len(self._unread)


def _checked(payload: bytes) -> bytes:
    if not isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"a payload must be bytes, not {type(payload).__name__}")
    payload = bytes(payload)  # its own, whatever becomes of the application's
    if len(payload) > MESSAGE_SIZE_MAX:
        raise PayloadTooLarge(f"a message has at most {MESSAGE_SIZE_MAX} bytes (1 MiB), not {len(payload)}")
    return payload
