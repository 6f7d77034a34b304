"""The fast mode: messages travel as the objects they are; only their sizes are worked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from swim.wire import Codec, Packet
from swim.wire.bodies import encode
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorMessage,
    Message,
    Nack,
    NodeState,
    Ping,
    PingReq,
    PushPull,
    StreamMessage,
    Suspect,
    UserMessage,
)
from swim.wire.standing import pack_standing

__all__ = ["ObjectCodec", "Parcel"]

_NUMBER = 3  # bytes of a typical number; a small one takes one, a large one five


class Parcel:
    """Stands for the bytes of a content: has their length, but none of them."""

    __slots__ = ("content", "size")

    def __init__(self, content: Any, size: int) -> None:
        self.content = content
        self.size = size

    def __len__(self) -> int:
        return self.size


class ObjectCodec(Codec):
    """Has the interface of `Codec`, and nothing else of it. Its `bytes` are `Parcel`s."""

    def part(self, message: Message) -> Any:
        return Parcel(message, _size(message))

    def packet(self, parts: Sequence[Any]) -> Any:
        if len(parts) == 1:
            return Parcel(Packet((), (parts[0].content,)), parts[0].size)
        # A compound has a byte of type, one of count, and two of length for each part.
        size = 2 + sum(part.size + 2 for part in parts)
        return Parcel(Packet(("compound",), tuple([part.content for part in parts])), size)

    def open_packet(self, data: Any) -> Packet:
        packet: Packet = data.content
        return packet

    def stream(self, message: StreamMessage, *, answering: bool = False) -> Any:
        return Parcel(message, _size(message))

    def stream_decoder(self, **_: object) -> Any:
        return _Decoder()


class _Decoder:
    def feed(self, data: Parcel) -> StreamMessage:
        message: StreamMessage = data.content
        return message


def _size(message: Message | StreamMessage) -> int:
    estimate = _SIZES.get(type(message))
    return len(encode(message)) if estimate is None else estimate(message)


def _ping(message: Ping) -> int:
    size = 14 + _NUMBER + len(message.node)
    if message.source_node or message.source_address:
        size += 45 + len(message.source_address) + len(message.source_node)
    size += 2 + len(pack_standing(message.standing)) if message.standing else 0
    return size + (3 + len(message.sender_id) if message.sender_id else 0) + (11 if message.view else 0)


def _ping_req(message: PingReq) -> int:
    size = 38 + _NUMBER + len(message.node) + len(message.target)
    if message.source_node or message.source_address:
        size += 45 + len(message.source_address) + len(message.source_node)
    return size


def _ack(message: Ack) -> int:
    size = 8 + _NUMBER + (0 if message.bare else 9 + len(message.payload or b""))
    size += 3 + len(message.boot) if message.boot else 0
    size += 3 + len(message.sender_id) if message.sender_id else 0
    size += 2 + len(pack_standing(message.standing)) if message.standing else 0
    return size + (2 + _NUMBER if message.wait_ms else 0) + (3 if message.unknown else 0)


def _suspect(message: Suspect | Dead) -> int:
    return 27 + len(message.node) + len(message.sender)


def _dead(message: Dead) -> int:
    return _suspect(message) + (3 + len(message.id) if message.id else 0) + 3 * message.early


def _alive(message: Alive | NodeState) -> int:
    name = message.node if isinstance(message, Alive) else message.name
    return 54 + len(name) + len(message.address) + len(message.meta) + len(message.versions)


def _push_pull(message: PushPull) -> int:
    head = 60 if message.head else 0
    ages = sum(2 + _NUMBER for node in message.nodes if node.age)
    return 30 + head + len(message.user_state) + sum(map(_alive, message.nodes)) + ages


_SIZES: dict[type, Callable[[Any], int]] = {
    Ping: _ping,
    PingReq: _ping_req,
    Ack: _ack,
    Nack: lambda message: 8 + _NUMBER,
    Suspect: _suspect,
    Dead: _dead,
    Alive: _alive,
    PushPull: _push_pull,
    UserMessage: lambda message: 1 + len(message.payload),
    ErrorMessage: lambda message: 8 + len(message.text),
}
