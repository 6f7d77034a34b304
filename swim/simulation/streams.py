"""Streams as the kernel makes them: connect, content, one answer; or a refusal, a reset, silence.

What a lost packet costs is modelled after TCP: a SYN is repeated after 1, 2, 4 .. seconds, data
after 0.2, 0.4, 0.8 .. seconds. Nothing ends the wait for a silent host but the time-out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swim.protocol.node import Request
from swim.simulation.fast import Parcel
from swim.simulation.host import Host, Medium, SimulatedNode
from swim.simulation.network import Protocol
from swim.types import Address
from swim.wire import DecodeError
from swim.wire.messages import StreamMessage

__all__ = ["Exchange", "decode", "transfer"]

SEGMENT = 1200
"""As the real driver limits it, so that all fit through a path that passes 1,280 bytes."""
SYN_RETRY = 1.0
DATA_RETRY = 0.2
RETRIES = 6
EPHEMERAL_PORTS = (32_768, 60_999)


class Exchange:
    """One `Request` of one process, from the SYN to the answer."""

    def __init__(self, world: Medium, number: int, client: SimulatedNode, request: Request) -> None:
        self._world = world
        self._number = number
        self._client = client
        self._request = request
        self._server: SimulatedNode | None = None
        self._connected = False
        self._served = False
        self._done = False
        first, last = EPHEMERAL_PORTS
        self._source = Address(client.address.host, first + number % (last - first + 1))
        client.asking[number] = self

    def open(self) -> None:
        """Begin. The core hears the outcome exactly once, unless its process ends before."""
        self._client.after_timer(self._client.core.config.stream_timeout, self._time_out)
        self._connect(0)

    def client_gone(self) -> None:
        """The asking process ended; the other side has at most read what was sent."""
        self._close()

    def server_gone(self) -> None:
        """The serving process ended. Its kernel says so, unless its host is lost too."""
        server, self._server = self._server, None
        if server is not None and not self._served:
            self._segment(server, self._client, self._reset)

    # --- connecting
    def _connect(self, attempt: int) -> None:
        if self._done or self._connected or not self._client.running:
            return
        if attempt < RETRIES:
            self._world.schedule.after(SYN_RETRY * 2**attempt, self._connect, attempt + 1)
        target = self._world.listener(self._request.address)
        if target is not None:
            self._segment(self._client, target, self._asked, target, refused=self._refuse)

    def _asked(self, target: SimulatedNode) -> None:
        if self._connected or self._world.listener(self._request.address) is not target:
            return
        if not target.running:
            self._segment(target, self._client, self._refuse)
        else:
            self._segment(target, self._client, self._accepted, target, target.lives)

    def _accepted(self, server: SimulatedNode, lives: int) -> None:
        if self._done or self._connected:
            return
        self._connected = True
        if server.lives != lives or not server.running:
            self._segment(server, self._client, self._reset)
            return
        self._server = server
        server.serving[self._number] = self
        self._client.input(self._ask, server)

    def _ask(self, server: SimulatedNode) -> None:
        content = self._request.content
        self._client.traffic.stream_bytes_sent += len(content)
        self._send(self._client, server, len(content), lambda: server.input(self._serve, server), self._reset)

    # --- at the server
    def _serve(self, server: SimulatedNode) -> None:
        if self._server is not server or self._done or self._served:
            return
        core = server.core
        if len(server.serving) > core.config.streams_max:
            self._served = True
            del server.serving[self._number]
            self._segment(server, self._client, self._reset)
            return
        content = self._request.content
        self._world.delivered(self._client, server, content)
        decoder = core.stream_decoder(answering=False)
        now = server.now()
        try:
            message = decode(decoder, content)
        except DecodeError as error:
            answer = core.receive_bad_stream(error, self._source, now)
        else:
            answer = core.receive_request(message, self._source, now)
        self._served = True
        server.serving.pop(self._number, None)
        server.traffic.stream_bytes_sent += len(answer or b"")
        reply = answer or b""
        self._send(
            server,
            self._client,
            len(reply),
            lambda: self._client.input(self._answer, server, reply),
            lambda: None,  # it is the server's connection that ends
        )
        server.flush()

    # --- back at the client
    def _answer(self, server: SimulatedNode, content: bytes) -> None:
        if self._done:
            return
        if not content:
            self._finish(ConnectionResetError("closed without an answer"))
            return
        self._world.delivered(server, self._client, content)
        decoder = self._client.core.stream_decoder(answering=True)
        try:
            self._finish(decode(decoder, content))
        except DecodeError as error:
            self._finish(error)

    def _refuse(self) -> None:
        self._client.input(self._finish, ConnectionRefusedError("no process listens there"))

    def _reset(self) -> None:
        self._client.input(self._finish, ConnectionResetError("reset by peer"))

    def _time_out(self) -> None:
        self._finish(None)

    def _finish(self, outcome: object) -> None:
        if not self._done:
            self._close()
            client = self._client
            client.core.receive_answer(self._request.token, outcome, client.now())  # type: ignore[arg-type]
            client.flush()

    def _close(self) -> None:
        self._done = True
        self._client.asking.pop(self._number, None)
        if self._server is not None:
            self._server.serving.pop(self._number, None)

    # --- packets
    def _segment(
        self,
        source: SimulatedNode,
        target: SimulatedNode,
        arrived: Callable[..., object],
        *args: object,
        refused: Callable[[], object] | None = None,
    ) -> None:
        """One packet, which may be lost, or refused."""
        delay = self._world.passage(source, target)
        if delay is not None:
            self._world.schedule.after(delay, self._land, target, arrived, args)
        elif refused is not None and (refusal := self._world.refusal(source, target)) is not None:
            self._world.schedule.after(refusal[1], self._land, source, refused, ())

    def _land(self, target: SimulatedNode, arrived: Callable[..., object], args: tuple[object, ...]) -> None:
        if not target.host.lost and not self._done:
            arrived(*args)

    def _send(
        self,
        source: SimulatedNode,
        target: SimulatedNode,
        size: int,
        arrived: Callable[[], object],
        refused: Callable[[], object],
    ) -> None:
        def land() -> None:
            self._land(target, arrived, ())

        transfer(self._world, source, target, size, land, lambda: self._done, refused=refused)


def transfer(
    world: Medium,
    source: SimulatedNode,
    target: SimulatedNode,
    size: int,
    arrived: Callable[[], object],
    cancelled: Callable[[], bool],
    attempt: int = 0,
    left: int | None = None,
    host: Host | None = None,
    refused: Callable[[], object] | None = None,
) -> None:
    """All segments of so many bytes, repeated by the host where they began until they are there.

    Or until one of them is refused by a reset.
    """
    host = host or source.host
    if cancelled() or source.host is not host:
        return
    segments = 1 + size // SEGMENT if left is None else left
    # All have one size, as the last of several might as well be whole.
    segment = min(size, SEGMENT)
    delays = [world.passage(source, target, Protocol.TCP, segment) for _ in range(segments)]
    missing = delays.count(None)
    refusal = world.refusal(source, target, Protocol.TCP, segment) if missing else None
    if refusal is not None and refusal[0].resets:
        if refused is not None:
            world.schedule.after(refusal[1], refused)
    elif missing and attempt < RETRIES:
        again = (world, source, target, size, arrived, cancelled, attempt + 1, missing, host, refused)
        world.schedule.after(DATA_RETRY * 2**attempt, transfer, *again)
    elif not missing:
        slowest = max(delay for delay in delays if delay is not None)
        world.schedule.after(slowest, _land, target, arrived)


def _land(target: SimulatedNode, arrived: Callable[[], object]) -> None:
    if not target.host.lost:
        arrived()


def decode(decoder: Any, content: bytes | Parcel) -> StreamMessage:
    """As it comes from a socket: in pieces (unless it is a parcel of the fast mode)."""
    if isinstance(content, Parcel):
        whole: StreamMessage = decoder.feed(content)
        return whole
    for start in range(0, len(content), SEGMENT):
        message: StreamMessage | None = decoder.feed(content[start : start + SEGMENT])
        if message is not None:
            return message
    raise DecodeError("truncated")
