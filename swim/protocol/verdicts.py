"""Who decides: the observers of a member, by a poll that each of them can veto.

An observer that is convinced of a death asks the others. Those that have come to the same conclusion
agree; one that hears the member vetoes. Every weaker rule was broken by some scenario: unsolicited
votes let three slow observers outvote the healthy ones, and shrinking the quorum by suspected
observers let one deaf member remove everybody (DETECTOR.md section 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from swim.events import FailureReason
from swim.protocol.context import Context, Part
from swim.protocol.membership import Membership
from swim.protocol.table import Record
from swim.wire.messages import Opinion, OpinionKind

__all__ = ["Verdicts"]

_VOTES_MAX = 3
_POLL_PATIENCE, _CERTAIN_PATIENCE = 1.2, 3.0
"""Times that an answer may take. When the kernel spoke, the others have to look themselves first."""
_LOSSY_VOTES_MIN, _LOSSY_VOTES_MAX = 2, 5
_LOSSY_WINDOW_S = 40.0
_LOSSY_REPEAT_S = 5.0
_SUBJECTS_MAX = 256


@dataclass(slots=True)
class _Poll:
    round: int
    certain: bool
    asked: tuple[str, ...]
    agreed: dict[str, None] = field(default_factory=dict)
    vetoed: bool = False
    desperate: bool = False
    """It has been silent for so long that only the observers that answer at all are counted."""


class Verdicts(Part):
    """Polls about this node's subjects, and the votes against members that lose most packets."""

    def __init__(self, context: Context, membership: Membership) -> None:
        super().__init__(context)
        self._membership = membership
        self._polls: dict[str, _Poll] = {}
        self._able: dict[str, dict[str, None]] = {}
        self._lossy: dict[str, dict[str, float]] = {}
        self._rounds = 0

    def needed(self, observers: int) -> int:
        """Votes for a death, this node's own included."""
        return 1 if observers < 2 else min(_VOTES_MAX, max(2, math.ceil(observers / 2)))

    def _needed_for(self, name: str, poll: _Poll) -> int:
        if not poll.desperate:
            return self.needed(len(poll.asked) + 1)
        able = sum(1 for other in poll.asked if other in self._able.get(name, {}))
        return self.needed(able + 1)

    def _others(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self._table.rings.observers(name) if other != self._name)

    # --- speaking

    def hint(self, record: Record, silence: float, told: dict[str, None]) -> None:
        """Tell the other observers, if they have not been told, that it is silent towards this one."""
        fresh = [other for other in self._others(record.name) if other not in told]
        told.update(dict.fromkeys(fresh))
        self._tell(fresh, Opinion(OpinionKind.HINT, record.name, record.incarnation, _ms(silence)))

    def answer(self, asker: str, poll: Opinion, kind: OpinionKind) -> None:
        record = self._table.get(asker)
        if record is not None:
            self._outbox.send(record.address, Opinion(kind, poll.node, poll.incarnation, round=poll.round))

    def _tell(self, others: Iterable[str], opinion: Opinion) -> None:
        for other in others:
            record = self._table.get(other)
            assert record is not None
            self._outbox.send(record.address, opinion)

    # --- polls

    def poll(
        self,
        record: Record,
        now: float,
        *,
        silence: float,
        patience: float,
        certain: bool,
        desperate: bool,
        sound: bool,
    ) -> None:
        """This observer is convinced: `certain`, when the member's kernel says that it is gone.

        `patience`: how long an answer may take, in seconds. `desperate`: it has been silent for so long
        that observers which do not even answer polls are not waited for: they may have died with it.
        `sound`: the fault cannot be this node's own. Else it does not judge alone.
        """
        name, others = record.name, self._others(record.name)
        if not others:
            # With nobody to ask, silence alone is only this node's own view of it (LEADER.md).
            if certain or sound:
                self._membership.declare_dead(name, _reason(certain), now, solo=not certain)
            return
        pending = self._polls.get(name)
        if pending is not None and (pending.certain or not certain):
            return
        self._rounds = (self._rounds + 1) & 0xFFFFFFFF
        self._polls[name] = _Poll(self._rounds, certain, others, desperate=desperate and sound)
        question = Opinion(OpinionKind.POLL, name, record.incarnation, _ms(silence), self._rounds, certain)
        self._tell(others, question)
        rounds = _CERTAIN_PATIENCE if certain else _POLL_PATIENCE
        self._timers.set(("poll", name), now + rounds * patience, lambda at: self._count(name, at))

    def heard(self, voter: str, opinion: Opinion, now: float) -> None:
        """An answer to a poll of this node."""
        poll = self._polls.get(opinion.node)
        if poll is None or poll.round != opinion.round or voter not in poll.asked:
            return
        self._able.setdefault(opinion.node, {})[voter] = None
        if opinion.kind is OpinionKind.VETO:
            poll.vetoed = True
        elif opinion.kind is OpinionKind.AGREE:
            poll.agreed[voter] = None
        if poll.vetoed or len(poll.agreed) == len(poll.asked):
            self._count(opinion.node, now)

    def _count(self, name: str, now: float) -> None:
        self._timers.cancel(("poll", name))
        poll, record = self._polls.pop(name), self._table.get(name)
        if poll.vetoed or record is None or not record.present:
            return
        # The kernel's word needs no votes: those who could object have had the time to look.
        needed = self._needed_for(name, poll)
        if poll.certain or len(poll.agreed) + 1 >= needed:
            alone = needed == 1 and not poll.certain
            self._membership.declare_dead(name, _reason(poll.certain), now, solo=alone)

    def withdraw(self, name: str) -> None:
        """The question whether it is dead does not arise any more."""
        self._able.pop(name, None)
        if self._polls.pop(name, None) is not None:
            self._timers.cancel(("poll", name))

    # --- members that lose most packets

    def lossy(self, record: Record, now: float) -> None:
        """This observer's vote against it; repeated while the loss lasts."""
        mine = self._lossy.get(record.name, {}).get(self._name, -math.inf)
        if now - mine >= _LOSSY_REPEAT_S:
            opinion = Opinion(OpinionKind.LOSSY, record.name, record.incarnation)
            self._tell(self._others(record.name), opinion)
            self.heard_lossy(self._name, opinion, now)

    def heard_lossy(self, voter: str, opinion: Opinion, now: float) -> None:
        observers = self._table.rings.observers(opinion.node)
        if voter not in observers or self._name not in observers:
            return
        if opinion.node not in self._lossy and len(self._lossy) >= _SUBJECTS_MAX:
            del self._lossy[next(iter(self._lossy))]
        votes = self._lossy.setdefault(opinion.node, {})
        votes[voter] = now
        fresh = sum(1 for name in observers if now - votes.get(name, -math.inf) < _LOSSY_WINDOW_S)
        if fresh >= max(_LOSSY_VOTES_MIN, min(_LOSSY_VOTES_MAX, len(observers))):
            del self._lossy[opinion.node]
            self._membership.declare_dead(opinion.node, "quality", now)


def _reason(certain: bool) -> FailureReason:
    return "process-gone" if certain else "silence"


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
