"""Kept streams: the handshake, frames in any pieces, and what an attacker can do with sealed ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swim.wire import Codec, DecodeError, Keyring, records
from swim.wire.kept import (
    PIECE_SIZE_MAX,
    PROBE,
    Data,
    Hello,
    KeptChannel,
    Packet,
    Sign,
    Taken,
)
from swim.wire.records import Record, RecordReader, pack_record
from tests.wire.sealing import OldKeyring
from tests.wire.vectors import seeded_bytes

A = Hello("a", b"bootboot", b"A" * 16, to="b")
B = Hello("b", b"tootboot", b"B" * 16)
LABELS = ["", "blue"]
VERSIONS = [None, 0, 1]


def codec(label: str = "", version: int | None = None, key: bytes = b"k" * 16) -> Codec:
    if version is None:
        return Codec(label=label)
    keyring = (OldKeyring, Keyring)[version]([key], random_bytes=seeded_bytes(7))
    return Codec(label=label, keyring=keyring)


def ends(codec: Codec) -> tuple[KeptChannel, KeptChannel]:
    return codec.kept_channel(opener=True), codec.kept_channel(opener=False)


def shake_hands(opener: KeptChannel, acceptor: KeptChannel, a: Hello = A, b: Hello = B) -> list[bytes]:
    """Both are established; what was written, the opener's first."""
    written = [opener.encode(a)]
    assert acceptor.feed(written[0]) == [a]
    written.append(acceptor.encode(b))
    assert not opener.established
    assert opener.feed(written[1]) == [b]
    assert not acceptor.established
    written.append(opener.encode(Sign.READY))
    assert acceptor.feed(written[2]) == [Sign.READY]
    assert opener.established
    assert acceptor.established
    return written


def reason(channel: KeptChannel, data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        channel.feed(data)
    return caught.value.reason


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_handshake_and_bye(label: str, version: int | None) -> None:
    opener, acceptor = ends(codec(label, version))
    shake_hands(opener, acceptor)
    assert acceptor.feed(opener.encode(Sign.BYE)) == [Sign.BYE]
    assert opener.feed(acceptor.encode(Sign.BYE)) == [Sign.BYE]


@pytest.mark.parametrize("version", VERSIONS)
def test_packets_go_both_ways_between_the_rest(version: int | None) -> None:
    opener, acceptor = ends(codec("blue", version))
    shake_hands(opener, acceptor)
    packet = Packet(bytes(range(256)) * 5)
    assert acceptor.feed(opener.encode(packet) + opener.encode(Data(1, b"x"))) == [packet, Data(1, b"x")]
    assert opener.feed(acceptor.encode(Taken(1)) + acceptor.encode(packet)) == [Taken(1), packet]


@pytest.mark.parametrize("label", LABELS)
def test_no_other_stream_begins_as_a_kept_one(label: str) -> None:
    opening = codec(label).kept_opening
    assert opening.endswith(b"K")
    with pytest.raises(DecodeError) as caught:
        codec(label).stream_decoder(answering=False).feed(opening)
    assert caught.value.reason == "type"


@pytest.mark.parametrize("version", VERSIONS)
@given(cuts=st.lists(st.integers(0, 300), max_size=30), probes=st.integers(0, 3))
def test_frames_arrive_in_any_pieces_with_probes_between(
    version: int | None, cuts: list[int], probes: int
) -> None:
    opener, acceptor = ends(codec("blue", version))
    shake_hands(opener, acceptor)
    data = b"".join(PROBE * probes + opener.encode(Sign.BYE) for _ in range(4))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert [frame for piece in pieces for frame in acceptor.feed(piece)] == [Sign.BYE] * 4


@pytest.mark.parametrize("version", VERSIONS)
def test_frames_in_single_bytes(version: int | None) -> None:
    opener, acceptor = ends(codec(version=version))
    got = [frame for byte in PROBE + opener.encode(A) + PROBE for frame in acceptor.feed(bytes([byte]))]
    assert got == [A]
    opener.feed(acceptor.encode(B))
    data = PROBE + opener.encode(Sign.READY) + opener.encode(Sign.BYE)
    assert [f for byte in data for f in acceptor.feed(bytes([byte]))] == [Sign.READY, Sign.BYE]


# --- what is refused


def test_a_node_without_the_key_is_refused() -> None:
    keyed, plain, other = codec(version=1), codec(), codec(version=1, key=b"x" * 16)
    assert reason(keyed.kept_channel(opener=False), ends(plain)[0].encode(A)) == "plaintext"
    assert reason(plain.kept_channel(opener=False), ends(keyed)[0].encode(A)) == "encrypted"
    assert reason(keyed.kept_channel(opener=False), ends(other)[0].encode(A)) == "decrypt"


def test_another_label_does_not_open() -> None:
    blue, red = codec("blue", 1), codec("red", 1)
    assert reason(red.kept_channel(opener=False), ends(blue)[0].encode(A)) == "decrypt"


def test_nothing_is_in_clear() -> None:
    hello = Hello("a-rather-long-name", b"bootboot", b"S" * 16, "another-long-name")
    for version in (0, 1):
        opener, acceptor = ends(codec("", version))
        written = b"".join(shake_hands(opener, acceptor, hello, hello))
        for secret in (b"long-name", b"bootboot", b"SSSS"):
            assert secret not in written


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_comes_first_and_once(version: int | None) -> None:
    opener, acceptor = ends(codec(version=version))
    assert reason(acceptor, opener.encode(Sign.READY)) == "type"
    opener, acceptor = ends(codec(version=version))
    shake_hands(opener, acceptor)
    for again in (Sign.READY, A):
        one, two = ends(codec(version=version))
        shake_hands(one, two)
        if version is None:  # sealed, a second HELLO would change what the next is bound to
            assert reason(two, one.encode(again)) == "type"
        else:
            assert reason(two, one.encode(again)) in ("type", "decrypt")
    assert reason(opener, acceptor.encode(Sign.READY)) == "type"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x00\x00\x81\x01", "too-large"),
        (b"\xff\xff\xff\xff", "too-large"),
        (b"\x00\x00\x00\x01\x63", "type"),
        (b"\x00\x00\x00\x01\x10", "body"),
        (b"\x00\x00\x00\x02\x10\x80", "body"),
        (b"\x00\x00\x00\x02\x10\xc0", "body"),
        (b"\x00\x00\x00\x01\x01", "encrypted"),
    ],
)
def test_what_is_no_frame(data: bytes, expected: str) -> None:
    assert reason(codec().kept_channel(opener=False), data) == expected


@pytest.mark.parametrize(
    "hello",
    [
        Hello("", b"bootboot", b"A" * 16),
        Hello("a", b"boot", b"A" * 16),
        Hello("a", b"bootboot", b"A" * 15),
        Hello("a" * 256, b"bootboot", b"A" * 16),
        Hello("a", b"bootboot", b"A" * 16, "b" * 256),
    ],
)
def test_an_odd_hello(hello: Hello) -> None:
    opener, acceptor = ends(codec())
    assert reason(acceptor, opener.encode(hello)) == "body"


def test_an_unfinished_frame_is_bounded() -> None:
    channel = codec().kept_channel(opener=False)
    assert channel.feed(b"\x00\x00\x10\x00" + bytes(4095)) == []
    assert reason(channel, b"\x00") == "encrypted"


def test_a_million_probes_cost_nothing() -> None:
    opener, acceptor = ends(codec(version=1))
    shake_hands(opener, acceptor)
    for _ in range(16):
        assert acceptor.feed(PROBE * 16_384) == []
    assert acceptor.feed(opener.encode(Sign.BYE)) == [Sign.BYE]


# --- sealed frames are bound to their place


@pytest.fixture
def sealed() -> tuple[KeptChannel, KeptChannel]:
    opener, acceptor = ends(codec("blue", 1))
    shake_hands(opener, acceptor)
    return opener, acceptor


def test_no_frame_is_taken_twice(sealed: tuple[KeptChannel, KeptChannel]) -> None:
    opener, acceptor = sealed
    bye = opener.encode(Sign.BYE)
    assert acceptor.feed(bye) == [Sign.BYE]
    assert reason(acceptor, bye) == "decrypt"


def test_no_frame_is_taken_out_of_order(sealed: tuple[KeptChannel, KeptChannel]) -> None:
    opener, acceptor = sealed
    opener.encode(Sign.BYE)
    assert reason(acceptor, opener.encode(Sign.BYE)) == "decrypt"


def test_no_frame_is_reflected(sealed: tuple[KeptChannel, KeptChannel]) -> None:
    opener, _ = sealed
    assert reason(opener, opener.encode(Sign.BYE)) == "decrypt"
    alone, _ = ends(codec("blue", 1))
    assert reason(alone, alone.encode(A)) == "decrypt"


def test_no_frame_is_taken_from_another_connection(sealed: tuple[KeptChannel, KeptChannel]) -> None:
    other = ends(codec("blue", 1))
    shake_hands(*other, b=Hello("b", b"tootboot", b"C" * 16))
    assert reason(other[1], sealed[0].encode(Sign.BYE)) == "decrypt"
    assert reason(other[0], sealed[1].encode(Sign.BYE)) == "decrypt"


def test_a_replayed_handshake_is_never_established() -> None:
    opener, acceptor = ends(codec("blue", 1))
    hello, answer, ready = shake_hands(opener, acceptor)
    deceived = codec("blue", 1).kept_channel(opener=False)
    assert deceived.feed(hello) == [A]
    deceived.encode(Hello("b", b"tootboot", b"D" * 16))
    assert reason(deceived, ready) == "decrypt"
    assert not deceived.established
    calling = codec("blue", 1).kept_channel(opener=True)
    calling.encode(Hello("a", b"bootboot", b"E" * 16, to="b"))
    assert reason(calling, answer) == "decrypt"


def test_keys_are_exchanged_while_a_stream_is_open() -> None:
    old, new = b"o" * 16, b"n" * 32
    rings = [Keyring([old], random_bytes=seeded_bytes(3)) for _ in range(2)]
    opener = Codec(keyring=rings[0]).kept_channel(opener=True)
    acceptor = Codec(keyring=rings[1]).kept_channel(opener=False)
    shake_hands(opener, acceptor)
    for keys in ([old], [old, new], [new, old], [new]):
        rings[1].replace([new, old])
        rings[0].replace(keys)
        assert acceptor.feed(opener.encode(Sign.BYE)) == [Sign.BYE]
    rings[1].replace([b"z" * 16])
    assert reason(acceptor, opener.encode(Sign.BYE)) == "decrypt"


# --- whatever arrives


def mutations(data: bytes, rng: random.Random) -> Iterator[bytes]:
    for _ in range(40):
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(mutated) + 1)
            match rng.randrange(4):
                case 0 if mutated:
                    mutated[place % len(mutated)] = rng.randrange(256)
                case 1:
                    del mutated[place : place + rng.choice((1, 3, 20))]
                case 2:
                    mutated[place:place] = rng.randbytes(rng.choice((1, 3, 20)))
                case _:
                    del mutated[place:]
        yield bytes(mutated)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("opener", [True, False])
def test_damage_raises_nothing_but_decode_errors(version: int | None, opener: bool) -> None:
    rng = random.Random(11)
    for _ in range(60):
        mine = codec("", version)
        pair = ends(mine)
        hello, answer, ready = shake_hands(*pair)
        for data in mutations(answer if opener else hello + ready, rng):
            victim = mine.kept_channel(opener=opener)
            with suppress(DecodeError):
                if opener:
                    victim.encode(A)
                size = rng.choice((1, 7, 1000))
                for start in range(0, len(data), size):
                    victim.feed(data[start : start + size])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("opener", [True, False])
@given(pieces=st.lists(st.binary(max_size=60), max_size=8))
def test_anything_raises_nothing_but_decode_errors(
    version: int | None, opener: bool, pieces: list[bytes]
) -> None:
    channel = codec("", version).kept_channel(opener=opener)
    with suppress(DecodeError):
        for piece in pieces:
            channel.feed(piece)


@given(name=st.text(min_size=1, max_size=60), to=st.text(max_size=60), boot=st.binary(min_size=8, max_size=8))
def test_any_hello_arrives_as_it_was(name: str, to: str, boot: bytes) -> None:
    hello = Hello(name, boot, bytes(range(16)), to)
    for version in VERSIONS:
        opener, acceptor = ends(codec("blue", version))
        assert acceptor.feed(opener.encode(hello)) == [hello]


# --- messages


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
def test_messages_arrive_in_any_pieces_with_probes_between(version: int | None, data: st.DataObject) -> None:
    opener, acceptor = ends(codec("blue", version))
    shake_hands(opener, acceptor)
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 3, 100, 5_000]), max_size=6))
    records = [Record(bytes([number]) * size, topic="news" * number) for number, size in enumerate(sizes)]
    content = b"".join(map(pack_record, records))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    ends_of = list(accumulate(len(pack_record(record)) for record in records))
    written, reader, got = b"", RecordReader(), list[tuple[int, Record]]()
    for start, end in pairwise([0, *cuts, len(content)]):
        if start < end:
            number = 7 + sum(place <= start for place in ends_of)
            written += opener.encode(Data(number, content[start:end])) + PROBE
    step = data.draw(st.integers(1, 2_000))
    for start in range(0, len(written), step):
        for frame in acceptor.feed(written[start : start + step]):
            assert isinstance(frame, Data)
            got += reader.feed(frame)
    assert got == list(enumerate(records, 7))
    assert opener.feed(acceptor.encode(Taken(9))) == [Taken(9)]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([Data(1, b"\0\0")], None),
        ([Data(1, b"\0\0\0\5\0\0a"), Data(1, b"bc")], None),
        ([Data(1, b"\0\0\0\3\0\0a"), Data(9, b"\0\0\0\3\0\0b")], None),
        ([Data(1, b"\0\0\0\5\0\0a"), Data(2, b"bc")], "number"),
        ([Data(5, b"\0\0\0\3\0\0a"), Data(5, b"\0\0\0\3\0\0a")], "number"),
        ([Data(1, b"\0\x10\0\x8b")], "too-large"),
        ([Data(1, b"\xff" * 4)], "too-large"),
    ],
)
def test_numbers_and_sizes_of_messages_are_checked(frames: list[Data], reason: str | None) -> None:
    reader = RecordReader()
    for frame in frames[:-1]:
        reader.feed(frame)
    if reason is None:
        reader.feed(frames[-1])
        return
    with pytest.raises(DecodeError) as caught:
        reader.feed(frames[-1])
    assert caught.value.reason == reason


class Copied(bytearray):
    """Counts the bytes that are copied into, within and out of it."""

    count = 0  # type: ignore[assignment]

    def __iadd__(self, other: Any) -> Self:
        Copied.count += len(other)
        return super().__iadd__(other)

    def __add__(self, other: Any) -> bytearray:
        Copied.count += len(self) + len(other)
        return super().__add__(other)

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        Copied.count += len(found) if isinstance(found, bytearray) else 1
        return found

    def __bytes__(self) -> bytes:
        Copied.count += len(self)
        return self[:]


class Piece(bytes):
    """Counts what is copied when it is put behind something else."""

    def __radd__(self, other: Any) -> bytes:
        Copied.count += len(other) + len(self)
        return bytes.__add__(other, self)


def test_a_large_message_in_tiny_frames_is_copied_a_few_times_and_not_with_each_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "bytearray", Copied, raising=False)
    reader, size = RecordReader(), 20_000
    record = pack_record(Record(b"x" * size))
    Copied.count = 0
    got = [found for byte in record for found in reader.feed(Data(1, Piece((byte,))))]
    assert got == [(1, Record(b"x" * size))]
    assert size < Copied.count < 10 * size


def test_what_arrives_together_is_understood_a_few_frames_at_a_time() -> None:
    opener, acceptor = ends(codec())
    shake_hands(opener, acceptor)
    packets = [Packet(bytes([number])) for number in range(100)]
    written = b"".join(opener.encode(packet) + PROBE for packet in packets)
    got, parts = acceptor.feed(written[:-1], 7), 1
    while acceptor.ready:
        frames = acceptor.feed(b"", 7)
        assert len(frames) <= 7
        got += frames
        parts += 1
    assert got == packets
    assert parts >= 100 / 7


def test_messages_go_from_the_opener_to_the_acceptor_only_and_after_the_handshake() -> None:
    opener, acceptor = ends(codec())
    early = opener.encode(A) + opener.encode(Data(1, b"\0\0\0\0"))
    assert reason(acceptor, early) == "type"
    for sender, receiver, frame in ((0, 1, Taken(1)), (1, 0, Data(1, b"\0\0\0\0"))):
        both = ends(codec())
        shake_hands(*both)
        assert reason(both[receiver], both[sender].encode(frame)) == "type"


@pytest.mark.parametrize("content", [b"\x13", b"\x13\0\0", b"\x13" + bytes(8), b"\x14" + bytes(9), b"\x14\0"])
def test_frames_of_messages_that_are_none(content: bytes) -> None:
    opener, acceptor = ends(codec())
    shake_hands(opener, acceptor)
    end = acceptor if content[0] == 0x13 else opener
    assert reason(end, len(content).to_bytes(4, "big") + content) == "body"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x13" + b"\xff" * 8 + pack_record(Record(b"x")), "number"),
        (b"\x13\x80" + bytes(6) + b"\1" + pack_record(Record(b"x")), "number"),
        (b"\x14" + b"\xff" * 8, "number"),
    ],
)
def test_a_number_after_which_there_are_no_more(content: bytes, expected: str) -> None:
    opener, acceptor = ends(codec())
    shake_hands(opener, acceptor)
    end = acceptor if content[0] == 0x13 else opener
    assert reason(end, len(content).to_bytes(4, "big") + content) == expected


def test_all_messages_of_the_last_frame_can_be_acknowledged() -> None:
    opener, acceptor = ends(codec())
    shake_hands(opener, acceptor)
    (frame,) = acceptor.feed(opener.encode(Data(1 << 63, pack_record(Record(b"")) * (PIECE_SIZE_MAX // 6))))
    assert isinstance(frame, Data)
    last, _ = RecordReader().feed(frame)[-1]
    assert acceptor.encode(Taken(last))
