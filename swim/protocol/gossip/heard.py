"""The broadcasts that were heard, by their time: so each is told once, and others are told of the newest."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from swim.wire.dialect import array_header, map_header, pack, unpack

__all__ = ["Heard", "HeardEvent"]

_EVENTS_MAX = 4_096
_SIZE_MAX = 1_048_576
"""Bytes, with the overhead of each event."""
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


def _put_together(time: int, packed: Sequence[bytes]) -> bytes:
    """The events of one time, as they stand in a push/pull."""
    head = map_header(2) + pack("Events") + array_header(len(packed))
    return b"".join((head, *packed, pack("LTime"), pack(time)))


def _only(told: bytes) -> HeardEvent:
    """The event that stands there, with none beside it."""
    body = unpack(told)[b"Events"][0]
    sender, origin = (body.get(key, b"").decode() for key in (b"o", b"b"))
    return HeardEvent(body[b"Name"].decode(), body[b"Payload"], sender, origin, body.get(b"n", 0))


@dataclass(slots=True)
class _Moment:
    """The events of one time, where there are several.

    Of two that are the same, one may have lost the fields that are ours.
    """

    packed: list[bytes] = field(default_factory=list)
    length: int = 0
    """Bytes of `packed`."""
    known: set[tuple[object, ...]] = field(default_factory=set)
    """Contents; origins with their numbers; and behind an empty origin the contents of those without one."""
    _told: bytes = b""

    def add(self, event: HeardEvent, packed: bytes) -> bool:
        content, own = (event.name, event.payload), (event.origin, event.number)
        bare = ("", *content)
        if bare in self.known or own in self.known if event.origin else content in self.known:
            return False
        self.known |= {content, own if event.origin else bare}
        self.packed.append(packed)
        self.length += len(packed)
        self._told = b""
        return True

    def told(self, time: int) -> bytes:
        """All of them, the newest first, as they stand in a push/pull."""
        if not self._told:
            self._told = _put_together(time, self.packed[::-1])
        return self._told

    def newest(self, time: int, size_max: int) -> bytes:
        """Up to so many bytes; empty if none fits."""
        size_max -= len(self.told(time)) - self.length
        taken: list[bytes] = []
        for event in reversed(self.packed):
            size_max -= len(event)
            if size_max < 0:
                break
            taken.append(event)
        return _put_together(time, taken) if taken else b""


class Heard:
    """As many as may be; the oldest are forgotten first, and then nothing from before the floor is taken."""

    def __init__(self) -> None:
        self.floor = 0
        """Events before this time are too old, or were before this node joined."""
        self._moments: dict[int, bytes | _Moment] = {}
        """By time. One that has none beside it, as nearly all, is kept as it is told, which takes a fifth
        of the memory."""
        self._times: list[int] = []  # in order
        self._count = self._size = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, floor: int) -> None:
        """What was before this is of no interest."""
        self.floor = floor

    def add(self, time: int, event: HeardEvent) -> bool:
        """Whether it is new. Its time must not be below the floor."""
        packed = pack(event.as_body())
        moment = self._moments.get(time)
        if moment is None:
            self._moments[time] = _put_together(time, [packed])
            insort(self._times, time)
        else:
            if isinstance(moment, bytes):
                if moment == _put_together(time, [packed]):
                    return False  # as nearly all that is exchanged
                first, moment = _only(moment), _Moment()
                moment.add(first, pack(first.as_body()))
            if not moment.add(event, packed):
                return False
            self._moments[time] = moment
        self._count += 1
        self._size += _EVENT_OVERHEAD + len(packed)
        while self._count > _EVENTS_MAX or self._size > _SIZE_MAX:
            self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        oldest = self._times.pop(0)
        gone = self._moments.pop(oldest)
        count = 1 if isinstance(gone, bytes) else len(gone.packed)
        length = len(gone) - len(_put_together(oldest, [b""])) if isinstance(gone, bytes) else gone.length
        self._count -= count
        self._size -= count * _EVENT_OVERHEAD + length
        self.floor = oldest + 1

    def packed(self, size_max: int) -> bytes:
        """The newest ones, as they stand in a push/pull."""
        moments = list(self._newest(size_max))
        return b"".join((array_header(len(moments)), *moments))

    def _newest(self, size_max: int) -> Iterator[bytes]:
        for time in reversed(self._times):
            moment = self._moments[time]
            told = moment if isinstance(moment, bytes) else moment.told(time)
            size_max -= len(told)
            if size_max >= 0:
                yield told
                continue
            if isinstance(moment, _Moment) and (some := moment.newest(time, size_max + len(told))):
                yield some
            return
