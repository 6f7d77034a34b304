"""Records on their way to one member: kept until its application has taken them, and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from swim.errors import SendError
from swim.types import Member
from swim.wire.kept import PIECE_SIZE_MAX, Data
from swim.wire.records import MESSAGE_SIZE_MAX, Kind, Lane, Record, pack_record

__all__ = ["OVERHEAD", "WINDOW_SIZE", "LoopWindow", "SendWindow"]

WINDOW_SIZE = 262_144
"""Bytes that a sender may have on their way to one member, in each lane. A larger record goes alone."""
OVERHEAD = 64
"""What each record counts beside its payload."""
assert WINDOW_SIZE < MESSAGE_SIZE_MAX
STOCK_SIZE = 16_777_216
"""Bytes of memory for what is on its way to one member in all lanes of a kind: 64 times what one holds. Kinds
do not wait for each other: a request may be what has the other one read its messages."""
_BESIDE, _LANE_SIZE = 448, 2_048
"""What a record takes of that beside its `OVERHEAD`, and what a lane does."""


class _Sent:
    """A record that was not taken yet, as far as this node knows."""

    __slots__ = ("data", "lane", "number", "size", "taken")

    def __init__(self, number: int, data: bytes, size: int, lane: _Lane) -> None:
        self.number = number
        self.data = data
        self.size = size
        self.lane = lane
        self.taken = False


class _Stock:
    """What all lanes of one kind hold: else hundreds of topics that nobody reads would each fill theirs."""

    def __init__(self) -> None:
        self.memory = 0
        self.turn = trio.Lock()
        self.changed = trio.lowlevel.ParkingLot()
        self.waiting = 0

    async def wait_for_room(self, goes_on: Callable[[], bool]) -> None:
        """In turn; or until it does not go on."""
        self.waiting += 1
        try:
            async with self.turn:
                while self.memory >= STOCK_SIZE and goes_on():
                    await self.changed.park()
        finally:
            self.waiting -= 1


class _Lane:
    """What goes to one reader there; see `swim.wire.records.Lane`."""

    def __init__(self, key: Lane, stock: _Stock) -> None:
        self.key = key
        self.stock = stock
        self.size = 0
        self.records = deque[_Sent]()
        self.turn = trio.Lock()
        self.changed = trio.lowlevel.ParkingLot()
        self.waiting = 0

    def has_room(self, size: int) -> bool:
        return not self.size or self.size + size <= WINDOW_SIZE

    def keep(self, sent: _Sent) -> None:
        self.stock.memory += sent.size + _BESIDE + (0 if self.records else _LANE_SIZE)
        self.size += sent.size
        self.records.append(sent)

    def drop(self) -> _Sent:
        """The first."""
        sent = self.records.popleft()
        self.size -= sent.size
        self.stock.memory -= sent.size + _BESIDE + (0 if self.records else _LANE_SIZE)
        return sent

    def wake(self) -> None:
        """There is more room, or the window is closed."""
        if self.changed:
            self.changed.unpark_all()
        if self.stock.changed:
            self.stock.changed.unpark_all()


class SendWindow:
    """The records for one process: `put` by the application, written to a stream, forgotten when taken.

    On a fresh stream all that was not taken goes again. Order is that of `put`.
    """

    def __init__(self, member: Member, boot: bytes, first: int, now: float) -> None:
        self.member = member
        self.boot = boot
        self.process = boot.decode()
        """See `Member.process`."""
        self.next_number = first
        self.used = now
        """When it was last seen to be on its way: written to a stream that is open, or taken."""
        self.carried = False
        """A stream is open, and what is put here will be written to it."""
        self.memory = b""
        """See `Hello.memory`."""
        self._lanes: dict[Lane, _Lane] = {}
        self._stocks = {Kind.MESSAGE: _Stock(), Kind.REQUEST: _Stock(), Kind.ANSWER: _Stock()}
        self._untaken: dict[int, _Sent] = {}
        self._queued: deque[_Sent] = deque()
        self._offset = 0
        """Bytes of the first queued record that are written already."""
        self.write_now: Callable[[Data], bool] = lambda _: False
        """Write this in this turn of the loop, as its stream does it. Whether that could be."""
        self.closed = False
        self._filled = trio.lowlevel.ParkingLot()
        self._empty = trio.lowlevel.ParkingLot()
        self._failure: SendError | trio.ClosedResourceError | None = None

    def __len__(self) -> int:
        """Records that were not taken yet."""
        return len(self._untaken)

    @property
    def messages(self) -> int:
        """How many of them are messages."""
        return sum(len(lane.records) for lane in self._lanes.values() if lane.key[0] is Kind.MESSAGE)

    @property
    def queued(self) -> bool:
        """Is there something to be written?"""
        return bool(self._queued)

    # --- the application's side
    async def put(self, record: Record, *, alone: bool = False) -> None:
        """Wait for room, in turn, and accept it. Raises what the window was closed with.

        Waits for nothing where there is room: a checkpoint is the caller's business. `alone`: nothing is to
        be expected that it could share a frame with, so if the stream rests it is written now.
        """
        key, size = record.lane, len(record.payload) + OVERHEAD
        lane = self._lane(key)
        stock = lane.stock
        if lane.waiting or not lane.has_room(size) or stock.waiting or stock.memory >= STOCK_SIZE:
            lane.waiting += 1
            try:
                async with lane.turn:
                    while self._failure is None and not lane.has_room(size):
                        await lane.changed.park()
                    await stock.wait_for_room(lambda: self._failure is None)
            finally:
                lane.waiting -= 1
                self._tidy(lane)
            lane = self._lane(key)
        self._accept(record, lane, size, alone=alone)

    def put_at_once(self, record: Record) -> None:
        """Accept it whether or not there is room: for what is rare and small. Raises as `put`."""
        self._accept(record, self._lane(record.lane), len(record.payload) + OVERHEAD)

    def _lane(self, key: Lane) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, self._stocks[key[0]])
        return lane

    def _accept(self, record: Record, lane: _Lane, size: int, *, alone: bool = False) -> None:
        if self._failure is not None:
            raise self._failure
        if not self._untaken:
            self.used = trio.current_time()
        sent = _Sent(self.next_number, data := pack_record(record), size, lane)
        self.next_number += 1
        lane.keep(sent)
        self._untaken[sent.number] = sent
        if self._filled:  # nothing is queued before it
            if alone and len(data) <= PIECE_SIZE_MAX and self.write_now(Data(sent.number, data)):
                return
            self._filled.unpark_all()
        self._queued.append(sent)

    async def wait_empty(self) -> None:
        """Until everything was taken, or the window is closed."""
        while self._untaken and self._failure is None:
            await self._empty.park()

    def close(self, failure: SendError | trio.ClosedResourceError) -> None:
        """Give up: callers that wait for room, or try from now on, get this."""
        self._failure, self.closed = failure, True
        self._queued.clear()
        self._untaken.clear()
        for lane in self._lanes.values():
            lane.records.clear()
            lane.wake()
        self._filled.unpark_all()
        self._empty.unpark_all()

    # --- the stream's side
    async def wait_filled(self) -> None:
        """Until there is something to write, or the window is closed."""
        while not self._queued and self._failure is None:
            await self._filled.park()

    def rewind(self) -> None:
        """A fresh stream: everything that was not taken is to be written again."""
        self._queued = deque(self._untaken.values())
        self._offset = 0

    def drop_requests(self) -> None:
        """Before it is rewound: they are not to be written (again)."""
        for lane in list(self._lanes.values()):
            if lane.key[0] is Kind.REQUEST:
                while lane.records:
                    self._forget(lane.drop())
                self._tidy(lane)
                lane.wake()

    def next_data(self) -> Data | None:
        """What is to be written next: records whose numbers follow each other."""
        queued, pieces, room = self._queued, list[bytes](), PIECE_SIZE_MAX
        first = following = 0
        while queued and room:
            sent = queued[0]
            if sent.taken and not self._offset:  # on the stream before
                queued.popleft()
                continue
            if not pieces:
                first = following = sent.number
            elif sent.number != following:
                break
            data = sent.data
            piece = (
                data if not self._offset and len(data) <= room else data[self._offset : self._offset + room]
            )
            pieces.append(piece)
            room -= len(piece)
            self._offset += len(piece)
            if self._offset == len(data):
                self._offset = 0
                queued.popleft()
                following += 1
        return Data(first, b"".join(pieces)) if pieces else None

    def taken(self, number: int, now: float) -> bool:
        """The other application has all up to this in its lane. False when it cannot have."""
        if number >= self.next_number:
            return False
        self.used = now
        sent = self._untaken.get(number)
        if sent is None:
            return True  # as it has said before
        lane = sent.lane
        while lane.records and lane.records[0].number <= number:
            self._forget(lane.drop())
        self._tidy(lane)
        lane.wake()
        if not self._untaken:
            self._empty.unpark_all()
        return True

    def _forget(self, sent: _Sent) -> None:
        sent.taken = True
        del self._untaken[sent.number]

    def _tidy(self, lane: _Lane) -> None:
        if not lane.records and not lane.waiting:
            self._lanes.pop(lane.key, None)


class LoopWindow(SendWindow):
    """What a node sends to itself: it is there at once."""

    def __init__(
        self, member: Member, boot: bytes, now: float, arrived: Callable[[int, Record], None]
    ) -> None:
        super().__init__(member, boot, 1, now)
        self.carried = True
        self._arrived = arrived

    def _accept(self, record: Record, lane: _Lane, size: int, *, alone: bool = False) -> None:
        super()._accept(record, lane, size)
        self._queued.clear()
        self._arrived(self.next_number - 1, record)
