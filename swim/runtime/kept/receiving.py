"""Messages that come from one member: each once, in order, and not more than its window holds."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swim.messages import DirectMessage
from swim.runtime.feeds.inbox import LETTER_SIZE, Inbox, Letter
from swim.runtime.kept.sending import OVERHEAD, WINDOW_SIZE
from swim.types import Member
from swim.wire import DecodeError
from swim.wire.kept import MESSAGE_SIZE_MAX

__all__ = ["ReceiveWindow", "Unread"]

_HELD_MAX = WINDOW_SIZE + MESSAGE_SIZE_MAX
_SOON = 0.02
"""A sender is told of what was taken after so many seconds at the latest; at once when it may be waiting."""
_MUCH = WINDOW_SIZE // 4
_LINES_MAX = 4


class Unread:
    """What has come from the member of one name, whatever process that was, and was not taken yet."""

    def __init__(self, inbox: Inbox, grown: Callable[[], None]) -> None:
        self.gone = False
        """The member is none any more. `grown` is called when it leaves yet more."""
        self.memory = 0
        """Bytes that it takes."""
        self._size = 0
        self._letters: dict[Letter, None] = {}
        self._given_up = False
        self._inbox = inbox
        self._grown = grown
        self._windows: dict[tuple[bytes, bytes], ReceiveWindow] = {}

    def window(self, boot: bytes, line: bytes, *, trusted: bool) -> ReceiveWindow:
        """That of this process, and of this line: see `Hello.line`. The last few are remembered.

        Before all others those that came from where only the member can be: lines that a stranger makes up
        do not crowd out the member's own.
        """
        window = self._windows.pop((boot, line), None) or ReceiveWindow(self)
        window.trusted = window.trusted or trusted
        self._windows[boot, line] = window
        if len(self._windows) > _LINES_MAX:
            doubtful = (key for key, each in self._windows.items() if not each.trusted)
            del self._windows[next(doubtful, next(iter(self._windows)))]
        return window

    def put(self, message: DirectMessage, taken: Callable[[], None]) -> None:
        """Raises DecodeError when it is too much."""
        size = len(message.payload) + OVERHEAD
        if self._size + size > _HELD_MAX:
            raise DecodeError("window", f"{self._size} bytes of messages were not taken yet")
        if self._given_up or not self._inbox.has_room(self.memory + len(message.payload) + LETTER_SIZE):
            raise DecodeError("inbox", "too many messages of all members together were not taken yet")

        def forget() -> None:
            self._size -= size
            self.memory -= letter.size
            del self._letters[letter]
            taken()

        letter = self._inbox.deliver(message, forget)
        self._letters[letter] = None
        self._size += size
        self.memory += letter.size
        if self.gone:
            self._grown()

    def give_up(self) -> int:
        """Nobody will read these, and nothing more is taken. How many messages that were."""
        self._given_up = True
        letters = list(self._letters)
        self._inbox.give_up(letters)
        return len(letters)


class ReceiveWindow:
    """What has come from one process, on all the streams that it has opened one after the other."""

    def __init__(self, unread: Unread) -> None:
        self.taken = 0
        """The number of the last message that the application has taken."""
        self.trusted = False
        """A stream of it came from where only the member can be: see `Talk.trusted`."""
        self._unread = unread
        self._last = 0
        self._untold = 0
        self._some = trio.lowlevel.ParkingLot()
        self._much = trio.lowlevel.ParkingLot()

    def receive(self, sender: Member, number: int, payload: bytes) -> None:
        """A message; one that came before, on an earlier stream, is ignored."""
        if number <= self._last:
            return

        size = len(payload) + OVERHEAD  # not the payload itself, which would live as long as this

        def taken() -> None:
            self.taken = number
            self._untold += size
            self._some.unpark_all()
            if self._untold >= _MUCH:
                self._much.unpark_all()

        self._unread.put(DirectMessage(sender, payload), taken)
        self._last = number

    async def wait_to_tell(self) -> int:
        """Until the sender should be told what was taken; its number."""
        if not self._untold:
            await self._some.park()
        if self._untold < _MUCH:
            with trio.move_on_after(_SOON):
                await self._much.park()
        self._untold = 0
        return self.taken
