"""The observers of a member decide whether it is dead, by a poll that each of them can veto.

An observer that is convinced of a death asks the others. Those that have come to the same conclusion
agree; one that hears the member vetoes. Every weaker rule was broken by some scenario: unsolicited
votes let three slow observers outvote the healthy ones, and shrinking the quorum by suspected
observers let one deaf member remove all others.

Votes belong to processes (`Freshness`): each author counts once, and only for the one poll that it answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.base.outbox import Verdict
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.states import Evidence
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.watch import Poll, Watch
from swim.protocol.gossip.own_record import OwnRecord
from swim.protocol.membership.updates import Membership
from swim.protocol.view.table import Record
from swim.wire.messages import DeathReason, ObserverKind, ObserverMessage

__all__ = ["Polls"]

_VOTES_MAX = 3
"""So many observers decide, however many there are."""
_POLL_PATIENCE, _CERTAIN_PATIENCE = 1.2, 3.0
"""Times that an answer may take. When the process seems gone, the others have to look themselves first."""
_LOSSY_VOTES_MIN, _LOSSY_VOTES_MAX = 2, 5
"""Observers that have to find most packets of a member lost, this one included."""
_LOSSY_WINDOW_S = 40.0
"""An observer agrees when it has found that in the last so many seconds."""
_LOSSY_STILL = 0.5
"""And such a share of its latest pings were lost: a link that has healed meanwhile is good."""
_LOSSY_REPEAT_S = 5.0
_SOLO_MAX = 256


class Polls(Part):
    """Polls about this node's subjects."""

    def __init__(
        self,
        context: Context,
        own: OwnRecord,
        membership: Membership,
        freshness: Freshness,
        subjects: Subjects,
    ) -> None:
        super().__init__(context)
        self._subjects = subjects
        self._silent_since: dict[str, float] = {}
        """Of members that this node alone has given up; by the attention clock."""
        self._own = own
        self._membership = membership
        self._freshness = freshness

    def needed(self, observers: int) -> int:
        """Votes for a death, this node's own included."""
        return 1 if observers < 2 else min(_VOTES_MAX, max(2, math.ceil(observers / 2)))

    def _needed_for(self, watch: Watch, poll: Poll) -> int:
        if not poll.excuses_silent:
            return self.needed(len(poll.asked) + 1)
        return self.needed(sum(1 for other in poll.asked if other in watch.able) + 1)

    def _others(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self._table.rings.observers(name) if other != self._name)

    # --- speaking

    def hint(self, record: Record, silence: float, told: dict[str, None]) -> None:
        """Tell the other observers, if they have not been told, that it is silent towards this one."""
        fresh = [other for other in self._others(record.name) if other not in told]
        told.update(dict.fromkeys(fresh))
        self._tell(fresh, ObserverKind.HINT, record, age_ms=_ms(silence))

    def answer(self, asker: str, poll: ObserverMessage, kind: ObserverKind) -> None:
        record = self._table.get(poll.node)
        if record is not None:
            self._tell([asker], kind, record, round=poll.round)

    def _tell(
        self,
        others: Iterable[str],
        kind: ObserverKind,
        about: Record,
        *,
        age_ms: int = 0,
        round: int = 0,
        certain: bool = False,
    ) -> None:
        for other in others:
            record = self._table.get(other)
            if record is None:
                continue
            message = ObserverMessage(
                kind,
                about.name,
                about.incarnation,
                age_ms,
                round,
                certain,
                process=about.packed_boot,
                author=self._name,
                boot=self._own.boot.encode(),
                to=record.packed_boot,
                count=self._freshness.next_count(),
            )
            self._outbox.send(record.address, message)

    # --- polls

    def poll(
        self,
        record: Record,
        watch: Watch,
        now: float,
        *,
        silence: float,
        answering: Callable[[str], bool],
        patience: float,
        excuses_silent: bool,
        sound: bool,
    ) -> None:
        """This observer is convinced, or certain: its process is gone.

        `patience`: how long an answer may take, in seconds; observers that are not `answering` this node
        either are asked, but not waited for. `excuses_silent`: observers that never answer are not counted:
        they may have died with the member, which has been silent for long; or they may be made up, as it may
        be, which has never answered while most others have. `sound`: the fault cannot be this node's own.
        Else it does not judge alone.
        """
        others, certain = self._others(record.name), watch.proven
        if not others:
            # With no other observer to ask, silence alone is only this node's own view of it.
            if certain or sound:
                watch.learn(Evidence.AGREED, self._attention(now))
                self.conclude(record, watch, _reason(certain), now, solo=not certain)
            return
        pending = watch.poll
        if pending is not None and (pending.certain or not certain):
            return
        awaited = tuple(filter(answering, others))
        round = self._rng.getrandbits(32)
        watch.poll = Poll(round, others, certain, excuses_silent and sound, awaited)
        self._tell(others, ObserverKind.POLL, record, age_ms=_ms(silence), round=round, certain=certain)
        wait = (_CERTAIN_PATIENCE if certain else _POLL_PATIENCE) * patience
        self._timers.set(("poll", record.name), now + wait, lambda at: self._count(record.name, at))

    def heard(self, voter: str, message: ObserverMessage, now: float) -> None:
        """An answer to a poll of this node."""
        watch = self._subjects.get(message.node)
        polls = () if watch is None else (watch.poll, watch.lossy_poll)
        poll = next((poll for poll in polls if poll is not None and poll.round == message.round), None)
        if watch is None or poll is None or voter not in poll.asked:
            self._outbox.drop("observer-unasked")
            return
        watch.able[voter] = None
        if message.kind is ObserverKind.VETO:
            poll.vetoed = True
        elif message.kind is ObserverKind.AGREE:
            poll.agreed[voter] = None
        if poll is watch.poll:
            if poll.complete:
                self._count(message.node, now)
        elif _enough_find_losses(poll):  # those that find none do not answer, so they are not waited for
            self._count_lossy(message.node, now)

    def _count(self, name: str, now: float) -> None:
        self._timers.cancel(("poll", name))
        watch, record = self._subjects.get(name), self._table.get(name)
        if watch is None or record is None or (poll := watch.poll) is None:
            return
        watch.poll = None
        if poll.vetoed:
            watch.learn(Evidence.VETOED, self._attention(now))
            return
        # Certainty needs no votes: the observers that could object have had the time to look.
        needed = self._needed_for(watch, poll)
        if poll.certain or len(poll.agreed) + 1 >= needed:
            watch.learn(Evidence.AGREED, self._attention(now))
            alone = needed == 1 and not poll.certain
            self.conclude(record, watch, _reason(poll.certain), now, solo=alone, poll=poll)
        else:
            watch.learn(Evidence.TOO_FEW, self._attention(now))

    def conclude(
        self,
        record: Record,
        watch: Watch,
        reason: DeathReason,
        now: float,
        *,
        solo: bool = False,
        poll: Poll | None = None,
    ) -> None:
        """It is dead."""
        if record.boot != watch.boot:
            return  # another process has taken its place meanwhile
        if solo and watch.case is not None:
            self._silent_since[record.name] = watch.case.since
            keep_latest(self._silent_since, _SOLO_MAX)
        asked, agreed = ((), ()) if poll is None else (poll.asked, tuple(poll.agreed))
        evidence = watch.evidence(self._attention(now))
        self._outbox.verdicts.append(Verdict(record.name, reason, solo, evidence, asked, agreed))
        self._membership.declare_dead(record.name, reason, now, solo=solo)

    def say_given_up(self, asker: str, message: ObserverMessage, record: Record, now: float) -> None:
        """Another observer doubts a member that this node alone has given up: it has been silent for longer.

        That is no vote: two that are deaf alike must not be able to give up all others in the views of all.
        """
        since = self._silent_since.get(record.name)
        if since is not None and message.kind in (ObserverKind.HINT, ObserverKind.POLL):
            self._tell([asker], ObserverKind.HINT, record, age_ms=_ms(self._attention(now) - since))

    def withdraw(self, name: str, watch: Watch) -> None:
        """The question whether it is dead does not arise any more."""
        watch.able.clear()
        if watch.poll is not None:
            watch.poll = None
            self._timers.cancel(("poll", name))

    # --- members that lose most packets

    def lossy(self, record: Record, watch: Watch, now: float) -> None:
        """Most packets to it, or of its answers, get lost here: do the others see the same?"""
        attention = self._attention(now)
        watch.lossy = attention
        if watch.lossy_poll is not None:
            return
        others = self._others(record.name)
        round = self._rng.getrandbits(32)
        watch.lossy_poll = Poll(round, others, certain=False, excuses_silent=False, awaited=others)
        self._tell(others, ObserverKind.LOSSY, record, round=round)
        wait = _LOSSY_REPEAT_S
        self._timers.set(("lossy", record.name), now + wait, lambda at: self._count_lossy(record.name, at))

    def asked_lossy(self, asker: str, poll: ObserverMessage, now: float) -> None:
        """Another observer finds most of its packets lost."""
        watch = self._subjects.get(poll.node)
        if watch is None or watch.loss.lately < _LOSSY_STILL:
            return
        if self._attention(now) - watch.lossy < _LOSSY_WINDOW_S:
            self.answer(asker, poll, ObserverKind.AGREE)

    def _count_lossy(self, name: str, now: float) -> None:
        self._timers.cancel(("lossy", name))
        watch, record = self._subjects.get(name), self._table.get(name)
        if watch is None or record is None or (poll := watch.lossy_poll) is None:
            return
        watch.lossy_poll = None
        if _enough_find_losses(poll):
            watch.learn(Evidence.LOSSY, self._attention(now))
            self.conclude(record, watch, "quality", now, poll=poll)


def _enough_find_losses(poll: Poll) -> bool:
    return len(poll.agreed) + 1 >= max(_LOSSY_VOTES_MIN, min(_LOSSY_VOTES_MAX, len(poll.asked) + 1))


def _reason(certain: bool) -> DeathReason:
    return "process-gone" if certain else "silence"


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
