"""How often a thing may be done, and how many are remembered: so one mad member does not use up a node."""

from __future__ import annotations

from typing import Any

__all__ = ["TokenBucket", "keep_latest"]

_ROUNDING = 1e-6  # a caller that waits for as long as it was told to must get its token


class TokenBucket:
    """Allows `burst` actions at once and `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled: float | None = None

    def take(self, now: float) -> bool:
        """Use one token, if there is one."""
        ready = self.ready(now)
        if ready:
            self._tokens -= 1.0
        return ready

    def fine(self, count: float, now: float) -> None:
        """Take so many, also of those that are not there yet: of those at most `count` times the burst."""
        self._fill(now)
        self._tokens = max(self._tokens - count, -count * self._burst)

    def ready(self, now: float) -> bool:
        """Is there a token?"""
        self._fill(now)
        return self._tokens >= 1.0 - _ROUNDING

    def wait(self, now: float) -> float:
        """Seconds until there is a token."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def _fill(self, now: float) -> None:
        if self._filled is not None:
            self._tokens = min(float(self._burst), self._tokens + (now - self._filled) * self._rate)
        self._filled = now


def keep_latest(memory: dict[Any, Any], count: int) -> bool:
    """Forget what was put in first while there is more than that. Whether something was forgotten."""
    full = len(memory) > count
    while len(memory) > count:
        del memory[next(iter(memory))]
    return full
