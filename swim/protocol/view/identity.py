"""Ids order the members by when they joined; boots tell one process from the next."""

from __future__ import annotations

import random
import re
from functools import lru_cache

__all__ = [
    "check_pinned_id",
    "from_the_future",
    "id_milliseconds",
    "is_minted",
    "mint_boot",
    "mint_id",
    "minted_later",
    "pack_id",
    "unpack_id",
    "valid_boot",
    "valid_id",
]

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_PYTHONS = str.maketrans(_DIGITS, "0123456789abcdefghijklmnopqrstuv")
_MINTED = re.compile(f"[0-7][{_DIGITS}]{{25}}")
_ID = re.compile("[0-9A-Za-z]{1,26}")
_BOOT = re.compile("[0-9A-Za-z]{8}")
_RANDOM_BITS = 80
_FUTURE_S = 3_600.0
"""An id that is so far ahead of this node's clock is taken for one of a time to come."""
_PINNED_MARK = b"="
_MINTED_SIZE = 16


def mint_id(milliseconds: int, rng: random.Random) -> str:
    """A new id: 48 bits of milliseconds since the epoch, then 80 random ones, as 26 characters (ULID)."""
    assert 0 <= milliseconds < 1 << 48
    number = (milliseconds << _RANDOM_BITS) | rng.getrandbits(_RANDOM_BITS)
    return _text(number)


def _text(number: int) -> str:
    return "".join(_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5))


def _number(text: str) -> int:
    return int(text.translate(_PYTHONS), 32)


@lru_cache(maxsize=1_024)
def is_minted(text: str) -> bool:
    """Was this id minted, or did an application pin it?"""
    return _MINTED.fullmatch(text) is not None


def id_milliseconds(text: str) -> int:
    """The time in a minted id."""
    return _number(text[:10])


def from_the_future(text: str, wall: float) -> bool:
    """Is this a minted id of a time that cannot have been yet? `wall`: seconds since the epoch.

    Clocks differ and ids run ahead of them a little; but one absurd id would drag all that are minted
    after it along.
    """
    return is_minted(text) and id_milliseconds(text) > (wall + _FUTURE_S) * 1000


def valid_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def check_pinned_id(text: str) -> None:
    """Raises ValueError for a text that cannot be pinned as an id."""
    if not valid_id(text) or is_minted(text):
        raise ValueError(
            f"id={text!r}: a pinned id is 1 to 26 letters and digits and does not look like a minted one"
        )


@lru_cache(maxsize=1_024)
def pack_id(text: str | None) -> bytes:
    """An id as messages carry it: 16 bytes when minted, else marked text of another length; no id is none."""
    if not text:
        return b""
    if is_minted(text):
        return _number(text).to_bytes(_MINTED_SIZE, "big")
    return (_PINNED_MARK + text.encode()).ljust(_MINTED_SIZE + 1)


@lru_cache(maxsize=1_024)
def unpack_id(raw: bytes) -> str | None:
    """The id that `pack_id` packed, or None for anything else."""
    if len(raw) == _MINTED_SIZE:
        text = _text(int.from_bytes(raw, "big"))
        return text if is_minted(text) else None
    if len(raw) > _MINTED_SIZE and raw.startswith(_PINNED_MARK):
        text = raw[1:].rstrip().decode("ascii", "replace")
        return text if valid_id(text) and not is_minted(text) else None
    return None


def mint_boot(rng: random.Random) -> str:
    """Eight characters that tell this process from any other under the same name."""
    return "".join(rng.choices(_DIGITS, k=8))


def valid_boot(text: str) -> bool:
    return _BOOT.fullmatch(text) is not None


def minted_later(one: str | None, other: str | None) -> bool | None:
    """Was this id minted after the other? None where that cannot be told: pinned ids have no order."""
    if one is None or other is None or not is_minted(one) or not is_minted(other):
        return None
    return one > other
