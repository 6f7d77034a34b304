"""What is done when: all of a node runs on one loop, and what takes long there is a stall to the rest.

So of all that is read from or written to streams, one step is done at a time; of those that others keep open,
and of the others, which have turns of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf
from typing import TypeVar

import trio

from swim.wire import StreamDecoder
from swim.wire.messages import StreamMessage

__all__ = ["Turns"]

T = TypeVar("T")

_APART_S = 0.0001
"""Between two steps that are done at once: a loop on which many streams have something takes turns."""


class Turns:
    """One step of work on streams at a time, in the order in which they ask for it."""

    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._now = trio.lowlevel.current_clock().current_time
        self._stepped = -inf

    async def run(self, steps: Generator[object, None, T]) -> T:
        """Do it all, one step in each turn; the first at once where no other was done just now."""
        try:
            if not self._turn.locked() and self._now() - self._stepped >= _APART_S:
                self._step(steps)
            while True:
                async with self._turn:
                    self._step(steps)
        except StopIteration as finished:
            value: T = finished.value
            return value

    def _step(self, steps: Generator[object, None, object]) -> None:
        try:
            next(steps)
        finally:
            self._stepped = self._now()

    async def read(
        self, decoder: StreamDecoder, data: bytes, goes_on: Callable[[], bool] = lambda: True
    ) -> StreamMessage | None:
        """Feed a decoder; the message if it is complete. `goes_on`: may it, after each step?"""
        async with self._turn:
            decoder.add(data)
            decoder.advance()
        while decoder.busy and goes_on():
            async with self._turn:
                decoder.advance()
        return decoder.message

    async def call(self, work: Callable[[], T]) -> T:
        """Do this in one turn."""
        async with self._turn:
            return work()
