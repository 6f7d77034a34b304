"""AES-GCM with a shared key, and the ring of keys that lets a running cluster change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from swim.errors import KeyringError
from swim.wire.errors import DecodeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SEALED_SIZE_MIN", "Keyring"]

_KEY_SIZES = (16, 24, 32)
_NONCE_SIZE = 12
_TAG_SIZE = 16
_BLOCK_SIZE = 16
_VERSION = 1
"""Of what is sealed. Version 0, which is padded, is opened: ancient memberlists send it."""
SEALED_SIZE_MIN = 1 + _NONCE_SIZE + _TAG_SIZE


class Keyring:
    """The keys of a cluster. The first one seals; every one of them opens.

    To change the key of a running cluster, give each node in turn (new, old, ...) once all of them
    know the new one as a second key, and take the old one away at last.
    """

    def __init__(self, keys: Sequence[bytes], *, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._ciphers: tuple[AESGCM, ...] = ()
        self.replace(keys)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._ciphers)} keys>"

    def replace(self, keys: Sequence[bytes]) -> None:
        """Use these keys from now on, the first one to seal. All or nothing."""
        if not keys:
            raise KeyringError("a keyring needs at least one key; to go without encryption, give no keyring")
        for number, key in enumerate(keys, 1):
            if len(key) not in _KEY_SIZES:
                raise KeyringError(
                    f"key {number} has {len(key)} bytes: keys must have 16, 24 or 32 bytes "
                    "(decode base64 text first; `swim keygen` makes a good one)"
                )
        cipher = _cipher_class()
        self._ciphers = tuple(cipher(bytes(key)) for key in keys)

    def seal(self, content: bytes, associated: bytes) -> bytes:
        """Version, nonce, ciphertext and tag."""
        nonce = self._random_bytes(_NONCE_SIZE)
        return bytes((_VERSION,)) + nonce + self._ciphers[0].encrypt(nonce, content, associated)

    def sealed_size(self, size: int) -> int:
        """What `seal` makes of so many bytes; streams must state it before they seal."""
        return SEALED_SIZE_MIN + size

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed, by whichever of our keys."""
        if len(sealed) < SEALED_SIZE_MIN:
            raise DecodeError("truncated", "too short to be encrypted")
        if sealed[0] > _VERSION:
            raise DecodeError("version", f"encryption version {sealed[0]}")
        nonce, ciphertext = sealed[1 : 1 + _NONCE_SIZE], sealed[1 + _NONCE_SIZE :]
        for cipher in self._ciphers:
            try:
                content = cipher.decrypt(nonce, ciphertext, associated)
            except _invalid_tag():
                continue
            return content if sealed[0] == _VERSION else _unpad(content)
        raise DecodeError("decrypt", "none of our keys opens it")


def _unpad(content: bytes) -> bytes:
    if not (content and 1 <= content[-1] <= min(_BLOCK_SIZE, len(content))):
        raise DecodeError("decrypt", "wrong padding")
    return content[: -content[-1]]


def _cipher_class() -> type[AESGCM]:
    # Imported when the first key is used: without keys the package does not need to be there.
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise KeyringError(
            'encryption needs the package cryptography: pip install "trio-swim[crypto]"'
        ) from None
    return AESGCM


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
