"""When a member that the others have given up asks to be one again: at once, or when its links are good.

The member itself decides, by the answers to its own pings. So there is one that knows, all others
take it back with its word, and a link that is as bad as it was costs the cluster nothing:

- While most of its pings are lost it says nothing. It would be removed again, for the same reason.
- A second death within ten minutes counts as flapping: it comes back a minute after its links broke last.

Deaths that come together are the network's doing (a partition, a switch), and nobody flaps by those; nor by
deaths that this node itself has seen no reason for: a member gone mad can say what it likes. A restarted
process knows of no deaths, and is never held up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from swim.protocol.context import Context, Part
from swim.protocol.links import Links
from swim.protocol.myself import Myself
from swim.protocol.table import Record
from swim.wire.messages import Dead

__all__ = ["TOGETHER", "Readmission"]

_FORGET_S = 600.0
_FLAPPING_S = 60.0
_LOOK_AGAIN_S = 1.0
_WAIT_AND_SEE_S = 5.0
"""The others may notice sooner than this node itself that it is cut off."""
_TOGETHER_S, TOGETHER = 5.0, 3
"""So many members given up within so many seconds, and it is not the fault of each."""
_DEATHS_MAX = 4_096
_MINE_MAX = 16


class Readmission(Part):
    """The return of this node; and what it tells others of theirs. `gone`: the others have moved on."""

    def __init__(self, context: Context, myself: Myself, links: Links, gone: Callable[[float], None]) -> None:
        super().__init__(context)
        self._myself = myself
        self._links = links
        self._gone = gone
        self._mine = deque[float](maxlen=_MINE_MAX)
        """When this node was given up alone, last."""
        self._others: deque[float] = deque(maxlen=_DEATHS_MAX)

    # --- of others

    def died(self, now: float) -> None:
        """A member was given up."""
        self._others.append(now)

    def death(self, record: Record) -> Dead:
        """What a member is told that does not know that it was given up."""
        return replace(record.as_dead(self._name), alone=self.alone(record.since))

    def alone(self, when: float) -> bool:
        """Was a member that was given up then the only one?"""
        return sum(1 for time in self._others if abs(time - when) < _TOGETHER_S) < TOGETHER

    # --- of this node

    def told(self, news: Dead, now: float) -> None:
        """The others have given this node up."""
        if self._myself.record is None or self._myself.leaving:
            return
        self._links.heard(now)
        if self._myself.held:
            self._myself.refute(news.incarnation, now)
            return
        while self._mine and now - self._mine[0] >= _FORGET_S:
            self._mine.popleft()
        if news.alone:
            self._mine.append(now)
        if not self.ready(now, now):
            self._myself.held = True
            self._gone(now)
            self._timers.set("readmission", now + _LOOK_AGAIN_S, lambda at: self._look(now, at))
        self._myself.refute(news.incarnation, now)

    def ready(self, told: float, now: float) -> bool:
        """Can this node, which was told of its death then, be a good member?"""
        if now - told > _FORGET_S:
            return True
        if self._links.bad:
            return False
        deaths = sum(map(self._credible, self._mine))
        if deaths > 1:
            return now - self._myself.cut_off[-1] >= _FLAPPING_S
        return deaths == 0 or self._credible(told) or now - told >= _WAIT_AND_SEE_S

    def _credible(self, told: float) -> bool:
        """Was this node cut off at about that time?"""
        return any(abs(cut - told) < self._config.pause_tolerance for cut in self._myself.cut_off)

    def _look(self, told: float, now: float) -> None:
        if self.ready(told, now):
            self._myself.be_back(now)
        else:
            self._timers.set("readmission", now + _LOOK_AGAIN_S, lambda at: self._look(told, at))
