"""Inputs that are meant to be expensive: much of one kind in few bytes, well-formed or nearly so."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.compressing import compress
from swim.types import Address
from swim.wire import Codec, pack_host
from swim.wire.dialect import pack
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    LeaderKind,
    LeaderMessage,
    Message,
    Nack,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    PushPull,
    PushPullHead,
    Suspect,
    UserMessage,
    WireState,
)
from swim.wire.serf import SerfType, encode_message
from tests.protocol.fakes import SERF, Puppet
from tests.wire.fuzz import Fuzzer
from tests.wire.test_packets import many

__all__ = ["Input", "Inputs"]

_PACKET_SIZE = 1_400
_PACKET_SIZE_MAX = 65_000
_NODES_MAX = 5_000
_OFTEN_COMPRESSED = 20_000
"""Bytes. A large input takes as long as a hundred small ones: few are made, and few of those are compressed.
All kinds still come up within a minute."""


@dataclass(frozen=True)
class Input:
    """A packet or a stream, and where it comes from. `size`: bytes, as expanded where it is compressed."""

    kind: str
    data: bytes
    source: Address
    stream: bool
    size: int


class Inputs:
    """Makes inputs from one seed, for a node of a cluster with these members."""

    def __init__(self, seed: int, members: list[Puppet]) -> None:
        self.rng = random.Random(seed)
        self.codec = Codec()
        self.members = members
        self.wire = Fuzzer(seed)
        self._count = 0
        self._makers = list(self._parts().items())

    def next(self) -> Input:
        rng = self.rng
        source = self._source()
        if rng.random() < 0.1:
            return self._mutated(source)
        if rng.random() < 0.3:
            kind, data = self._stream()
            stream = True
        else:
            kind, data = self._packet()
            stream = False
        size = len(data)
        often = 0.3 if size < _OFTEN_COMPRESSED else 0.05
        if rng.random() < often and size < (1 << 21 if stream else 60_000):
            kind, data = f"compressed {kind}", compress(data)
        return Input(kind, data, source, stream, max(size, len(data)))

    def _source(self) -> Address:
        """A member's, as anybody can forge it, or a stranger's."""
        if self.rng.random() < 0.6:
            return self.rng.choice(self.members).address
        return Address(f"10.200.{self.rng.randrange(4)}.{self.rng.randrange(1, 255)}", 7946)

    def _mutated(self, source: Address) -> Input:
        sample = self.rng.choice(self.wire.samples)
        data = self.wire.mutate(sample.data)
        if self.rng.random() < 0.2:
            data = self.wire.structured()
        if not sample.stream and self.rng.random() < 0.5:
            data = self.wire.layered(data)
        return Input("mutated", data, source, sample.stream, max(len(data), 1))

    # --- packets

    def _packet(self) -> tuple[str, bytes]:
        rng = self.rng
        room = _PACKET_SIZE
        if rng.random() < 0.15:
            room = int(_PACKET_SIZE * (_PACKET_SIZE_MAX / _PACKET_SIZE) ** rng.random())
        name, make = rng.choice(self._makers)
        parts: list[bytes] = []
        while room > 0 and len(parts) < 255 * 20:
            part = make()
            room -= len(part) + 2
            parts.append(part)
        return f"compound of {name}", self._compound(parts)

    def _compound(self, parts: list[bytes]) -> bytes:
        while len(parts) > 255:
            groups = [parts[start : start + 255] for start in range(0, len(parts), 255)]
            parts = [many(group) for group in groups]
        return many(parts)

    def _parts(self) -> dict[str, Callable[[], bytes]]:
        return {
            "nothing": lambda: b"",
            "empty compounds": lambda: many([]),
            "nested compounds": self._nested,
            "unknown types": lambda: b"\x77",
            "empty maps": lambda: bytes((self.rng.choice((0, 1, 2, 3, 4, 5, 11)), 0x80)),
            "deep fields": lambda: b"\x0b\x81\xa1x" + b"\x91" * 200 + b"\x80",
            "wide fields": lambda: b"\x0b\x81\xa1x\xdc\x02\x00" + b"\x80" * 512,
            "clear codes": self._clear_codes,
            "user messages": lambda: b"\x08" + self.rng.randbytes(4),
            "messages": lambda: self.codec.part(self._message()),
            **{
                kind.__name__: lambda kind=kind: self.codec.part(self._message(kind))
                for kind in (
                    Ping,
                    PingReq,
                    Ack,
                    Nack,
                    Alive,
                    Suspect,
                    Dead,
                    ObserverMessage,
                    LeaderMessage,
                    UserMessage,
                )
            },
        }

    def _nested(self) -> bytes:
        data = many([])
        for _ in range(self.rng.randrange(1, 9)):
            data = many([data] * self.rng.choice((1, 1, 2)))
        return data

    def _clear_codes(self) -> bytes:
        codes = 500
        bits = sum(256 << 9 * place for place in range(codes)) | 257 << 9 * codes
        buffer = bits.to_bytes((9 * (codes + 1) + 7) // 8, "little")
        return b"\x09" + pack({"Algo": 0, "Buf": buffer})

    def _message(self, kind: type | None = None) -> Message:
        rng, member = self.rng, self.rng.choice(self.members)
        kind = kind or rng.choice(
            (Ping, Ack, Alive, Suspect, Dead, ObserverMessage, LeaderMessage, UserMessage)
        )
        name = member.name if rng.random() < 0.7 else self._name()
        incarnation = rng.choice((1, 2, rng.randrange(1, 1 << 20), self._number()))
        if kind is Ping:
            return Ping(rng.randrange(9), rng.choice(("", "a")), sender_id=rng.choice((b"", b"x" * 16)))
        if kind is PingReq:
            return PingReq(rng.randrange(99), member.name, pack_host(member.address.host), 7946, nack=True)
        if kind is Ack:
            return Ack(rng.getrandbits(32), bare=True)
        if kind is Nack:
            return Nack(1)
        if kind is Suspect:
            return Suspect(rng.choice(("a", name)), incarnation, "x")
        if kind is Dead:
            return Dead(rng.choice(("a", name)), incarnation, rng.choice(("x", name)))
        if kind is ObserverMessage:
            return ObserverMessage(rng.choice(list(ObserverKind)), name, incarnation, 100, 7)
        if kind is LeaderMessage:
            return LeaderMessage(rng.choice(list(LeaderKind)), self._number(), b"i" * 16, b"p" * 8)
        if kind is UserMessage:
            return UserMessage(self._serf())
        return self._alive(name, incarnation)

    def _alive(self, name: str, incarnation: int) -> Alive:
        host, meta = pack_host(f"10.{self.rng.randrange(100, 200)}.0.{self.rng.randrange(1, 255)}"), b""
        if self.rng.random() < 0.5:
            meta = self.rng.choice(self.members).meta
        return Alive(name, incarnation, host, self.rng.choice((7946, self._number() % 65_536)), meta, SERF)

    def _serf(self) -> bytes:
        rng = self.rng
        time = rng.choice((5, self._number(), self._number() << 20, 1 << 62))
        kind = rng.choice((SerfType.USER_EVENT, SerfType.JOIN, SerfType.LEAVE))
        if kind is SerfType.USER_EVENT:
            return encode_message(kind, {"CC": False, "LTime": time, "Name": "n", "Payload": self._bytes()})
        return encode_message(kind, {"LTime": time, "Node": self._name()})

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _name(self) -> str:
        return f"m{self._number()}"

    def _bytes(self) -> bytes:
        return self._number().to_bytes(4, "big")

    # --- streams

    def _stream(self) -> tuple[str, bytes]:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return "unknown field", b"\x06\x81\xa1x\xdd" + (100_000).to_bytes(4, "big") + b"\x80" * 100_000
        if kind == 1:
            count = rng.choice((10, 65_536))
            return "empty nodes", b"\x06" + pack({"Nodes": count}) + b"\x80" * count
        if kind == 2:
            return "user message", self.codec.stream(UserMessage(bytes(rng.randrange(100_000))))
        if kind == 3:
            return "ping", self.codec.stream(Ping(1, "a"))
        if kind == 4:
            return "question", self.codec.stream(PushPull(()))
        return self._push_pull()

    def _push_pull(self) -> tuple[str, bytes]:
        rng = self.rng
        count = int(_NODES_MAX ** (rng.random() ** 1.5))
        state = rng.choice(list(WireState))
        known = rng.random() < 0.3
        nodes = [self._node(state, known=known) for _ in range(count)]
        head = None
        if rng.random() < 0.7:
            teller = rng.choice(self.members)
            head = PushPullHead(teller.name, teller.boot.encode(), 7946)
        name, user_state = self._user_state() if rng.random() < 0.4 else ("", b"")
        kind = f"{state.name} nodes{' that are known' if known else ''}{name}"
        return kind, self.codec.stream(PushPull(tuple(nodes), user_state=user_state, head=head))

    def _node(self, state: WireState, *, known: bool) -> NodeState:
        rng = self.rng
        if known:
            return rng.choice(self.members).state(state, incarnation=rng.choice((1, self._number())))
        alive = self._alive(self._name(), rng.choice((1, self._number())))
        return NodeState(alive.node, alive.incarnation, alive.address, 7946, alive.meta, state, SERF, 5)

    def _user_state(self) -> tuple[str, bytes]:
        rng = self.rng
        count = int(8_000 ** (rng.random() ** 1.5))
        same, empty = rng.random() < 0.5, rng.random() < 0.2
        events: list[object] = []
        if empty:
            events = [None] * count
        elif same:
            inner = [{"Name": "e", "Payload": self._bytes()} for _ in range(count)]
            events = [{"Events": inner, "LTime": rng.choice((7, self._number()))}]
        else:
            events = [
                {"Events": [{"Name": "e", "Payload": self._bytes()}], "LTime": self._number()}
                for _ in range(count)
            ]
        body = {
            "EventLTime": rng.choice((1, 1 << 40)),
            "Events": events,
            "LTime": 1,
            "LeftMembers": ["a"] * rng.choice((0, 1, count)),
            "QueryLTime": 1,
            "StatusLTimes": {f"n{number}": 1 for number in range(rng.choice((0, count)))},
        }
        what = "nil" if empty else "of one time" if same else "of many times"
        return f" with events {what}", encode_message(SerfType.PUSH_PULL, body)
