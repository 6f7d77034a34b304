"""One kept stream, at either of its ends: what is written and read, and what its end means.

A process that dies closes its streams by itself, whatever it was doing, and the other side reads the end. A
firewall only answers, with a reset, to whatever our kernel sends, acknowledgements included. So a stream that
is closed without a BYE was closed by a dying process; a reset is a refusal, as that of a connection; and an
error after which nothing was heard for long (a time-out) says nothing.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import trio

from swim.runtime.kept.handshake import Handshake
from swim.runtime.network import Connection
from swim.wire.kept import Frame, Hello, Packet, Sign

__all__ = ["PACKETS_MAX", "KeptStream"]

PACKETS_MAX = 64
"""That wait to be written to one stream. What does not flow is lost, as datagrams are."""
_FRAMES_AT_ONCE, _SIZE_AT_ONCE = 16, 8_192
"""That are understood in one turn: thousands may have arrived together, and a stall is a death."""


class KeptStream:
    """One stream while it lasts, its socket, and the process at the other end."""

    def __init__(
        self, handshake: Handshake, connection: Connection, packets: deque[bytes], *, opener: bool
    ) -> None:
        self.connection = connection
        """Connected; the other process need not have taken notice of that yet."""
        self.channel = handshake.new_channel(opener=opener)
        self.nursery: trio.Nursery | None = None
        """Set by its `Opener` or `Acceptor`, for as long as it lasts."""
        self.name = ""
        self.boot = b""
        """Of the other process, once it has said HELLO."""
        self.in_frame = True
        """Part of a frame has been written, or not even the HELLO, which comes first: nothing else may be."""
        self._handshake = handshake
        self._packets = packets
        self._posting = False
        self._rest = b""
        """Of a frame that has gone out in part."""
        self._turn = trio.Lock()
        self._bye = self._closed = False
        self._error: BaseException | None = None
        """The first that the kernel has told: it tells each only once, whichever caller asks."""

    # --- reading
    async def read(self) -> bytes:
        """What comes next, for `understand`; nothing at the end, whatever it is."""
        try:
            data = await self.connection.read()
        except trio.BrokenResourceError as error:
            self._note(error.__cause__)
            return b""
        self._closed = self._closed or not data
        return data

    def understand(self, data: bytes) -> list[Frame]:
        """The next few frames, without packets, which are passed on. Raises DecodeError.

        As much as may be done in one turn: the rest is `KeptChannel.ready`.
        """
        frames: list[Frame] = []
        for frame in self.channel.feed(data, _FRAMES_AT_ONCE, _SIZE_AT_ONCE):
            if isinstance(frame, Packet):
                self._receive(frame)
                continue
            if isinstance(frame, Hello):
                self.name, self.boot = frame.name, frame.boot
            elif frame is Sign.BYE:
                self._bye = True
            frames.append(frame)
        return frames

    def _receive(self, packet: Packet) -> None:
        self._handshake.reports.receive_stream_packet(packet.content, self.name, self.boot)

    # --- writing
    async def write(self, *frames: Frame, opening: bytes = b"") -> None:
        """Write frames, in turn. Raises `trio.BrokenResourceError`; what that means `read` finds out."""
        async with self._turn:
            self.in_frame = True
            rest, self._rest = self._rest, b""
            try:
                await self.connection.write(rest + opening + b"".join(map(self.channel.encode, frames)))
            except trio.BrokenResourceError as error:
                self._note(error.__cause__)
                raise
            self.in_frame = False

    def write_at_once(self, frame: Frame | bytes) -> bool:
        """Write something small, a probe or a sign, without waiting. False when that was not possible."""
        if self.in_frame:
            return False
        data = frame if isinstance(frame, bytes) else self.channel.encode(frame)
        try:
            return self.connection.write_at_once(data) == len(data)
        except OSError as error:
            self._note(error)
            return False

    def write_now(self, frame: Frame) -> None:
        """Write it in this turn of the loop: not while another is `in_frame`. What finds no room follows."""
        data = self.channel.encode(frame)
        try:
            self._rest = data[self.connection.write_at_once(data) :]
        except OSError as error:  # what that means `read` finds out
            self._note(error)
        if self._rest and self.nursery is not None:
            self.in_frame = True
            self.nursery.start_soon(self._finish)

    @trio.lowlevel.enable_ki_protection
    async def _finish(self) -> None:
        with suppress(trio.BrokenResourceError):
            await self.write()

    def say_bye(self) -> None:
        """That it is closed now means nothing."""
        if self.channel.established and not self._closed:
            self.write_at_once(Sign.BYE)

    def post(self) -> None:
        """Write the packets that wait, unless that is being done."""
        if self._packets and self.channel.established and self.nursery is not None and not self._posting:
            self._posting = True
            self.nursery.start_soon(self._post)

    @trio.lowlevel.enable_ki_protection
    async def _post(self) -> None:
        try:
            while self._packets:
                await self.write(Packet(self._packets.popleft()))
        except trio.BrokenResourceError:
            return
        finally:
            self._posting = False

    # --- the end
    def _note(self, error: BaseException | None) -> None:
        self._error = self._error or error

    def report_end(self) -> None:
        """Tell the node what the end of the stream says of the process at the other end, if anything."""
        reports, member = self._handshake.reports, self._handshake.process(self.name, self.boot)
        if member is None or not self.channel.established:
            return
        error = self._error
        # A broken pipe: it had been closed, and what was written after that was answered with a reset.
        ended = self._closed if error is None else isinstance(error, BrokenPipeError)
        if isinstance(error, ConnectionResetError):
            reports.receive_refusal(member.address)
        elif ended and not self._bye:
            reports.receive_stream_end(self.name, self.boot)
