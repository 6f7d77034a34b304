"""This node's own links: are they sound? It has to know before it judges alone, or asks to be taken back."""

from __future__ import annotations

import math
from collections import deque

from swim.protocol.base.context import Context, Part
from swim.protocol.base.loss import LossEstimate
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.asking import Asking

__all__ = ["OwnLinks"]

_BAD, _BAD_LATELY = 0.4, 0.3
"""Shares of lost pings, of the last twenty and eight, with which this node would not stay a member."""
_UNANSWERED_S = 1.5
"""When members go on talking for so long without answering this node's pings, its pings do not reach them."""
_SOUND_S = 1.0
"""The pings to itself must have come back for so long before this node judges alone."""
_TEST_S = 0.1
"""A ping to itself that takes longer than this leaves it open whether the links are sound."""
_OVER_S = 5.0
"""So soon after an outage a node learns that it was one."""
_AGAIN, _LATELY_S, _PATIENCE = 2, 180.0, 4.0
"""After so many of them within so long the next silence is most likely one more: the long tolerance passes so
many times."""


class OwnLinks(Part):
    """The answers to all of this node's pings together; and pings to itself."""

    def __init__(self, context: Context, own: OwnRecord, asking: Asking) -> None:
        super().__init__(context)
        self.loss = LossEstimate()
        """Of the regular pings: the share that was lost while other packets passed."""
        self._own = own
        self._ask = asking.ask
        self._heard = -math.inf
        self._unanswered: float | None = None
        """When the first ping was sent that no member's answer followed. Both are of the attention clock."""
        self._given_up = False
        """Since then it has turned out that it is this node that is cut off."""
        self._given_up_at = self._silence_ended = -math.inf
        """When that has turned out last; and when a long silence of all others was over."""
        self._outages = deque[float](maxlen=_AGAIN)
        """When it turned out, of the latest of such silences."""
        self._testing: float | None = None
        self._sound_since: float | None = None
        self._can_test = False

    @property
    def bad(self) -> bool:
        """Many of the recent pings were lost, and that has not ended."""
        lately = self.loss.lately
        return lately > _BAD_LATELY or (lately > 0.0 and self.loss.recently > _BAD)

    def answered(self, now: float) -> None:
        """An ack of another member."""
        if self._long_silence(now):
            self._silence_ended = now
            if self._given_up:
                self._count(now)
        self._unanswered, self._given_up = None, False

    def _long_silence(self, now: float) -> bool:
        """Has no member answered for longer than a live one may stand still?"""
        since = self._unanswered
        return since is not None and self._attention(now) - since >= self._config.pause_tolerance

    def pinged(self, now: float, *, answered: bool) -> None:
        """A regular ping was answered, or not in time: why not is still to be seen (`lost`)."""
        if answered:
            self.loss.add(False)
        elif self._unanswered is None:
            self._unanswered = self._attention(now)

    def lost(self) -> None:
        """A ping was lost, for another was answered at once. Silence that lasts is no loss."""
        self.loss.add(True)

    def heard(self, now: float) -> None:
        """Another member says something by itself."""
        if self._heard == -math.inf:
            self.test(now)  # while all is well: whether that can be done at all
        self._heard = self._attention(now)

    def given_up(self, now: float) -> None:
        """The others have given this node up, or one that it had given up alone lives.

        So if all are silent, it is this node that is cut off.
        """
        self._given_up_at, self._given_up = now, self._unanswered is not None
        if self._long_silence(now) or now - self._silence_ended < _OVER_S:
            self._count(now)

    def _count(self, now: float) -> None:
        """Once for each outage, in which all others were silent for long."""
        if not self._outages or now - self._outages[-1] >= self._config.pause_tolerance:
            self._outages.append(now)

    def patience(self, now: float, *, alone: bool) -> float:
        """For how long another is silent before this node gives it up, whatever may be the reason.

        `alone`: so are most others. A node that was cut off from all of them for long again and again, of
        late, takes it for one more time.
        """
        again = len(self._outages) == _AGAIN and now - self._outages[0] < _LATELY_S
        return self._config.pause_tolerance * (_PATIENCE if alone and again else 1.0)

    def explain(self, at: float) -> bool:
        """Was a silence that was long at that time this node's own: did it begin before that turned out?"""
        return at < self._given_up_at + self._config.pause_tolerance

    def deserted(self) -> float | None:
        """Since when no member answers, nor says anything by itself, by the attention clock."""
        return None if self._unanswered is None else max(self._unanswered, self._heard)

    def cut_off(self, now: float) -> None:
        """Most of those that this node pings are silent."""
        self._own.note_cut_off(now)

    def test(self, now: float) -> None:
        """Ping this node itself: when that is not answered, the fault is no other member's."""
        if self._testing is None:
            self._testing = now
            if not self._ask(self._name, self._own.address, now, self._passed, self._failed):
                self._testing = None

    def _passed(self, ack: object, now: float) -> None:
        self._testing, self._can_test = None, True
        if self._sound_since is None:
            self._sound_since = now

    def _failed(self, now: float) -> None:
        self._testing = self._sound_since = None

    def sound(self, now: float) -> bool:
        """Can this node judge alone, because the fault is not its own?

        It is, when others have given this node up, or talk to it, and none answers; or when its own pings do
        not come back (if they ever did: behind some routers they cannot), for then it reads or sends nothing.
        """
        if self._own.held_off:
            return False
        if self._unanswered is not None:
            own = self._given_up or self._heard - self._unanswered > _UNANSWERED_S
            if own and self._attention(now) - self._heard < 2 * self._config.pause_tolerance:
                return False
        if not self._can_test:
            return True
        waiting = self._testing is not None and now - self._testing > _TEST_S
        return self._sound_since is not None and now - self._sound_since >= _SOUND_S and not waiting
