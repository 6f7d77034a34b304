"""Leases on names as bytes: a user message that begins with `LEASES_MARK`.

One message carries many entries, each an array: what it is, of which use of a name, and what belongs to it.
An entry's trailing fields are left out where they say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from swim.wire.dialect import U32, USER, Body, number, pack, raw
from swim.wire.errors import DecodeError

__all__ = [
    "LEASES_MARK",
    "LEASE_NAME_SIZE_MAX",
    "LeaseEntry",
    "LeaseKind",
    "LeaseMessage",
    "LeaseRefusal",
    "lease_message",
    "pack_lease_message",
    "paged",
    "size_of_entry",
]

LEASES_MARK = 0x6E
LEASE_NAME_SIZE_MAX = 128
"""Bytes of a name."""
_COUNT_MAX = 1 << 53
_ENTRIES_MAX = 512
_FIELDS_MAX = 6
_TOKEN_SIZE_MAX = 24
_BYTES_MAX = 16
_ENTRY_OVERHEAD = 27


class LeaseKind(IntEnum):
    """What an entry says. The first five are for the leader, the others are the leader's."""

    WANT = 0
    """I want this name, which `number` may have at once. Said again, it keeps the place in the queue."""
    HOLD = 1
    """I hold this name, by this token."""
    RELEASE = 2
    """I do not hold this token; without a token: this use of the name is over, whatever it has been given."""
    WHO = 3
    """Which member holds this name?"""
    TOLD = 4
    """You know all that I hold."""
    GRANT = 5
    """You have it, by this token, counted from when you sent your message of this `number`."""
    MOVE = 6
    """Another one is to have what you hold by this token: end your use of it, and release it."""
    REFUSE = 7
    """You do not have this token; without a token: you will not get the name, for the reason of `number`."""
    FREED = 8
    """To RELEASE: this use of the name is over."""
    OWNER = 9
    """To WHO: the member of this name; an empty one: none."""
    TELL = 10
    """What do you hold? I am about to grant what no holder tells me of."""


class LeaseRefusal(IntEnum):
    """Why the leader does not grant a name, and will not."""

    NONE = 0
    DIFFERS = 1
    """Others use the name with another limit, or in another way."""
    FULL = 2
    """The leader keeps as many names as it can."""
    MEMBER_FULL = 3
    """The member wants and holds as many as one may."""
    SESSION = 4
    """The member counts sessions of another length (`Config.session`, `Config.lease`)."""


class LeaseEntry(NamedTuple):
    """Of one use of a name: from when a process asks for it until it has released it. Its `id` is never used
    again by that process."""

    kind: LeaseKind
    id: int = 0
    name: str = ""
    token: bytes = b""
    number: int = 0
    owned: bool = False  # of WANT and HOLD: the leader chooses which of those that want it has it


@dataclass(frozen=True, slots=True)
class LeaseMessage:
    """Ours, about leases on names, between a member and the leader in its `term`.

    `process` is the sender's, and `between` a digest of the label, the term, and of the names and processes
    of sender and receiver: so it says nothing to anybody else. `numbers`: of a member, the number of
    this message; of the leader, those that it answers.
    """

    term: bytes  # packed
    process: bytes = b""
    between: bytes = b""
    numbers: tuple[int, ...] = ()
    entries: tuple[LeaseEntry, ...] = ()
    digest: bytes = b""  # of a member: of what it wants and holds, as far as its ids go up to `bound`
    bound: int = 0
    session_ms: int = 0  # of a member: how long it believes that a session lasts
    unknown: tuple[int, ...] = ()  # of the leader: the numbers whose digest it does not know
    age_ms: int = 0  # of the leader: for so long its voters have not granted it the lease anew


_KINDS = tuple(LeaseKind)
_DEFAULTS: list[Any] = [b"", b"", 0, False]


def _counts(body: Body, key: bytes) -> tuple[int, ...]:
    values = body.get(key, [])
    if not isinstance(values, list) or not all(
        type(each) is int and 0 <= each <= _COUNT_MAX for each in values
    ):
        raise DecodeError("body", f"{key.decode()} is not a list of numbers")
    return tuple(values)


def _entry(fields: Any) -> LeaseEntry:
    if not isinstance(fields, list) or not 2 <= len(fields) <= _FIELDS_MAX:
        raise DecodeError("body", "an entry about a lease is no list of its fields")
    kind, id, name, token, count, owned = fields + _DEFAULTS[len(fields) - 2 :]
    numbers = type(kind) is int and type(id) is int and type(count) is int
    known = numbers and 0 <= kind < len(_KINDS) and 0 <= id <= _COUNT_MAX and 0 <= count <= _COUNT_MAX
    if not known or type(owned) is not bool:
        raise DecodeError("body", "an entry about a lease makes no sense")
    if type(name) is not bytes or len(name) > LEASE_NAME_SIZE_MAX:
        raise DecodeError("body", f"the name of a lease has more than {LEASE_NAME_SIZE_MAX} bytes")
    if type(token) is not bytes or len(token) not in (0, _TOKEN_SIZE_MAX):
        raise DecodeError("body", "the token of a lease has another size")
    try:
        return LeaseEntry(_KINDS[kind], id, name.decode(), token, count, owned)
    except UnicodeDecodeError:
        raise DecodeError("body", "the name of a lease is not UTF-8") from None


def lease_message(body: Body) -> LeaseMessage:
    entries = body.get(b"e", [])
    if not isinstance(entries, list) or len(entries) > _ENTRIES_MAX:
        raise DecodeError("body", f"e is not a list of up to {_ENTRIES_MAX} entries")
    return LeaseMessage(
        raw(body, b"t", _BYTES_MAX),
        raw(body, b"b", _BYTES_MAX),
        raw(body, b"s", _BYTES_MAX),
        _counts(body, b"n"),
        tuple(map(_entry, entries)),
        raw(body, b"d", _BYTES_MAX),
        number(body, b"m", _COUNT_MAX),
        number(body, b"l", U32),
        _counts(body, b"u"),
        number(body, b"a", U32),
    )


def _fields(entry: LeaseEntry) -> list[object]:
    fields: list[object] = [entry.kind, entry.id, entry.name, entry.token, entry.number, entry.owned]
    while not fields[-1] and len(fields) > 2:
        fields.pop()
    return fields


def pack_lease_message(message: LeaseMessage) -> bytes:
    fields = {
        "a": message.age_ms,
        "b": message.process,
        "d": message.digest,
        "e": [_fields(entry) for entry in message.entries],
        "l": message.session_ms,
        "m": message.bound,
        "n": message.numbers,
        "s": message.between,
        "t": message.term,
        "u": message.unknown,
    }
    return bytes((USER, LEASES_MARK)) + pack({key: value for key, value in fields.items() if value})


T = TypeVar("T")


def paged(pieces: Iterable[tuple[int, T]], room: int) -> list[list[T]]:
    """Pieces, each with its size, in portions for one message each, which has so many bytes of room."""
    pages: list[list[T]] = []
    left = 0
    for size, piece in pieces:
        if size > left or not pages:
            pages.append([])
            left = room
        pages[-1].append(piece)
        left -= size
    return pages


def size_of_entry(entry: LeaseEntry) -> int:
    """Bytes that it takes at most."""
    return _ENTRY_OVERHEAD + len(entry.name.encode()) + len(entry.token)
