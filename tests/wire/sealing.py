"""Keys that seal as ancient memberlists do: a node opens that, and never writes it."""

from __future__ import annotations

from swim.wire import Keyring

__all__ = ["OldKeyring"]

_BLOCK = 16


class OldKeyring(Keyring):
    """Seals version 0: padded to whole blocks."""

    def seal(self, content: bytes, associated: bytes) -> bytes:
        padding = _BLOCK - len(content) % _BLOCK
        return b"\0" + super().seal(content + bytes((padding,)) * padding, associated)[1:]

    def sealed_size(self, size: int) -> int:
        return super().sealed_size(size + _BLOCK - size % _BLOCK)
