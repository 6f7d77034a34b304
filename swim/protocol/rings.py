"""Who observes whom, and along which paths news is flooded: k hash rings over the members' names.

On every ring a member observes the members that follow it, up to and including the next of our
own: foreign members cannot observe, so each has an own observer on every ring too. Names, not
ids, are hashed, so that a fresh id reshuffles nothing (DESIGN section 3).
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b

__all__ = ["RINGS_MAX", "Rings"]

RINGS_MAX = 8


@lru_cache(maxsize=65_536)
def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8 * RINGS_MAX).digest()


class _Ring:
    """Names in the order of their places. Two arrays: tuples would be most of a large table's memory."""

    __slots__ = ("_number", "_places", "names")

    def __init__(self, number: int) -> None:
        self.names: list[str] = []
        self._number = 8 * number
        self._places = array("Q")

    def index(self, name: str) -> int:
        """Where this name stands, or would. Equal places, which do not happen, are in the order of names."""
        place = self._place(name)
        index = bisect_left(self._places, place)
        while index < len(self.names) and self._places[index] == place and self.names[index] < name:
            index += 1
        return index

    def insert(self, name: str) -> None:
        index = self.index(name)
        self.names.insert(index, name)
        self._places.insert(index, self._place(name))

    def remove(self, name: str) -> None:
        index = self.index(name)
        del self.names[index], self._places[index]

    def copy(self) -> _Ring:
        other = _Ring(self._number // 8)
        other.names, other._places = self.names[:], self._places[:]
        return other

    def _place(self, name: str) -> int:
        return int.from_bytes(_digest(name)[self._number : self._number + 8], "big")


class Rings:
    """The present members, each at its place on every ring."""

    def __init__(self, count: int) -> None:
        assert 1 <= count <= RINGS_MAX
        self._rings = [_Ring(number) for number in range(count)]
        self._own: dict[str, bool] = {}
        self._observers: dict[str, tuple[str, ...]] = {}
        self.version = 0

    def __contains__(self, name: str) -> bool:
        return name in self._own

    def add(self, name: str, own: bool) -> None:
        """Put a member on the rings; `own` members observe, foreign ones are only observed."""
        known = self._own.get(name)
        if known is own:
            return
        self._own[name] = own
        if known is None:
            for ring in self._rings:
                ring.insert(name)
        self._changed()

    def remove(self, name: str) -> None:
        if self._own.pop(name, None) is None:
            return
        for ring in self._rings:
            ring.remove(name)
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._observers.clear()

    def _walk(self, ring: int, name: str, step: int) -> Iterator[str]:
        names = self._rings[ring].names
        start = self._rings[ring].index(name)
        for distance in range(1, len(names)):
            yield names[(start + step * distance) % len(names)]

    def successors(self, name: str, ring: int) -> Iterator[str]:
        """The own members that follow on one ring, nearest first."""
        return (other for other in self._walk(ring, name, 1) if self._own[other])

    def foreign_successors(self, name: str, ring: int) -> list[str]:
        """The foreign members between this one and the next own member of the ring."""
        found: list[str] = []
        for other in self._walk(ring, name, 1):
            if self._own[other]:
                break
            found.append(other)
        return found

    def pick(self, rng: random.Random, count: int, accept: Callable[[str], bool]) -> list[str]:
        """Up to `count` random members that are accepted; few tries, so it may find fewer."""
        names = self._rings[0].names
        found: dict[str, None] = {}
        for _ in range(3 * count + 10 if names else 0):
            name = names[rng.randrange(len(names))]
            if name not in found and accept(name):
                found[name] = None
                if len(found) == count:
                    break
        return list(found)

    def subjects(self, name: str) -> tuple[str, ...]:
        """Whom this member observes, each once."""
        found: dict[str, None] = {}
        for ring in range(len(self._rings)):
            for other in self._walk(ring, name, 1):
                found[other] = None
                if self._own[other]:
                    break
        return tuple(found)

    def observers(self, name: str) -> tuple[str, ...]:
        """Who observes this member, each once, in an order that all nodes with this view agree on."""
        cached = self._observers.get(name)
        if cached is None:
            found: dict[str, None] = {}
            for ring in range(len(self._rings)):
                nearest = next((other for other in self._walk(ring, name, -1) if self._own[other]), None)
                if nearest is not None:
                    found[nearest] = None
            cached = self._observers[name] = tuple(found)
        return cached
