"""Streams: one message, in pieces, from strangers."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from benchmarks.compressing import compress
from benchmarks.compressing import lzw as lzw_compress
from swim.wire import Codec, DecodeError, Keyring, StreamDecoder, lzw
from swim.wire.bodies import pack_node_states
from swim.wire.messages import (
    Ack,
    ErrorMessage,
    NodeState,
    Ping,
    PushPull,
    PushPullHead,
    Standing,
    StreamMessage,
    UserMessage,
    WireState,
)
from swim.wire.streams import NODES_MAX, Entries
from tests.wire.sealing import OldKeyring
from tests.wire.vectors import seeded_bytes

CODEC = Codec()
NODE = NodeState("a", 1, bytes(4), 7946, b"meta", WireState.SUSPECT, bytes(6))
FIELDS: dict[str, Any] = {
    "Addr": bytes(4),
    "Incarnation": 1,
    "Meta": b"meta",
    "Name": "a",
    "Port": 7946,
    "State": 1,
    "Vsn": bytes(6),
}


def packb(fields: dict[Any, Any]) -> bytes:
    return bytes(msgpack.packb(fields, use_bin_type=False))


def push_pull(header: dict[str, Any], *nodes: dict[Any, Any], state: bytes = b"") -> bytes:
    return b"\x06" + packb(header) + b"".join(map(packb, nodes)) + state


def keyed(label: str = "", version: int = 1) -> Codec:
    keyring = (OldKeyring, Keyring)[version]([b"k" * 16], random_bytes=seeded_bytes(5))
    return Codec(label=label, keyring=keyring)


def decode(data: bytes, codec: Codec = CODEC, *, answering: bool = False) -> StreamMessage | None:
    return codec.stream_decoder(answering=answering).feed(data)


def reason(data: bytes, codec: Codec = CODEC, *, answering: bool = False) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, codec, answering=answering)
    return caught.value.reason


MESSAGES: list[StreamMessage] = [
    PushPull(()),
    PushPull((NODE, NODE), join=True, user_state=b"\x00state"),
    PushPull((NODE, replace(NODE, state=WireState.DEAD, age=86_400))),
    PushPull((), head=PushPullHead()),
    PushPull((NODE,), head=PushPullHead("me", b"boot1234", 7946, 1_700_000_000_000, True, b"f" * 16)),
    Ping(7, "a", bytes(4), 7946, "b"),
    Ping(7, "a", source_node="a", standing=Standing(b"boot1234", b"s" * 16, b"", b"i" * 16, b"a" * 7)),
    Ack(7, standing=Standing(b"boot1234", token=b"t" * 8, echo=b"e" * 8)),
    Ack(7, standing=Standing(b"boot1234")),
    PushPull((), head=PushPullHead("me", joining=True, founder=b"a" * 7)),
    Ack(7),
    Ack(7, b"payload", b"i" * 16, b"boot", 250),
    UserMessage(b""),
    UserMessage(bytes(range(256)) * 300),
    ErrorMessage("no"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize(
    "codec", [CODEC, Codec(label="blue"), keyed(), keyed("blue"), keyed("blue", version=0)], ids=range(5)
)
@pytest.mark.parametrize("answering", [False, True])
def test_round_trip(message: StreamMessage, codec: Codec, answering: bool) -> None:
    assert decode(codec.stream(message, answering=answering), codec, answering=answering) == message


def test_what_follows_a_message_is_ignored() -> None:
    decoder = CODEC.stream_decoder(answering=False)
    assert decoder.feed(CODEC.stream(Ack(7)) + b"\xc1") == Ack(7)
    assert decoder.feed(b"more") == Ack(7)


def test_nothing_is_no_message_yet() -> None:
    assert decode(b"") is None


def test_an_error_is_an_answer_like_any_other() -> None:
    assert decode(CODEC.stream(ErrorMessage("go away"), answering=True), answering=True) == ErrorMessage(
        "go away"
    )
    assert decode(b"\x0d\x81\xa5Error\xa1\xff") == ErrorMessage("\N{REPLACEMENT CHARACTER}")


# --- push/pull


def test_unknown_fields_are_skipped_at_any_nesting() -> None:
    strange: dict[Any, Any] = {
        "x": [1, {"y": [None, {"z": b"\xff"}]}],
        7: {},
        "xe": [],
        "xn": [7],
        "t": msgpack.Timestamp(1, 2),
    }
    header = {"Join": True, "Nodes": 1, "UserStateLen": 2, **strange}
    data = push_pull(header, FIELDS | strange, state=b"us")
    assert decode(data) == PushPull((NODE,), True, b"us")
    assert decode(b"\x00" + packb({"SeqNo": 7, "xb": [1], **strange})) == Ping(7)
    assert decode(push_pull({"swim": {"n": "me", "swim": {"swim": {}}, "xx": [[]]}})) == PushPull(
        (), head=PushPullHead("me")
    )


@pytest.mark.parametrize(
    "change",
    [
        {"Name": ""},
        {"Name": b"\xff"},
        {"Addr": b""},
        {"Addr": bytes(5)},
        {"Vsn": bytes(3)},
        {"Port": 70_000},
        {"Incarnation": -1},
        {"State": 4},
        {"State": -1},
        {"Meta": 7},
    ],
    ids=str,
)
def test_an_odd_node_does_not_take_the_rest_along(change: dict[str, Any]) -> None:
    decoder = CODEC.stream_decoder(answering=True)
    assert decoder.feed(push_pull({"Nodes": 3}, FIELDS, FIELDS | change, FIELDS)) == PushPull((NODE, NODE))
    assert decoder.dropped == ["body"]


@pytest.mark.parametrize(
    "header",
    [
        {"Nodes": -1},
        {"Nodes": NODES_MAX + 1},
        {"Nodes": 1 << 63},
        {"UserStateLen": -1},
        {"UserStateLen": 20 * 1024 * 1024 + 1},
        {"Nodes": True},
        {"Join": 1},
        {"swim": None},
        {"swim": []},
        {"swim": {"n": b"\xff"}},
        {"swim": {"p": 70_000}},
        {"swim": {"c": -1}},
        {"Nodes": [1]},
        {"Nodes": {"a": 1}},
    ],
    ids=str,
)
def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    assert reason(push_pull(header)) == "body"


def test_an_entry_that_was_read_before_is_not_decoded_again() -> None:
    stream = CODEC.stream(PushPull((replace(NODE, name="read again"), NODE)))
    one, two = decode(stream), decode(stream)
    assert isinstance(one, PushPull)
    assert isinstance(two, PushPull)
    assert [a is b for a, b in zip(one.nodes, two.nodes, strict=True)] == [True, True]


def test_an_entry_is_no_larger_than_any_real_one() -> None:
    """To unpack it would take far more memory than it has bytes."""
    stream = push_pull({"Nodes": 2}, {**FIELDS, "more": [[]] * 5_000}, {**FIELDS, "Name": "b"})
    message = decode(stream)
    assert isinstance(message, PushPull)
    assert [node.name for node in message.nodes] == ["b"]


def test_a_node_that_is_no_map_ends_it() -> None:
    assert reason(b"\x06" + packb({"Nodes": 1}) + b"\x93\x01\x02\x03") == "body"


def test_a_field_of_another_kind_costs_the_entry_only() -> None:
    message = decode(push_pull({"Nodes": 2}, {**FIELDS, "Port": [1]}, {**FIELDS, "Name": "b"}))
    assert isinstance(message, PushPull)
    assert [node.name for node in message.nodes] == ["b"]


@pytest.mark.parametrize("size", [-1, 20 * 1024 * 1024 + 1, 1 << 62, None])
def test_lengths_of_user_messages(size: int | None) -> None:
    data = b"\x08" + packb({"UserMsgLen": size})
    if size is None:
        assert decode(data) == UserMessage(b"")
    else:
        assert reason(data) == "body"


# --- types and layers


@pytest.mark.parametrize("kind", [1, 3, 4, 5, 7, 11, 12, 14, 99, 255])
def test_types_that_have_no_place_on_a_stream(kind: int) -> None:
    assert reason(bytes((kind,)) + b"\x80") == "type"


def test_compressed_streams_are_understood() -> None:
    message = PushPull((NODE,) * 50, user_state=b"state")
    decoder = CODEC.stream_decoder(answering=False)
    assert decoder.feed(compress(CODEC.stream(message))) == message
    assert decoder.layers == ["compress"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (compress(b""), "truncated"),
        (compress(CODEC.stream(PushPull((NODE,)))[:-1]), "truncated"),
        (compress(compress(CODEC.stream(Ack(1)))), "type"),
        (b"\x09" + packb({"Algo": 1, "Buf": b"x"}), "lzw"),
        (b"\x09" + packb({"Buf": b"x"}), "lzw"),
        (b"\x09" + packb({"Buf": [b"x"]}), "body"),
        (compress(bytes(5 * 1024 * 1024)), "too-large"),
        (b"\x09" + packb({"Buf": bytes(1024 * 1024 + 1)}), "too-large"),
    ],
    ids=range(8),
)
def test_compressed_streams_that_are_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


@pytest.mark.parametrize("size", [0, 28, 20 * 1024 * 1024 + 1, 0xFFFFFFFF])
def test_an_encrypted_length_is_checked_before_anything_is_kept(size: int) -> None:
    assert reason(b"\x0a" + size.to_bytes(4, "big"), keyed()) == ("truncated" if size < 29 else "too-large")


def test_streams_of_others_are_refused() -> None:
    stream = keyed().stream(Ack(7))
    assert reason(stream) == "encrypted"
    assert reason(CODEC.stream(Ack(7)), keyed()) == "plaintext"
    assert reason(CODEC.stream(ErrorMessage("no keys here")), keyed(), answering=True) == "refused"
    assert reason(CODEC.stream(ErrorMessage("no keys here")), keyed()) == "plaintext"
    assert reason(stream[:-1] + bytes((stream[-1] ^ 1,)), keyed()) == "decrypt"
    assert reason(stream[:5] + b"\x02" + stream[6:], keyed()) == "version"


def test_only_the_connecting_side_writes_the_label() -> None:
    codec = Codec(label="blue")
    assert codec.stream(Ack(7)) == b"\xf4\x04blue" + codec.stream(Ack(7), answering=True)
    assert reason(codec.stream(Ack(7), answering=True), codec) == "label"
    assert reason(codec.stream(Ack(7)), codec, answering=True) == "label"
    assert reason(codec.stream(Ack(7)), Codec(label="green")) == "label"
    assert reason(codec.stream(Ack(7)), Codec(label="blu")) == "label"
    assert reason(codec.stream(Ack(7)), CODEC) == "label"


def test_an_answer_is_sealed_for_the_label_it_does_not_bear() -> None:
    answer = keyed("blue").stream(Ack(7), answering=True)
    assert answer[0] == 10
    assert reason(answer, keyed(), answering=True) == "decrypt"
    assert reason(answer, keyed("green"), answering=True) == "decrypt"


# --- limits


def feed_all(decoder: StreamDecoder, data: bytes, size: int = 65_536) -> StreamMessage | None:
    message = None
    for start in range(0, len(data), size):
        message = decoder.feed(data[start : start + size])
    return message


def test_a_stream_without_end_is_cut() -> None:
    decoder = CODEC.stream_decoder(answering=False)
    assert decoder.feed(b"\x00\x81\xa1x\xdb\xff\xff\xff\xff") is None  # an unknown field of 4 GiB
    for _ in range(20):
        assert decoder.feed(bytes(1024 * 1024)) is None
    with pytest.raises(DecodeError) as caught:
        decoder.feed(bytes(1024 * 1024))
    assert caught.value.reason == "too-large"


def test_a_map_of_very_many_fields_is_cut_at_once() -> None:
    assert reason(b"\x06\xdf\xff\xff\xff\xff") == "too-large"


@pytest.mark.parametrize("value", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"])
def test_huge_headers_allocate_nothing(value: bytes) -> None:
    assert reason(b"\x06\x81\xa4Join" + value) == "body"
    assert decode(b"\x06\x81\xa1x" + value) is None  # skipped as it comes
    assert reason(b"\x06\x81" + value) == "body"


def test_deep_nesting_ends() -> None:
    assert reason(b"\x06\x81\xa1x" + b"\x91" * 100_000) == "body"


def test_many_nodes() -> None:
    message = PushPull(tuple(replace(NODE, name=f"n{number}") for number in range(2000)))
    assert feed_all(CODEC.stream_decoder(answering=False), CODEC.stream(message), 1400) == message


def test_entries_are_packed_in_steps_and_once_for_all_that_ask_for_them() -> None:
    nodes = [replace(NODE, name=f"n{number}") for number in range(1_000)]
    packed: list[int] = []

    def pack(some: Sequence[NodeState]) -> bytes:
        packed.append(len(some))
        return pack_node_states(some)

    message = PushPull(Entries(nodes, pack))
    readers = [CODEC.streaming(message, answering=True) for _ in range(3)]
    contents: list[bytes] = []
    while readers:  # they take turns
        for reader in list(readers):
            before = len(packed)
            try:
                next(reader)
            except StopIteration as finished:
                contents.append(finished.value)
                readers.remove(reader)
            assert len(packed) <= before + 1
    assert sum(packed) == len(nodes)
    assert max(packed) < 200
    assert contents == [CODEC.stream(PushPull(tuple(nodes)))] * 3
    assert tuple(message.nodes) == tuple(nodes)
    assert nodes[-1] in message.nodes


def test_what_is_read_at_once_is_little() -> None:
    message = PushPull(tuple(replace(NODE, name=f"n{number}") for number in range(5000)))
    for codec in (CODEC, keyed()):
        for data in (codec.stream(message), compress(CODEC.stream(message)) if codec is CODEC else b""):
            decoder = codec.stream_decoder(answering=False)
            decoder.add(data)
            steps = 0
            while decoder.busy:
                decoder.advance()
                steps += 1
            assert decoder.message == (message if data else None)
            assert steps >= 5000 / 256 or not data


@pytest.mark.parametrize(
    "entry", [b"\x80", packb({"Name": "a", "Addr": bytes(4)})], ids=["empty", "the same"]
)
def test_nodes_that_are_none_end_it(entry: bytes) -> None:
    data = b"\x06" + packb({"Nodes": 65_536}) + entry * 65_536
    decoder = CODEC.stream_decoder(answering=False)
    decoder.add(compress(data))
    with pytest.raises(DecodeError, match="more than 64 entries"):
        decoder.feed(b"")
    assert len(decoder.dropped) <= 65


def test_a_large_unknown_field_is_skipped_in_steps() -> None:
    data = b"\x06\x81\xa1x\xdd" + (2_000_000).to_bytes(4, "big") + b"\x80" * 2_000_000
    decoder = CODEC.stream_decoder(answering=False)
    decoder.add(compress(data))
    steps = 0
    while decoder.busy:
        decoder.advance()
        steps += 1
    assert decoder.message == PushPull(())
    assert steps > 30


def test_a_large_user_message_in_small_pieces() -> None:
    message = UserMessage(bytes(300_000))
    assert feed_all(CODEC.stream_decoder(answering=False), CODEC.stream(message), 100) == message
    assert feed_all(keyed().stream_decoder(answering=False), keyed().stream(message), 100) == message


def test_a_compressed_stream_in_small_pieces() -> None:
    message = UserMessage(seeded_bytes(9)(50_000))
    data = compress(CODEC.stream(message))
    assert lzw.decompress(lzw_compress(data), 1 << 20) == data
    assert feed_all(CODEC.stream_decoder(answering=False), data, 10) == message


def test_a_closed_decoder_does_not_wait_for_the_garbage_collector() -> None:
    decoder = CODEC.stream_decoder(answering=False)
    decoder.feed(CODEC.stream(PushPull((NODE,), join=False))[:-1])
    gone = weakref.ref(decoder)
    gc.disable()
    try:
        decoder.close()
        del decoder
        assert gone() is None
    finally:
        gc.enable()


def test_entries_that_are_not_kept_take_no_memory_and_are_not_odd() -> None:
    nodes = tuple(NodeState(f"n{n}", 1, bytes(4), 1, b"", WireState.ALIVE, bytes(6)) for n in range(1_000))
    asked: list[str] = []

    def keeps(name: str, state: int, own: bool) -> bool:
        assert (state, own) == (WireState.ALIVE, False)
        asked.append(name)
        return len(asked) <= 10

    decoder = CODEC.stream_decoder(answering=False, keeps=keeps)
    data = CODEC.stream(PushPull(nodes, user_state=b"state"))
    message = decoder.feed(data)
    assert isinstance(message, PushPull)
    assert (tuple(message.nodes), message.user_state) == (nodes[:10], b"state")
    assert asked == [node.name for node in nodes]
    assert decoder.memory < len(data) + 10 * 1_000


def test_a_name_that_is_not_wanted_costs_no_more_than_to_find_it() -> None:
    """Nothing else of its entry is looked at."""
    odd = packb({"Name": "odd", "Port": "none", "State": 2})
    data = b"\x06" + packb({"Nodes": 200}) + odd * 200
    decoder = CODEC.stream_decoder(answering=False, keeps=lambda name, state, own: state != WireState.DEAD)
    assert decoder.feed(data) == PushPull(())
    assert decoder.dropped == []


@pytest.mark.parametrize("size", [1_000, 65_536, 3_000_000])
def test_a_large_message_is_whole_in_whatever_pieces_it_comes(size: int) -> None:
    message = UserMessage(random.Random(1).randbytes(2_500_000))
    data = CODEC.stream(message) + b"more"
    decoder = CODEC.stream_decoder(answering=False)
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
    assert decoder.message == message
