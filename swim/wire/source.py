"""Bytes that are read value by value, in steps, as they arrive.

A reader is a generator that stops where bytes are missing, so that nothing is ever read twice; and where it
has done enough for one turn, so that a node that reads much can do other things in between.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Generator, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import msgpack

from swim.wire.dialect import UNPACK_ERRORS
from swim.wire.errors import DecodeError

__all__ = ["SIZE_MAX", "Reading", "Source"]

SIZE_MAX = 21 * 1024 * 1024
"""Bytes that are held and not read yet."""
_FIELDS_MAX = 64  # of one map
_STEP_SIZE = 65_536
"""Bytes of what is there as a whole that are looked at in one turn; and, of all, values."""
_STEP_VALUES = 256
_STEP_WHOLES, _STEP_WHOLES_SIZE = 256, 16_384
"""Of things that are read as wholes, and of their bytes: about a millisecond until each is understood."""
_NONE: Mapping[bytes, frozenset[bytes]] = {}
_NIL = 0xC0
_PIECE_SIZE = 1_048_576
"""Of memory for what has to be there as a whole."""

_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""Memory that no other process shares is had in half of the time, where there are two kinds of it."""

T = TypeVar("T")
Reading = Generator[bool, None, T]
"""It yields True where it could go on at once, and False where it needs more bytes."""


class Pile:
    """Bytes that are gathered until so many are there.

    Half of a message may wait for long, and may be large: its memory is the system's own, and goes back to it
    at once, whatever was allocated meanwhile.
    """

    def __init__(self, size: int) -> None:
        self.missing = size
        self._pieces: list[mmap.mmap] = []
        self._room = 0
        """In the last piece."""

    def add(self, data: bytes) -> bytes:
        """What is more than was missing is given back."""
        rest, view = data[self.missing :], memoryview(data)[: self.missing]
        self.missing -= len(view)
        while view:
            if not self._room:
                self._room = min(_PIECE_SIZE, len(view) + self.missing)
                self._pieces.append(mmap.mmap(-1, self._room, **_PRIVATE))
            part, view = view[: self._room], view[self._room :]
            self._room -= self._pieces[-1].write(part)
        return rest

    def content(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


def _unpacker() -> msgpack.Unpacker:
    """Containers are never built, only walked through: a few bytes of them can ask for much memory."""
    return msgpack.Unpacker(
        raw=True,
        strict_map_key=False,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
        max_buffer_size=2 * SIZE_MAX,
        read_size=4096,
    )


class Source:
    """Bytes, and where we are in them. With `content` these are all that there will be."""

    def __init__(self, content: bytes | None = None) -> None:
        self._unpacker = _unpacker()
        self._content = content
        self._start = self._values = 0
        self._kept: bytearray | None = None
        """The bytes from place `_kept_from` on, while they are kept."""
        self._kept_from = 0
        self._pile: Pile | None = None
        self._passed = 0
        """Bytes that this unpacker has not seen."""

    def feed(self, data: bytes) -> None:
        """More bytes."""
        if self._pile is not None:
            data = self._pile.add(data)
        self._unpacker.feed(data)
        if self._kept is not None:
            self._kept += data

    def keep(self, kept: bool) -> None:
        """Whether `wholes` may be asked for, and nothing but that."""
        self._kept = None
        if kept:
            there = self._unpacker.read_bytes(2 * SIZE_MAX)
            self._kept_from = self._unpacker.tell()
            self._kept = bytearray()
            self.feed(there)

    def take(self, size: int) -> Reading[bytes]:
        """Exactly so many bytes."""
        taken: bytes = self._unpacker.read_bytes(size)
        if len(taken) == size:
            return taken
        self._pile = Pile(size)
        try:
            self._pile.add(taken)
            self._passed += self._unpacker.tell() + self._pile.missing
            self._unpacker = _unpacker()  # it is empty, but would keep the memory of what it had
            del taken
            while self._pile.missing:
                yield from self._wait()
            return self._pile.content()
        finally:
            self._pile = None

    def fields(
        self, known: frozenset[bytes], maps: Mapping[bytes, frozenset[bytes]] = _NONE
    ) -> Reading[dict[bytes, Any]]:
        """The `known` fields of a map; the others are skipped. `maps`: those that are maps themselves."""
        unpack, skip = self._unpacker.unpack, self.skip
        found: dict[bytes, Any] = {}
        try:
            for _ in range((yield from self.entries(_FIELDS_MAX))):
                try:  # the common case, without the cost of another generator
                    key = unpack()
                except msgpack.OutOfData:
                    key = yield from self.value()
                if type(key) is not bytes or key not in known:
                    yield from skip()
                elif key in maps:
                    found[key] = yield from self.fields(maps[key])
                else:
                    try:
                        found[key] = unpack()
                    except msgpack.OutOfData:
                        found[key] = yield from self.value()
        except DecodeError:
            raise
        except UNPACK_ERRORS as error:
            raise DecodeError("body", str(error)) from None
        return found

    def entries(self, limit: int) -> Reading[int]:
        """How many entries the map has that begins here."""
        return (yield from self._count(self._unpacker.read_map_header, limit))

    def items(self, limit: int) -> Reading[int]:
        """How many items the array has that begins here, or the nil in its place."""
        if (yield from self.nil()):
            return 0
        return (yield from self._count(self._unpacker.read_array_header, limit))

    def nil(self) -> Reading[bool]:
        """Whether a nil stands here, which is then read. Only of what is there as a whole."""
        assert self._content is not None
        if not self.left:
            raise DecodeError("truncated")
        if self._content[-self.left] != _NIL:
            return False
        yield from self.value()
        return True

    @property
    def left(self) -> int:
        """Bytes that were not read yet of what is there as a whole."""
        assert self._content is not None
        return len(self._content) - self._passed - int(self._unpacker.tell())

    def value(self) -> Reading[Any]:
        """What stands here, if it is no container."""
        return (yield from self._when_complete(self._unpacker.unpack))

    def skip(self) -> Reading[None]:
        """Pass over what stands here."""
        yield from self._when_complete(self._unpacker.skip)

    def wholes(self, count: int) -> Reading[list[bytes]]:
        """The bytes of each of the things that stand here, whatever they are.

        Of at least one; of as many more as are there, and fit into a turn, but no more than `count`.
        """
        yield from self.skip()
        assert self._kept is not None
        skip, tell, start = self._unpacker.skip, self._unpacker.tell, self._kept_from
        ends = [tell()]
        try:
            while len(ends) < min(count, _STEP_WHOLES) and ends[-1] - start < _STEP_WHOLES_SIZE:
                skip()
                ends.append(tell())
        except msgpack.OutOfData:
            pass  # it is half there, and will be gone on with
        except UNPACK_ERRORS as error:
            raise DecodeError("body", str(error)) from None
        with memoryview(self._kept) as view:
            found = bytes(view[: ends[-1] - start])
        del self._kept[: len(found)]
        self._kept_from = ends[-1]
        return [found[begin - start : end - start] for begin, end in pairwise([start, *ends])]

    def _count(self, read: Callable[[], int], limit: int) -> Reading[int]:
        count: int = yield from self._when_complete(read)
        if count > limit:
            raise DecodeError("too-large", f"{count} items, where {limit} may be")
        return count

    def _when_complete(self, read: Callable[[], Any]) -> Reading[Any]:
        """What `read` gives as soon as all of it is there."""
        self._values += 1
        if self._values % _STEP_VALUES == 0:
            yield True
        while True:
            try:
                return read()
            except msgpack.OutOfData:
                yield from self._wait()
            except UNPACK_ERRORS as error:
                raise DecodeError("body", str(error)) from None

    def _wait(self) -> Reading[None]:
        """For more bytes, or for the next turn with some that are there already."""
        if self._content is None:
            yield False
            return
        piece = self._content[self._start : self._start + _STEP_SIZE]
        if not piece:
            raise DecodeError("truncated")
        if self._start:
            yield True
        self._start += len(piece)
        self.feed(piece)
