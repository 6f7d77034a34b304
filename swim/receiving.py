"""Messages that come from one process: each once, in order, and not more than its window holds."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swim.messages import DirectMessage
from swim.sending import OVERHEAD, WINDOW_SIZE
from swim.types import Member
from swim.wire import DecodeError
from swim.wire.kept import MESSAGE_SIZE_MAX

__all__ = ["ReceiveWindow"]

_HELD_MAX = WINDOW_SIZE + MESSAGE_SIZE_MAX
_SOON = 0.02
"""A sender is told of what was taken after so many seconds at the latest; at once when it may be waiting."""
_MUCH = WINDOW_SIZE // 4


class ReceiveWindow:
    """What has come from one process, on all the streams that it has opened one after the other."""

    def __init__(self, deliver: Callable[[DirectMessage, Callable[[], None]], None]) -> None:
        self.taken = 0
        """The number of the last message that the application has taken."""
        self._deliver = deliver
        self._last = 0
        self._size = 0
        self._untold = 0
        self._some = trio.lowlevel.ParkingLot()
        self._much = trio.lowlevel.ParkingLot()

    def receive(self, sender: Member, number: int, payload: bytes) -> None:
        """A message; one that came before, on an earlier stream, is ignored."""
        if number <= self._last:
            return
        size = len(payload) + OVERHEAD
        if self._size + size > _HELD_MAX:
            raise DecodeError("window", f"{self._size} bytes of messages were not taken yet")
        self._last = number
        self._size += size

        def taken() -> None:
            self.taken = number
            self._size -= size
            self._untold += size
            self._some.unpark_all()
            if self._untold >= _MUCH:
                self._much.unpark_all()

        self._deliver(DirectMessage(sender, payload), taken)

    async def wait_to_tell(self) -> int:
        """Until the sender should be told what was taken; its number."""
        if not self._untold:
            await self._some.park()
        if self._untold < _MUCH:
            with trio.move_on_after(_SOON):
                await self._much.park()
        self._untold = 0
        return self.taken
