"""memberlist's dialect of msgpack: message types, and checked access to the fields of a map.

The dialect is the old one: text and bytes are both "raw". Structs are maps keyed by Go's field names.
On receipt nil and absent mean zero, any width of integer will do, and unknown fields are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgpack

from swim.wire.errors import DecodeError

# The first byte of a message.
PING: Final = 0
PING_REQ: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESS: Final = 9
ENCRYPT: Final = 10
NACK: Final = 11
CRC: Final = 12
ERROR: Final = 13
KEPT: Final = 0x4B  # our own: what opens a kept stream
LABEL: Final = 244

NAME_SIZE_MAX = 255
U16 = 0xFFFF
U32 = 0xFFFF_FFFF
U64 = 0xFFFF_FFFF_FFFF_FFFF

Body = Mapping[bytes, Any]

_ITEMS_MAX = 1_024  # of a container
_UNPACKING_SIZE = 4_096
"""Bytes of memory that an `Unpacking` begins with, where msgpack would take a megabyte for each."""

# What msgpack raises for bad input; TypeError is for keys that cannot be hashed.
UNPACK_ERRORS = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


# One packer for all: it is in use only within a call, and keeps no state between calls.
_packer = msgpack.Packer(use_bin_type=False)
pack: Callable[[object], bytes] = _packer.pack
array_header: Callable[[int], bytes] = _packer.pack_array_header
map_header: Callable[[int], bytes] = _packer.pack_map_header


def unpack(data: bytes) -> dict[bytes, Any]:
    """The map at the start of `data`; what follows it is ignored."""
    return unpack_split(data)[0]


def unpack_split(data: bytes, items_max: int = _ITEMS_MAX) -> tuple[dict[bytes, Any], bytes]:
    """The map at the start of `data`, and what follows it.

    `items_max` bounds every container: msgpack allocates an array before it has seen what is in it.
    """
    rest = b""
    try:
        body = msgpack.unpackb(
            data, raw=True, strict_map_key=False, max_array_len=items_max, max_map_len=items_max
        )
    except msgpack.ExtraData as extra:
        body, rest = extra.unpacked, extra.extra
    except UNPACK_ERRORS as error:
        raise DecodeError("body", str(error)) from None
    if type(body) is not dict:
        raise DecodeError("body", "not a map")
    return body, rest


class Unpacking:
    """As `unpack`, for very many small maps with nothing behind any of them: in half of the time."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            max_array_len=_ITEMS_MAX,
            max_map_len=_ITEMS_MAX,
            read_size=_UNPACKING_SIZE,
        )

    def unpack(self, data: bytes) -> Body:
        try:
            self._unpacker.feed(data)
            body: Body = self._unpacker.unpack()
        except UNPACK_ERRORS as error:
            self._renew()  # it stands somewhere within
            raise DecodeError("body", str(error)) from None
        return body


def is_map(value: bytes) -> bool:
    """Do these bytes begin a map?"""
    return value[0] >> 4 == 0x8 or value[0] in (0xDE, 0xDF)


def number(body: Body, key: bytes, limit: int) -> int:
    """An integer from 0 to `limit`."""
    value = body.get(key)
    if type(value) is int and 0 <= value <= limit:
        return value
    if value is None:
        return 0
    raise DecodeError("body", f"{key.decode()} is not a number from 0 to {limit}")


def raw(body: Body, key: bytes, size_max: int = U32) -> bytes:
    value = body.get(key)
    if type(value) is bytes and len(value) <= size_max:
        return value
    if value is None:
        return b""
    raise DecodeError("body", f"{key.decode()} is not a string of up to {size_max} bytes")


def text(body: Body, key: bytes, size_max: int = NAME_SIZE_MAX) -> str:
    value = body.get(key)
    try:
        if type(value) is bytes and len(value) <= size_max:
            return value.decode()
        return raw(body, key, size_max).decode()
    except UnicodeDecodeError:
        raise DecodeError("body", f"{key.decode()} is not UTF-8") from None


def utf8(what: str, text: str) -> bytes:
    """Text as the wire carries it. What Python made of bytes that were not UTF-8 is a ValueError."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} {text!r} is not valid Unicode text: give one without surrogates") from None


def name(body: Body, key: bytes) -> str:
    name = text(body, key)
    if not name:
        raise DecodeError("body", f"{key.decode()} is empty")
    return name


def flag(body: Body, key: bytes) -> bool:
    value = body.get(key, False)
    if value is None or type(value) is bool:
        return bool(value)
    raise DecodeError("body", f"{key.decode()} is neither true nor false")


def host(body: Body, key: bytes, *, optional: bool = False) -> bytes:
    value = body.get(key)
    if type(value) is bytes and len(value) in (4, 16):
        return value
    if optional and not value and (value is None or value == b""):
        return b""
    raise DecodeError("body", f"{key.decode()} is not an IP address")
