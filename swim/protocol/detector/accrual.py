"""phi, for probes: how improbable is it that a live member is this silent?

Hayashibara et al. 2004 define phi as -log10 of the probability that a heartbeat is still to come.
Their estimator needs many heartbeats a second from the same member. Ours works at any cadence: from
the first unanswered probe on the member is probed again and again, and it is silent while alive
only if it is paused, or if every one of these probes or its ack was lost:

    phi(t) = -log10( P(paused for t) + product over the overdue probes of P(lost) )
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

__all__ = ["PHI_DEAD", "PHI_SUSPECT", "LossEstimate", "RoundTrip", "phi"]

PHI_SUSPECT = 3.0
PHI_DEAD = 8.0

_PAUSE_SCALE = 0.05
"""Seconds. Pauses of this order are nothing special; longer ones follow a power law."""
_PHI_MAX = 300.0
_LOSS_MIN, _LOSS_MAX = 0.005, 0.9
_LOSS_WEIGHT = 1 / 16
_RECENT, _RECENT_MIN, _LATEST = 20, 16, 8
_REMARKABLE = 0.55


def phi(silence: float, tolerance: float, losses: Iterable[float]) -> float:
    """The accrual level after `silence` seconds, given P(lost) of each overdue probe.

    The power law of the pauses is the one that reaches `PHI_DEAD` at the tolerance.
    """
    exponent = PHI_DEAD / math.log10(1 + tolerance / _PAUSE_SCALE)
    pause = exponent * math.log10(1 + max(0.0, silence) / _PAUSE_SCALE)
    lost = -sum(math.log10(loss) for loss in losses)
    smaller, larger = sorted((min(pause, _PHI_MAX), min(lost, _PHI_MAX)))
    # -log10(10^-a + 10^-b) without underflow
    return max(0.0, smaller - math.log10(1 + 10 ** (smaller - larger)))


class LossEstimate:
    """The share of probes that were lost: as a moving average, and among the last twenty."""

    __slots__ = ("_recent", "_share")

    def __init__(self) -> None:
        self._share = _LOSS_MIN
        self._recent: deque[bool] = deque(maxlen=_RECENT)

    @property
    def share(self) -> float:
        return min(_LOSS_MAX, max(_LOSS_MIN, self._share))

    def add(self, lost: bool) -> None:
        self._share += _LOSS_WEIGHT * (lost - self._share)
        self._recent.append(lost)

    @property
    def measured(self) -> float | None:
        """The share among the last twenty, of however few; None of none."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    @property
    def recently(self) -> float:
        """The share among the last twenty; 0 before there are enough of them."""
        return (self.measured or 0.0) if len(self._recent) >= _RECENT_MIN else 0.0

    @property
    def lately(self) -> float:
        """The share among the last eight: a link that has just become bad has a good past."""
        latest = list(self._recent)[-_LATEST:]
        return sum(latest) / len(latest) if len(latest) == _LATEST else 0.0

    def remarkable(self, usual: float) -> bool:
        """Most of the recent probes were lost, and that is not how it goes with the others."""
        return self.recently >= _REMARKABLE and usual < self.recently / 3


class RoundTrip:
    """Round-trip time, smoothed as TCP does it (RFC 6298)."""

    __slots__ = ("last", "mean", "variation")

    def __init__(self) -> None:
        self.last: float | None = None
        self.mean: float | None = None
        self.variation = 0.0

    def add(self, seconds: float) -> None:
        self.last = seconds
        if self.mean is None:
            self.mean, self.variation = seconds, seconds / 2
            return
        self.variation += (abs(seconds - self.mean) - self.variation) / 4
        self.mean += (seconds - self.mean) / 8

    def timeout(self, shortest: float, longest: float) -> float:
        """How long to wait for an ack; ten times the shortest when nothing was measured yet."""
        if self.mean is None:
            return min(longest, 10 * shortest)
        return min(longest, max(shortest, self.mean + max(4 * self.variation, self.mean / 4)))
