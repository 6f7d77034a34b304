"""Messages, requests and answers: what is on its way to each member, and what has come from each.

The kept streams carry them (`swim.runtime.kept.opener`, `swim.runtime.kept.streams`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b

import trio

from swim.errors import PayloadTooLarge, SendError
from swim.protocol.node import Node
from swim.runtime.arguments import check_text, checked_bytes
from swim.runtime.feeds.inbox import Inbox, Letter
from swim.runtime.feeds.pace import Pace
from swim.runtime.kept.calls import Calls
from swim.runtime.kept.receiving import Loop, ReceiveWindow, Unread
from swim.runtime.kept.sending import LoopWindow, SendWindow
from swim.runtime.kept.serving import Serving
from swim.types import Member
from swim.wire.kept import LINE_SIZE
from swim.wire.records import MESSAGE_SIZE_MAX, TOPIC_SIZE_MAX, Kind, Record

__all__ = ["Mail", "checked_topic"]

_LEFT_MAX = 2_097_152
"""Bytes of memory that members may have left unread that are none any more, all together."""
_GONE_MAX = 256
"""Members that are none any more and have left nothing, of which it is remembered what came."""
_REACH_PATIENCE = 30.0
"""So much longer than a pause a member that is alive may be out of reach for a stream."""


class Mail:
    """What goes from one node to each of the others, and comes from them."""

    def __init__(
        self,
        node: Node,
        inbox: Inbox,
        random_bytes: Callable[[int], bytes],
        carry: Callable[[SendWindow], bool],
    ) -> None:
        """`carry`: see to it that a stream carries this; whether one does already."""
        self.random_bytes = random_bytes
        self._carry = carry
        self.calls = Calls(random_bytes)
        self.serving = Serving(node.name, inbox, self)
        self._node = node
        self._inbox = inbox
        self._windows: dict[str, SendWindow] = {}
        self._secret = random_bytes(16)
        self._unread: dict[str, Unread] = {}
        self._gone: dict[str, Unread] = {}
        """Of those that are members no more."""
        self._memories: dict[str, bytes] = {}
        self._own = Unread(inbox, self, bounded=False)
        self.given_up = 0
        """Records of members that are gone; they will not be read."""
        self._numbered = self._sent = 0
        self._pace = Pace()
        self._closed = False

    # --- sending
    async def send(self, to: Member | str, topic: str, payload: bytes) -> None:
        """See `Cluster.send`."""
        record = Record(self.checked(payload), Kind.MESSAGE, checked_topic(topic))
        window = self._window(to)
        if self._pace.due():
            await self._pace.checkpoint()
        await window.put(record)
        self._sent += 1

    async def request(self, to: Member | str, topic: str, payload: bytes) -> bytes:
        """See `Cluster.request`."""
        payload, topic = self.checked(payload), checked_topic(topic)
        return await self.calls.make(self._window(to), topic, payload)

    async def answer(self, to: Member, record: Record, *, alone: bool) -> None:
        """See `swim.runtime.kept.serving.Reply`."""
        try:
            await self._window(to).put(record, alone=alone)
        except (SendError, trio.ClosedResourceError):
            return

    def answer_at_once(self, to: Member, record: Record) -> None:
        """See `swim.runtime.kept.serving.Reply`."""
        with suppress(SendError, trio.ClosedResourceError):
            self._window(to).put_at_once(record)

    def checked(self, payload: bytes) -> bytes:
        """See `swim.runtime.kept.serving.Reply`."""
        payload = checked_bytes("a payload", payload)
        if len(payload) > MESSAGE_SIZE_MAX:
            text = f"a message has at most {MESSAGE_SIZE_MAX} bytes (1 MiB), not {len(payload)}"
            raise PayloadTooLarge(text)
        return payload

    def _window(self, to: Member | str) -> SendWindow:
        """What takes records for this process, or for the one that has this name now. Raises SendError."""
        name = to if isinstance(to, str) else to.name
        window = self._windows.get(name)
        if window is None or window.closed:
            window = self._windows[name] = self._new_window(to, name)
        if not isinstance(to, str) and to.process != window.process:
            raise SendError(f"{to} is gone, and another process has its name", to)
        if not window.carried:
            self._carry(window)
        return window

    def _new_window(self, to: Member | str, name: str) -> SendWindow:
        if self._closed:
            raise trio.ClosedResourceError("the cluster is closed")
        member, boot, now = self._node.member(name), self._node.boot_of(name), trio.current_time()
        if member is None:
            raise SendError(f"{name!r} is no member of this cluster", to)
        if boot is None:
            raise SendError(f"{member} is no swim node (memberlist or Serf): it takes no messages", member)
        if name != self._node.name:
            return SendWindow(member, boot.encode(), self._numbered + 1, now)

        def arrived(number: int, record: Record) -> None:
            loop.receive(self._node.me, number, record)

        window = LoopWindow(member, boot.encode(), now, arrived)
        loop = Loop(self._own, lambda number: window.taken(number, trio.current_time()))
        return window

    def line(self, to: str) -> bytes:
        """See `Hello.line`."""
        return blake2b(to.encode(), key=self._secret, digest_size=LINE_SIZE).digest()

    def window(self, name: str) -> SendWindow | None:
        """What is on its way to this member."""
        return self._windows.get(name)

    def lose(self, name: str, why: str) -> int:
        """The member is gone, or out of reach. How many messages to it may not have arrived."""
        self._memories.pop(name, None)  # answers may be lost, too
        window = self._windows.pop(name, None)
        if window is None:
            return 0
        self._numbered = max(self._numbered, window.next_number)
        lost = window.messages
        unknown = f"; of {lost} messages before this one it is not known whether they arrived" if lost else ""
        self.calls.lose(window, why)
        window.close(SendError(f"{window.member} {why}{unknown}", window.member, lost))
        return lost

    def look(self, now: float) -> int:
        """Keep going what is on its way, or give it up. How many messages were lost."""
        self.serving.look(now)
        lost = 0
        patience = _REACH_PATIENCE + self._node.config.pause_tolerance
        for name, window in list(self._windows.items()):
            if not window or name == self._node.name:
                continue
            if self._carry(window):
                window.used = now
            elif now - window.used > patience:
                lost += self.lose(name, f"could not be reached for {patience:.0f} s")
        return lost

    def remembered(self, window: SendWindow, memory: bytes) -> None:
        """The process at the other end says under what it remembers this node: see `Hello.memory`."""
        if window.memory not in (b"", memory):
            window.drop_requests()  # some may have been carried out
            self.calls.lose(window, "had given this node up for a while")
        window.memory = memory

    def counts(self) -> dict[str, int]:
        """See `Statistics.messages`."""
        return {
            "sent": self._sent,
            "received": self._inbox.received,
            "heard": self._inbox.heard,
            "asked": self.calls.made,
            "served": self.serving.served,
        }

    @property
    def unacknowledged(self) -> int:
        """Messages on their way."""
        return sum(window.messages for window in self._windows.values())

    async def drain(self) -> None:
        """Until all that was sent was taken."""
        for name, window in list(self._windows.items()):
            if name != self._node.name:
                await window.wait_empty()

    def close(self) -> None:
        """Nothing can be sent any more."""
        self._closed = True
        self.calls.close()
        for window in self._windows.values():
            window.close(trio.ClosedResourceError("the cluster is closed"))

    # --- receiving
    def source(self, name: str, boot: bytes, line: bytes) -> ReceiveWindow:
        """What comes from this process; its member may be gone already, while its stream is still open."""
        self._gone.pop(name, None)
        unread = self._unread.pop(name, None) or Unread(self._inbox, self)
        unread.gone = self._node.member(name) is None
        self._unread[name] = unread
        if unread.gone:
            self._gone[name] = unread
        self._count_senders()
        return unread.window(boot, line)

    def memory(self, name: str) -> bytes:
        """See `Hello.memory`."""
        if name not in self._memories:
            self._memories[name] = self.random_bytes(LINE_SIZE)
        return self._memories[name]

    def requested(self, letter: Letter) -> None:
        """See `swim.runtime.kept.receiving.Reactions`."""
        self.serving.requested(letter)

    def heard(self, sender: Member, record: Record) -> None:
        """See `swim.runtime.kept.receiving.Reactions`."""
        if record.kind is Kind.CANCEL:
            self.serving.cancel(sender, record.call)
        else:
            self.calls.heard(sender, record)

    def forget(self, name: str) -> None:
        """The member is none any more. What it has left is for the reader, if it is not too much."""
        self.serving.forget(name)
        if (unread := self._unread.get(name)) is not None:
            unread.gone = True
            self._gone[name] = unread
            self.left()

    def left(self) -> None:
        """Keep little of members that are gone: first goes what the first of them have left.

        Of those that have left nothing, what came from them is remembered: whoever was given up wrongly sends
        again what it has heard nothing of.
        """
        size = sum(unread.memory for unread in self._gone.values())
        for name, unread in list(self._gone.items()):
            if size <= _LEFT_MAX if unread.memory else len(self._gone) <= _GONE_MAX:
                continue
            size -= unread.memory
            self.serving.forget(name)
            self.given_up += unread.give_up()
            del self._gone[name], self._unread[name]
        self._count_senders()

    def _count_senders(self) -> None:
        nothing_left = sum(not unread.memory for unread in self._gone.values())
        self._inbox.senders = len(self._unread) - nothing_left


def checked_topic(topic: str) -> str:
    """Raises TypeError and ValueError."""
    if isinstance(topic, str) and topic.isascii() and len(topic) <= TOPIC_SIZE_MAX:
        return topic
    if (size := check_text("a topic", topic)) > TOPIC_SIZE_MAX:
        raise ValueError(f"a topic has at most {TOPIC_SIZE_MAX} bytes, not {size}")
    return topic
