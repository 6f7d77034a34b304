"""Compressed messages, as memberlist sends them: nodes only read these, tests and hostile traffic write them.

The encoder sends a clear code first and again when it runs out of codes, exactly where Go's `compress/lzw`
does, so that both give the same bytes.
"""

from __future__ import annotations

from swim.wire.dialect import COMPRESS, pack

__all__ = ["compress", "lzw"]

_CLEAR = 256
_END = 257
_WIDTH_MIN = 9
_WIDTH_MAX = 12


def compress(content: bytes) -> bytes:
    """`content` as a compressed message, which may be larger."""
    return bytes((COMPRESS,)) + pack({"Algo": 0, "Buf": lzw(content)})


def lzw(data: bytes) -> bytes:
    """`data` compressed, byte for byte as Go does it."""
    table: dict[int, int] = {}
    last = _END  # the code defined last
    width, grow_at = _WIDTH_MIN, 1 << _WIDTH_MIN
    buffer, bits = _CLEAR, _WIDTH_MIN
    output = bytearray()
    prefix = data[0] if data else -1  # the code of what is read and not yet written
    for byte in memoryview(data)[1:]:
        key = prefix << 8 | byte
        known = table.get(key)
        if known is not None:
            prefix = known
            continue
        buffer |= prefix << bits
        bits += width
        prefix = byte
        last += 1
        if last == grow_at:
            width += 1
            grow_at <<= 1
        if last == (1 << _WIDTH_MAX) - 1:
            buffer |= _CLEAR << bits
            bits += width
            table.clear()
            last = _END
            width, grow_at = _WIDTH_MIN, 1 << _WIDTH_MIN
        else:
            table[key] = last
        while bits >= 8:
            output.append(buffer & 0xFF)
            buffer >>= 8
            bits -= 8
    if prefix >= 0:
        buffer |= prefix << bits
        bits += width
        last += 1
        # The last code counts too: it may widen the end code, or bring one more clear code before it.
        if last == grow_at:
            width += 1
        if last == (1 << _WIDTH_MAX) - 1:
            buffer |= _CLEAR << bits
            bits += width
            width = _WIDTH_MIN
    buffer |= _END << bits
    bits += width
    return bytes(output) + buffer.to_bytes((bits + 7) // 8, "little")
