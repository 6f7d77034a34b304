"""Records: what members' applications say to each other, as it stands in the DATA of kept streams.

    record    four bytes of length, big-endian, of all that follows
              kind (1 byte), size of the topic (1 byte), topic
              of all kinds but MESSAGE: the call, 8 bytes that the asker has made up
              payload

A request and its answer go over two streams, each opened by the one that speaks. The call joins them: only
the process that was asked has been told of it, so no other can answer.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from swim.wire.errors import DecodeError
from swim.wire.kept import Data

__all__ = [
    "CALL_SIZE",
    "MESSAGE_SIZE_MAX",
    "TOPIC_SIZE_MAX",
    "Kind",
    "Lane",
    "Record",
    "RecordReader",
    "pack_failure",
    "pack_record",
    "unpack_failure",
]

MESSAGE_SIZE_MAX: Final = 1_048_576
"""Of a payload, in bytes."""
TOPIC_SIZE_MAX: Final = 128
"""In bytes of UTF-8."""
CALL_SIZE = 8
_LENGTH = Struct(">I")
_LENGTH_SIZE = _LENGTH.size
_BEGINNING = Struct(">IBB")
"""The length, the kind, and the size of the topic."""
_HEAD_SIZE = _BEGINNING.size - _LENGTH_SIZE
_RECORD_SIZE_MAX = _HEAD_SIZE + TOPIC_SIZE_MAX + CALL_SIZE + MESSAGE_SIZE_MAX
_FAILURE_SIZE_MAX = 4_096


class Kind(IntEnum):
    """What a record is."""

    MESSAGE = 0
    """To the readers of this topic."""
    REQUEST = 1
    """To the tasks that serve this topic: wants one ANSWER or FAILURE."""
    ANSWER = 2
    FAILURE = 3
    """The request was not carried out, or not to its end: see `unpack_failure`."""
    CANCEL = 4
    """The answer to this call is not waited for any more."""


_KINDS = tuple(Kind)

Lane = tuple[Kind, str]
"""What waits for different readers: messages of one topic, requests of one topic, and all the rest together.

Nothing in one lane waits for what is in another.
"""
_REST: Lane = (Kind.ANSWER, "")


class Record(NamedTuple):
    """One message, request, answer or cancellation."""

    payload: bytes
    kind: Kind = Kind.MESSAGE
    topic: str = ""
    call: bytes = b""

    @property
    def lane(self) -> Lane:
        return (self.kind, self.topic) if self.kind <= Kind.REQUEST else _REST


def pack_record(record: Record) -> bytes:
    """A record as it stands in DATA."""
    payload, kind, topic, call = record
    name = topic.encode()
    size = _HEAD_SIZE + len(name) + len(call) + len(payload)
    return b"".join((_BEGINNING.pack(size, kind, len(name)), name, call, payload))


def _unpack(content: bytes | memoryview, number: int) -> tuple[list[tuple[int, Record]], int]:
    """The whole records that stand there, numbered from this one on; and where the rest begins."""
    records: list[tuple[int, Record]] = []
    start, end = 0, len(content)
    while end - start >= _LENGTH_SIZE:
        (size,) = _LENGTH.unpack_from(content, start)
        if size > _RECORD_SIZE_MAX:
            raise DecodeError("too-large", f"a record of {size} bytes")
        stop = start + _LENGTH_SIZE + size
        if stop > end:
            break
        if size < _HEAD_SIZE:
            raise DecodeError("record", f"a record of {size} bytes")
        _, kind, topic_size = _BEGINNING.unpack_from(content, start)
        topic = start + _BEGINNING.size
        call = topic + topic_size
        payload = call + CALL_SIZE if kind else call
        if kind >= len(_KINDS) or topic_size > TOPIC_SIZE_MAX or not 0 <= stop - payload <= MESSAGE_SIZE_MAX:
            raise DecodeError("record", f"a record of kind {kind} and {size} bytes")
        try:
            name = str(content[topic:call], "utf-8") if topic_size else ""
        except UnicodeDecodeError:
            raise DecodeError("record", "a topic that is not UTF-8") from None
        parts = bytes(content[payload:stop]), _KINDS[kind], name, bytes(content[call:payload])
        records.append((number, Record(*parts)))
        start, number = stop, number + 1
    return records, start


def pack_failure(error: str, text: str) -> bytes:
    """The payload of a FAILURE: the name of an exception, and its text, which is cut where it is long."""
    name = error.encode(errors="replace")[:_FAILURE_SIZE_MAX]
    return name + b"\0" + text.encode(errors="replace")[:_FAILURE_SIZE_MAX]


def unpack_failure(payload: bytes) -> tuple[str, str]:
    """The name of the exception, and its text."""
    error, _, text = payload[: 2 * _FAILURE_SIZE_MAX + 1].partition(b"\0")
    return error.decode(errors="replace"), text.decode(errors="replace")


class RecordReader:
    """The records in the DATA of one stream."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._pending = bytearray()

    @property
    def memory(self) -> int:
        """Bytes that have come and are no whole record yet."""
        return len(self._pending)

    def feed(self, data: Data) -> list[tuple[int, Record]]:
        """The records that this completes, with their numbers."""
        number = data.number
        if number < (self._number or 0) or (self._pending and number != self._number):
            raise DecodeError("number", f"record {number} where {self._number} goes on")
        if not self._pending:
            records, start = _unpack(data.content, number)
            self._pending += data.content[start:]
        else:
            self._pending += data.content  # not copied, however often that is
            with memoryview(self._pending) as view:  # so that each payload is copied once
                records, start = _unpack(view, number)
            del self._pending[:start]
        self._number = number + len(records)
        return records
