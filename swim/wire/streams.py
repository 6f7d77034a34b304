"""One message on a TCP connection: encoded at once, decoded as its bytes arrive.

Nothing on a stream but an encrypted message states its whole length: the end is found by reading.
The reader is a generator that stops where bytes are missing, so that nothing is ever read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgpack

from swim.wire.bodies import (
    ack,
    encode,
    error_message,
    greeting,
    node_state,
    pack_node_state,
    pack_push_pull_header,
    ping,
)
from swim.wire.dialect import (
    ACK,
    COMPRESS,
    ENCRYPT,
    ERROR,
    LABEL,
    PING,
    PUSH_PULL,
    UNPACK_ERRORS,
    USER,
    Body,
    flag,
    number,
    pack,
)
from swim.wire.errors import DecodeError
from swim.wire.framing import expand, label_header
from swim.wire.keyring import SEALED_SIZE_MIN, Keyring
from swim.wire.messages import NodeState, PushPull, StreamMessage, UserMessage

__all__ = ["NODES_MAX", "StreamDecoder", "seal_stream", "stream_content"]

_CONTENT_SIZE_MAX = 20 * 1024 * 1024  # memberlist's limit
_STREAM_SIZE_MAX = _CONTENT_SIZE_MAX + 1024  # with label and encryption
# memberlist's limit is 40 MiB; in Python that could take ten seconds, in which nothing else is done.
# This is enough for some 20,000 members and takes half a second at the worst.
_EXPANDED_SIZE_MAX = 4 * 1024 * 1024
_COMPRESSED_SIZE_MAX = 1024 * 1024
NODES_MAX = 65_536
_FIELDS_MAX = 64  # of one map

_PING_FIELDS = frozenset((b"Node", b"SeqNo", b"SourceAddr", b"SourceNode", b"SourcePort", b"i", b"s", b"v"))
_ACK_FIELDS = frozenset((b"Payload", b"SeqNo", b"b", b"i", b"s", b"u", b"w"))
_HEADER_FIELDS = frozenset((b"Join", b"Nodes", b"UserStateLen", b"swim"))
_GREETING_FIELDS = frozenset((b"a", b"b", b"c", b"f", b"j", b"l", b"n", b"p", b"t", b"v"))
_NODE_FIELDS = frozenset((b"Addr", b"Incarnation", b"Meta", b"Name", b"Port", b"State", b"Vsn", b"a"))
_USER_FIELDS = frozenset((b"UserMsgLen",))
_ERROR_FIELDS = frozenset((b"Error",))
_COMPRESS_FIELDS = frozenset((b"Algo", b"Buf"))

T = TypeVar("T")
Reading = Generator[None, None, T]


# --- values to bytes


def stream_content(message: StreamMessage) -> bytes:
    """A message as it stands on a stream, neither sealed nor labelled."""
    if isinstance(message, PushPull):
        header = pack_push_pull_header(
            message.join, len(message.nodes), len(message.user_state), message.greeting
        )
        return b"".join((header, *map(pack_node_state, message.nodes), message.user_state))
    if isinstance(message, UserMessage):
        return bytes((USER,)) + pack({"UserMsgLen": len(message.payload)}) + message.payload
    return encode(message)


def seal_stream(content: bytes, keyring: Keyring, label: bytes) -> bytes:
    """The content of a stream, encrypted."""
    header = bytes((ENCRYPT,)) + keyring.sealed_size(len(content)).to_bytes(4, "big")
    return header + keyring.seal(content, header + label)


# --- bytes to values


class _Source:
    """Bytes, and where we are in them. Where `complete`, missing bytes are an error."""

    def __init__(self, data: bytes = b"", *, complete: bool = False) -> None:
        # Containers are never built, only walked through: a few bytes of them can ask for much memory.
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
            max_buffer_size=2 * _STREAM_SIZE_MAX,
            read_size=4096,
        )
        self._complete = complete
        self.feed: Callable[[bytes], None] = self._unpacker.feed
        self.feed(data)

    def take(self, size: int) -> Reading[bytes]:
        """Exactly so many bytes."""
        taken: bytes = self._unpacker.read_bytes(size)
        if len(taken) == size:
            return taken
        parts = bytearray(taken)
        while len(parts) < size:
            yield from self._wait()
            parts += self._unpacker.read_bytes(size - len(parts))
        return bytes(parts)

    def fields(self, known: frozenset[bytes]) -> Reading[dict[bytes, Any]]:
        """The `known` fields of a map; the others are skipped. "swim" is a map itself."""
        try:
            return (yield from self._fields(known))
        except DecodeError:
            raise
        except UNPACK_ERRORS as error:
            raise DecodeError("body", str(error)) from None

    def _fields(self, known: frozenset[bytes]) -> Reading[dict[bytes, Any]]:
        unpack, skip = self._unpacker.unpack, self._unpacker.skip
        count = yield from self._when_complete(self._unpacker.read_map_header)
        if count > _FIELDS_MAX:
            raise DecodeError("too-large", f"a map of {count} fields")
        found: dict[bytes, Any] = {}
        for _ in range(count):
            try:  # the common case, without the cost of another generator
                key = unpack()
            except msgpack.OutOfData:
                key = yield from self._when_complete(unpack)
            if type(key) is not bytes or key not in known:
                yield from self._when_complete(skip)
            elif key == b"swim":
                found[key] = yield from self._fields(_GREETING_FIELDS)
            else:
                try:
                    found[key] = unpack()
                except msgpack.OutOfData:
                    found[key] = yield from self._when_complete(unpack)
        return found

    def _when_complete(self, read: Callable[[], Any]) -> Reading[Any]:
        """What `read` gives as soon as all of it is there."""
        while True:
            try:
                return read()
            except msgpack.OutOfData:
                yield from self._wait()

    def _wait(self) -> Reading[None]:
        if self._complete:
            raise DecodeError("truncated")
        yield


class StreamDecoder:
    """Reads one message from a stream, in pieces of any size. After a DecodeError it is spent."""

    def __init__(self, *, label: bytes, keyring: Keyring | None, labelled: bool) -> None:
        self.received = 0
        """How many bytes were fed."""
        self.layers: list[str] = []
        self.dropped: list[str] = []
        """Why single nodes of a push/pull were left out: their entries could not be read."""
        self._label = label
        self._keyring = keyring
        self._labelled = labelled
        self._source = _Source()
        self._reading = self._read()
        self._message: StreamMessage | None = None

    def feed(self, data: bytes) -> StreamMessage | None:
        """The message as soon as it is complete; None until then. What follows it is ignored."""
        self.received += len(data)
        if self.received > _STREAM_SIZE_MAX:
            raise DecodeError("too-large", f"a stream of more than {_STREAM_SIZE_MAX} bytes")
        if self._message is None:
            self._source.feed(data)
            try:
                next(self._reading)
            except StopIteration as finished:
                self._message = finished.value
        return self._message

    def close(self) -> None:
        """Give its memory back now. Half-read it is a cycle of references, which may last for long."""
        self._reading.close()

    def _read(self) -> Reading[StreamMessage]:
        source = self._source
        if self._labelled and self._label:
            yield from self._strip_label()
        kind = (yield from source.take(1))[0]
        if kind == LABEL:
            raise DecodeError("label", "a label where none is expected")
        if self._keyring is not None:
            if kind == ERROR and not self._labelled:
                told = error_message((yield from source.fields(_ERROR_FIELDS)))
                raise DecodeError("refused", f"the other side says, in clear: {told.text}")
            if kind != ENCRYPT:
                raise DecodeError("plaintext", "not encrypted, and this node has a key")
            source = yield from self._open(self._keyring)
            kind = (yield from source.take(1))[0]
        elif kind == ENCRYPT:
            raise DecodeError("encrypted", "encrypted, and this node has no key")
        if kind == COMPRESS:
            self.layers.append("compress")
            body = yield from source.fields(_COMPRESS_FIELDS)
            source = _Source(expand(body, _EXPANDED_SIZE_MAX, _COMPRESSED_SIZE_MAX), complete=True)
            kind = (yield from source.take(1))[0]
        return (yield from self._message_of(kind, source))

    def _strip_label(self) -> Reading[None]:
        header = label_header(self._label)
        # The bytes that settle the matter are looked at first: another label may be shorter than ours.
        if (yield from self._source.take(2)) != header[:2]:
            raise DecodeError("label", "another label, or none")
        if (yield from self._source.take(len(self._label))) != self._label:
            raise DecodeError("label", "another label")
        self.layers.append("label")

    def _open(self, keyring: Keyring) -> Reading[_Source]:
        length = yield from self._source.take(4)
        size = int.from_bytes(length, "big")
        if size > _CONTENT_SIZE_MAX:
            raise DecodeError("too-large", f"an encrypted message of {size} bytes")
        if size < SEALED_SIZE_MIN:
            raise DecodeError("truncated", "too short to be encrypted")
        sealed = yield from self._source.take(size)
        self.layers.append("encrypt")
        content = keyring.open(sealed, bytes((ENCRYPT,)) + length + self._label)
        return _Source(content, complete=True)

    def _message_of(self, kind: int, source: _Source) -> Reading[StreamMessage]:
        if kind == PUSH_PULL:
            return (yield from self._push_pull(source))
        if kind == PING:
            return ping((yield from source.fields(_PING_FIELDS)))
        if kind == ACK:
            return ack((yield from source.fields(_ACK_FIELDS)))
        if kind == USER:
            size = number((yield from source.fields(_USER_FIELDS)), b"UserMsgLen", _CONTENT_SIZE_MAX)
            return UserMessage((yield from source.take(size)))
        if kind == ERROR:
            return error_message((yield from source.fields(_ERROR_FIELDS)))
        raise DecodeError("type", f"message type {kind} on a stream")

    def _push_pull(self, source: _Source) -> Reading[PushPull]:
        header = yield from source.fields(_HEADER_FIELDS)
        count = number(header, b"Nodes", NODES_MAX)
        user_state_size = number(header, b"UserStateLen", _CONTENT_SIZE_MAX)
        join = flag(header, b"Join")
        hello: Body | None = header.get(b"swim")
        nodes: list[NodeState] = []
        for _ in range(count):
            fields = yield from source.fields(_NODE_FIELDS)
            try:
                nodes.append(node_state(fields))
            except DecodeError as error:
                # One odd entry that others put up with must not keep us from learning all the rest.
                self.dropped.append(error.reason)
        user_state = yield from source.take(user_state_size)
        return PushPull(tuple(nodes), join, user_state, greeting(hello) if hello is not None else None)
