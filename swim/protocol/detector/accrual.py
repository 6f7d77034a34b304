"""phi, for probes: how improbable is it that a live member is this silent?

Hayashibara et al. 2004 define phi as -log10 of the probability that a heartbeat is still to come.
Their estimator needs many heartbeats a second from the same member. Ours works at any cadence: from
the first unanswered probe on the member is probed again and again, and it is silent while alive
only if it is paused, or if every one of these probes or its ack was lost:

    phi(t) = -log10( P(paused for t) + product over the overdue probes of P(lost) )
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["PHI_DEAD", "PHI_SUSPECT", "RoundTrip", "phi"]

PHI_SUSPECT = 3.0
"""From here on an observer suspects a subject, and tells the others: wrong once in a thousand times."""
PHI_DEAD = 8.0
"""From here on it would declare the subject dead, and asks the others."""

_PAUSE_SCALE = 0.05
"""Seconds. Pauses of this order are nothing special; longer ones follow a power law."""
_PHI_MAX = 300.0


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
