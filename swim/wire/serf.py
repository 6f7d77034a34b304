"""Serf's layer on memberlist: tags in the meta data, and its messages in user messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from swim.wire.dialect import U64, map_header, pack, unpack, unpack_split
from swim.wire.errors import DecodeError
from swim.wire.source import Reading, Source

__all__ = [
    "EVENTS_MAX",
    "META_SIZE_MAX",
    "Exchange",
    "SerfMessage",
    "SerfType",
    "decode_message",
    "decode_tags",
    "encode_message",
    "encode_tags",
    "filter_fits",
    "read_exchange",
]

META_SIZE_MAX = 512
"""The largest meta data that memberlist sends."""

_TAGS = b"\xff"
_BY_NAME, _BY_TAG = b"\0", b"\1"
"""Kinds of the filters of a query."""
_SPECIAL = frozenset("\\.+*?()|[]{}^$")
"""What has a meaning of its own in a regular expression."""
_EXCHANGE_SIZE_MAX = 1_048_576
_ITEMS_MAX = 8_192  # of one array or map of an exchange
EVENTS_MAX = 1_024
"""Events that are read of one exchange."""
_FIELDS_MAX = 64  # of one map
_DEPTH_MAX = 16  # of a field that we do not know


# --- tags


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Tags as meta data; whether they are too large is for the caller to see."""
    return _TAGS + pack(dict(sorted(tags.items())))


def decode_tags(meta: bytes) -> dict[str, str]:
    """The tags in meta data; none if it holds anything else."""
    if not meta.startswith(_TAGS):
        return {}
    try:
        body = unpack(meta[1:])
    except DecodeError:
        return {}
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in body.items()
        if isinstance(key, bytes) and isinstance(value, bytes)
    }


# --- messages


class SerfType(IntEnum):
    """The first byte of a Serf message."""

    LEAVE = 0
    JOIN = 1
    PUSH_PULL = 2
    USER_EVENT = 3
    QUERY = 4
    QUERY_RESPONSE = 5
    CONFLICT_RESPONSE = 6
    KEY_REQUEST = 7
    KEY_RESPONSE = 8
    RELAY = 9


@dataclass(frozen=True, slots=True)
class SerfMessage:
    """A Serf message. `body` has Go's field names: numbers, text, bytes, lists and maps of those.

    Fields that we do not know are in it too: Serf relays them. `relayed` is what follows a relay header.
    """

    type: SerfType
    body: dict[str, Any]
    relayed: bytes = b""


def encode_message(kind: SerfType, body: Mapping[str, object]) -> bytes:
    """The payload of a user message."""
    return bytes((kind,)) + pack(dict(sorted(body.items())))


def decode_message(payload: bytes) -> SerfMessage | None:
    """The Serf message that is a user message's payload; None if it is none.

    A push/pull's user state, too, for people to look at: it may take long. Nodes use `read_exchange`.

    Nothing marks a payload as Serf's, so this is strict: every field there and of its kind, nothing after it.
    """
    shape = _SHAPES.get(payload[0]) if payload else None
    if shape is None:
        return None
    try:
        body, rest = unpack_split(payload[1:], _ITEMS_MAX)
        fields = _struct(body, shape)
    except DecodeError:
        return None
    kind = SerfType(payload[0])
    if bool(rest) != (kind is SerfType.RELAY):
        return None
    return SerfMessage(kind, fields, rest)


def filter_fits(text: bytes, name: str, tags: Mapping[str, str]) -> bool:
    """Whether a query with this filter is for a member of this name with these tags.

    Raises DecodeError for a bad one, and for a regular expression that is more than plain text: to carry out
    another's may take for ever.
    """
    kind, wanted = text[:1], unpack(map_header(1) + pack("") + text[1:])[b""]
    if kind == _BY_NAME and type(wanted) is list:
        return name.encode() in wanted
    if kind != _BY_TAG:
        raise DecodeError("type", "no filter that is known")
    fields = _struct(wanted, {b"Expr": _text, b"Tag": _text})
    if set(fields["Expr"]) & _SPECIAL:
        raise DecodeError("type", "a regular expression")
    return fields["Expr"] in tags.get(fields["Tag"], "")


# --- the user state of a push/pull


@dataclass(slots=True)
class Exchange:
    """What Serf puts into a push/pull: its clocks, and the events that it still remembers."""

    event_time: int = 0
    status_time: int = 0
    query_time: int = 0
    left: list[str] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Each with its time, and a body as that of a user event."""
    unread: int = 0
    """Events beyond `EVENTS_MAX`."""


_EXCHANGE_FIELDS = frozenset(
    (b"EventLTime", b"Events", b"LTime", b"LeftMembers", b"QueryLTime", b"StatusLTimes")
)
_EVENT_FIELDS = frozenset((b"Name", b"Payload", b"b", b"n", b"o"))


def read_exchange(user_state: bytes) -> Reading[Exchange]:
    """Read a user state, in steps. As strict as `decode_message`; but raises DecodeError."""
    if len(user_state) > _EXCHANGE_SIZE_MAX:
        raise DecodeError("too-large", f"a user state of {len(user_state)} bytes")
    source, exchange, missing = Source(user_state), Exchange(), set(_EXCHANGE_FIELDS)
    if (yield from source.take(1)) != bytes((SerfType.PUSH_PULL,)):
        raise DecodeError("type", "the user state is not Serf's")
    for _ in range((yield from source.entries(_FIELDS_MAX))):
        key = yield from source.value()
        if type(key) is bytes:  # it may be an empty list as well
            missing.discard(key)
        if key == b"EventLTime":
            exchange.event_time = _number((yield from source.value()))
        elif key == b"LTime":
            exchange.status_time = _number((yield from source.value()))
        elif key == b"QueryLTime":
            exchange.query_time = _number((yield from source.value()))
        elif key == b"LeftMembers":
            for _ in range((yield from source.items(_ITEMS_MAX))):
                exchange.left.append(_text((yield from source.value())))
        elif key == b"Events":
            yield from _read_events(source, exchange)
        else:  # the status times of all members, which are not needed here; or unknown
            yield from source.skip()
    if missing or source.left:
        raise DecodeError("body", "fields are missing, or something follows")
    return exchange


def _read_events(source: Source, exchange: Exchange) -> Reading[None]:
    passed = 0
    for _ in range((yield from source.items(_ITEMS_MAX))):
        if (yield from source.nil()):
            continue
        first, time = len(exchange.events), None
        for _ in range((yield from source.entries(_FIELDS_MAX))):
            key = yield from source.value()
            if key == b"LTime":
                time = _number((yield from source.value()))
            elif key != b"Events":
                yield from source.skip()
            else:
                for _ in range((yield from source.items(_ITEMS_MAX))):
                    passed += 1
                    yield from _read_event(source, exchange)
        if time is None or passed > _ITEMS_MAX:
            raise DecodeError("body", "events without a time, or very many")
        exchange.events[first:] = [(time, body) for _, body in exchange.events[first:]]


def _read_event(source: Source, exchange: Exchange) -> Reading[None]:
    if len(exchange.events) >= EVENTS_MAX:
        exchange.unread += 1
        yield from source.skip()
    elif not (yield from source.nil()):
        body = _struct((yield from source.fields(_EVENT_FIELDS)), _EVENT)
        exchange.events.append((0, body))


Reader = Callable[[Any], Any]
Shape = Mapping[bytes, Reader]


def _struct(body: Any, shape: Shape) -> dict[str, Any]:
    if not isinstance(body, dict) or not shape.keys() <= body.keys():
        raise DecodeError("body")
    return {_NAMES.get(key) or _text(key): shape.get(key, _anything)(value) for key, value in body.items()}


def _number(value: Any) -> int:
    if type(value) is int and 0 <= value <= U64:
        return value
    raise DecodeError("body")


def _signed(value: Any) -> int:
    if type(value) is int:
        return value
    raise DecodeError("body")


def _flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise DecodeError("body")


def _text(value: Any) -> str:
    if type(value) is not bytes:
        raise DecodeError("body")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DecodeError("body") from None


def _raw(value: Any) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    raise DecodeError("body")


def _array(item: Reader) -> Reader:
    def read(value: Any) -> list[Any] | None:
        if value is not None and type(value) is not list:
            raise DecodeError("body")
        return None if value is None else [item(each) for each in value]

    return read


def _structs(shape: Shape) -> Reader:
    """An array of structs, any of which may be nil."""
    return _array(lambda value: None if value is None else _struct(value, shape))


def _times(value: Any) -> dict[str, int] | None:
    if value is not None and type(value) is not dict:
        raise DecodeError("body")
    return None if value is None else {_text(name): _number(time) for name, time in value.items()}


def _anything(value: Any, depth: int = 0) -> Any:
    """A field that we do not know; its bytes may or may not be text."""
    if depth > _DEPTH_MAX:
        raise DecodeError("nested")
    if isinstance(value, dict):
        return {_text(key): _anything(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_anything(each, depth + 1) for each in value]
    return value if isinstance(value, bytes | int | float | None) else repr(value)


_EVENT: Shape = {b"Name": _text, b"Payload": _raw}
_NAMES = {key: key.decode() for key in _EVENT}
"""The same objects in a thousand events of one exchange."""
_SHAPES: dict[int, Shape] = {
    SerfType.LEAVE: {b"LTime": _number, b"Node": _text},
    SerfType.JOIN: {b"LTime": _number, b"Node": _text},
    SerfType.PUSH_PULL: {
        b"EventLTime": _number,
        b"Events": _structs({b"Events": _structs(_EVENT), b"LTime": _number}),
        b"LTime": _number,
        b"LeftMembers": _array(_text),
        b"QueryLTime": _number,
        b"StatusLTimes": _times,
    },
    SerfType.USER_EVENT: {b"CC": _flag, b"LTime": _number, b"Name": _text, b"Payload": _raw},
    SerfType.QUERY: {
        b"Addr": _raw,
        b"Filters": _array(_raw),
        b"Flags": _number,
        b"ID": _number,
        b"LTime": _number,
        b"Name": _text,
        b"Payload": _raw,
        b"Port": _number,
        b"RelayFactor": _number,
        b"SourceNode": _text,
        b"Timeout": _signed,
    },
    SerfType.QUERY_RESPONSE: {
        b"Flags": _number,
        b"From": _text,
        b"ID": _number,
        b"LTime": _number,
        b"Payload": _raw,
    },
    SerfType.RELAY: {
        b"DestAddr": lambda value: _struct(value, {b"IP": _raw, b"Port": _number, b"Zone": _text}),
        b"DestName": _text,
    },
}
