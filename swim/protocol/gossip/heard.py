"""The broadcasts that were heard, by their time: so each is told once, and others are told of the newest."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from swim.wire.dialect import array_header, map_header, pack

__all__ = ["Heard", "HeardEvent"]

_EVENTS_MAX = 4_096
_SIZE_MAX = 1_048_576
"""Bytes, as `HeardEvent.size` counts."""
_EVENT_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """A broadcast that was heard. `origin` is the boot of its sender; empty for one of Serf's."""

    name: str
    payload: bytes
    sender: str = ""
    origin: str = ""
    number: int = 0

    @property
    def size(self) -> int:
        """About that of a message with it."""
        return _EVENT_OVERHEAD + len(self.payload) + len((self.name + self.sender + self.origin).encode())

    def as_body(self) -> dict[str, object]:
        body: dict[str, object] = {"Name": self.name, "Payload": self.payload}
        if self.origin:
            body |= {"b": self.origin, "n": self.number, "o": self.sender}
        return body


@dataclass(slots=True)
class _Moment:
    """The events of one time. Of two that are the same, one may have lost the fields that are ours."""

    time: int
    packed: list[bytes] = field(default_factory=list)
    length: int = 0
    """Bytes of `packed`."""
    size: int = 0
    known: set[tuple[object, ...]] = field(default_factory=set)
    """Contents; origins with their numbers; and behind an empty origin the contents of those without one."""
    _told: bytes = b""

    def add(self, event: HeardEvent) -> bool:
        content, own = (event.name, event.payload), (event.origin, event.number)
        bare = ("", *content)
        if bare in self.known or own in self.known if event.origin else content in self.known:
            return False
        self.known |= {content, own if event.origin else bare}
        packed = pack(event.as_body())
        self.packed.append(packed)
        self.length += len(packed)
        self.size += event.size
        self._told = b""
        return True

    def told(self, size_max: int) -> bytes:
        """The newest ones, up to so many bytes, as they stand in a push/pull; empty if none fits."""
        if self._told and self.length <= size_max:
            return self._told
        taken: list[bytes] = []
        for event in reversed(self.packed):
            size_max -= len(event)
            if size_max < 0:
                break
            taken.append(event)
        head = map_header(2) + pack("Events") + array_header(len(taken))
        told = b"".join((head, *taken, pack("LTime"), pack(self.time))) if taken else b""
        if len(taken) == len(self.packed):
            self._told = told
        return told


class Heard:
    """As many as may be; the oldest are forgotten first, and then nothing from before the floor is taken."""

    def __init__(self) -> None:
        self.floor = 0
        """Events before this time are too old, or were before this node joined."""
        self._moments: dict[int, _Moment] = {}
        self._times: list[int] = []  # in order
        self._count = self._size = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, floor: int) -> None:
        """What was before this is of no interest."""
        self.floor = floor

    def add(self, time: int, event: HeardEvent) -> bool:
        """Whether it is new. Its time must not be below the floor."""
        moment = self._moments.get(time)
        if moment is None:
            moment = self._moments[time] = _Moment(time)
            insort(self._times, time)
        if not moment.add(event):
            return False
        self._count += 1
        self._size += event.size
        while self._count > _EVENTS_MAX or self._size > _SIZE_MAX:
            oldest = self._times.pop(0)
            gone = self._moments.pop(oldest)
            self._count -= len(gone.packed)
            self._size -= gone.size
            self.floor = oldest + 1
        return True

    def packed(self, size_max: int) -> bytes:
        """The newest ones, as they stand in a push/pull."""
        moments = list(self._newest(size_max))
        return b"".join((array_header(len(moments)), *moments))

    def _newest(self, size_max: int) -> Iterator[bytes]:
        for time in reversed(self._times):
            moment = self._moments[time]
            told = moment.told(size_max)
            if told:
                yield told
            size_max -= moment.length
            if size_max < 0:
                return
