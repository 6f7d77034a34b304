"""The layers between a packet and its messages: label, checksum, compression, compound."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swim.wire import lzw
from swim.wire.bodies import packet_message
from swim.wire.dialect import COMPOUND, COMPRESS, CRC, LABEL, number, raw, unpack
from swim.wire.errors import DecodeError
from swim.wire.messages import Message

__all__ = [
    "COMPOUND_PARTS_MAX",
    "PacketReader",
    "check_crc",
    "compound",
    "compressed",
    "expanding",
    "label_header",
    "strip_label",
]

COMPOUND_PARTS_MAX = 127  # memberlist 0.2.2 counts in eight bits, twice, and loses all of a larger one

_LAYERS = frozenset((COMPOUND, COMPRESS, CRC))
_LAYERS_MAX = 8
_EXPANDED_SIZE_MAX = 65_536  # of one packet, all its layers together
_COMPRESSED_SIZE_MAX = 8_192  # likewise: to expand costs far more for each byte than anything else here
_PARTS_MAX = 256  # of one packet: as many as a compound can have
_PARTS_LEAST, _BYTES_FOR_PART = 32, 8
"""A packet may have so many parts, and another one for so many bytes; no news of a member is as small."""
_PART_SIZE_MAX = 0xFFFF


def label_header(label: bytes) -> bytes:
    """What precedes everything else, encryption included, where a label is in use."""
    return bytes((LABEL, len(label))) + label if label else b""


def strip_label(data: bytes, label: bytes) -> bytes:
    """The packet behind its label, which must be ours; without one there must be none."""
    if label:
        header = label_header(label)
        if not data.startswith(header):
            raise DecodeError("label", "another label, or none")
        return data[len(header) :]
    if data[:1] == b"\xf4":
        raise DecodeError("label", "a label, and this node has none")
    return data


def compound(parts: Sequence[bytes]) -> bytes:
    """Several messages in one packet."""
    if len(parts) > COMPOUND_PARTS_MAX:
        raise ValueError(f"{len(parts)} parts in one packet: at most {COMPOUND_PARTS_MAX}")
    if any(len(part) > _PART_SIZE_MAX for part in parts):
        raise ValueError(f"a part is larger than {_PART_SIZE_MAX} bytes")
    lengths = struct.pack(f">{len(parts)}H", *map(len, parts))
    return bytes((COMPOUND, len(parts))) + lengths + b"".join(parts)


def check_crc(data: bytes) -> bytes:
    """What a checksum protects."""
    content = data[5:]
    if not content:
        raise DecodeError("truncated", "a checksum of nothing")
    if zlib.crc32(content) != int.from_bytes(data[1:5], "big"):
        raise DecodeError("crc")
    return content


def compressed(body: Mapping[bytes, Any], size_max: int) -> bytes:
    """What a compressed message holds, as it is; `size_max` bounds the time that it takes to expand it."""
    if number(body, b"Algo", 0xFF):
        raise DecodeError("lzw", "another algorithm")
    content = raw(body, b"Buf")
    if len(content) > size_max:
        raise DecodeError("too-large", f"{len(content)} compressed bytes")
    return content


def expanding(content: bytes, size_max: int) -> Generator[None, None, bytes]:
    """The message within what is `compressed`, in steps; `size_max` bounds the memory that it takes."""
    expanded = yield from lzw.decompressing(content, size_max)
    if not expanded:
        raise DecodeError("truncated", "nothing is compressed")
    return expanded


@dataclass(slots=True)
class PacketReader:
    """Collects the messages of one packet, through all its layers and within its limits.

    Everything counts as a part, also what holds nothing: layers around nothing cost time like any other.
    """

    layers: list[str]
    messages: list[Message] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    _parts: int = 0
    _parts_max: int = _PARTS_LEAST
    _compressed: int = 0
    _expanded: int = 0

    def read_all(self, data: bytes) -> None:
        """Read a whole packet."""
        self._allow_parts(len(data))
        self._read(data, 0)

    def _allow_parts(self, size: int) -> None:
        self._parts_max = min(self._parts_max + size // _BYTES_FOR_PART, _PARTS_MAX)

    def _read(self, data: bytes, depth: int) -> None:
        """Read one message, or all within a compound or compressed one."""
        self._parts += 1
        if not data:
            raise DecodeError("truncated", "an empty message")
        kind = data[0]
        if kind == COMPOUND:
            self._enter("compound", depth)
            self._read_compound(data, depth + 1)
        elif kind == COMPRESS:
            self._enter("compress", depth)
            self._read(self._expand(data), depth + 1)
        elif kind == CRC:
            raise DecodeError("crc", "a checksum within another layer")
        else:
            self.messages.append(packet_message(data))

    def _enter(self, layer: str, depth: int) -> None:
        if depth >= _LAYERS_MAX:
            raise DecodeError("nested", f"more than {_LAYERS_MAX} layers")
        if layer not in self.layers:
            self.layers.append(layer)

    def _expand(self, data: bytes) -> bytes:
        content = compressed(unpack(data[1:]), _COMPRESSED_SIZE_MAX - self._compressed)
        self._compressed += len(content)
        expanded = lzw.decompress(content, _EXPANDED_SIZE_MAX - self._expanded)
        self._expanded += len(expanded)
        self._allow_parts(len(expanded))
        return expanded

    def _read_compound(self, data: bytes, depth: int) -> None:
        """Read every part that can be read; the others are noted."""
        start = 2 + 2 * data[1] if len(data) > 1 else 2
        if len(data) < start:
            raise DecodeError("truncated", "a compound without its lengths")
        for (length,) in struct.iter_unpack(">H", data[2:start]):
            if self._parts > self._parts_max:
                self.dropped.append("parts-max")
                return
            end = start + length
            if end > len(data):
                # The lengths say how to find the parts, so with one cut short the rest is lost too.
                self.dropped.append("truncated")
                return
            try:
                if start < end and data[start] not in _LAYERS:  # as nearly all
                    self._parts += 1
                    self.messages.append(packet_message(data[start:end]))
                else:
                    self._read(data[start:end], depth)
            except DecodeError as error:
                self.dropped.append(error.reason)
            start = end
