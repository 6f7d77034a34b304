"""Kept streams: TCP connections that our own members keep open to one another.

    opening   the label header, if a label is in use, and the byte 'K' (0x4b): from the opener only
    frame     four bytes of length, big-endian; then so many bytes: type, body
              with a keyring these are sealed (AES-GCM)
    length 0  a probe: says nothing, is ignored, and shows the sender whether the other kernel takes it

The opener sends HELLO, the acceptor answers with its own, the opener confirms with READY. From then on the
opener may send DATA, and the acceptor says with TAKEN how much of that has reached its application. Both may
send PACKET.

    PACKET    one packet, as it would stand in a datagram: for a network that lets TCP pass, but not UDP
    DATA      the number of a record; then records, in order (see `swim.wire.records`)
              so cut into frames that none is large: a record may go on in the next, which repeats its number
    TAKEN     the number of a record: it and all before it in its lane were taken

A record is numbered above those before it, and sent again on the next stream if it was not taken: a
receiver that has its number already ignores it.

Sealed frames are bound to their place: the associated data are 'K', the direction, the sessions (16 random
bytes of each side, zeros until that side's HELLO has told them), the number of the frame in its direction and
the label. So a frame that is replayed, reordered, reflected or taken from another connection does not open. A
replayed first HELLO does, but the one that replays it cannot send the READY.
"""

from __future__ import annotations

from enum import IntEnum
from math import inf
from struct import Struct
from typing import Final

from swim.types import value
from swim.wire.dialect import KEPT, name, pack, raw, text, unpack
from swim.wire.errors import DecodeError
from swim.wire.keyring import Keyring

__all__ = [
    "LINE_SIZE",
    "PIECE_SIZE_MAX",
    "PROBE",
    "SESSION_SIZE",
    "Data",
    "Frame",
    "Hello",
    "KeptChannel",
    "Packet",
    "Sign",
    "Taken",
]

PROBE: Final = bytes(4)
"""The empty frame. Nothing is in it that could be sealed."""
SESSION_SIZE = 16
LINE_SIZE = 8
_BOOT_SIZE = 8
PIECE_SIZE_MAX: Final = 32_768
"""Of the content of one DATA: a frame that is begun has to be finished before a probe can be written."""
_LENGTH, _NUMBER = Struct(">I"), Struct(">BQ")
"""That of a frame, before it; and its type, with a number behind it."""
_LENGTH_SIZE = _LENGTH.size
_NUMBER_MAX = 1 << 63  # those behind the first of a frame must have room, too
_FRAME_SIZE_MAX = PIECE_SIZE_MAX + 256
# Types are above 1, which sealed frames begin with: so each is known for what it is.
_HELLO, _DATA, _TAKEN, _PACKET = 16, 19, 20, 21
_DATA_BEGINNING = Struct(">IBQ")
"""The length of the frame, its type, and the number of the first record."""
_DATA_SIZE = _DATA_BEGINNING.size - _LENGTH_SIZE


class Sign(IntEnum):
    """Frames that are nothing but their type."""

    READY = 17
    """The opener has read the acceptor's HELLO: the stream is established."""
    BYE = 18
    """The stream is not needed any more; that it will be closed now means nothing else."""


@value
class Hello:
    """The speaker's name and boot. `to`: the member that the opener wants to reach at this address."""

    name: str
    boot: bytes
    session: bytes
    to: str = ""
    line: bytes = b""
    """What the messages of this side are numbered under. Name and boot are known to all, this only to the two
    of them: so what another sends in its name has numbers of its own, and does not pass for it.
    """
    memory: bytes = b""
    """From the acceptor: under what it keeps what it knows of the opener. When this is not what it was, it
    has given up the opener meanwhile, or answers that it could not deliver.
    """


@value
class Data:
    """Records, or a piece of one. `number` is that of the record which begins or goes on here."""

    number: int
    content: bytes


@value
class Taken:
    """The other application has this record, and all before it in its lane."""

    number: int


@value
class Packet:
    """What would be the content of a datagram."""

    content: bytes


Frame = Hello | Sign | Data | Taken | Packet


class KeptChannel:
    """One end of a kept stream, without its socket: frames to bytes, and bytes to frames.

    Everything encoded must be sent, in this order. After a DecodeError it is spent.
    """

    def __init__(self, *, opener: bool, label: bytes, keyring: Keyring | None) -> None:
        self.established = False
        """Both sides have proved that they are there, now."""
        self.ready = False
        """Perhaps there are frames that `feed` has not returned yet, since it had enough."""
        self._opener = opener
        self._label = label
        self._keyring = keyring
        self._sessions = {True: bytes(SESSION_SIZE), False: bytes(SESSION_SIZE)}
        self._counts = {True: 0, False: 0}
        self._usual = Taken if opener else Data
        """What comes most often once the hands are shaken."""
        self._pending = bytearray()

    def encode(self, frame: Frame) -> bytes:
        """One frame as it is written. The first must be a `Hello`."""
        if type(frame) is Data and self._keyring is None:
            self._counts[self._opener] += 1
            return _DATA_BEGINNING.pack(_DATA_SIZE + len(frame.content), _DATA, frame.number) + frame.content
        content = _pack(frame)
        if self._keyring is not None:
            content = self._keyring.seal(content, self._associated(self._opener))
        self._pass(frame, self._opener)
        return len(content).to_bytes(_LENGTH_SIZE, "big") + content

    @property
    def memory(self) -> int:
        """Bytes that have come and are no whole frame yet."""
        return len(self._pending)

    def feed(self, data: bytes, at_most: float = inf, size_most: float = inf) -> list[Frame]:
        """The frames that these bytes complete, in order. Probes are not among them.

        When there are more than so many, or more behind one that ends beyond so many bytes, the rest is
        `ready`, and comes when it is fed again.
        """
        come: bytes | bytearray = data  # as it is, where it is whole frames: else a copy that is added to
        if self._pending:
            self._pending += data
            come = self._pending
        frames: list[Frame] = []
        start, end = 0, len(come)
        self.ready = False
        while end >= start + _LENGTH_SIZE:
            if len(frames) >= at_most or start >= size_most:
                self.ready = True
                break
            content = start + _LENGTH_SIZE
            size = _LENGTH.unpack_from(come, start)[0]
            if size > _FRAME_SIZE_MAX:
                raise DecodeError("too-large", f"a frame of {size} bytes")
            if end < content + size:
                break
            start = content + size
            if size:
                frames.append(self._read(bytes(come[content:start])))
        if come is self._pending:
            del self._pending[:start]
        elif start < end:
            self._pending += come[start:]
        return frames

    def _read(self, content: bytes) -> Frame:
        theirs = not self._opener
        if self._keyring is not None:
            if content[0] > 1:
                raise DecodeError("plaintext", "not encrypted, and this node has a key")
            content = self._keyring.open(content, self._associated(theirs))
        elif content[0] <= 1:
            raise DecodeError("encrypted", "encrypted, and this node has no key")
        frame = _unpack(content)
        if type(frame) is self._usual and self.established:
            self._counts[theirs] += 1
            return frame
        if self._expected(frame, self._counts[theirs]):
            self._pass(frame, theirs)
            return frame
        raise DecodeError("type", f"frame {self._counts[theirs]} of a kept stream is {frame!r}")

    def _expected(self, frame: Frame, place: int) -> bool:
        """The acceptor reads HELLO, READY, then DATA; the opener HELLO, then TAKEN; both PACKET and BYE."""
        if place == 0:
            return isinstance(frame, Hello)
        if place == 1 and not self._opener:
            return frame is Sign.READY
        return frame is Sign.BYE or isinstance(frame, (Packet, Taken if self._opener else Data))

    def _pass(self, frame: Frame, by_opener: bool) -> None:
        """A frame has gone out or come in: what follows is bound to it."""
        self._counts[by_opener] += 1
        if isinstance(frame, Hello):
            self._sessions[by_opener] = frame.session
            self.established = self._opener and not by_opener
        elif frame is Sign.READY:
            self.established = True

    def _associated(self, by_opener: bool) -> bytes:
        place = self._counts[by_opener].to_bytes(8, "big")
        sessions = self._sessions[True] + self._sessions[False]
        return bytes((KEPT, not by_opener)) + sessions + place + self._label


def _pack(frame: Frame) -> bytes:
    match frame:
        case Hello():
            body = {
                "b": frame.boot,
                "l": frame.line,
                "m": frame.memory,
                "n": frame.name,
                "s": frame.session,
                "t": frame.to,
            }
            return bytes((_HELLO,)) + pack(body)
        case Data():
            return _NUMBER.pack(_DATA, frame.number) + frame.content
        case Taken():
            return _NUMBER.pack(_TAKEN, frame.number)
        case Packet():
            return bytes((_PACKET,)) + frame.content
    return bytes((frame,))


def _unpack(content: bytes) -> Frame:
    if not content:
        raise DecodeError("truncated", "nothing is sealed")
    kind = content[0]
    if kind in (_DATA, _TAKEN):
        rest = len(content) - _NUMBER.size
        if rest < 0 or (rest > 0) != (kind == _DATA):
            raise DecodeError("body", f"frame type {kind} of {len(content)} bytes")
        _, number = _NUMBER.unpack_from(content)
        if number > _NUMBER_MAX:
            raise DecodeError("number", f"record {number}")
        return Data(number, content[_NUMBER.size :]) if rest else Taken(number)
    if kind == _PACKET:
        return Packet(content[1:])
    if kind != _HELLO:
        try:
            return Sign(kind)
        except ValueError:
            raise DecodeError("type", f"frame type {kind}") from None
    body = unpack(content[1:])
    session, boot = raw(body, b"s"), raw(body, b"b")
    line, memory = raw(body, b"l", LINE_SIZE), raw(body, b"m", LINE_SIZE)
    if len(session) != SESSION_SIZE or len(boot) != _BOOT_SIZE:
        raise DecodeError("body", "a session or boot of another size")
    return Hello(name(body, b"n"), boot, session, text(body, b"t"), line, memory)
