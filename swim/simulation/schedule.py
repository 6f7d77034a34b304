"""Virtual time: what will happen when, and clocks that disagree about it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

__all__ = ["Clock", "Schedule"]


class Schedule:
    """What is still to happen, in order of time; at one instant, in the order of arrangement."""

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, time: float, action: Callable[..., object], *args: Any) -> None:
        """Do `action` at this time, or now if that has passed."""
        self._count += 1
        heappush(self._heap, (time if time > self.now else self.now, self._count, action, args))

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        self.at(self.now + delay, action, *args)

    def run(self, until: float) -> None:
        """Let time pass until then, doing what is due."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action, args = heappop(heap)
            action(*args)
        self.now = max(self.now, until)


class Clock:
    """The monotonic clock of one host: `offset` + `rate` x true time. And its wall clock."""

    __slots__ = ("_local", "_true", "_wall", "rate")

    def __init__(self, offset: float, rate: float, wall: float) -> None:
        self.rate = rate
        self._true = 0.0
        self._local = offset
        self._wall = wall - offset

    def local(self, true: float) -> float:
        """What this clock shows at a true time."""
        return self._local + (true - self._true) * self.rate

    def true(self, local: float) -> float:
        """The true time at which this clock shows `local`."""
        return self._true + (local - self._local) / self.rate

    def set_rate(self, rate: float, true: float) -> None:
        """Run faster or slower from now on, without a jump."""
        self._local = self.local(true)
        self._true = true
        self.rate = rate

    def shift_wall(self, seconds: float) -> None:
        """The wall clock is set; the monotonic one does not notice."""
        self._wall += seconds

    def wall(self, local: float) -> float:
        """Seconds since the epoch when the monotonic clock shows `local`."""
        return self._wall + local
