"""How many of the packets that are sent to a member get lost."""

from __future__ import annotations

from collections import deque

__all__ = ["LossEstimate"]

_LOSS_MIN, _LOSS_MAX = 0.005, 0.9
"""Bounds of the average: no link is perfect, and on the worst an unanswered probe still says something."""
_LOSS_WEIGHT = 1 / 16
"""Of the latest probe in the average."""
_RECENT, _RECENT_MIN, _LATEST = 20, 16, 8
"""So many probes are remembered; from so few a share is taken; and so many are the latest."""
_REMARKABLE = 0.55
"""A share of lost probes that is worth asking the other observers about."""


class LossEstimate:
    """The share of probes that were lost: as a moving average, and among the last twenty."""

    __slots__ = ("_average", "_recent", "share")

    def __init__(self) -> None:
        self._average = _LOSS_MIN
        self.share = _LOSS_MIN
        self._recent: deque[bool] = deque(maxlen=_RECENT)

    def add(self, lost: bool) -> None:
        self._average += _LOSS_WEIGHT * (lost - self._average)
        self.share = min(_LOSS_MAX, max(_LOSS_MIN, self._average))
        self._recent.append(lost)

    def average_in(self, further: int) -> None:
        """So many were lost together with one that counts: the next may well be, but it is one loss."""
        self._average = 1 - (1 - self._average) * (1 - _LOSS_WEIGHT) ** further
        self.share = min(_LOSS_MAX, self._average)

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

    def unlike(self, usual: float) -> bool:
        """Far more are lost than to the others."""
        return usual < (self.measured or 0.0) / 3

    def stands_out(self, usual: float) -> bool:
        """The same, and they are more than the one or two that may be lost by chance."""
        return sum(self._recent) > 2 and self.unlike(usual)

    def remarkable(self, usual: float) -> bool:
        """Most of the recent probes were lost, and that is not how it goes with the others."""
        return self.recently >= _REMARKABLE and self.unlike(usual)
