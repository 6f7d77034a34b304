"""One message on a TCP connection: encoded at once, decoded as its bytes arrive.

Nothing on a stream but an encrypted message states its whole length: the end is found by reading.
The reader is a generator that stops where bytes are missing, so that nothing is ever read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from swim.wire.bodies import (
    ack,
    encode,
    error_message,
    node_state,
    pack_node_states,
    pack_push_pull_header,
    ping,
    push_pull_head,
)
from swim.wire.dialect import (
    ACK,
    COMPRESS,
    ENCRYPT,
    ERROR,
    LABEL,
    PING,
    PUSH_PULL,
    USER,
    Body,
    flag,
    is_map,
    number,
    pack,
)
from swim.wire.entries import EntryReader, Keeps
from swim.wire.errors import DecodeError
from swim.wire.framing import compressed, expanding, label_header
from swim.wire.keyring import SEALED_SIZE_MIN, Keyring
from swim.wire.messages import NodeState, PushPull, StreamMessage, UserMessage
from swim.wire.source import SIZE_MAX, Reading, Source

__all__ = ["NODES_MAX", "Entries", "StreamDecoder", "seal_stream", "stream_content"]

T = TypeVar("T")

_CONTENT_SIZE_MAX = 20 * 1024 * 1024  # memberlist's limit
_STREAM_SIZE_MAX = _CONTENT_SIZE_MAX + 1024  # with label and encryption
assert _STREAM_SIZE_MAX <= SIZE_MAX
# memberlist's limit is 40 MiB; in Python that could take ten seconds.
# This is enough for some 20,000 members and takes half a second at the worst, in steps.
_EXPANDED_SIZE_MAX = 4 * 1024 * 1024
_COMPRESSED_SIZE_MAX = 1024 * 1024
NODES_MAX = 65_536
_ODD_NODES_MAX = 64
"""Entries of one push/pull that cannot be read or come twice: no real node says nothing but nonsense."""
_STEP_PACKED = 128
"""Entries that are packed in one step: about half a millisecond."""
_NODE_MEMORY = 512
"""Bytes that an entry takes once it is read."""

_PING_FIELDS = frozenset((b"Node", b"SeqNo", b"SourceAddr", b"SourceNode", b"SourcePort", b"i", b"s", b"v"))
_ACK_FIELDS = frozenset((b"Payload", b"SeqNo", b"b", b"i", b"s", b"u", b"w"))
_HEADER_FIELDS = frozenset((b"Join", b"Nodes", b"UserStateLen", b"swim"))
_HEAD_FIELDS = frozenset((b"a", b"b", b"c", b"f", b"j", b"l", b"n", b"p", b"q", b"s", b"t", b"v", b"x"))
_USER_FIELDS = frozenset((b"UserMsgLen",))
_ERROR_FIELDS = frozenset((b"Error",))
_COMPRESS_FIELDS = frozenset((b"Algo", b"Buf"))

# --- values to bytes


class Entries(Collection[NodeState]):
    """Those of a push/pull that is sent, packed in steps and once for all that ask for the same ones.

    `sources`: what they are made of. `pack` makes those of some, as they stand in the message.
    """

    def __init__(self, sources: Sequence[T], pack: Callable[[Sequence[T]], bytes]) -> None:
        self._sources = sources
        self._pack = pack
        self._pieces: list[bytes] = []
        """As far as they are packed."""

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[NodeState]:
        return (node_state(self._pack((source,))) for source in self._sources)

    def __contains__(self, node: object) -> bool:
        return any(node == each for each in self)

    def pieces(self) -> Reading[Sequence[bytes]]:
        """Their bytes. Several readers may take turns."""
        while (start := len(self._pieces) * _STEP_PACKED) < len(self):
            end = start + _STEP_PACKED
            self._pieces.append(self._pack(self._sources[start:end]))
            if end < len(self):
                yield True
        return self._pieces


def stream_content(message: StreamMessage) -> Reading[bytes]:
    """A message as it stands on a stream, neither sealed nor labelled; in steps."""
    if isinstance(message, PushPull):
        header = pack_push_pull_header(
            message.join, len(message.nodes), len(message.user_state), message.head
        )
        nodes = message.nodes
        entries = nodes if isinstance(nodes, Entries) else Entries(tuple(nodes), pack_node_states)
        return b"".join((header, *(yield from entries.pieces()), message.user_state))
    if isinstance(message, UserMessage):
        return bytes((USER,)) + pack({"UserMsgLen": len(message.payload)}) + message.payload
    return encode(message)


def seal_stream(content: bytes, keyring: Keyring, label: bytes) -> bytes:
    """The content of a stream, encrypted."""
    header = bytes((ENCRYPT,)) + keyring.sealed_size(len(content)).to_bytes(4, "big")
    return header + keyring.seal(content, header + label)


# --- bytes to values


class StreamDecoder:
    """Reads one message from a stream, in pieces of any size. After a DecodeError it is spent."""

    def __init__(self, *, label: bytes, keyring: Keyring | None, labelled: bool, keeps: Keeps) -> None:
        self.received = 0
        """How many bytes were fed."""
        self.memory = 0
        """Bytes of memory, about, that all takes that was read."""
        self.layers: list[str] = []
        self.dropped: list[str] = []
        """Why single nodes of a push/pull were left out: their entries could not be read."""
        self._label = label
        self._keyring = keyring
        self._labelled = labelled
        self._keeps = keeps
        self._source = Source()
        self._reading = self._read()
        self.message: StreamMessage | None = None
        """The message, as soon as it is complete."""
        self.busy = False
        """`advance` has something to do, also without more bytes."""

    def feed(self, data: bytes) -> StreamMessage | None:
        """The message as soon as it is complete; None until then. What follows it is ignored."""
        self.add(data)
        while self.busy:
            self.advance()
        return self.message

    def add(self, data: bytes) -> None:
        """More bytes, for `advance`."""
        self.received += len(data)
        self.memory += len(data)
        if self.received > _STREAM_SIZE_MAX:
            raise DecodeError("too-large", f"a stream of more than {_STREAM_SIZE_MAX} bytes")
        if self.message is None:
            self._source.feed(data)
            self.busy = True

    def advance(self) -> None:
        """Go on reading, for a millisecond or two: there are other things to do in between."""
        try:
            self.busy = next(self._reading)
        except StopIteration as finished:
            self.message, self.busy = finished.value, False

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
            source = Source((yield from self._expand(body)))
            kind = (yield from source.take(1))[0]
        return (yield from self._message_of(kind, source))

    def _expand(self, body: Body) -> Reading[bytes]:
        steps = expanding(compressed(body, _COMPRESSED_SIZE_MAX), _EXPANDED_SIZE_MAX)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                self.memory += len(finished.value)
                return bytes(finished.value)
            yield True

    def _strip_label(self) -> Reading[None]:
        header = label_header(self._label)
        # The bytes that settle the matter are looked at first: another label may be shorter than ours.
        if (yield from self._source.take(2)) != header[:2]:
            raise DecodeError("label", "another label, or none")
        if (yield from self._source.take(len(self._label))) != self._label:
            raise DecodeError("label", "another label")
        self.layers.append("label")

    def _open(self, keyring: Keyring) -> Reading[Source]:
        length = yield from self._source.take(4)
        size = int.from_bytes(length, "big")
        if size > _CONTENT_SIZE_MAX:
            raise DecodeError("too-large", f"an encrypted message of {size} bytes")
        if size < SEALED_SIZE_MIN:
            raise DecodeError("truncated", "too short to be encrypted")
        sealed = yield from self._source.take(size)
        self.layers.append("encrypt")
        content = keyring.open(sealed, bytes((ENCRYPT,)) + length + self._label)
        return Source(content)

    def _message_of(self, kind: int, source: Source) -> Reading[StreamMessage]:
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

    def _push_pull(self, source: Source) -> Reading[PushPull]:
        header = yield from source.fields(_HEADER_FIELDS, {b"swim": _HEAD_FIELDS})
        count = number(header, b"Nodes", NODES_MAX)
        user_state_size = number(header, b"UserStateLen", _CONTENT_SIZE_MAX)
        join = flag(header, b"Join")
        head: Body | None = header.get(b"swim")
        nodes: list[NodeState] = []
        names = set[str]()
        read = EntryReader(self._keeps, head is not None).read
        unread, odd = count, 0
        source.keep(True)
        while unread:
            entries = yield from source.wholes(unread)
            unread -= len(entries)
            before = len(nodes)
            for entry in entries:
                if entry[0] & 0xF0 != 0x80 and not is_map(entry):
                    raise DecodeError("body", "an entry that is no map")
                try:
                    node = read(entry)
                except DecodeError as error:
                    # One odd entry that others put up with must not keep us from learning all the rest.
                    self.dropped.append(error.reason)
                    odd += 1
                else:
                    if node is not None:
                        nodes.append(node)
                        names.add(node.name)
                if odd + len(nodes) - len(names) > _ODD_NODES_MAX:
                    raise DecodeError(
                        "body", f"more than {_ODD_NODES_MAX} entries that are odd, or come twice"
                    )
            self.memory += (len(nodes) - before) * _NODE_MEMORY
            if unread:
                yield True
        source.keep(False)
        user_state = yield from source.take(user_state_size)
        return PushPull(tuple(nodes), join, user_state, push_pull_head(head) if head is not None else None)
