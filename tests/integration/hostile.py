"""Hostile input: random, mutated and spoofed datagrams, and streams that are garbage or never end."""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from tests.integration.capture import Capture
from tests.wire.vectors import VECTORS

__all__ = ["Attack", "Material"]

_SOURCES = 16
_BATCH_SECONDS = 0.01
_SIZE_MAX = 60_000
_HELD_MAX = 200


@dataclass(slots=True)
class Material:
    """What is mutated: the recorded bytes of real peers, and what this very cluster has said."""

    datagrams: list[bytes] = field(default_factory=list)
    streams: list[bytes] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)

    @classmethod
    def gathered(cls, capture: Capture | None, names: Sequence[str]) -> Material:
        vectors = [(v["transport"], bytes.fromhex(v["bytes"])) for v in VECTORS]
        own = cls(
            capture.datagrams() if capture else [],
            list(capture.streams().values()) if capture else [],
            [name.encode() for name in names],
        )
        recorded = cls(
            [data for transport, data in vectors if transport == "udp"],
            [data for transport, data in vectors if transport == "tcp"],
        )
        # Half of each, whatever their numbers.
        return cls(
            _balanced(recorded.datagrams, own.datagrams),
            _balanced(recorded.streams, own.streams),
            own.names,
        )


def _balanced(some: list[bytes], others: list[bytes]) -> list[bytes]:
    if not others:
        return some
    size = max(len(some), len(others))
    return [group[i % len(group)] for i in range(size) for group in (some, others)]


# --- mutations


def _flip(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _replace(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 16)]


def _insert(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 16))


def _repeat(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, 64)]
    data[start:start] = piece * rng.randint(1, 20)


def _rename(rng: random.Random, data: bytearray, names: Sequence[bytes]) -> None:
    """Another member's name, or one that nobody has, in place of a member's."""
    for name in names:
        if name in data:
            other = rng.choice([*names, b"zz", rng.randbytes(len(name))])
            data[:] = data.replace(name, other, rng.choice((1, -1)))
            return
    _flip(rng, data, names)


_MUTATIONS: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    *(_flip, _replace, _cut, _drop, _insert, _repeat, _rename, _rename),
)


def _mutated(rng: random.Random, samples: Sequence[bytes], names: Sequence[bytes]) -> bytes:
    data = bytearray(rng.choice(samples))
    if rng.random() < 0.1:  # the head of one, the tail of another
        other = rng.choice(samples)
        data = data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        if data:
            rng.choice(_MUTATIONS)(rng, data, names)
    return bytes(data[:_SIZE_MAX])


def _compound(parts: Sequence[bytes]) -> bytes:
    sizes = b"".join(struct.pack("!H", len(part)) for part in parts)
    return bytes([7, len(parts)]) + sizes + b"".join(parts)


# --- the attack


@dataclass(slots=True)
class Attack:
    """Everything that is thrown at one node. `done` counts what has been sent, by kind."""

    target: tuple[str, int]
    material: Material
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def datagram(self) -> bytes:
        rng, kind = self.rng, self.rng.random()
        if kind < 0.15:
            self.done["random"] += 1
            return rng.randbytes(rng.choice((0, 1, 2, 8, 60, 400, 1400, 9000)))
        if kind < 0.25:  # random, behind the type byte of a message
            self.done["random message"] += 1
            return bytes([rng.choice((*range(14), 244))]) + rng.randbytes(rng.randint(0, 200))
        samples, names = self.material.datagrams, self.material.names
        if kind < 0.35:
            self.done["mutated compound"] += 1
            return _compound([_mutated(rng, samples, names)[:2000] for _ in range(rng.randint(1, 12))])
        self.done["mutated"] += 1
        return _mutated(rng, samples, names)

    async def datagrams(self, count: int, rate: float) -> None:
        """Send so many, from several sockets, at most `rate` a second."""
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(_SOURCES)]
        try:
            for sock in sockets:
                sock.bind((self.target[0], 0))
                sock.setblocking(False)
            await self._paced(count, rate, lambda: self._send(self.rng.choice(sockets), self.datagram()))
        finally:
            for sock in sockets:
                sock.close()

    async def spoofed(self, count: int, rate: float, sources: Sequence[tuple[str, int]]) -> None:
        """The same as if members had sent them (needs CAP_NET_RAW)."""
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
            sock.bind((self.target[0], 0))

            def send() -> None:
                data = self.datagram()
                header = struct.pack("!HHHH", self.rng.choice(sources)[1], self.target[1], 8 + len(data), 0)
                self._send(sock, header + data)

            await self._paced(count, rate, send)

    def _send(self, sock: socket.socket, data: bytes) -> None:
        try:
            sock.sendto(data, self.target)
        except OSError as error:
            self.done[f"not sent: {error.strerror}"] += 1

    async def _paced(self, count: int, rate: float, send: Callable[[], None]) -> None:
        begun, sent = trio.current_time(), 0
        while sent < count:
            due = min(count, int((trio.current_time() - begun) * rate) + 1)
            while sent < due:
                send()
                sent += 1
            await trio.sleep(_BATCH_SECONDS)

    async def streams(self, count: int, seconds_apart: float = 0.0) -> None:
        """Open so many streams; the half-open ones stay until the node closes them, or until the end."""
        held: list[trio.SocketStream] = []
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                try:
                    stream = await trio.open_tcp_stream(*self.target)
                except OSError as error:
                    self.done[f"not connected: {error}"] += 1
                    continue
                await self._misuse(stream, held, nursery)
                while len(held) > _HELD_MAX:
                    await held.pop(0).aclose()
                await trio.sleep(seconds_apart)
        for stream in held:
            await stream.aclose()

    async def _misuse(
        self, stream: trio.SocketStream, held: list[trio.SocketStream], nursery: trio.Nursery
    ) -> None:
        rng, kind = self.rng, self.rng.random()
        data = _mutated(rng, self.material.streams, self.material.names)
        if kind < 0.3:
            self.done["half-open"] += 1
            whole = rng.choice(self.material.streams)
            await _say(stream, whole[: rng.randrange(len(whole))])
            held.append(stream)
        elif kind < 0.4:
            self.done["reset"] += 1
            await _say(stream, data[: rng.randint(0, 40)])
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.aclose()
        else:
            self.done["garbage stream" if kind < 0.6 else "mutated stream"] += 1
            nursery.start_soon(_talk, stream, rng.randbytes(rng.randint(1, 5000)) if kind < 0.6 else data)


async def _say(stream: trio.SocketStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # refused: there are too many
        await stream.send_all(data)


async def _talk(stream: trio.SocketStream, data: bytes) -> None:
    """Say it, read what comes, close."""
    async with stream:
        try:
            await stream.send_all(data)
            await stream.send_eof()
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            pass
