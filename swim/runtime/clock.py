"""The time that a node is told: trio's, plus the time for which the machine has slept meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

__all__ = ["NodeClock", "suspended"]

_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", None)
_JITTER_S = 0.01
"""Two clocks cannot be read at the same instant. No machine sleeps for less."""


def suspended() -> float:
    """Seconds for which this machine has slept since it was started; 0 where the system does not tell.

    A little too small, if anything: should the process be stopped here, CLOCK_MONOTONIC is read late.
    """
    if _BOOT_TIME is None:
        return 0.0
    return time.clock_gettime(_BOOT_TIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class NodeClock:
    """trio's clock stands still while the machine sleeps, and the world does not: leases run out in it.

    Only how far the two clocks of the system are apart counts, so that this works with a `MockClock`.
    """

    def __init__(self, suspended: Callable[[], float] = suspended) -> None:
        self._suspended = suspended
        self._origin = suspended()
        self._slept = 0.0
        self.trio_now = trio.lowlevel.current_clock().current_time
        """What `trio.current_time` says, which has to look for the clock each time."""

    def now(self) -> float:
        """Seconds, of any origin; never goes back."""
        if self._suspended() - self._origin >= self._slept + _JITTER_S:
            self.look()
        return self.trio_now() + self._slept

    @property
    def slept(self) -> float:
        """Seconds for which the machine has slept, as of the last look."""
        return self._slept

    def look(self) -> bool:
        """Whether the machine has slept since the last look."""
        slept = self._suspended() - self._origin
        if slept < self._slept + _JITTER_S:
            return False
        self._slept = slept
        return True

    def deadline(self, when: float) -> float:
        """A time of this clock as one of trio's, provided that the machine does not sleep until then."""
        return when - self._slept
