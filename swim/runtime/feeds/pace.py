"""When a task that need not wait lets the others run."""

from __future__ import annotations

from math import inf

import trio

__all__ = ["Pace"]

_SLICE = 0.0005
_IN_A_ROW = 64
"""A task lets others run after so long, and after doing its work so many times."""


class Pace:
    """A checkpoint for what takes less time than a checkpoint does, and is done thousands of times in a row.

    Others run at least every half millisecond and every 64 times. A cancellation strikes at once, as at any
    checkpoint: also that of a deadline that has passed, for instance while the process was frozen.
    """

    def __init__(self) -> None:
        self._left = 0
        self._until = -inf

    def due(self) -> bool:
        """Whether it is time for `checkpoint`."""
        now = trio.current_time()
        self._left -= 1
        return self._left <= 0 or now >= self._until or now >= trio.current_effective_deadline()

    async def checkpoint(self) -> None:
        """Let others run, and begin anew."""
        await trio.lowlevel.checkpoint()
        self._left, self._until = _IN_A_ROW, trio.current_time() + _SLICE
