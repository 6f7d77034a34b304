"""All of a node's encoding and decoding: messages to packets and streams, and back."""

from __future__ import annotations

from collections.abc import Sequence

from swim.types import value
from swim.wire.bodies import encode, packet_message
from swim.wire.dialect import (
    ACK,
    ALIVE,
    COMPOUND,
    COMPRESS,
    CRC,
    DEAD,
    ERROR,
    KEPT,
    PING,
    PING_REQ,
    SUSPECT,
    USER,
    utf8,
)
from swim.wire.entries import Keeps
from swim.wire.errors import DecodeError
from swim.wire.framing import PacketReader, check_crc, compound, label_header, strip_label
from swim.wire.kept import KeptChannel
from swim.wire.keyring import Keyring
from swim.wire.messages import ErrorMessage, Message, StreamMessage
from swim.wire.source import Reading
from swim.wire.streams import StreamDecoder, seal_stream, stream_content

__all__ = ["Codec", "Packet"]

_LABEL_SIZE_MAX = 255
_PLAIN = frozenset((PING, PING_REQ, ACK, SUSPECT, ALIVE, DEAD, USER))


@value
class Packet:
    """What a packet held. `dropped` has the reason for every part of it that could not be read."""

    layers: tuple[str, ...]
    messages: tuple[Message, ...]
    dropped: tuple[str, ...] = ()


class Codec:
    """How one node writes and reads: under its label, and with its keys if it has any."""

    def __init__(self, *, label: str = "", keyring: Keyring | None = None) -> None:
        self._label = utf8("the label", label)
        if len(self._label) > _LABEL_SIZE_MAX:
            raise ValueError(f"the label has {len(self._label)} bytes: at most {_LABEL_SIZE_MAX}")
        self._header = label_header(self._label)
        self._keyring = keyring

    @property
    def label(self) -> bytes:
        """Of the cluster; empty without one."""
        return self._label

    @property
    def keyed(self) -> bool:
        """Is everything that is written sealed?"""
        return self._keyring is not None

    @property
    def packet_overhead(self) -> int:
        """The most bytes that label and encryption add to a packet."""
        return len(self._header) + (self._keyring.sealed_size(0) if self._keyring is not None else 0)

    def part(self, message: Message) -> bytes:
        """One message with its type byte: a whole packet, or a part of one."""
        return encode(message)

    def packet(self, parts: Sequence[bytes]) -> bytes:
        """One packet of these parts, sealed and labelled."""
        content = parts[0] if len(parts) == 1 else compound(parts)
        if self._keyring is not None:
            content = self._keyring.seal(content, self._label)
        return self._header + content

    def open_packet(self, data: bytes) -> Packet:
        """The messages of a packet; DecodeError when none of it can be read."""
        if not data:
            raise DecodeError("truncated", "an empty packet")
        if data[0] in _PLAIN and self._keyring is None and not self._label:
            return Packet((), (packet_message(data),))  # as nearly all are: no layer to look for
        layers: list[str] = []
        if self._label or data[0] == 0xF4:
            data = strip_label(data, self._label)
            layers.append("label")
        if self._keyring is not None:
            # Types 0 and 1 look like versions of the encryption: those fail to open instead.
            if data and 1 < data[0] <= ERROR:
                raise DecodeError("plaintext", "not encrypted, and this node has a key")
            data = self._keyring.open(data, self._label)
            layers.append("encrypt")
        if data[:1] == bytes((CRC,)):
            data = check_crc(data)
            layers.append("crc")
        if data and data[0] not in (COMPOUND, COMPRESS, CRC):
            return Packet(tuple(layers), (packet_message(data),))
        reader = PacketReader(layers)
        reader.read_all(data)
        return Packet(tuple(reader.layers), tuple(reader.messages), tuple(reader.dropped))

    def stream(self, message: StreamMessage, *, answering: bool = False) -> bytes:
        """All that is written to a TCP connection, as the side that opened it or as the side that answers."""
        steps = self.streaming(message, answering=answering)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                return bytes(finished.value)

    def streaming(self, message: StreamMessage, *, answering: bool = False) -> Reading[bytes]:
        """As `stream`, in steps of a few milliseconds: a node with many members has much to write."""
        content = yield from stream_content(message)
        if self._keyring is not None:
            content = seal_stream(content, self._keyring, self._label)
        return content if answering else self._header + content

    def clear_error(self, text: str) -> bytes:
        """The answer to a stream that could not be read, for a peer that may have another key."""
        return encode(ErrorMessage(text))

    def stream_decoder(self, *, answering: bool, keeps: Keeps = lambda *_: True) -> StreamDecoder:
        """A decoder for one message.

        With `answering` for the answer on a connection that we opened, which bears no label; otherwise
        for the request on a connection that we accepted. `keeps`: see there.
        """
        return StreamDecoder(label=self._label, keyring=self._keyring, labelled=not answering, keeps=keeps)

    @property
    def kept_opening(self) -> bytes:
        """What the opener of a kept stream writes first; no other connection begins like this."""
        return self._header + bytes((KEPT,))

    def kept_channel(self, *, opener: bool) -> KeptChannel:
        """One end of a kept stream, behind its opening."""
        return KeptChannel(opener=opener, label=self._label, keyring=self._keyring)
