"""Messages that have arrived, until the application takes them.

Direct messages are never dropped: whoever sends them waits until all readers have taken what came before.
Broadcasts are, and the reader is told how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import trio

from swim.messages import Broadcast, DirectMessage, Lagged, Message
from swim.reading import BufferedStream

__all__ = ["Inbox", "MessageStream"]


class _Letter:
    """A direct message, and how many readers have not taken it yet."""

    __slots__ = ("_taken", "message", "read", "readers")

    def __init__(self, message: DirectMessage, taken: Callable[[], None]) -> None:
        self.message = message
        self.readers = 1
        self.read = False
        self._taken = taken

    def take(self, *, read: bool) -> None:
        """A reader has it, or does not want it any more."""
        self.read = self.read or read
        self.readers -= 1
        if self.readers == 0:
            self._taken()


class Inbox:
    """The open message streams of a cluster. While there is none, direct messages wait for one."""

    def __init__(self, limit: int) -> None:
        self.received = self.heard = 0
        self._limit = limit
        self._streams: dict[MessageStream, None] = {}
        self._waiting: deque[_Letter] = deque()
        self._ended = False

    def deliver(self, message: DirectMessage, taken: Callable[[], None]) -> None:
        """A direct message; `taken` is called when all readers have it."""
        self.received += 1
        letter = _Letter(message, taken)
        if not self._streams:
            self._waiting.append(letter)
            return
        letter.readers = len(self._streams)
        for stream in self._streams:
            stream._put(letter)

    def publish(self, broadcast: Broadcast) -> None:
        """A broadcast, for those who listen now."""
        self.heard += 1
        for stream in self._streams:
            stream._put_broadcast(broadcast, self._limit)

    def end(self) -> None:
        """No more messages: readers see the end after what is buffered."""
        self._ended = True
        self._waiting.clear()
        for stream in self._streams:
            stream._end()

    def _add(self, stream: MessageStream) -> None:
        if self._ended:
            raise trio.ClosedResourceError("the cluster is closed")
        self._streams[stream] = None
        while self._waiting:
            stream._put(self._waiting.popleft())

    def _discard(self, stream: MessageStream, unread: Iterable[_Letter]) -> None:
        self._streams.pop(stream, None)
        for letter in unread:
            if self._streams or self._ended or letter.read:
                letter.take(read=False)
            else:
                self._waiting.append(letter)


class MessageStream(BufferedStream[_Letter | Broadcast | Lagged]):
    """An asynchronous iterator of messages, open inside ``async with``.

    It yields `DirectMessage`, `Broadcast` and `Lagged`. The iteration ends when the cluster is closed. Direct
    messages that nobody has read when it is closed wait for the next stream.
    """

    _name = "message"

    def __init__(self, inbox: Inbox) -> None:
        super().__init__()
        self._inbox = inbox
        self._broadcasts = 0

    async def __anext__(self) -> Message:
        """The next message. Raises `trio.ClosedResourceError` outside of its ``async with``."""
        item = await self._next()
        if isinstance(item, _Letter):
            item.take(read=True)
            return item.message
        self._broadcasts -= isinstance(item, Broadcast)
        return item

    def _open(self) -> None:
        self._inbox._add(self)

    def _discard(self) -> None:
        self._inbox._discard(self, [item for item in self._buffer if isinstance(item, _Letter)])

    def _put(self, item: _Letter | Broadcast | Lagged) -> None:
        self._buffer.append(item)
        if self._readers:
            self._readers.unpark_all()

    def _put_broadcast(self, broadcast: Broadcast, limit: int) -> None:
        if self._broadcasts < limit:
            self._broadcasts += 1
            self._put(broadcast)
        elif isinstance(last := self._buffer[-1], Lagged):
            self._buffer[-1] = Lagged(last.count + 1)
        else:
            self._put(Lagged(1))
