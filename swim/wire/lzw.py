"""LZW as memberlist uses it: GIF's, least significant bit first, with literals of eight bits.

Codes start at 9 bits and grow to 12. It is only read: what this node sends is not compressed.
"""

from __future__ import annotations

from collections.abc import Generator

from swim.wire.errors import DecodeError

__all__ = ["decompress", "decompressing"]

_CLEAR = 256
_END = 257
_WIDTH_MIN = 9
_WIDTH_MAX = 12
_STEP = 4_096
"""Compressed bytes between two places where `decompressing` can be interrupted: one or two milliseconds."""
_LITERALS = tuple(bytearray((byte,)) for byte in range(_CLEAR))
_FIRST = 258
"""Code of the first entry of the table."""


def decompress(data: bytes, size_max: int) -> bytes:
    """The original of `data`; refused as soon as it exceeds `size_max` bytes."""
    steps = decompressing(data, size_max)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return bytes(finished.value)


def decompressing(data: bytes, size_max: int) -> Generator[None, None, bytes]:
    """As `decompress`, in steps: something else can be done between them."""
    # Each entry of the table by where it stands in the output: many small objects fragment the memory.
    # `previous`: of the last code; empty after a clear code and when the table is full.
    starts, ends, previous = [0] * _FIRST, [0] * _FIRST, bytearray()
    width, grow_at = _WIDTH_MIN, 1 << _WIDTH_MIN
    buffer = bits = position = at = 0
    output = bytearray()
    end = min(_STEP, len(data))
    while True:
        while bits < width:
            if position == end:
                if end == len(data):
                    raise DecodeError("lzw", "no end code")
                end = min(end + _STEP, len(data))
                yield
            buffer |= data[position] << bits
            position += 1
            bits += 8
        code = buffer & (grow_at - 1)
        buffer >>= width
        bits -= width
        if code == _CLEAR:
            del starts[_FIRST:], ends[_FIRST:]
            previous = bytearray()
            width, grow_at = _WIDTH_MIN, 1 << _WIDTH_MIN
            continue
        if code == _END:
            return bytes(output)
        if code < _CLEAR:
            entry = _LITERALS[code]
        elif code < len(starts):
            entry = output[starts[code] : ends[code]]
        elif code == len(starts) and previous:
            entry = previous + previous[:1]  # the entry that this very code is about to define
        else:
            raise DecodeError("lzw", "a code before its definition")
        output += entry
        if len(output) > size_max:
            raise DecodeError("too-large", f"expands to more than {size_max} bytes")
        before, at = at, len(output) - len(entry)
        if previous:  # with the first byte behind it an entry of its own
            starts.append(before)
            ends.append(at + 1)
            if len(starts) == grow_at:
                if width == _WIDTH_MAX:
                    previous = bytearray()
                    continue
                width += 1
                grow_at <<= 1
        elif len(starts) == 1 << _WIDTH_MAX:
            continue  # full: no new entries until the next clear code
        previous = entry
