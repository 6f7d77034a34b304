"""When a member that the others have given up is one again: at once, unless it would only go again.

The member itself decides, by the answers to its own pings: it alone knows its links. The others take it back
when it says that it is alive, and what others say does not keep it out. It waits, and says nothing meanwhile:

- While its packets get lost although others answer: it would be given up for its quality again.
- When it was cut off and given up for the third time within a minute, for some seconds.

With voters it waits no longer when most of them grant it the lease: they take it for a member, then.

Silence counts for nothing once it is over: a node that was cut off comes back as soon as packets pass both
ways. A restarted process knows of no deaths, and never waits.
"""

from __future__ import annotations

import math
from collections import deque

from swim.events import HeldOff
from swim.protocol.base.context import Context, Part
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.leadership.rule import LeaderRule
from swim.protocol.membership.links import OwnLinks
from swim.protocol.view.identity import from_the_future, unpack_id
from swim.wire.messages import Dead

__all__ = ["Readmission"]

_LONGEST_S = 600.0
"""After so long it asks to be a member again, whatever its links are like."""
_FLAPS, _FLAPPING_S = 3, 60.0
"""So many deaths in so short a time are flapping."""
_HELD_S = 4.0
"""Fewer than those within which two members that can talk are to see each other, whatever else is said."""
_LOOK_AGAIN_S = 0.25
_SAY_AGAIN_S = 60.0
"""The operator is told no more often that the clocks differ."""
_OUTAGE_S = 3.0
"""Deaths that are told within so many seconds are one."""


class Readmission(Part):
    """The return of this node, after the others have given it up."""

    def __init__(self, context: Context, own: OwnRecord, links: OwnLinks, leadership: LeaderRule) -> None:
        super().__init__(context)
        self._own = own
        self._links = links
        self._leadership = leadership
        self._refused_at = self._away_since = -math.inf
        self._deaths = deque[float](maxlen=_FLAPS)
        """When this node was told of them."""

    def told(self, news: Dead, now: float) -> None:
        """The others have given this node up."""
        if self._own.record is None or self._own.leaving:
            return
        self._links.heard(now)
        self._links.given_up(now)
        if not self._own.held_off:
            last = self._deaths[-1] if self._deaths else -math.inf
            cut_off = max(self._own.cut_off, default=-math.inf)  # as it knows itself: deaths can be made up
            if cut_off > last and now - last > _OUTAGE_S:
                self._deaths.append(now)
            obstacle = self._obstacle(now)
            if obstacle:
                self._own.stay_away()
                self._away_since = now
                self._outbox.events.append(HeldOff(obstacle))
                self._leadership.step_back(now)  # the others have moved on
                self._timers.set("readmission", now + _LOOK_AGAIN_S, self._look)
        self._own.refute(news.incarnation, now, unpack_id(news.id))

    def answered_after_all(self, now: float) -> None:
        """A member that this node alone had given up lives."""
        self._own.note_cut_off(now)
        self._links.given_up(now)

    def refused(self, by: str, now: float) -> None:
        """Another takes this node's id for one of the future, and what it says of itself for nothing.

        Which of the two clocks is wrong cannot be told. But when this node's has been set right, a fresh id
        will do.
        """
        id = self._own.id
        if id is None or self._own.leaving:
            return
        if from_the_future(id, self._wall(now)):
            self._outbox.events.append(HeldOff(f"its id is of a time to come, says {by}: it takes another"))
            self._leadership.begin_anew(now)
            self._outbox.events.append(HeldOff(None))
        elif now - self._refused_at >= _SAY_AGAIN_S:
            self._refused_at = now
            self._outbox.events.append(HeldOff(f"its id is of a time to come, says {by}: set the clocks"))

    def _obstacle(self, now: float) -> str:
        """Why this node would not stay a member; nothing if it would."""
        if self._links.bad:
            return "most of its packets get lost"
        flaps = len(self._deaths) == _FLAPS and self._deaths[-1] - self._deaths[0] < _FLAPPING_S
        if flaps and now - self._deaths[-1] < _HELD_S:
            return f"its links were cut {_FLAPS} times within a minute"
        return ""

    def _look(self, now: float) -> None:
        if self._own.held_off and self._obstacle(now) and now - self._away_since < _LONGEST_S:
            self._timers.set("readmission", now + _LOOK_AGAIN_S, self._look)
        else:
            self._outbox.events.append(HeldOff(None))
            self._own.be_back(now)
