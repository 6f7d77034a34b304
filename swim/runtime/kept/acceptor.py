"""The end of a kept stream that another node has opened: the handshake, and the records that come over it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

import trio

from swim.runtime.kept.handshake import Handshake
from swim.runtime.kept.receiving import ReceiveWindow
from swim.runtime.kept.stream import PACKETS_MAX, KeptStream
from swim.runtime.network import Connection
from swim.types import Member
from swim.wire import DecodeError
from swim.wire.kept import Data, Frame, Hello, Taken
from swim.wire.records import RecordReader

__all__ = ["Acceptor"]

_RECORDS_AT_ONCE = 256
"""That are delivered in one turn: tens of thousands of small ones fit into what arrives together."""


class Acceptor:
    """One stream that another node keeps open to this one, at this end."""

    def __init__(
        self, handshake: Handshake, connection: Connection, refusal: Callable[[Hello, Connection], str | None]
    ) -> None:
        """`refusal`: why the opener cannot stay, once it has said HELLO."""
        self.scope = trio.CancelScope()
        self.welcome = True
        self.memory = b""
        """See `Hello.memory`."""
        self._handshake = handshake
        self._refusal = refusal
        self._packets = deque[bytes](maxlen=PACKETS_MAX)
        self._stream = KeptStream(handshake, connection, self._packets, opener=False)
        self._member: Member | None = None
        self._version: object = None
        """What `Handshake.version_of` told when this was found out."""
        self._line = b""
        self._early: list[Frame] = []
        """What came together with the end of the handshake."""
        self._records = RecordReader()
        self._count = self._reserved = 0
        self._source: ReceiveWindow | None = None

    @property
    def name(self) -> str:
        return self._stream.name

    @property
    def boot(self) -> bytes:
        return self._stream.boot

    async def shake_hands(self, data: bytes) -> bool:
        """Whether that is done, one way or the other."""
        frames = await self._handshake.turns.call(lambda: self._stream.understand(data))
        self._early += frames
        for frame in frames:
            if isinstance(frame, Hello):
                self._member, self._line = self._handshake.member(frame.name), frame.line
                refusal = self._refusal(frame, self._stream.connection)
                if refusal is not None:
                    self._handshake.connections.drop(refusal)
                    self.welcome = False
                    return True
                hello = self._handshake.hello(frame.name)
                self.memory = hello.memory
                await self._stream.write(hello)
        return self._stream.channel.established

    def post(self, packet: bytes) -> None:
        """A packet for the opener."""
        self._packets.append(packet)
        self._stream.post()

    async def stay(self) -> None:
        """Until the stream ends."""
        stream = self._stream
        if not stream.connection.may_stay():
            self._handshake.connections.drop("kept-EMFILE")
            stream.say_bye()
            return
        stream.connection.keep_alive(opener=False)
        async with trio.open_nursery() as nursery:
            stream.nursery = nursery
            try:
                with self.scope:
                    await self._listen()
            finally:
                stream.nursery = None  # also when cancelled: another stream may have a packet for this one
                if self._source is not None:
                    self._reserve(0)
                    self._source.detach()
            stream.say_bye()
            nursery.cancel_scope.cancel()

    def report_end(self) -> None:
        """See `KeptStream.report_end`."""
        self._stream.report_end()

    async def _listen(self) -> None:
        turns = self._handshake.turns
        try:
            await turns.run(self._receiving(self._early, b""))
            while data := await self._stream.read():
                await turns.run(self._receiving([], data))
        except DecodeError as error:
            self._handshake.connections.drop(f"kept-{error.reason}")

    def _receiving(self, frames: list[Frame], data: bytes) -> Generator[None, None, None]:
        """These frames, and those that the data complete, step by step. Raises DecodeError."""
        stream = self._stream
        while True:
            for frame in (*frames, *stream.understand(data)):
                if isinstance(frame, Data):
                    yield from self._taking(frame)
            self._reserve(stream.channel.memory + self._records.memory)
            if not stream.channel.ready:
                return
            frames, data = [], b""
            yield

    def _taking(self, data: Data) -> Generator[None, None, None]:
        source = self._source or self._sourced()
        version = self._handshake.version_of(self._stream.name)
        if version is not self._version:
            # Never as its successor's: it is named as it was when it was a member for the last time.
            self._member = self._handshake.process(self.name, self.boot) or self._member
            self._version = version
        assert self._member is not None
        records = self._records.feed(data)
        if self._reserved:  # What is whole now is counted when it is received.
            self._reserve(min(self._reserved, self._records.memory))
        for number, record in records:
            source.receive(self._member, number, record)
            self._count += 1
            if self._count % _RECORDS_AT_ONCE == 0:
                yield

    def _reserve(self, size: int) -> None:
        """So many bytes have come that are nothing whole yet: they count as what was not taken does."""
        if size != self._reserved:
            self._sourced().reserve(size - self._reserved)
            self._reserved = size

    def _sourced(self) -> ReceiveWindow:
        stream = self._stream
        if self._source is None:
            self._source = self._handshake.mail.source(self.name, stream.boot, self._line).attach()
            assert stream.nursery is not None
            stream.nursery.start_soon(self._tell, self._source)
        return self._source

    @trio.lowlevel.enable_ki_protection
    async def _tell(self, source: ReceiveWindow) -> None:
        """Tell the sender what was taken."""
        try:
            while True:
                for number in await source.wait_to_tell():
                    await self._stream.write(Taken(number))
        except trio.BrokenResourceError:
            return
