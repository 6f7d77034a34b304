"""Bytes to messages and back: memberlist's wire protocol.

Nothing here knows of clocks, sockets or the cluster. Random bytes, for the encryption, come in from
outside. README.md beside this file has the facts about memberlist and Serf that the code rests on, and what
we add to them.
"""

from swim.wire.addresses import pack_host, parse_address, unpack_address, unpack_host
from swim.wire.codec import Codec, Packet
from swim.wire.errors import DecodeError
from swim.wire.keyring import Keyring
from swim.wire.streams import StreamDecoder

__all__ = [
    "Codec",
    "DecodeError",
    "Keyring",
    "Packet",
    "StreamDecoder",
    "pack_host",
    "parse_address",
    "unpack_address",
    "unpack_host",
]
