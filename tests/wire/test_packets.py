"""Packets: framing, checked fields, and the limits on what strangers may send."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import msgpack
import pytest

from benchmarks.compressing import compress
from benchmarks.compressing import lzw as lzw_compress
from swim.wire import Codec, DecodeError, Packet
from swim.wire.framing import compound
from swim.wire.messages import Ack, Alive, Dead, Message, Nack, Ping, PingReq, Suspect, UserMessage

CODEC = Codec()
NACK = b"\x0b\x81\xa5SeqNo\x07"
ALIVE = {"Addr": bytes(4), "Incarnation": 1, "Meta": None, "Node": "a", "Port": 7946, "Vsn": bytes(6)}
PING_REQ = {"Nack": True, "Node": "a", "Port": 1, "SeqNo": 2, "Target": bytes(16)}
SUSPECT = {"From": "b", "Incarnation": 1, "Node": "a"}


def body(kind: int, fields: dict[Any, Any]) -> bytes:
    return bytes((kind,)) + msgpack.packb(fields, use_bin_type=False)


def many(parts: list[bytes]) -> bytes:
    """A compound of up to 255 parts, as newer memberlists send it."""
    lengths = b"".join(struct.pack(">H", len(part)) for part in parts)
    return bytes((7, len(parts))) + lengths + b"".join(parts)


def crc(content: bytes) -> bytes:
    return b"\x0c" + zlib.crc32(content).to_bytes(4, "big") + content


def messages(data: bytes) -> tuple[Message, ...]:
    return CODEC.open_packet(data).messages


def reason(data: bytes, codec: Codec = CODEC) -> str:
    with pytest.raises(DecodeError) as caught:
        codec.open_packet(data)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


# --- single messages


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (body(0, {}), Ping(0)),
        (body(0, {"Node": None, "SeqNo": None, "SourceAddr": None, "SourcePort": None}), Ping(0)),
        (body(0, {"SeqNo": 1, "SourceAddr": b""}), Ping(1)),
        (body(0, {"seqno": 9, "SeqNo": 1, "node": "x"}), Ping(1)),
        (body(1, {"Target": bytes(4)}), PingReq(0, "", bytes(4), 0)),
        (body(2, {"SeqNo": 1}), Ack(1, bare=True)),
        (body(2, {"SeqNo": 1, "Payload": None}), Ack(1)),
        (body(2, {"SeqNo": 1, "Payload": b""}), Ack(1, b"")),
        (body(3, SUSPECT), Suspect("a", 1, "b")),
        (body(4, ALIVE), Alive("a", 1, bytes(4), 7946, b"", bytes(6))),
        (body(4, ALIVE | {"Vsn": None}), Alive("a", 1, bytes(4), 7946, b"", b"")),
        (body(5, {"Node": "a"}), Dead("a", 0, "")),
        (body(11, {"SeqNo": 0xFFFFFFFF}), Nack(0xFFFFFFFF)),
        (b"\x08", UserMessage(b"")),
        (b"\x08\x00\xff", UserMessage(b"\x00\xff")),
    ],
)
def test_absent_nil_and_odd_fields(data: bytes, message: Message) -> None:
    assert messages(data) == (message,)


@pytest.mark.parametrize(
    "number", [b"\x07", b"\xcc\x07", b"\xcd\x00\x07", b"\xd0\x07", b"\xd3" + bytes(7) + b"\x07"]
)
def test_integers_of_any_width(number: bytes) -> None:
    assert messages(b"\x0b\x81\xa5SeqNo" + number) == (Nack(7),)


@pytest.mark.parametrize(
    "text", [b"\xa1a", b"\xd9\x01a", b"\xda\x00\x01a", b"\xdb\0\0\0\x01a", b"\xc4\x01a", b"\xc5\0\x01a"]
)
def test_strings_of_any_form(text: bytes) -> None:
    assert messages(b"\x00\x81\xa4Node" + text) == (Ping(0, "a"),)


def test_unknown_fields_are_skipped_at_any_nesting() -> None:
    strange = {"x": [1, {"y": [None, 2.5, {"z": b"\xff"}]}], 7: 8, "t": msgpack.Timestamp(1, 2)}
    assert messages(body(11, {"SeqNo": 7, **strange})) == (Nack(7),)


def test_what_follows_a_message_is_ignored() -> None:
    assert messages(NACK + b"\xc1 and more") == (Nack(7),)


def test_58_bytes_are_written_in_the_old_form() -> None:
    assert CODEC.part(Ping(1, "n" * 58))[7:10] == b"\xda\x00\x3a"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0b", id="no body"),
        pytest.param(b"\x0b\xc1", id="not msgpack"),
        pytest.param(b"\x0b\x07", id="a number"),
        pytest.param(b"\x0b\x91\x07", id="an array"),
        pytest.param(b"\x0b\x81\xa5Seq", id="cut short"),
        pytest.param(b"\x0b\x81\x90\x07", id="a key that cannot be one"),
        pytest.param(b"\x0b\x81\xa5SeqNo\x91\x07", id="array for number"),
        pytest.param(b"\x0b\x81\xa5SeqNo\x80", id="map for number"),
        pytest.param(body(11, {"SeqNo": True}), id="bool for number"),
        pytest.param(body(11, {"SeqNo": 1.0}), id="float for number"),
        pytest.param(body(11, {"SeqNo": b"1"}), id="string for number"),
        pytest.param(body(11, {"SeqNo": -1}), id="negative"),
        pytest.param(body(11, {"SeqNo": 1 << 32}), id="more than 32 bits"),
        pytest.param(body(0, {"Node": 7}), id="number for name"),
        pytest.param(body(0, {"Node": b"\xff"}), id="name is not UTF-8"),
        pytest.param(body(0, {"Node": "n" * 256}), id="name too long"),
        pytest.param(body(0, {"SourceAddr": b"123"}), id="source address of 3 bytes"),
        pytest.param(body(0, {"SourceAddr": 0}), id="number for source address"),
        pytest.param(body(0, {"SourcePort": 65536}), id="source port"),
        pytest.param(body(0, {"i": b"x" * 65}), id="id too long"),
        pytest.param(body(1, PING_REQ | {"Target": b""}), id="no target"),
        pytest.param(body(1, PING_REQ | {"Nack": 1}), id="number for bool"),
        pytest.param(body(2, {"Payload": 7}), id="number for payload"),
        pytest.param(body(2, {"w": -1}), id="negative wait"),
        pytest.param(body(3, SUSPECT | {"Node": ""}), id="suspect without name"),
        pytest.param(body(5, SUSPECT | {"Node": None}), id="dead without name"),
        pytest.param(body(5, SUSPECT | {"Incarnation": 1 << 40}), id="incarnation"),
        pytest.param(body(4, ALIVE | {"Node": ""}), id="alive without name"),
        pytest.param(body(4, ALIVE | {"Addr": None}), id="alive without address"),
        pytest.param(body(4, ALIVE | {"Addr": bytes(5)}), id="address of 5 bytes"),
        pytest.param(body(4, ALIVE | {"Port": 65536}), id="port"),
        pytest.param(body(4, ALIVE | {"Meta": 1}), id="number for meta"),
        *[pytest.param(body(4, ALIVE | {"Vsn": bytes(n)}), id=f"Vsn of {n}") for n in range(1, 6)],
        pytest.param(body(4, ALIVE | {"Vsn": [1, 5, 2, 0, 0, 0]}), id="Vsn as array"),
    ],
)
def test_bodies_that_are_refused(data: bytes) -> None:
    assert reason(data) == "body"


@pytest.mark.parametrize("kind", [6, 10, 13, 14, 100, 243, 245, 255])
def test_types_that_have_no_place_in_a_packet(kind: int) -> None:
    assert reason(bytes((kind,)) + b"\x80") == "type"


@pytest.mark.parametrize("kind", ["ff", "fe"])
@pytest.mark.parametrize(
    "header", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"], ids=["array", "map", "raw", "bin", "ext"]
)
def test_huge_headers_allocate_nothing(header: bytes, kind: str) -> None:
    claim = header + bytes.fromhex(kind) * 4
    assert reason(b"\x0b" + claim) == "body"
    assert reason(b"\x0b\x81\xa5SeqNo" + claim) == "body"
    assert reason(b"\x0b\x81\xa1x" + claim) == "body"


def test_nested_arrays_allocate_little() -> None:
    # Each claims as many items as may be: what msgpack reserves for them must stay within megabytes.
    assert reason(b"\x0b\x81\xa1x" + b"\xdc\x04\x00" * 500) == "body"
    assert reason(b"\x0b\x81\xa1x" + b"\xdc\xff\xff" * 500) == "body"
    assert reason(b"\x0b\x81\xa1x" + b"\x91" * 60_000) == "body"


# --- compound


def test_one_part_goes_as_it_is() -> None:
    assert CODEC.packet([NACK]) == NACK


@pytest.mark.parametrize("count", [0, 2, 127])
def test_compounds_we_send(count: int) -> None:
    packet = CODEC.open_packet(CODEC.packet([NACK] * count))
    assert packet == Packet(("compound",), (Nack(7),) * count)


def test_compounds_that_would_break_old_receivers_are_not_sent() -> None:
    with pytest.raises(ValueError, match="at most 127"):
        CODEC.packet([NACK] * 128)
    with pytest.raises(ValueError, match="larger than 65535"):
        CODEC.packet([NACK, b"\x08" + bytes(65535)])


@pytest.mark.parametrize("count", [128, 200, 255])
def test_larger_compounds_are_understood(count: int) -> None:
    assert messages(many([NACK] * count)) == (Nack(7),) * count


def test_what_cannot_be_read_does_not_take_the_rest_along() -> None:
    packet = CODEC.open_packet(many([NACK, b"\x63x", b"", b"\x0b\xc1", NACK]))
    assert packet.messages == (Nack(7), Nack(7))
    assert packet.dropped == ("type", "truncated", "body")


@pytest.mark.parametrize("missing", [1, len(NACK), len(NACK) + 1])
def test_a_compound_cut_short_loses_only_its_end(missing: int) -> None:
    packet = CODEC.open_packet(many([NACK] * 3)[:-missing])
    assert packet.messages == (Nack(7),) * (2 if missing <= len(NACK) else 1)
    assert packet.dropped == ("truncated",)


@pytest.mark.parametrize("data", [b"", b"\x07", b"\x07\x01", b"\x07\x02\x00\x01\x00"])
def test_without_its_lengths_it_is_nothing(data: bytes) -> None:
    assert reason(data) == "truncated"


# --- checksum


def test_a_checksum_is_verified() -> None:
    assert CODEC.open_packet(crc(NACK)) == Packet(("crc",), (Nack(7),))
    assert reason(crc(NACK)[:-1]) == "crc"
    assert reason(crc(NACK) + b"x") == "crc"


@pytest.mark.parametrize("data", [b"\x0c", b"\x0c\0\0\0", crc(b"")])
def test_a_checksum_of_nothing(data: bytes) -> None:
    assert reason(data) == "truncated"


@pytest.mark.parametrize("data", [compress(crc(NACK)), crc(crc(NACK))])
def test_a_checksum_within_another_layer_is_refused(data: bytes) -> None:
    assert reason(data) == "crc"


def test_a_checksum_in_a_compound_is_dropped() -> None:
    assert CODEC.open_packet(many([crc(NACK), NACK])) == Packet(("compound",), (Nack(7),), ("crc",))


# --- compression


def test_compression_and_compound_nest_in_each_other() -> None:
    two = compound([NACK, NACK])
    assert CODEC.open_packet(compress(two)) == Packet(("compress", "compound"), (Nack(7),) * 2)
    assert CODEC.open_packet(compound([compress(two), NACK])) == Packet(
        ("compound", "compress"), (Nack(7),) * 3
    )
    assert messages(crc(compress(two))) == (Nack(7),) * 2


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (compress(b""), "truncated"),
        (body(9, {"Algo": 0, "Buf": b""}), "lzw"),
        (body(9, {"Algo": 0}), "lzw"),
        (body(9, {"Algo": 1, "Buf": lzw_compress(NACK)}), "lzw"),
        (body(9, {"Algo": 0, "Buf": 7}), "body"),
        (b"\x09", "body"),
        (compress(b"\x63"), "type"),
    ],
)
def test_compressed_packets_that_are_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_64_kib_may_come_out_of_a_packet_and_no_more() -> None:
    assert messages(compress(b"\x08" + bytes(65_535))) == (UserMessage(bytes(65_535)),)
    assert reason(compress(b"\x08" + bytes(65_536))) == "too-large"


def test_the_limit_holds_for_all_layers_together() -> None:
    half = compress(b"\x08" + bytes(32_767))
    packet = CODEC.open_packet(many([half] * 200))
    assert len(packet.messages) == 2
    assert packet.dropped == ("too-large",) * 198
    assert reason(compress(compress(compress(b"\x08" + bytes(65_000)))), CODEC) == "too-large"


def nested(depth: int) -> bytes:
    data = NACK
    for _ in range(depth):
        data = many([data])
    return data


def test_eight_layers_and_no_more() -> None:
    assert messages(nested(8)) == (Nack(7),)
    assert CODEC.open_packet(nested(9)).dropped == ("nested",)
    assert CODEC.open_packet(nested(2000)).dropped == ("nested",)


def test_a_small_packet_cannot_ask_for_thousands_of_answers() -> None:
    pings = many([many([b"\x00\x80"] * 255)] * 50)
    small = compress(pings)
    assert len(small) < 1400
    packet = CODEC.open_packet(small)
    assert len(packet.messages) < 256
    assert set(packet.dropped) == {"parts-max"}


def test_parts_that_hold_nothing_count_as_parts() -> None:
    empty = many([many([])] * 200)
    full = many([b""] * 255)
    for packet in (many([full] * 50), many([many([empty] * 20)] * 5), compress(many([empty] * 80))):
        opened = CODEC.open_packet(packet)
        assert opened.messages == ()
        assert len(opened.dropped) <= 256
        assert "parts-max" in opened.dropped


def test_a_packet_may_have_few_parts_for_few_bytes() -> None:
    opened = CODEC.open_packet(many([b"\x0b\x80"] * 200))
    assert 32 < len(opened.messages) < 200


def test_little_is_expanded_for_one_packet() -> None:
    noise = random.Random(1).randbytes(9_000)
    assert reason(compress(b"\x08" + noise)) == "too-large"
    assert CODEC.open_packet(many([compress(b"\x08" + noise[:5_000])] * 2)).dropped == ("too-large",)


# --- labels


def test_a_label_comes_first() -> None:
    codec = Codec(label="blue")
    assert codec.packet([NACK]) == b"\xf4\x04blue" + NACK
    assert codec.open_packet(b"\xf4\x04blue" + NACK) == Packet(("label",), (Nack(7),))


@pytest.mark.parametrize(
    "data",
    [NACK, b"\xf4", b"\xf4\x04blu", b"\xf4\x05bluer" + NACK, b"\xf4\x04BLUE" + NACK, b"\xf4\x00" + NACK],
)
def test_other_labels_are_refused(data: bytes) -> None:
    assert reason(data, Codec(label="blue")) == "label"


@pytest.mark.parametrize("data", [b"\xf4\x04blue" + NACK, b"\xf4", b"\xf4\x00" + NACK])
def test_a_label_is_refused_by_a_node_without_one(data: bytes) -> None:
    assert reason(data) == "label"


def test_nothing_behind_the_label() -> None:
    assert reason(b"\xf4\x04blue", Codec(label="blue")) == "truncated"


def test_a_label_must_fit_its_header() -> None:
    label = "é" * 127
    assert Codec(label=label).open_packet(Codec(label=label).packet([NACK])).messages == (Nack(7),)
    with pytest.raises(ValueError, match="at most 255"):
        Codec(label="é" * 128)
