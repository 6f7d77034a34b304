"""Leases on names as bytes."""

from __future__ import annotations

import random

import msgpack
import pytest

from swim.wire.bodies import encode, packet_message
from swim.wire.errors import DecodeError
from swim.wire.leases import LEASES_MARK, LeaseEntry, LeaseKind, LeaseMessage, size_of_entry

TOKEN = bytes(range(24))


def coded(fields: object) -> bytes:
    return bytes((8, LEASES_MARK)) + bytes(msgpack.packb(fields, use_bin_type=False))


def test_the_bytes_of_a_question() -> None:
    entry = LeaseEntry(LeaseKind.WANT, 1, "x", number=1)
    message = LeaseMessage(b"t" * 16, b"p" * 8, b"s" * 8, (1,), (entry,), session_ms=6_000)
    assert (
        encode(message).hex()
        == (
            "086e"
            "86"
            "a162a87070707070707070"  # b: the process
            "a16591" + "950001a178a001"  # e: one entry: kind, id, name, token, number
            "a16ccd1770"  # l: the length of a session, in milliseconds
            "a16e9101"  # n: the number
            "a173a87373737373737373"  # s: for whom
            "a174b0" + "74" * 16  # t: the term
        )
    )


@pytest.mark.parametrize(
    "message",
    [
        LeaseMessage(b"t" * 16),
        LeaseMessage(
            b"t" * 16,
            b"p" * 8,
            b"s" * 8,
            (1, 2, 1 << 50),
            tuple(LeaseEntry(kind, 7, "ä" * 64, TOKEN, 65_535, True) for kind in LeaseKind),
            b"d" * 8,
            1 << 40,
            6_000,
            (2,),
        ),
    ],
    ids=["empty", "full"],
)
def test_every_message_is_read_as_it_was_written(message: LeaseMessage) -> None:
    assert packet_message(encode(message)) == message


def test_entries_take_no_more_room_than_is_said() -> None:
    rng = random.Random(1)
    for _ in range(200):
        entry = LeaseEntry(
            rng.choice(list(LeaseKind)),
            rng.getrandbits(rng.choice([4, 20, 53])) % (1 << 53),
            "n" * rng.randint(0, 128),
            rng.choice([b"", TOKEN]),
            rng.getrandbits(rng.choice([1, 16, 52])),
            rng.random() < 0.5,
        )
        alone, two = (len(encode(LeaseMessage(b"", entries=(entry,) * count))) for count in (1, 2))
        assert two - alone <= size_of_entry(entry)


@pytest.mark.parametrize(
    "entry",
    [
        [],
        [0],
        [0, 1, b"x", b"", 1, False, 0],
        [99, 1],
        [-1, 1],
        [0, -1],
        [0, 1 << 60],
        [0, True],
        [0, 1, b"x" * 129],
        [0, 1, b"\xff"],
        [0, 1, 5],
        [0, 1, b"x", b"short"],
        [0, 1, b"x", b"", -1],
        [0, 1, b"x", b"", 1, 1],
        7,
        None,
        {},
    ],
)
def test_entries_that_make_no_sense(entry: object) -> None:
    with pytest.raises(DecodeError):
        packet_message(coded({"e": [entry]}))


@pytest.mark.parametrize(
    "fields",
    [
        {"e": 5},
        {"e": {}},
        {"e": [[0, 1]] * 513},
        {"n": 5},
        {"n": [-1]},
        {"n": [b"1"]},
        {"t": b"t" * 17},
        {"b": 5},
        {"d": b"d" * 17},
        {"l": -1},
        {"m": 1 << 60},
        {"u": [None]},
    ],
)
def test_messages_that_make_no_sense(fields: object) -> None:
    with pytest.raises(DecodeError):
        packet_message(coded(fields))


def test_fields_that_are_not_known_are_skipped() -> None:
    assert packet_message(coded({"t": b"t" * 16, "z": 1})) == LeaseMessage(b"t" * 16)
