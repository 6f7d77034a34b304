"""Whatever we encode, we decode again; whatever arrives, only DecodeError comes of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compressing import compress
from swim.wire import Codec, DecodeError, Keyring
from swim.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorMessage,
    LeaderKind,
    LeaderMessage,
    Nack,
    NodeState,
    ObserverKind,
    ObserverMessage,
    Ping,
    PingReq,
    PushPull,
    PushPullHead,
    Refusal,
    Suspect,
    UserMessage,
    WireState,
)
from tests.wire.sealing import OldKeyring
from tests.wire.test_packets import crc, many
from tests.wire.vectors import seeded_bytes

KEYS = [bytes([size]) * size for size in (16, 24, 32)]

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
text = st.text(max_size=60)
name = st.text(min_size=1, max_size=60)
raw = st.binary(max_size=300)
extra = st.binary(max_size=64)
host = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
source = st.just(b"") | host
versions = st.just(b"") | st.binary(min_size=6, max_size=6)

pings = st.builds(Ping, u32, text, source, u16, text, extra, extra)
acks = st.builds(Ack, u32, st.none() | raw, extra, extra, u32) | st.builds(
    Ack, u32, st.none(), extra, extra, u32, st.just(True)
)
# What begins with OBSERVER_MARK or LEADER_MARK is one of ours in a packet, and not Serf's.
users = st.builds(UserMessage, raw.filter(lambda payload: not payload.startswith((b"s", b"l"))))
observer_messages = st.builds(
    ObserverMessage, st.sampled_from(ObserverKind), name, u32, u32, u32, st.booleans()
)
kinds, refusals = st.sampled_from(LeaderKind), st.sampled_from(Refusal)
leader_messages = st.builds(
    LeaderMessage, kinds, u32, extra, extra, u32, extra, extra, st.booleans(), extra, extra, u32, refusals
)
messages = st.one_of(
    pings,
    acks,
    users,
    observer_messages,
    leader_messages,
    st.builds(PingReq, u32, text, host, u16, st.booleans(), source, u16, text),
    st.builds(Nack, u32),
    st.builds(Suspect, name, u32, text),
    st.builds(Dead, name, u32, text, early=st.booleans()),
    st.builds(Alive, name, u32, host, u16, raw, versions),
)
nodes = st.builds(NodeState, name, u32, host, u16, raw, st.sampled_from(WireState), versions, u32)
heads = st.builds(
    PushPullHead,
    text,
    extra,
    u16,
    st.integers(0, 2**64 - 1),
    st.booleans(),
    extra,
    extra,
    text,
    extra,
    extra,
    u32,
    extra,
)
stream_messages = st.one_of(
    st.builds(PushPull, st.lists(nodes, max_size=5).map(tuple), st.booleans(), raw, st.none() | heads),
    pings,
    acks,
    users,
    st.builds(ErrorMessage, st.text(max_size=300)),
)


@st.composite
def codecs(draw: Any) -> Codec:
    """Any label, any keys of either version, or neither."""
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=3))
    kind = draw(st.sampled_from([OldKeyring, Keyring]))
    keyring = kind(keys, random_bytes=seeded_bytes(2)) if keys else None
    return Codec(label=draw(st.sampled_from(["", "blue", "b" * 255])), keyring=keyring)


@given(codecs(), st.lists(messages, min_size=1, max_size=10))
def test_packets_round_trip(codec: Codec, sent: list[Any]) -> None:
    data = codec.packet([codec.part(message) for message in sent])
    packet = codec.open_packet(data)
    assert packet.messages == tuple(sent)
    assert not packet.dropped


@given(st.lists(messages, min_size=1, max_size=255), st.sets(st.sampled_from(["compress", "crc"])))
def test_what_only_others_send_is_understood(sent: list[Any], layers: set[str]) -> None:
    codec = Codec()
    data = many([codec.part(message) for message in sent])
    if "compress" in layers and len(data) <= 65_536:
        data = compress(data)
    if "crc" in layers:
        data = crc(data)
    assert codec.open_packet(data).messages == tuple(sent)


@given(codecs(), stream_messages, st.booleans(), st.booleans(), st.lists(st.integers(1, 200), max_size=30))
def test_streams_round_trip_in_any_pieces(
    codec: Codec, sent: Any, answering: bool, compressed: bool, sizes: list[int]
) -> None:
    data = codec.stream(sent, answering=answering)
    if compressed and codec.packet_overhead == 0:
        data = compress(data)
    decoder = codec.stream_decoder(answering=answering)
    start = 0
    for size in sizes:
        if start + size >= len(data):
            break
        assert decoder.feed(data[start : start + size]) is None
        start += size
    assert decoder.feed(data[start:]) == sent
    assert not decoder.dropped


@given(codecs(), st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_refused(codec: Codec, data: bytes, answering: bool) -> None:
    with suppress(DecodeError):
        codec.open_packet(data)
    with suppress(DecodeError):
        codec.stream_decoder(answering=answering).feed(data)
