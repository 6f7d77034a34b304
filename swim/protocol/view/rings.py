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
_PLACES = Struct(">" + "I4x" * RINGS_MAX)
_ROUND = 1 << 32
_REBUILT = 8
"""More newcomers than this part of a ring: to sort them in all at once is quicker than one by one."""
_REMEMBERED = 8
"""The members whose subjects are remembered: first of all this node itself."""
FOREIGN_MAX = 16
"""Foreign members that one of our own observes and tells the news on each ring: the nearest. Anybody can make
up thousands; and where there are, those that are told gossip it on."""


@lru_cache(maxsize=1_024)
def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=_PLACES.size).digest()


class _Ring:
    """Names in the order of their places. Two arrays: tuples would be most of a large table's memory.

    Two names may have one place, as it has 32 bits: they stand in the order of names.
    """

    __slots__ = ("_number", "_places", "names")

    def __init__(self, number: int) -> None:
        self.names: list[str] = []
        self._number = 8 * number
        self._places = array("I")

    def __contains__(self, name: str) -> bool:
        index = self.index(name)
        return index < len(self.names) and self.names[index] == name

    def index(self, name: str) -> int:
        """Where this name stands, or would."""
        return self._index(name, self._place(name))

    def _index(self, name: str, place: int) -> int:
        index = bisect_left(self._places, place)
        while index < len(self.names) and self._places[index] == place and self.names[index] < name:
            index += 1
        return index

    def insert(self, newcomers: list[tuple[int, str]]) -> None:
        """Names with their places: one by one, or all at once where they are many."""
        if _REBUILT * len(newcomers) > len(self.names):
            ordered = sorted([*zip(self._places, self.names, strict=True), *newcomers])
            places, names = zip(*ordered, strict=True)
            self.names, self._places = list(names), array("I", places)
            return
        for place, name in newcomers:
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
        return (self._place(other) - self._place(name)) % _ROUND

    def copy(self) -> _Ring:
        other = _Ring(self._number // 8)
        other.names, other._places = self.names[:], self._places[:]
        return other

    def _place(self, name: str) -> int:
        return int.from_bytes(_digest(name)[self._number : self._number + 4], "big")


class Rings:
    """The present members, each at its place on every ring: our own, and apart from them the foreign ones.

    Where many join, one after the other, they are put on the rings when these are looked at. And a newcomer
    of our own changes which members another one observes only where it is nearer than those.
    """

    def __init__(self, count: int) -> None:
        assert 1 <= count <= RINGS_MAX
        self._rings = [_Ring(number) for number in range(count)]
        self._foreign = [_Ring(number) for number in range(count)]
        self._newcomers: dict[str, bool] = {}
        """Those that are not on the rings yet; whether each is one of our own."""
        self._observers: dict[str, tuple[str, ...]] = {}
        self._subjects: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]]] = {}
        """Of some: their subjects, their places, and how far it is to the next own member on each ring."""
        self.version = 0

    def __contains__(self, name: str) -> bool:
        return self._is_own(name) is not None

    def _is_own(self, name: str) -> bool | None:
        """Is this one of our own, or a foreign member? None: there is none of this name."""
        if name in self._newcomers:
            return self._newcomers[name]
        if name in self._rings[0]:
            return True
        return False if name in self._foreign[0] else None

    def add(self, name: str, own: bool) -> None:
        """Put a member on the rings; `own` members observe, foreign ones are only observed."""
        if self._is_own(name) is own:
            return
        self.remove(name)
        self._newcomers[name] = own
        places = _PLACES.unpack(_digest(name))
        for other, (_, theirs, gaps) in list(self._subjects.items()):
            nearer = [(a - b) % _ROUND < gap for a, b, gap in zip(places, theirs, gaps, strict=False)]
            if not own or any(nearer):
                del self._subjects[other]
        self._changed()

    def remove(self, name: str) -> None:
        own = self._is_own(name)
        if own is None:
            return
        self._arrange()
        for ring in self._rings if own else self._foreign:
            ring.remove(name)
        self._subjects.clear()
        self._changed()

    def take_over(self, other: Rings) -> None:
        """The same members as the other has."""
        other._arrange()
        self._rings = [ring.copy() for ring in other._rings]
        self._foreign = [ring.copy() for ring in other._foreign]
        self._newcomers.clear()
        self._subjects.clear()
        self._changed()

    def _arrange(self) -> None:
        """Put the newcomers on the rings."""
        if not self._newcomers:
            return
        for own, rings in ((True, self._rings), (False, self._foreign)):
            names = [name for name, is_own in self._newcomers.items() if is_own is own]
            columns = zip(*map(_PLACES.unpack, map(_digest, names)), strict=True)
            for ring, places in zip(rings, columns, strict=False):
                ring.insert(list(zip(places, names, strict=True)))
        self._newcomers.clear()

    def renew(self) -> None:
        """Another process has a member's name: what was measured of the earlier one is of no use."""
        self.version += 1

    def _changed(self) -> None:
        self.version += 1
        self._observers.clear()

    def successors(self, name: str, ring: int) -> Iterator[str]:
        """The own members that follow on one ring, nearest first."""
        self._arrange()
        return self._rings[ring].walk(name, 1)

    def foreign_successors(self, name: str, ring: int) -> list[str]:
        """The nearest foreign members between this one and the next own member of the ring."""
        self._arrange()
        own, foreign = self._rings[ring], self._foreign[ring]
        if not foreign.names:
            return []
        nearest = list(islice(foreign.walk(name, 1), FOREIGN_MAX))
        following = next(own.walk(name, 1), None) if nearest else None
        if following is None:
            return nearest
        gap = own.distance(name, following)
        return [other for other in nearest if own.distance(name, other) < gap]

    def pick(self, rng: random.Random, count: int, accept: Callable[[str], bool]) -> list[str]:
        """Up to `count` random members that are accepted; few tries, so it may find fewer."""
        self._arrange()
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
        known = self._subjects.get(name)
        if known is not None:
            return known[0]
        found, gaps = dict[str, None](), list[int]()
        for number, ring in enumerate(self._rings):
            found |= dict.fromkeys(self.foreign_successors(name, number))
            following = next(self.successors(name, number), None)
            gaps.append(_ROUND if following is None else ring.distance(name, following))
            if following is not None:
                found[following] = None
        if len(self._subjects) >= _REMEMBERED:
            del self._subjects[next(iter(self._subjects))]
        self._subjects[name] = tuple(found), _PLACES.unpack(_digest(name)), tuple(gaps)
        return tuple(found)

    def observers(self, name: str) -> tuple[str, ...]:
        """The observers of this member, each once, in an order that all nodes with this view agree on."""
        cached = self._observers.get(name)
        if cached is None:
            self._arrange()
            found, own = dict[str, None](), self._is_own(name) is not False
            for ring in range(len(self._rings)):
                nearest = next(self._rings[ring].walk(name, -1), None)
                if nearest is not None and (own or name in self.foreign_successors(nearest, ring)):
                    found[nearest] = None
            cached = self._observers[name] = tuple(found)
        return cached
