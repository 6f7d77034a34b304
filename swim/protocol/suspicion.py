"""What silence means: cases, opened by an overdue ack and closed by an ack or by a verdict.

A case is opened when a regular ping is not answered in time. Its silence counts from the sending of
that first unanswered probe, never from the last sign of life: idle time between pings is not
silence. Each round probes again, directly, through others and at the member's kernel, and weighs phi:

    phi >= 3  suspected here, and the other observers are told to look (a hint)
    phi >= 8  this observer would declare the member dead: see `Verdicts`

How much silence makes phi 8 depends on what the member's kernel says (*triage*): it answers while the
process does not, so the process is paused (long tolerance); it is silent as well, so the host or the way
to it is lost (short tolerance); it refuses, so the process is gone (no tolerance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

from swim.protocol.accrual import PHI_DEAD, PHI_SUSPECT, LossEstimate, phi
from swim.protocol.context import Context, Part
from swim.protocol.links import Links
from swim.protocol.membership import Membership
from swim.protocol.probing import Probing
from swim.protocol.table import Record
from swim.protocol.verdicts import Verdicts
from swim.types import Address, Explanation
from swim.wire.messages import Ack, Opinion, OpinionKind

__all__ = ["Suspicion"]

_ROUND_GROWTH = 1.6
_FIRST_PROBES, _LAST_PROBES = 16, 48
_MUTE_ROUND_S = 1.0
_LATE_NOT_LOST_S = 0.5
_KERNEL_FRESH_S = 0.6
_UNTRIAGED = 1.5
"""Of the silence tolerance: where the kernel was never heard, its silence says nothing."""
_LATELY_S, _LATELY_ROUNDS = 60.0, 4
_MUTE_SHARE, _MUTE_SUBJECTS = 0.6, 4
_REFUSALS_NEEDED = 2
_ASKERS_MAX = 16


@dataclass(slots=True)
class _Case:
    """One silent subject. Times are of the attention clock."""

    since: float
    probes: list[tuple[int, float, bool]] = field(default_factory=list)
    round: int = 0
    suspected: bool = False
    refusals: int = 0
    kernel_answered: float = -math.inf
    askers: dict[str, Opinion] = field(default_factory=dict)
    """Observers whose poll waits for this one's conclusion."""
    accusers: dict[str, str] = field(default_factory=dict)
    hinted: dict[str, None] = field(default_factory=dict)


class Suspicion(Part):
    """This node's own judgement of its subjects."""

    def __init__(self, context: Context, links: Links, membership: Membership, verdicts: Verdicts) -> None:
        super().__init__(context)
        self.probing: Probing  # set by Node: each of the two needs the other
        self.kernel_probes: dict[Address, None] = {}
        self._links = links
        self._membership = membership
        self._verdicts = verdicts
        self._cases: dict[str, _Case] = {}
        self._lately_long = -math.inf

    # --- what others may ask

    def suspects(self, name: str) -> bool:
        case = self._cases.get(name)
        return case is not None and case.suspected

    def highest_phi(self, now: float) -> float:
        """Of all members that this node observes."""
        return max((self._phi(name, case, now) for name, case in self._cases.items()), default=0.0)

    def explain(self, record: Record, now: float) -> Explanation:
        """All that this node knows of a member's health."""
        observers = self._table.rings.observers(record.name)
        subject, case = self.probing.subjects.get(record.name), self._cases.get(record.name)
        refutations = self._table.refutations[record.name]
        if subject is None:
            return Explanation(record.member, observers, refutations)
        attention = self._attention(now)
        return Explanation(
            record.member,
            observers,
            refutations,
            observed_here=True,
            phi=0.0 if case is None else self._phi(record.name, case, now),
            silence=0.0 if case is None else attention - case.since,
            last_heard=None if subject.heard == -math.inf else attention - subject.heard,
            round_trip=subject.round_trip.last,
            loss=subject.loss.share,
            kernel=self._kernel(case, subject.kernel_known, attention),
            accusers={} if case is None else dict(case.accusers),
        )

    def _kernel(self, case: _Case | None, known: bool, attention: float) -> str:
        if case is None:
            return "answers" if known else "unknown"
        if case.refusals >= _REFUSALS_NEEDED:
            return "refuses"
        if attention - case.kernel_answered < _KERNEL_FRESH_S:
            return "answers"
        return "silent" if known else "unknown"

    def usual_loss(self, without: str = "") -> float:
        """The share of probes that this node's other subjects do not answer."""
        others = [subject.loss.share for name, subject in self.probing.subjects.items() if name != without]
        return median(others) if others else LossEstimate().share

    def _others_loss(self, name: str) -> float:
        """As `usual_loss`, but not smoothed, which lags behind while the probes are few.

        Else bursts of loss that all members have would seem, in a young cluster, to be one member's fault.
        """
        others = [subject.loss.measured for other, subject in self.probing.subjects.items() if other != name]
        known = [share for share in others if share is not None]
        return median(known) if known else 0.0

    def refresh(self) -> None:
        """Drop the cases of members that are observed by others now."""
        for name in [name for name in self._cases if name not in self.probing.subjects]:
            self._close(name)

    # --- evidence of life

    def answered(self, name: str, seq: int, ack: Ack, now: float) -> None:
        """An ack, and only an ack, closes a case: a deaf member goes on sending."""
        record = self._table.get(name)
        if record is None:
            return
        self._timers.cancel(("case", name))
        case = self._close(name)
        if ack.boot and record.own and ack.boot.decode("ascii", "replace") != record.boot:
            self._membership.declare_dead(name, "process-gone", now)
            return
        if case is None:
            self._links.pinged(now, answered=True)
        else:
            for asker, poll in case.askers.items():
                self._verdicts.answer(asker, poll, OpinionKind.VETO)
            self._count_losses(name, case, seq, now)
        if case is None or (seq, False) in ((number, indirect) for number, _, indirect in case.probes):
            self.probing.subjects[name].loss.add(False)
        self._membership.recover(name, now)

    def _count_losses(self, name: str, case: _Case, seq: int, now: float) -> None:
        """Probes that stayed unanswered, once another was answered, were lost on the way.

        After a long silence only one counts: the member was paused, and a late ack is not a lost one.
        """
        subject = self.probing.subjects[name]
        overdue = self._attention(now) - self.probing.timeout(name)
        lost = sum(
            1 for number, sent, indirect in case.probes if not indirect and number != seq and sent < overdue
        )
        if self._attention(now) - case.since > _LATE_NOT_LOST_S:
            lost = min(lost, 1)
        for _ in range(lost):
            subject.loss.add(True)
        if lost and self._attention(now) - case.since <= _LATE_NOT_LOST_S:
            self._links.lost()
        record = self._table.get(name)
        if lost and record is not None and subject.loss.remarkable(self._others_loss(name)):
            self._verdicts.lossy(record, now)

    def kernel_answered(self, name: str, now: float) -> None:
        """The member's kernel took something from us: if the process is silent, it is paused."""
        subject = self.probing.subjects.get(name)
        if subject is not None:
            subject.kernel_known = True
            if (case := self._cases.get(name)) is not None:
                case.kernel_answered = self._attention(now)

    # --- evidence of death

    def unreachable(self, name: str, now: float) -> None:
        """The kernel of the member's host says that no process listens there."""
        if name not in self.probing.subjects:
            return
        case = self._open(name, now)
        case.refusals += 1
        if case.refusals < _REFUSALS_NEEDED:  # perhaps of the last breath of an earlier process: again
            soon = now + self._config.rtt_min
            self._timers.set(("case", name), soon, lambda at: self._step(name, at))
        elif case.refusals == _REFUSALS_NEEDED:
            self._step(name, now)

    def stream_ended(self, name: str, now: float) -> None:
        """The stream that is kept open to it was closed: its process may be gone, so ask at once."""
        if name in self.probing.subjects:
            self._open(name, now).refusals += 1  # that, too, is the word of its kernel
            self._step(name, now)

    def overdue(self, name: str, now: float) -> None:
        """A regular ping was not answered in time."""
        self._links.pinged(now, answered=False)
        self._open(name, now)
        self._step(name, now)

    def hint(self, accuser: str, hint: Opinion, now: float) -> None:
        """Another observer hears nothing from it: look, and count the silence from when that began."""
        subject = self.probing.subjects.get(hint.node)
        if subject is None:
            return
        fresh = hint.node not in self._cases
        case = self._open(hint.node, now)
        self._date_back(case, subject.heard, hint, now)
        case.accusers.setdefault(accuser, "hint")
        if fresh:
            self._step(hint.node, now)

    def polled(self, asker: str, poll: Opinion, now: float) -> None:
        """Another observer wants to declare it dead: agree, veto, or look and answer then."""
        subject = self.probing.subjects.get(poll.node)
        if subject is None:
            return
        case = self._cases.get(poll.node)
        silent = case is not None and case.suspected
        recently = self._attention(now) - subject.heard < self._config.silence_tolerance / 2
        if recently and not silent and not poll.certain:
            self._verdicts.answer(asker, poll, OpinionKind.VETO)
            return
        if case is not None and self._convinced(poll.node, case, now):
            self._verdicts.answer(asker, poll, OpinionKind.AGREE)
            return
        fresh = case is None
        case = self._open(poll.node, now)
        self._date_back(case, subject.heard, poll, now)
        case.accusers[asker] = "poll"
        if len(case.askers) < _ASKERS_MAX:
            case.askers[asker] = poll
        self._verdicts.answer(asker, poll, OpinionKind.LOOKING)
        if fresh:
            self._step(poll.node, now)

    def _date_back(self, case: _Case, heard: float, opinion: Opinion, now: float) -> None:
        """Its silence counts from when another observer noticed it, but not from before it was heard here.

        So the observers that take the place of dead ones do not begin anew.
        """
        case.since = min(case.since, max(self._attention(now) - opinion.age_ms / 1000, heard))

    def _open(self, name: str, now: float) -> _Case:
        case = self._cases.get(name)
        if case is None:
            pinged = self.probing.subjects[name].pinged
            case = _Case(self._attention(now)) if pinged is None else _Case(pinged[1], [(*pinged, False)])
            self._cases[name] = case
            deserted = self._links.deserted()
            if deserted is not None and now - self._lately_long < _LATELY_S:
                case.since = min(case.since, deserted)  # heard nobody since then, so not this one either
        return case

    # --- judgement

    def _step(self, name: str, now: float) -> None:
        case, record = self._cases.get(name), self._table.get(name)
        if case is None or record is None or not record.present:
            self._close(name)
            return
        level = self._phi(name, case, now)
        if (level >= PHI_SUSPECT or case.refusals >= _REFUSALS_NEEDED) and not case.suspected:
            case.suspected = True
            self._membership.suspect_silent(name, None if case.refusals else level, now)
        if case.suspected:
            self._verdicts.hint(record, self._attention(now) - case.since, case.hinted)
            self._links.test(now)
            if self._most_silent():
                self._links.cut_off(now)
        if self._convinced(name, case, now):
            for asker, poll in case.askers.items():
                self._verdicts.answer(asker, poll, OpinionKind.AGREE)
            case.askers.clear()
            self._verdicts.poll(
                record,
                now,
                silence=self._attention(now) - case.since,
                patience=max(map(self.probing.timeout, self.probing.subjects)),
                certain=case.refusals >= _REFUSALS_NEEDED,
                desperate=self._long(case, now),
                sound=self._links.sound(now),
            )
        if name in self._cases:
            self._probe_again(record, case, now)

    def _convinced(self, name: str, case: _Case, now: float) -> bool:
        """Would this observer declare it dead?"""
        if case.refusals >= _REFUSALS_NEEDED:
            return True
        if self._phi(name, case, now) < PHI_DEAD:
            return False
        return self._long(case, now) or not self._mute()

    def _mute(self) -> bool:
        """When most of its subjects are silent, it is the observer that has the problem."""
        return len(self.probing.subjects) >= _MUTE_SUBJECTS and self._most_silent()

    def _most_silent(self) -> bool:
        subjects = self.probing.subjects
        return sum(map(self.suspects, subjects)) > _MUTE_SHARE * len(subjects)

    def _long(self, case: _Case, now: float) -> bool:
        """Nothing that a live member does takes so long, nor its observers to answer for it.

        Once that has happened, whole parts of the cluster are gone, and those who are looked at next,
        for the first time, need not be waited for as long.
        """
        if self._attention(now) - case.since >= self._config.pause_tolerance:
            self._lately_long = now
            return True
        return now - self._lately_long < _LATELY_S and case.round >= _LATELY_ROUNDS

    def _probe_again(self, record: Record, case: _Case, now: float) -> None:
        attention = self._attention(now)
        case.probes.append((self.probing.probe(record, now), attention, False))
        for helper in self._helpers(record.name) if case.round else ():  # most losses are single ones
            case.probes.append((self.probing.probe_through(record, helper, now), attention, True))
        # When a long silence ends, the first probes are what is answered: the buffers hold the oldest.
        excess = slice(_FIRST_PROBES, max(_FIRST_PROBES, len(case.probes) - _LAST_PROBES))
        self.probing.forget([seq for seq, _, _ in case.probes[excess]])
        del case.probes[excess]
        if case.round and record.own:
            self.kernel_probes[record.address] = None
        longest = _MUTE_ROUND_S if self._mute() else self._config.round_max
        wait = min(longest, self.probing.timeout(record.name) * _ROUND_GROWTH**case.round)
        case.round = min(case.round + 1, 32)
        left = case.since + self._tolerance(record.name, case, now) - attention
        if 0 < left < wait:
            wait = left + 1e-4  # wake when phi gets there, not a round later
        self._timers.set(("case", record.name), now + wait, lambda at: self._step(record.name, at))

    def _helpers(self, name: str) -> list[Record]:
        """Random members of our own who could ask the silent one for this node."""

        def useful(other: str) -> bool:
            record = self._table.get(other)
            known = record is not None and record.own
            return known and other not in (name, self._name) and not self.suspects(other)

        names = self._table.rings.pick(self._rng, self._config.indirect_probes, useful)
        return [record for record in map(self._table.get, names) if record is not None]

    def _tolerance(self, name: str, case: _Case, now: float) -> float:
        """Seconds of silence until phi is `PHI_DEAD`, by what its kernel says."""
        if self._attention(now) - case.kernel_answered < _KERNEL_FRESH_S:
            return self._config.pause_tolerance
        known = self.probing.subjects[name].kernel_known
        return self._config.silence_tolerance * (1.0 if known else _UNTRIAGED)

    def _phi(self, name: str, case: _Case, now: float) -> float:
        attention, timeout = self._attention(now), self.probing.timeout(name)
        usual = self.usual_loss(name)
        direct = max(usual, self.probing.subjects[name].loss.share)
        through = 1 - (1 - direct) * (1 - usual)
        overdue = [
            through if indirect else direct
            for _, sent, indirect in case.probes
            if attention - sent > (2 * timeout if indirect else timeout)
        ]
        return phi(attention - case.since, self._tolerance(name, case, now), overdue)

    def _close(self, name: str) -> _Case | None:
        case = self._cases.pop(name, None)
        if case is not None:
            self._verdicts.withdraw(name)
            self._timers.cancel(("case", name))
            self.probing.forget([seq for seq, _, _ in case.probes])
        return case
