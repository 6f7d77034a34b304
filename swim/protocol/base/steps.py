"""Work that takes longer than a turn: done in steps, with everything else a node has to do in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TypeVar

from swim.protocol.base.context import Context, Part
from swim.wire.source import Reading

__all__ = ["Backlog", "Steps", "unhurried"]

T = TypeVar("T")

Steps = Generator[None, float, None]
"""It yields where a turn may end, and is sent the time when it goes on."""

_JOBS_MAX, _JOBS_OF_HOST_MAX = 64, 8
"""Pieces of work at a time, and of those that are for one host."""
_ENTRIES_MAX = 131_072
"""Of all that is being worked on: each takes about half a kilobyte."""


def unhurried(reading: Reading[T]) -> Generator[None, float, T]:
    """Read what is there as a whole; a turn may end wherever the reader makes a pause."""
    while True:
        try:
            next(reading)
        except StopIteration as finished:
            value: T = finished.value
            return value
        yield


class Backlog(Part):
    """The work that was begun. It goes on by turns, one step at a time, so that nothing waits for long."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs: deque[tuple[str, int, Steps]] = deque()
        self._entries = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def run(self, host: str, entries: int, steps: Callable[[float], Steps], now: float) -> None:
        """The first step is done at once, and most work has no other.

        `host`: for which host it is done; `entries`: how many it keeps in memory.
        """
        mine = sum(1 for other, *_ in self._jobs if other == host)
        full = len(self._jobs) >= _JOBS_MAX or self._entries + entries > _ENTRIES_MAX
        if mine >= _JOBS_OF_HOST_MAX or (full and self._jobs):
            self._outbox.drop("backlog-max")
            return
        job = steps(now)
        if next(job, self) is not self:
            self._add(host, entries, job)
            self._timers.set_if_unset("backlog", now, self._go_on)

    def _add(self, host: str, entries: int, job: Steps) -> None:
        self._jobs.append((host, entries, job))
        self._entries += entries

    def _go_on(self, now: float) -> None:
        host, entries, job = self._jobs.popleft()
        self._entries -= entries
        try:
            job.send(now)
            self._add(host, entries, job)
        except StopIteration:
            pass
        except Exception as fault:
            self._outbox.faults.append((host, fault))
        if self._jobs:
            self._timers.set("backlog", now, self._go_on)

    def clear(self) -> None:
        self._jobs.clear()
        self._entries = 0
        self._timers.cancel("backlog")
