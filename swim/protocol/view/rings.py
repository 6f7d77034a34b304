"""Which member observes which, and along which paths news is flooded: k hash rings over the members' names.

On every ring a member observes the members that follow it, up to and including the next of our
own: foreign members cannot observe, so each has an own observer on every ring too. Where they are
many more than we are, some have none: they see to each other. Names, not ids, are hashed, so that a
fresh id reshuffles nothing.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from struct import Struct

__all__ = ["FOREIGN_MAX", "RINGS_MAX", "Rings"]

RINGS_MAX = 8
_PLACES = Struct(f">{RINGS_MAX}Q")
FOREIGN_MAX = 16
"""Foreign members that one of our own observes and tells the news on each ring: the nearest. Anybody can make
up thousands; and where there are, those that are told gossip it on."""


@lru_cache(maxsize=1_024)
def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=_PLACES.size).digest()


class _Ring:
    """Names in the order of their places. Two arrays: tuples would be most of a large table's memory."""

    __slots__ = ("_number", "_places", "names")

    def __init__(self, number: int) -> None:
        self.names: list[str] = []
        self._number = 8 * number
        self._places = array("Q")

    def index(self, name: str) -> int:
        """Where this name stands, or would. Equal places, which do not happen, are in the order of names."""
        return self._index(name, self._place(name))

    def _index(self, name: str, place: int) -> int:
        index = bisect_left(self._places, place)
        while index < len(self.names) and self._places[index] == place and self.names[index] < name:
            index += 1
        return index

    def insert(self, name: str, place: int) -> None:
        index = self._index(name, place)
        self.names.insert(index, name)
        self._places.insert(index, place)

    def remove(self, name: str) -> None:
        index = self.index(name)
        del self.names[index], self._places[index]

    def walk(self, name: str, step: int) -> Iterator[str]:
        """The others in turn from this name on, which need not be there."""
        names, start = self.names, self.index(name) - (step < 0)
        for distance in range(len(names)):
            if (other := names[(start + step * distance) % len(names)]) != name:
                yield other

    def distance(self, name: str, other: str) -> int:
        return (self._place(other) - self._place(name)) % (1 << 64)

    def copy(self) -> _Ring:
        other = _Ring(self._number // 8)
        other.names, other._places = self.names[:], self._places[:]
        return other

    def _place(self, name: str) -> int:
        return int.from_bytes(_digest(name)[self._number : self._number + 8], "big")


class Rings:
    """The present members, each at its place on every ring: our own, and apart from them the foreign ones."""

    def __init__(self, count: int) -> None:
        assert 1 <= count <= RINGS_MAX
        self._rings = [_Ring(number) for number in range(count)]
        self._foreign = [_Ring(number) for number in range(count)]
        self._own: dict[str, bool] = {}
        self._observers: dict[str, tuple[str, ...]] = {}
        self.version = 0

    def __contains__(self, name: str) -> bool:
        return name in self._own

    def add(self, name: str, own: bool) -> None:
        """Put a member on the rings; `own` members observe, foreign ones are only observed."""
        if self._own.get(name) is own:
            return
        self.remove(name)
        self._own[name] = own
        rings = self._rings if own else self._foreign
        for ring, place in zip(rings, _PLACES.unpack(_digest(name)), strict=False):
            ring.insert(name, place)
        self._changed()

    def remove(self, name: str) -> None:
        own = self._own.pop(name, None)
        if own is None:
            return
        for ring in self._rings if own else self._foreign:
            ring.remove(name)
        self._changed()

    def renew(self) -> None:
        """Another process has a member's name: what was measured of the earlier one is of no use."""
        self.version += 1

    def _changed(self) -> None:
        self.version += 1
        self._observers.clear()

    def successors(self, name: str, ring: int) -> Iterator[str]:
        """The own members that follow on one ring, nearest first."""
        return self._rings[ring].walk(name, 1)

    def foreign_successors(self, name: str, ring: int) -> list[str]:
        """The nearest foreign members between this one and the next own member of the ring."""
        own, foreign = self._rings[ring], self._foreign[ring]
        nearest = list(islice(foreign.walk(name, 1), FOREIGN_MAX))
        following = next(own.walk(name, 1), None) if nearest else None
        if following is None:
            return nearest
        gap = own.distance(name, following)
        return [other for other in nearest if own.distance(name, other) < gap]

    def pick(self, rng: random.Random, count: int, accept: Callable[[str], bool]) -> list[str]:
        """Up to `count` random members that are accepted; few tries, so it may find fewer."""
        names = self._rings[0].names + self._foreign[0].names
        found: dict[str, None] = {}
        for _ in range(3 * count + 10 if names else 0):
            name = names[rng.randrange(len(names))]
            if name not in found and accept(name):
                found[name] = None
                if len(found) == count:
                    break
        return list(found)

    def subjects(self, name: str) -> tuple[str, ...]:
        """The members that this one observes, each once."""
        found: dict[str, None] = {}
        for ring in range(len(self._rings)):
            found |= dict.fromkeys(self.foreign_successors(name, ring))
            found |= dict.fromkeys(islice(self.successors(name, ring), 1))
        return tuple(found)

    def observers(self, name: str) -> tuple[str, ...]:
        """The observers of this member, each once, in an order that all nodes with this view agree on."""
        cached = self._observers.get(name)
        if cached is None:
            found, own = dict[str, None](), self._own.get(name, True)
            for ring in range(len(self._rings)):
                nearest = next(self._rings[ring].walk(name, -1), None)
                if nearest is not None and (own or name in self.foreign_successors(nearest, ring)):
                    found[nearest] = None
            cached = self._observers[name] = tuple(found)
        return cached
