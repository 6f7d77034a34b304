"""Exchanges over TCP: one message, at most one answer, then the end. Bounded in number, time and bytes."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from typing import Protocol

import trio

from swim.protocol.base.networks import Networks
from swim.protocol.node import Node, Request
from swim.runtime.kept.acceptor import Acceptor
from swim.runtime.kept.streams import KeptStreams
from swim.runtime.network import Connection, Connections, Transport
from swim.runtime.turns import Turns
from swim.runtime.visits import Visit, Visits
from swim.types import Address
from swim.wire import DecodeError, StreamDecoder
from swim.wire.messages import StreamMessage

__all__ = ["Answers", "Streams"]

_GOODBYE_PATIENCE = 1.0
"""For the other side to read an answer and close."""
_EXHAUSTED_PAUSE = 0.05
"""After a connection that could not be accepted."""


class Answers(Protocol):
    """Answers what comes in."""

    def receive_request(self, message: StreamMessage, source: Address) -> StreamMessage | None:
        """A whole message; the answer to it, if there is one."""

    def receive_bad_stream(self, error: DecodeError, source: Address) -> bytes | None:
        """Something that is no message; what to say to that, if anything."""


class Streams:
    """The TCP side of a node: it serves what others open, and opens what the node asks for."""

    def __init__(
        self,
        transport: Transport,
        connections: Connections,
        kept: KeptStreams,
        node: Node,
        networks: Networks,
        answers: Answers,
    ) -> None:
        self._transport = transport
        self._connections = connections
        self._kept = kept
        self._codec = node.codec
        self._decoder = node.stream_decoder
        self._config = node.config
        self._networks = networks
        self._answers = answers
        self._visits = Visits(node.config.streams_max, kept.hosts)
        self._turns = Turns()

    # --- those that others open
    @trio.lowlevel.enable_ki_protection
    async def serve(self, nursery: trio.Nursery) -> None:
        """Accept streams until cancelled; each is served by a task in the nursery."""
        while True:
            try:
                streams = await self._transport.accept()
            except OSError as error:
                # The connection is gone already, or the process has no file descriptor left for it.
                self._connections.drop(f"accept-{errno.errorcode.get(error.errno or 0, 'error')}")
                await trio.sleep(_EXHAUSTED_PAUSE)
                continue
            for stream in streams:
                permitted = self._networks.permits_host(stream.peer.host)
                visit = self._visits.admit(stream.peer) if permitted else None
                if visit is None:
                    self._connections.drop("streams-max" if permitted else "stream-network")
                    stream.close()
                    continue
                nursery.start_soon(self._serve_one, stream, visit)

    @trio.lowlevel.enable_ki_protection
    async def _serve_one(self, stream: Connection, visit: Visit) -> None:
        acceptor = None
        async with self._connections.open(stream):
            try:
                visit.scope.deadline = visit.since + self._config.stream_timeout
                with visit.scope:
                    acceptor = await self._answer(stream, visit)
                if visit.scope.cancelled_caught:
                    self._connections.drop("stream-gave-way" if visit.gave_way else "stream-timeout")
            except trio.BrokenResourceError:
                self._connections.drop("stream-broken")
            finally:
                self._visits.leave(visit)
            if acceptor is not None:
                await self._kept.attend(acceptor)

    async def _answer(self, stream: Connection, visit: Visit) -> Acceptor | None:
        """One request and its answer; or the opener wants to keep this stream."""
        data = await self._beginning(stream)
        opening = self._codec.kept_opening
        if data.startswith(opening):
            return await self._kept.accept(stream, data[len(opening) :])
        if not data:
            return None  # a look whether we listen
        try:
            with closing(self._decoder(answering=False)) as decoder:
                message = await self._read(decoder, data, visit)
                del data  # it may take long until there is more
                while message is None:
                    message = await self._read(decoder, await stream.read(), visit)
        except DecodeError as error:
            answer = self._answers.receive_bad_stream(error, visit.source)
            if answer is not None:
                await stream.write(answer)
                await self._say_goodbye(stream)
            return None
        request = message
        await self._visits.wait_for_answer(visit)
        self._visits.note_owed(visit)
        reply = await self._turns.call(lambda: self._answers.receive_request(request, visit.source))
        if reply is not None:
            content = await self._turns.run(self._codec.streaming(reply, answering=True))
            self._visits.note_answer(visit, len(content))
            if self._visits.take_memory(visit, len(content)):
                await stream.write(content)
        return None

    async def _beginning(self, stream: Connection) -> bytes:
        """As much as is needed to tell a kept stream from a request."""
        data = b""
        while len(data) < len(self._codec.kept_opening) and self._codec.kept_opening.startswith(data):
            more = await stream.read()
            if not more:
                break
            data += more
        return data

    async def _read(self, decoder: StreamDecoder, data: bytes, visit: Visit) -> StreamMessage | None:
        """More of a request; all of it if it is complete."""
        if not data:
            raise DecodeError("truncated", "closed within a message")

        def has_room() -> bool:
            return self._visits.take_memory(visit, decoder.memory)

        message = await self._turns.read(decoder, data, has_room)
        if not has_room():
            await trio.sleep_forever()  # it has given way: its scope is cancelled, and counts that
        return message

    async def _say_goodbye(self, stream: Connection) -> None:
        # To close with unread input would reset the connection, and the answer might never be read.
        with trio.move_on_after(_GOODBYE_PATIENCE):
            await stream.send_eof()
            for _ in range(64):
                if not await stream.read():
                    return

    # --- those that the node asks for
    async def request(self, request: Request) -> StreamMessage | Exception | None:
        """Connect, send, and read one answer. Returns it, or what went wrong; None: it took too long."""
        with trio.move_on_after(self._config.stream_timeout):
            try:
                return await self._exchange(request)
            except trio.BrokenResourceError as error:
                cause = error.__cause__
                return cause if isinstance(cause, OSError) else ConnectionError(str(error))
            except OSError as error:
                # trio's text names the socket's address once more, in Python's notation.
                return OSError(error.errno, os.strerror(error.errno)) if error.errno else error
            except DecodeError as error:
                return error
        return None

    async def _exchange(self, request: Request) -> StreamMessage:
        async with self._connections.open(await self._connections.connect(request.address)) as stream:
            content = await self._turns.run(request.codec.streaming(request.message))
            await stream.write(content)
            with closing(self._decoder(answering=True)) as decoder:
                return await self._read_answer(stream, decoder)

    async def _read_answer(self, stream: Connection, decoder: StreamDecoder) -> StreamMessage:
        while True:
            data = await stream.read()
            if not data:
                raise ConnectionError("closed without a whole answer")
            message = await self._turns.read(decoder, data)
            if message is not None:
                return message
