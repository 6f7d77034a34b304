"""Many timers inside, one deadline outside."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable

__all__ = ["Timers"]

Action = Callable[[float], None]
_ENTRIES_MIN = 1_024
"""With so many more entries than timers, those that were cancelled or moved are cleared away."""
_FIRED_MAX = 32
"""That fire in one call: packets that have arrived are not to wait for thousands of timers."""


class Timers:
    """Named timers. Setting one again moves it; each fires once, in order of time.

    One with `slack` waits for so long, if need be, for another to fire with: an idle process that wakes up
    for every timer on its own spends most of its time on that.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._armed: dict[Hashable, tuple[float, int, Action]] = {}
        self._keys: dict[int, Hashable] = {}
        self._patient: dict[int, float] = {}
        """Of those with slack, from when on they may fire."""
        self._count = 0

    def set(self, key: Hashable, when: float, action: Action, *, slack: float = 0.0) -> None:
        self.cancel(key)
        self._count += 1
        if slack:
            self._patient[self._count] = when
            when += slack
        self._armed[key] = (when, self._count, action)
        self._keys[self._count] = key
        heapq.heappush(self._heap, (when, self._count))
        if len(self._heap) > _ENTRIES_MIN + 4 * len(self._armed):  # most were cancelled or moved since
            self._heap = [(armed[0], armed[1]) for armed in self._armed.values()]
            heapq.heapify(self._heap)

    def set_if_unset(self, key: Hashable, when: float, action: Action) -> None:
        if key not in self._armed:
            self.set(key, when, action)

    def cancel(self, key: Hashable) -> None:
        armed = self._armed.pop(key, None)
        if armed is not None:
            del self._keys[armed[1]]
            self._patient.pop(armed[1], None)

    def clear(self) -> None:
        self._heap.clear()
        self._armed.clear()
        self._keys.clear()
        self._patient.clear()

    def when(self, key: Hashable) -> float | None:
        armed = self._armed.get(key)
        return None if armed is None else armed[0]

    def next_deadline(self) -> float | None:
        heap = self._heap
        while heap and heap[0][1] not in self._keys:
            heapq.heappop(heap)  # cancelled or moved
        return heap[0][0] if heap else None

    def patient_due(self, now: float) -> bool:
        """May one fire now that could wait? Then whatever is awake had better let it."""
        return bool(self._patient) and min(self._patient.values()) <= now

    def run(self, now: float) -> None:
        """Fire what is due at `now`. What is set anew while this runs waits for the next call.

        So does what is left over when there is very much.
        """
        newest, left = self._count, _FIRED_MAX
        later: list[tuple[float, int]] = []
        while left and (deadline := self.next_deadline()) is not None and deadline <= now:
            entry = heapq.heappop(self._heap)
            if entry[1] > newest:
                later.append(entry)
                continue
            self._fire(entry[1], now)
            left -= 1
        for entry in later:
            heapq.heappush(self._heap, entry)
        for number, when in list(self._patient.items()):
            if when <= now and number <= newest and number in self._patient:
                self._fire(number, now)

    def _fire(self, number: int, now: float) -> None:
        self._patient.pop(number, None)
        self._armed.pop(self._keys.pop(number))[2](now)
