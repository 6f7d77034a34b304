"""Messages that have arrived, until the application takes them.

Direct messages are never dropped: whoever sends them waits until all readers have taken what came before.
Broadcasts are, and the reader is told how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from swim.messages import Broadcast, DirectMessage, Lagged, Message
from swim.runtime.feeds.reading import BufferedStream

__all__ = ["LETTER_SIZE", "Inbox", "Letter", "MessageStream"]


LETTER_SIZE = 512
"""What a message takes beside its payload, in bytes of memory."""


class Letter:
    """A direct message, and how many readers have not taken it yet. Without a message it was given up."""

    __slots__ = ("_taken", "message", "read", "readers", "size")

    def __init__(self, message: DirectMessage, taken: Callable[[], None]) -> None:
        self.message: DirectMessage | None = message
        self.size = len(message.payload) + LETTER_SIZE
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

    def __init__(self, limit: int, size_max: int) -> None:
        self.received = self.heard = 0
        self.size = 0
        """Bytes of direct messages that were not taken yet."""
        self.senders = 0
        """How many members there are with such messages."""
        self._limit = limit
        self._size_max = size_max
        self._streams: dict[MessageStream, None] = {}
        self._waiting: dict[Letter, None] = {}
        self._ended = False

    def has_room(self, size: int) -> bool:
        """For a message of a sender of whom so many bytes will be waiting then.

        When all is taken up, those who have less than their share still have room: so there may be twice as
        much in all.
        """
        return self.size < self._size_max or size <= self._size_max // max(1, self.senders)

    def deliver(self, message: DirectMessage, taken: Callable[[], None]) -> Letter:
        """A direct message; `taken` is called when all readers have it."""
        self.received += 1

        def forget() -> None:
            self.size -= letter.size
            taken()

        letter = Letter(message, forget)
        self.size += letter.size
        if not self._streams:
            self._waiting[letter] = None
            return letter
        letter.readers = len(self._streams)
        for stream in self._streams:
            stream._put(letter)
        return letter

    def give_up(self, letters: list[Letter]) -> None:
        """Nobody will read these: there is no room for them any more."""
        for letter in letters:
            letter.message = None
            self._waiting.pop(letter, None)
            while letter.readers:
                letter.take(read=False)
        for stream in self._streams:
            stream._sweep()

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
        for letter in self._waiting:
            stream._put(letter)
        self._waiting.clear()

    def _discard(self, stream: MessageStream, unread: Iterable[Letter]) -> None:
        self._streams.pop(stream, None)
        for letter in unread:
            if self._streams or self._ended or letter.read:
                letter.take(read=False)
            else:
                self._waiting[letter] = None


class MessageStream(BufferedStream[Letter | Broadcast | Lagged]):
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
        if isinstance(item, Letter):
            message = item.message
            assert message is not None
            item.take(read=True)
            return message
        self._broadcasts -= isinstance(item, Broadcast)
        return item

    def _open(self) -> None:
        self._inbox._add(self)

    def _discard(self) -> None:
        self._inbox._discard(self, [item for item in self._buffer if isinstance(item, Letter)])

    def _sweep(self) -> None:
        """Forget what was given up."""
        kept = [item for item in self._buffer if not isinstance(item, Letter) or item.message is not None]
        self._buffer.clear()
        self._buffer.extend(kept)

    def _put(self, item: Letter | Broadcast | Lagged) -> None:
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
