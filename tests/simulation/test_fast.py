"""The object codec: the interface of the real one, with sizes near to the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swim.simulation.fast import ObjectCodec
from swim.wire import Codec
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
    PushPullHead,
    StreamMessage,
    Suspect,
    UserMessage,
    WireState,
)

ADDRESS = b"\x0a\x00\x00\x07"
MESSAGES: list[Message] = [
    Ping(1_000, "worker-17"),
    Ping(70_000, "worker-17", sender_id=bytes(16), view=bytes(8)),
    Ping(70_000, "worker-17", ADDRESS, 7946, "worker-18"),
    PingReq(70_000, "worker-17", ADDRESS, 7946, True),
    PingReq(70_000, "worker-17", ADDRESS, 7946, True, ADDRESS, 7946, "worker-18"),
    Ack(70_000),
    Ack(70_000, None, bytes(16), bytes(8), 900, bare=True),
    Nack(70_000),
    Suspect("worker-17", 5, "worker-18"),
    Dead("worker-17", 5, "worker-18"),
    Alive("worker-17", 5, ADDRESS, 7946, bytes(80), bytes(6)),
    UserMessage(b"hello"),
]
NODE = NodeState("worker-17", 5, ADDRESS, 7946, bytes(80), WireState.ALIVE, bytes(6))
GREETING = PushPullHead("worker-17", bytes(8), 7946, 1_700_000_000_000, True, bytes(16))
STREAMS: list[StreamMessage] = [
    PushPull(
        (NODE,) * 50, head=PushPullHead("worker-17", bytes(8), 7946, 1_700_000_000_000, True, bytes(16))
    ),
    PushPull((replace(NODE, state=WireState.DEAD, age=70_000),) * 50, head=GREETING),
    UserMessage(bytes(500)),
    ErrorMessage("no such thing"),
    Ping(70_000, "worker-17"),
    Ack(70_000),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_parts(message: Message) -> None:
    codec = ObjectCodec()
    part = codec.part(message)
    assert codec.open_packet(codec.packet([part])).messages == (message,)
    assert len(part) == pytest.approx(len(Codec().part(message)), rel=0.12, abs=4)


def test_packets() -> None:
    codec, real = ObjectCodec(), Codec()
    packet = codec.packet([codec.part(message) for message in MESSAGES])
    assert codec.open_packet(packet).messages == tuple(MESSAGES)
    assert len(packet) == pytest.approx(
        len(real.packet([real.part(message) for message in MESSAGES])), rel=0.1
    )


@pytest.mark.parametrize("message", STREAMS, ids=lambda message: type(message).__name__)
def test_streams(message: StreamMessage) -> None:
    codec = ObjectCodec()
    content = codec.stream(message)
    assert codec.stream_decoder(answering=True).feed(content) == message
    assert len(content) == pytest.approx(len(Codec().stream(message)), rel=0.1, abs=4)
