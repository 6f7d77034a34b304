"""When a member that was removed may come back: at once the first time, later and later if it flaps.

Counts deaths of one process (one boot) by silence or by loss. A restarted process is another one and
is never held down; nor is one that left. Deaths by silence that come together are the network's doing (a
partition, a switch), and nobody is held down for those.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Readmission"]

_FORGET_S = 600.0
_LOSSY_S, _SILENT_S, _GROWTH = 30.0, 60.0, 4.0
_HOLD_MAX_S = 240.0
_GROWTHS_MAX = 3
_TOGETHER_S, _TOGETHER = 5.0, 3
_PROCESSES_MAX = 4_096


@dataclass(slots=True)
class _Deaths:
    count: int
    last: float
    lossy: bool


class Readmission:
    """The hold-down of every process that was removed lately."""

    def __init__(self) -> None:
        self._deaths: dict[tuple[str, str], _Deaths] = {}
        self._times: deque[float] = deque(maxlen=_PROCESSES_MAX)

    def died(self, name: str, boot: str, lossy: bool, now: float) -> None:
        deaths = self._deaths.pop((name, boot), None)
        if deaths is None or now - deaths.last > _FORGET_S:
            deaths = _Deaths(0, now, lossy)
        self._deaths[name, boot] = _Deaths(deaths.count + 1, now, lossy)
        self._times.append(now)
        if len(self._deaths) > _PROCESSES_MAX:
            del self._deaths[next(iter(self._deaths))]

    def wait(self, name: str, boot: str, now: float) -> float:
        """Seconds until this process may be a member again."""
        deaths = self._deaths.get((name, boot))
        if deaths is None:
            return 0.0
        if deaths.lossy:
            hold = _LOSSY_S * _GROWTH ** min(deaths.count - 1, _GROWTHS_MAX)
        elif deaths.count > 1 and not self._together(deaths.last):
            hold = _SILENT_S * _GROWTH ** min(deaths.count - 2, _GROWTHS_MAX)
        else:
            hold = 0.0
        return max(0.0, deaths.last + min(hold, _HOLD_MAX_S) - now)

    def _together(self, when: float) -> bool:
        return sum(1 for time in self._times if abs(time - when) < _TOGETHER_S) >= _TOGETHER
