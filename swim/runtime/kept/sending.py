"""Messages on their way to one member: kept until its application has taken them, and bounded."""

from __future__ import annotations

from collections import deque

import trio

from swim.errors import SendError
from swim.types import Member
from swim.wire.kept import MESSAGE_SIZE_MAX, PIECE_SIZE_MAX, RECORD_OVERHEAD, Data, message_record

__all__ = ["OVERHEAD", "WINDOW_SIZE", "SendWindow"]

WINDOW_SIZE = 262_144
"""Bytes that a sender may have on their way to one member. A larger message goes alone."""
OVERHEAD = 64
"""What each message counts beside its payload."""
assert WINDOW_SIZE < MESSAGE_SIZE_MAX


class SendWindow:
    """The messages for one process: `put` by the application, written to a stream, forgotten when taken.

    On a fresh stream all that was not taken goes again. Order is that of `put`.
    """

    def __init__(self, member: Member, boot: bytes, first: int, now: float) -> None:
        self.member = member
        self.boot = boot
        self.next_number = first
        self.used = now
        """When it was last seen to be on its way: written to a stream that is open, or taken."""
        self.carried = False
        """A stream is open, and what is put here will be written to it."""
        self._size = 0
        self._queued: deque[tuple[int, bytes]] = deque()
        self._written: deque[tuple[int, bytes]] = deque()
        self._offset = 0
        """Bytes of the first queued record that are written already."""
        self._taken = 0
        self._turn = trio.Lock()
        self._changed = trio.lowlevel.ParkingLot()
        self._filled = trio.lowlevel.ParkingLot()
        self._failure: SendError | trio.ClosedResourceError | None = None

    def __len__(self) -> int:
        """Messages that were not taken yet."""
        return len(self._queued) + len(self._written)

    @property
    def queued(self) -> bool:
        """Is there something to be written?"""
        return bool(self._queued)

    @property
    def closed(self) -> bool:
        return self._failure is not None

    # --- the application's side
    async def put(self, payload: bytes) -> None:
        """Wait for room, in turn, and accept the message. Raises what the window was closed with."""
        await trio.lowlevel.checkpoint()
        size = len(payload) + OVERHEAD
        if self._turn.locked() or not self._has_room(size):
            async with self._turn:
                while self._failure is None and not self._has_room(size):
                    await self._changed.park()
        if self._failure is not None:
            raise self._failure
        if not self._size:
            self.used = trio.current_time()
        self._size += size
        self._queued.append((self.next_number, message_record(payload)))
        self.next_number += 1
        if self._filled:
            self._filled.unpark_all()

    def _has_room(self, size: int) -> bool:
        return not self._size or self._size + size <= WINDOW_SIZE

    async def wait_empty(self) -> None:
        """Until everything was taken, or the window is closed."""
        while len(self) and self._failure is None:
            await self._changed.park()

    def close(self, failure: SendError | trio.ClosedResourceError) -> None:
        """Give up: whoever waits for room, or tries from now on, gets this."""
        self._failure = failure
        self._queued.clear()
        self._written.clear()
        self._changed.unpark_all()
        self._filled.unpark_all()

    # --- the stream's side
    async def wait_filled(self) -> None:
        """Until there is something to write, or the window is closed."""
        while not self._queued and self._failure is None:
            await self._filled.park()

    def rewind(self) -> None:
        """A fresh stream: everything that was not taken is to be written again."""
        self._queued = self._written + self._queued
        self._written = deque()
        self._offset = 0

    def next_data(self) -> Data | None:
        """What is to be written next."""
        if not self._queued:
            return None
        first = self._queued[0][0]
        pieces: list[bytes] = []
        room = PIECE_SIZE_MAX
        while self._queued and room:
            record = self._queued[0][1]
            piece = (
                record[self._offset : self._offset + room] if self._offset or len(record) > room else record
            )
            pieces.append(piece)
            room -= len(piece)
            if self._offset + len(piece) < len(record):
                self._offset += len(piece)
            else:
                self._offset = 0
                self._written.append(self._queued.popleft())
                self._forget(self._written)  # it may have been taken on the stream before
        return Data(first, b"".join(pieces))

    def taken(self, number: int, now: float) -> bool:
        """The other application has all up to this. False when it cannot have."""
        if number >= self.next_number:
            return False
        self.used = now
        self._taken = max(self._taken, number)
        self._forget(self._written)
        if not self._offset:
            self._forget(self._queued)
        self._changed.unpark_all()
        return True

    def _forget(self, records: deque[tuple[int, bytes]]) -> None:
        while records and records[0][0] <= self._taken:
            self._size -= len(records.popleft()[1]) - RECORD_OVERHEAD + OVERHEAD
