"""What an application has given: that it can be worked with, or else what it should be instead.

Types are for the type checker to find; but not all programs are checked, and what is of a wrong type must not
be found out somewhere within, later, or by another member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swim.wire.dialect import utf8

__all__ = ["check_function", "check_text", "checked_bytes", "checked_number", "checked_text", "checked_texts"]


def check_text(what: str, given: str) -> int:
    """How many bytes it has. Raises TypeError, and ValueError for surrogates."""
    if not isinstance(given, str):
        raise TypeError(f"{what} is a text (str), not {given!r}")
    return len(utf8(what, given))


def checked_text(what: str, given: str, size_max: int) -> str:
    """Of one byte at least. Raises TypeError and ValueError."""
    size = check_text(what, given)
    if not 1 <= size <= size_max:
        raise ValueError(f"{what} has 1 to {size_max} bytes, not {size}")
    return given


def checked_texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Raises TypeError, and ValueError for one text, which would be taken for many of a letter each."""
    if isinstance(given, str):
        raise ValueError(f"{what} are a list of texts, not one text: [{given!r}]")
    if not isinstance(given, Iterable):
        raise TypeError(f"{what} are a list of texts, not {given!r}")
    texts = tuple(given)
    for each in texts:
        check_text(f"each of the {what}", each)
    return texts


def checked_number(what: str, given: int, most: int) -> int:
    """From 1 on. Raises TypeError and ValueError."""
    if not isinstance(given, int):
        raise TypeError(f"{what}={given!r}: give a whole number")
    if not 1 <= given <= most:
        raise ValueError(f"{what}={given!r}: give 1 to {most:,}")
    return given


def checked_bytes(what: str, given: bytes) -> bytes:
    """Its own copy, whatever becomes of the application's. Raises TypeError."""
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"{what} must be bytes, not {type(given).__name__}")
    return bytes(given)


def check_function(what: str, given: Callable[..., object]) -> None:
    """Raises TypeError for what can never be called, as when a function was called instead of given."""
    if not callable(given):
        raise TypeError(f"{what} is an async function itself, not {given!r}")
