"""LZW against itself; the recorded vectors hold it against Go's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compressing import lzw as lzw_compress
from swim.wire import DecodeError, lzw


def codes(*pairs: tuple[int, int]) -> bytes:
    """Codes with their widths in bits, least significant bit first."""
    value = shift = 0
    for code, width in pairs:
        value |= code << shift
        shift += width
    return value.to_bytes((shift + 7) // 8, "little")


@given(st.binary(max_size=2000) | st.text("ab", max_size=3000).map(str.encode))
def test_round_trip(data: bytes) -> None:
    assert lzw.decompress(lzw_compress(data), len(data)) == data


@pytest.mark.parametrize("kind", ["random", "text", "zeros"])
def test_round_trip_through_full_tables(kind: str) -> None:
    rng = random.Random(4)
    data = {
        "random": rng.randbytes(30_000),
        "text": b" ".join(b"node-%d" % rng.randrange(5000) for _ in range(20_000)),
        "zeros": bytes(200_000),
    }[kind]
    assert lzw.decompress(lzw_compress(data), len(data)) == data


def test_every_length_around_the_first_full_table() -> None:
    # The table fills after 3837 codes; random bytes take a little less than one code each. Whatever the
    # encoder does on its last code there (a wider end code, a clear code) must be understood.
    data = random.Random(7).randbytes(4000)
    for length in (*range(250, 260), *range(3830, 4000)):
        assert lzw.decompress(lzw_compress(data[:length]), length) == data[:length]


def test_the_table_may_stay_full() -> None:
    # Our encoder clears it in time, others need not: codes stay at 12 bits and nothing is defined any more.
    data = bytes(range(256)) * 16
    pairs = [(256, 9)]
    defined = 257
    for byte in data:
        pairs.append((byte, min(12, max(9, defined.bit_length()))))
        defined = min(defined + 1, 4095)
    pairs += [(4095, 12), (258, 12), (257, 12)]
    assert lzw.decompress(codes(*pairs), 10_000) == data + data[3837:3839] + data[:2]


def test_a_code_may_use_the_entry_that_it_defines() -> None:
    assert lzw.decompress(codes((256, 9), (97, 9), (258, 9), (257, 9)), 10) == b"aaa"


def test_nothing_compresses_to_something() -> None:
    assert lzw.decompress(lzw_compress(b""), 0) == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(codes((256, 9), (97, 9)), id="no end code"),
        pytest.param(codes((258, 9), (257, 9)), id="undefined first code"),
        pytest.param(codes((256, 9), (97, 9), (259, 9), (257, 9)), id="code too high"),
        pytest.param(codes((256, 9), (97, 9), (98, 9), (256, 9), (258, 9)), id="code cleared away"),
    ],
)
def test_what_cannot_be_expanded(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        lzw.decompress(data, 1000)
    assert caught.value.reason == "lzw"


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = lzw_compress(bytes(1_000_000))
    assert len(bomb) < 2_500
    assert len(lzw.decompress(bomb, 1_000_000)) == 1_000_000
    with pytest.raises(DecodeError) as caught:
        lzw.decompress(bomb, 999_999)
    assert caught.value.reason == "too-large"
