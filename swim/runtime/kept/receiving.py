"""Records that come from one member: each once, in order, and in no lane more than its window holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from swim.protocol.base.limits import keep_latest
from swim.runtime.feeds.inbox import LETTER_SIZE, Inbox, Letter
from swim.runtime.kept.sending import OVERHEAD, WINDOW_SIZE
from swim.types import Member
from swim.wire import DecodeError
from swim.wire.records import MESSAGE_SIZE_MAX, Kind, Lane, Record

__all__ = ["Loop", "Reactions", "ReceiveWindow", "Unread"]

_WAITING_MAX = WINDOW_SIZE + MESSAGE_SIZE_MAX
_SOON = 0.02
"""A sender is told of what was taken after so many seconds at the latest; at once when it may be waiting."""
_MUCH = WINDOW_SIZE // 4
"""With so much taken that its sender does not know of, the sender is told at once."""
_LINES_MAX = 4
"""Of one name, so many processes (and lines of them) are remembered."""


class Reactions(Protocol):
    """What else has to be done about what has come."""

    def requested(self, letter: Letter) -> None:
        """A request waits for its topic to be served."""

    def heard(self, sender: Member, record: Record) -> None:
        """An answer, or what else waits for no reader."""

    def left(self) -> None:
        """There is more of a process that is no member any more."""


class Unread:
    """What has come from the member of one name, whatever process that was, and was not taken yet."""

    def __init__(self, inbox: Inbox, reactions: Reactions, *, bounded: bool = True) -> None:
        self.gone = False
        """The member is none any more."""
        self.memory = 0
        """Bytes that it takes."""
        self.reactions = reactions
        self._sizes: dict[Lane, int] = {}
        self._letters: dict[Letter, None] = {}
        self._given_up = False
        self._inbox = inbox
        self._bounded = bounded
        self._windows: dict[tuple[bytes, bytes], ReceiveWindow] = {}

    def window(self, boot: bytes, line: bytes) -> ReceiveWindow:
        """That of this process, and of this line: see `Hello.line`. The last few are remembered."""
        window = self._windows.pop((boot, line), None) or ReceiveWindow(self)
        self._windows[boot, line] = window
        keep_latest(self._windows, _LINES_MAX)
        return window

    def admit(self, letter: Letter) -> None:
        """It takes room from now on. Raises DecodeError when that is too much."""
        waiting = self._sizes.get(letter.lane, 0) + len(letter.record.payload) + OVERHEAD
        if waiting > _WAITING_MAX and self._bounded:
            raise DecodeError("window", f"{waiting} bytes of one topic were not taken yet")
        self.require_room(letter.size)
        self._sizes[letter.lane] = waiting
        self._letters[letter] = None
        self.keep(letter.size)

    def require_room(self, size: int) -> None:
        """Raises DecodeError when there is none for so much more."""
        crowded = self._bounded and not self._inbox.has_room(self.memory + size)
        if self._given_up or crowded:
            raise DecodeError("inbox", "too much of all members together was not taken yet")

    def reserve(self, size: int) -> None:
        """So much more has come that is no whole record yet, or less. Raises DecodeError for too much."""
        if size > 0:
            self.require_room(size)
        self.keep(size)

    def keep(self, size: int) -> None:
        """So much more memory is taken, or less."""
        self.memory += size
        self._inbox.size += size

    def put(self, letter: Letter) -> None:
        """For the readers of its lane."""
        if letter.record.kind is Kind.REQUEST:
            self.reactions.requested(letter)
        self._inbox.deliver(letter)
        if self.gone:
            self.reactions.left()

    def discard(self, letter: Letter) -> int:
        """It was taken, and all before it in its lane. How much room that makes for its sender."""
        lane, size = letter.lane, len(letter.record.payload) + OVERHEAD
        self.keep(-letter.size)
        del self._letters[letter]
        self._sizes[lane] -= size
        if not self._sizes[lane]:
            del self._sizes[lane]
        return size

    def give_up(self) -> int:
        """These will not be read, and nothing more is taken. Returns how many they were."""
        self._given_up = True
        letters = [letter for letter in self._letters if letter.readers]
        self._inbox.give_up(letters)
        return len(letters)

    def requests(self) -> list[Letter]:
        """Those that were not begun."""
        return [letter for letter in self._letters if letter.readers and letter.record.kind is Kind.REQUEST]


class ReceiveWindow:
    """What has come from one process, on all the streams that it has opened one after the other."""

    def __init__(self, unread: Unread) -> None:
        self._unread = unread
        self._last = 0
        self._lanes: dict[Lane, deque[Letter]] = {}
        """In order; those that were taken before their turn among them."""
        self._untold: dict[Lane, int] = {}
        """The number of the last before which all were taken. It takes memory, as a letter does."""
        self._streams = 0
        self._room = 0
        """That the sender does not know of yet, in bytes."""
        self._some = trio.lowlevel.ParkingLot()
        self._much = trio.lowlevel.ParkingLot()

    def reserve(self, size: int) -> None:
        """See `Unread.reserve`."""
        self._unread.reserve(size)

    def attach(self) -> ReceiveWindow:
        """There is a stream on which it comes, and on which is told what was taken."""
        self._streams += 1
        return self

    def detach(self) -> None:
        """The stream has ended."""
        self._streams -= 1
        if not self._streams:
            self._tell()

    def receive(self, sender: Member, number: int, record: Record) -> None:
        """One that came before, on an earlier stream, is ignored; that it was taken is told again."""
        key = record.lane
        letters = self._lanes.get(key)
        if number <= self._last:
            if letters is None or number < letters[0].number:
                self._unread.require_room(LETTER_SIZE)
                self._note(key, number, len(record.payload) + OVERHEAD)
        elif record.kind > Kind.REQUEST:
            self._note(key, number, len(record.payload) + OVERHEAD)
            self._unread.reactions.heard(sender, record)
        else:
            letter = Letter(sender, number, record, key, self)
            self._unread.admit(letter)
            if letters is None:
                letters = self._lanes[key] = deque()
            letters.append(letter)
            self._unread.put(letter)
        if number > self._last:
            self._last = number

    def taken(self, letter: Letter) -> None:
        """The sender is told when all before it in its lane were taken as well."""
        key = letter.lane
        letters, room, number = self._lanes[key], 0, 0
        while letters and not letters[0].readers:
            number = letters[0].number
            room += self._unread.discard(letters.popleft())
        if not letters:
            del self._lanes[key]
        if room:
            self._note(key, number, room)

    def _note(self, key: Lane, number: int, room: int) -> None:
        if not self._streams:
            return  # it comes again on the next one, and is told there
        told = self._untold.get(key, 0)
        if not told:
            self._unread.keep(LETTER_SIZE)
            self._some.unpark_all()
        if number > told:
            self._untold[key] = number
        self._room += room
        if self._room >= _MUCH and self._much:
            self._much.unpark_all()

    async def wait_to_tell(self) -> list[int]:
        """Until the sender should be told what was taken: the number of the last in each lane."""
        if not self._untold:
            await self._some.park()
        if self._room < _MUCH:
            with trio.move_on_after(_SOON):
                await self._much.park()
        return self._tell()

    def _tell(self) -> list[int]:
        numbers = list(self._untold.values())
        self._unread.keep(-LETTER_SIZE * len(numbers))
        self._untold.clear()
        self._room = 0
        return numbers


class Loop(ReceiveWindow):
    """What this node sends to itself. `told`: as the sender's end of a stream is told."""

    def __init__(self, unread: Unread, told: Callable[[int], object]) -> None:
        super().__init__(unread)
        self._told = told
        self.attach()

    def _note(self, key: Lane, number: int, room: int) -> None:
        super()._note(key, number, room)
        for number in self._tell():
            self._told(number)
