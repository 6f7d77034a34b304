"""Kept streams: TCP connections that our own members keep open to one another.

    opening   the label header, if a label is in use, and the byte 'K' (0x4b): from the opener only
    frame     four bytes of length, big-endian; then so many bytes: type, body
              with a keyring these are sealed (AES-GCM)
    length 0  a probe: says nothing, is ignored, and shows the sender whether the other kernel takes it

The opener sends HELLO, the acceptor answers with its own, the opener confirms with READY. Sealed frames
are bound to their place: the associated data are 'K', the direction, the sessions (16 random bytes of each
side, zeros until that side's HELLO has told them), the number of the frame in its direction and the label.
So a frame that is replayed, reordered, reflected or taken from another connection does not open. A replayed
first HELLO does, but whoever replays it cannot send the READY.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from swim.wire.dialect import KEPT, name, pack, raw, text, unpack
from swim.wire.errors import DecodeError
from swim.wire.keyring import Keyring

__all__ = ["PROBE", "SESSION_SIZE", "Frame", "Hello", "KeptChannel", "Sign"]

PROBE: Final = bytes(4)
"""The empty frame. Nothing is in it that could be sealed."""
SESSION_SIZE = 16
_BOOT_SIZE = 8
_LENGTH_SIZE = 4
_FRAME_SIZE_MAX = 4096
"""No frame of today is larger than a HELLO."""
# Types are above 1, which sealed frames begin with: so each is known for what it is.
_HELLO = 16


class Sign(IntEnum):
    """Frames that are nothing but their type."""

    READY = 17
    """The opener has read the acceptor's HELLO: the stream is established."""
    BYE = 18
    """The stream is not needed any more; that it will be closed now means nothing else."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who speaks: name and boot. `to` is whom the opener wants to reach at this address."""

    name: str
    boot: bytes
    session: bytes
    to: str = ""


Frame = Hello | Sign


class KeptChannel:
    """One end of a kept stream, without its socket: frames to bytes, and bytes to frames.

    Everything encoded must be sent, in this order. After a DecodeError it is spent.
    """

    def __init__(self, *, opener: bool, label: bytes, keyring: Keyring | None) -> None:
        self.established = False
        """Both sides have proved that they are there, now."""
        self._opener = opener
        self._label = label
        self._keyring = keyring
        self._sessions = {True: bytes(SESSION_SIZE), False: bytes(SESSION_SIZE)}
        self._counts = {True: 0, False: 0}
        self._pending = bytearray()

    def encode(self, frame: Frame) -> bytes:
        """One frame as it is written. The first must be a `Hello`."""
        content = _pack_hello(frame) if isinstance(frame, Hello) else bytes((frame,))
        if self._keyring is not None:
            content = self._keyring.seal(content, self._associated(self._opener))
        self._pass(frame, self._opener)
        return len(content).to_bytes(_LENGTH_SIZE, "big") + content

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete, in order. Probes are not among them."""
        self._pending += data
        frames: list[Frame] = []
        start = 0
        while len(self._pending) >= start + _LENGTH_SIZE:
            content = start + _LENGTH_SIZE
            size = int.from_bytes(self._pending[start:content], "big")
            if size > _FRAME_SIZE_MAX:
                raise DecodeError("too-large", f"a frame of {size} bytes")
            if len(self._pending) < content + size:
                break
            start = content + size
            if size:
                frames.append(self._read(bytes(self._pending[content:start])))
        del self._pending[:start]
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
        if self._expected(frame, self._counts[theirs]):
            self._pass(frame, theirs)
            return frame
        raise DecodeError("type", f"frame {self._counts[theirs]} of a kept stream is {frame!r}")

    def _expected(self, frame: Frame, place: int) -> bool:
        """The acceptor reads HELLO, READY, and then neither of them; the opener reads no READY."""
        if place == 0:
            return isinstance(frame, Hello)
        if place == 1 and not self._opener:
            return frame is Sign.READY
        return frame is Sign.BYE

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


def _pack_hello(hello: Hello) -> bytes:
    body = {"b": hello.boot, "n": hello.name, "s": hello.session, "t": hello.to}
    return bytes((_HELLO,)) + pack(body)


def _unpack(content: bytes) -> Frame:
    if not content:
        raise DecodeError("truncated", "nothing is sealed")
    if content[0] != _HELLO:
        try:
            return Sign(content[0])
        except ValueError:
            raise DecodeError("type", f"frame type {content[0]}") from None
    body = unpack(content[1:])
    session, boot = raw(body, b"s"), raw(body, b"b")
    if len(session) != SESSION_SIZE or len(boot) != _BOOT_SIZE:
        raise DecodeError("body", "a session or boot of another size")
    return Hello(name(body, b"n"), boot, session, text(body, b"t"))
