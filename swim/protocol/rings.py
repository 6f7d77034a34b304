"""Who observes whom, and along which paths news is flooded: k hash rings over the members' names.

On every ring a member observes the members that follow it, up to and including the next of our
own: foreign members cannot observe, so each has an own observer on every ring too. Names, not
ids, are hashed, so that a fresh id reshuffles nothing (DESIGN section 3).
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import blake2b

__all__ = ["RINGS_MAX", "Rings"]

RINGS_MAX = 8


@lru_cache(maxsize=65_536)
def _positions(name: str) -> tuple[tuple[int, str], ...]:
    digest = blake2b(name.encode(), digest_size=8 * RINGS_MAX).digest()
    return tuple((int.from_bytes(digest[i : i + 8], "big"), name) for i in range(0, len(digest), 8))


class Rings:
    """The present members, each at its place on every ring."""

    def __init__(self, count: int) -> None:
        assert 1 <= count <= RINGS_MAX
        self._rings: list[list[tuple[int, str]]] = [[] for _ in range(count)]
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
            for ring, place in zip(self._rings, _positions(name), strict=False):
                insort(ring, place)
        self._changed()

    def remove(self, name: str) -> None:
        if self._own.pop(name, None) is None:
            return
        for ring, place in zip(self._rings, _positions(name), strict=False):
            del ring[bisect_left(ring, place)]
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._observers.clear()

    def _walk(self, ring: int, name: str, step: int) -> Iterator[str]:
        places = self._rings[ring]
        start = bisect_left(places, _positions(name)[ring])
        for distance in range(1, len(places)):
            yield places[(start + step * distance) % len(places)][1]

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
        places = self._rings[0]
        found: dict[str, None] = {}
        for _ in range(3 * count + 10 if places else 0):
            name = places[rng.randrange(len(places))][1]
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
