"""The one thing that decoding may raise."""

from __future__ import annotations

from swim.errors import SwimError

__all__ = ["DecodeError"]


class DecodeError(SwimError, ValueError):
    """Bytes that are not a message of ours, whatever they are.

    `reason` is one of a few stable words, the key under which drops are counted:

    truncated   it ends too early                       type       an unknown or misplaced message type
    body        not the map, field or value expected    nested     layers within layers within layers
    crc         the checksum differs                    lzw        compressed data that cannot be expanded
    label       another label, one missing or too many  too-large  over one of the limits
    plaintext   not encrypted, and this node has keys   encrypted  encrypted, and this node has none
    decrypt     sealed with a key that is not ours      version    an unknown version of the encryption
    refused     the other side cannot read us, and says so in clear although this node has keys
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
