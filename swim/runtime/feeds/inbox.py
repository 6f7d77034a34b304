"""What has arrived from others, until the application takes it: lane by lane, each with readers of its own.

Messages and requests are never dropped: their senders wait until all readers of that lane have taken them.
Broadcasts are, and the reader is told how many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import trio

from swim.messages import Broadcast, DirectMessage, Lagged, Message
from swim.runtime.feeds.reading import BufferedStream
from swim.types import Member
from swim.wire.records import Kind, Lane, Record

__all__ = ["LETTER_SIZE", "Account", "Inbox", "Letter", "MessageStream"]


LETTER_SIZE = 512
"""What a record takes beside its payload, in bytes of memory."""


class Account(Protocol):
    """Is told when a letter was taken, so that its sender may go on."""

    def taken(self, letter: Letter) -> None:
        """All its readers have it; or it is to have none any more."""


class Letter:
    """A message or request, and how many readers have not taken it yet."""

    __slots__ = ("_account", "lane", "number", "read", "readers", "record", "sender", "size", "wanted")

    def __init__(self, sender: Member, number: int, record: Record, lane: Lane, account: Account) -> None:
        self.sender = sender
        self.number = number
        self.record = record
        self.lane = lane
        self.size = len(record.payload) + LETTER_SIZE
        self.readers = 1
        self.read = False
        self.wanted = True
        """Not given up."""
        self._account = account

    def take(self, *, read: bool) -> None:
        """A reader has it, or does not want it any more."""
        self.read = self.read or read
        self.readers -= 1
        if self.readers == 0:
            self._account.taken(self)


class _Box:
    """One lane: its readers, and what waits while there are none."""

    def __init__(self) -> None:
        self.streams: dict[MessageStream, None] = {}
        self.server: Callable[[], None] | None = None
        """Called when something was put into `waiting`."""
        self.waiting = OrderedDict[Letter, None]()

    @property
    def idle(self) -> bool:
        return not (self.streams or self.waiting or self.server)


class Inbox:
    """All lanes of a cluster. What comes while its lane has no reader waits for the first one."""

    def __init__(self, limit: int, size_max: int) -> None:
        self.received = self.heard = 0
        self.size = 0
        """Bytes of memory for what was not taken yet."""
        self.senders = 0
        """How many members there are with such."""
        self._limit = limit
        self._size_max = size_max
        self._boxes: dict[Lane, _Box] = {}
        self._ended = False

    def has_room(self, size: int) -> bool:
        """Is there room for a record of a sender that will have so many bytes waiting then?

        When all is taken up, senders with less than their share still have room: so there may be twice as
        much in all.
        """
        return self.size < self._size_max or size <= self._size_max // max(1, self.senders)

    def deliver(self, letter: Letter) -> None:
        """Its account counts what memory it takes, in `size`."""
        self.received += letter.record.kind is Kind.MESSAGE
        box = self._boxes.get(letter.lane) or self._box(letter.lane)
        if box.streams:
            letter.readers = len(box.streams)
            for stream in box.streams:
                stream._put(letter)
        else:
            box.waiting[letter] = None
            if box.server is not None:
                box.server()

    def waiting(self) -> Iterator[Letter]:
        """The letters for which there is no reader now."""
        return (letter for box in self._boxes.values() for letter in box.waiting)

    def give_up(self, letters: Iterable[Letter]) -> None:
        """These are not to be read: there is no room for them any more, or the asker has gone."""
        lanes: dict[Lane, None] = {}
        for letter in letters:
            letter.wanted = False
            lanes[letter.lane] = None
            if (box := self._boxes.get(letter.lane)) is not None:
                box.waiting.pop(letter, None)
            while letter.readers:
                letter.take(read=False)
        for lane in lanes:
            for stream in self._streams(lane):
                stream._sweep()
            self._tidy(lane)

    def publish(self, broadcast: Broadcast) -> None:
        """A broadcast, for the readers that there are now: of all broadcasts, or of the topic of its name."""
        self.heard += 1
        for topic in ("", broadcast.name):
            for stream in self._streams((Kind.MESSAGE, topic)):
                stream._put_broadcast(broadcast, self._limit)

    def end(self) -> None:
        """No more messages: readers see the end after what is buffered."""
        self._ended = True
        for box in self._boxes.values():
            box.waiting.clear()
            for stream in box.streams:
                stream._end()

    # --- readers
    def serve(self, lane: Lane, wake: Callable[[], None]) -> None:
        """Call `wake` for each letter to `take`. Raises ValueError when that is done already."""
        self._require_open()
        box = self._box(lane)
        if box.server is not None:
            raise ValueError(f"topic {lane[1]!r} is being served already")
        box.server = wake
        for _ in box.waiting:
            wake()

    def serve_no_more(self, lane: Lane) -> None:
        self._box(lane).server = None
        self._tidy(lane)

    def take(self, lane: Lane) -> Letter | None:
        """The first that waits."""
        box = self._boxes.get(lane)
        return box.waiting.popitem(last=False)[0] if box is not None and box.waiting else None

    def _require_open(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("the cluster is closed")

    def _box(self, lane: Lane) -> _Box:
        box = self._boxes.get(lane)
        if box is None:
            box = self._boxes[lane] = _Box()
        return box

    def _streams(self, lane: Lane) -> tuple[MessageStream, ...]:
        box = self._boxes.get(lane)
        return () if box is None else tuple(box.streams)

    def _tidy(self, lane: Lane) -> None:
        box = self._boxes.get(lane)
        if box is not None and box.idle:
            del self._boxes[lane]

    def _add(self, stream: MessageStream) -> None:
        self._require_open()
        box = self._box(stream._lane)
        box.streams[stream] = None
        for letter in box.waiting:
            stream._put(letter)
        box.waiting.clear()

    def _discard(self, stream: MessageStream, unread: Iterable[Letter]) -> None:
        box = self._box(stream._lane)
        box.streams.pop(stream, None)
        for letter in unread:
            if box.streams or self._ended or letter.read:
                letter.take(read=False)
            else:
                box.waiting[letter] = None
        self._tidy(stream._lane)


class MessageStream(BufferedStream[Letter | Broadcast | Lagged]):
    """An asynchronous iterator of the messages of one topic, open inside ``async with``.

    It yields `DirectMessage`, `Broadcast` and `Lagged`. The iteration ends when the cluster is closed. Direct
    messages that are unread when it is closed wait for the next stream.
    """

    _name = "message"

    def __init__(self, inbox: Inbox, topic: str = "") -> None:
        super().__init__()
        self._inbox = inbox
        self._lane: Lane = (Kind.MESSAGE, topic)
        self._broadcasts = 0

    async def __anext__(self) -> Message:
        """The next message. Raises `trio.ClosedResourceError` outside of its ``async with``."""
        item = await self._next()
        if isinstance(item, Letter):
            item.take(read=True)
            return DirectMessage(item.sender, item.record.payload)
        self._broadcasts -= isinstance(item, Broadcast)
        return item

    def _open(self) -> None:
        self._inbox._add(self)

    def _discard(self) -> None:
        self._inbox._discard(self, [item for item in self._buffer if isinstance(item, Letter)])

    def _sweep(self) -> None:
        """Forget what was given up."""
        kept = [item for item in self._buffer if not isinstance(item, Letter) or item.wanted]
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
