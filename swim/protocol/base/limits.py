"""A token bucket, so that one mad member cannot start a storm."""

from __future__ import annotations

__all__ = ["TokenBucket"]

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
