"""What silence means: cases, opened by an overdue ack and closed by an ack or by a verdict.

A case is opened when a regular ping is not answered in time. Its silence counts from the sending of
that first unanswered probe, never from the last sign of life: idle time between pings is not
silence. Each round probes again, directly and through others, and weighs phi.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from swim.protocol.accrual import PHI_DEAD, PHI_SUSPECT, LossEstimate, phi
from swim.protocol.context import Context, Part
from swim.protocol.membership import Membership
from swim.protocol.probing import Probing
from swim.protocol.table import Record
from swim.wire.messages import Ack

__all__ = ["Suspicion"]

_ROUND_GROWTH = 1.6
_ROUND_MAX = 0.5
_PROBES_MAX = 64
_MUTE_SHARE, _MUTE_SUBJECTS = 0.6, 4
_REFUSALS_NEEDED = 2


@dataclass(slots=True)
class _Case:
    since: float
    probes: list[tuple[int, float, bool]] = field(default_factory=list)
    round: int = 0
    suspected: bool = False
    refusals: int = 0


class Suspicion(Part):
    """This node's own judgement of its subjects."""

    def __init__(self, context: Context, membership: Membership) -> None:
        super().__init__(context)
        self.probing: Probing  # set by Node: each of the two needs the other
        self._membership = membership
        self._cases: dict[str, _Case] = {}

    def suspects(self, name: str) -> bool:
        case = self._cases.get(name)
        return case is not None and case.suspected

    def phi(self, name: str, now: float) -> float:
        """The accrual level of a member that this node observes; 0 while nothing is overdue."""
        case = self._cases.get(name)
        return 0.0 if case is None else self._phi(name, case, now)

    def refresh(self) -> None:
        """Drop the cases of members that are observed by others now."""
        for name in [name for name in self._cases if name not in self.probing.subjects]:
            self._close(name)

    # --- evidence

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
        loss = self.probing.subjects[name].loss
        if case is not None:
            self._count_losses(case, seq, loss, now)
        loss.add(False)
        self._membership.recover(name, now)

    def _count_losses(self, case: _Case, seq: int, loss: LossEstimate, now: float) -> None:
        """Probes that stayed unanswered, once another was answered, were lost on the way.

        After a long silence only one counts: the member was paused, and a late ack is not a lost one.
        """
        lost = sum(1 for number, _, indirect in case.probes if not indirect and number != seq)
        if self._attention(now) - case.since > _ROUND_MAX:
            lost = min(lost, 1)
        for _ in range(lost):
            loss.add(True)

    def unreachable(self, name: str, now: float) -> None:
        """The kernel of the member's host says that no process listens there."""
        if name not in self.probing.subjects:
            return
        case = self._open(name, now)
        case.refusals += 1
        soon = now if case.refusals >= _REFUSALS_NEEDED else now + self._config.rtt_min
        self._timers.set(("case", name), soon, lambda at: self._step(name, at))

    def overdue(self, name: str, now: float) -> None:
        """A regular ping was not answered in time."""
        self._open(name, now)
        self._step(name, now)

    def _open(self, name: str, now: float) -> _Case:
        case = self._cases.get(name)
        if case is None:
            pinged = self.probing.subjects[name].pinged
            case = _Case(self._attention(now)) if pinged is None else _Case(pinged[1], [(*pinged, False)])
            self._cases[name] = case
        return case

    # --- judgement

    def _step(self, name: str, now: float) -> None:
        case, record = self._cases.get(name), self._table.get(name)
        if case is None or record is None or not record.present:
            self._close(name)
            return
        if case.refusals >= _REFUSALS_NEEDED:
            self._verdict(record, "process-gone", now)
            return
        level = self._phi(name, case, now)
        if level >= PHI_SUSPECT and not case.suspected:
            case.suspected = True
            self._membership.suspect_silent(name, level, now)
        if level >= PHI_DEAD and not self._mute():
            self._verdict(record, "silence", now)
            return
        self._probe_again(record, case, now)

    def _verdict(self, record: Record, reason: str, now: float) -> None:
        self._close(record.name)
        gone = reason == "process-gone"
        alone = not gone and len(self._table.rings.observers(record.name)) < 2
        self._membership.declare_dead(record.name, "process-gone" if gone else "silence", now, solo=alone)

    def _mute(self) -> bool:
        """When most of its subjects are silent, it is the observer that has the problem."""
        subjects = self.probing.subjects
        suspected = sum(map(self.suspects, subjects))
        return len(subjects) >= _MUTE_SUBJECTS and suspected > _MUTE_SHARE * len(subjects)

    def _probe_again(self, record: Record, case: _Case, now: float) -> None:
        attention = self._attention(now)
        case.probes.append((self.probing.probe(record, now), attention, False))
        for helper in self._helpers(record.name):
            case.probes.append((self.probing.probe_through(record, helper, now), attention, True))
        self.probing.forget([seq for seq, _, _ in case.probes[:-_PROBES_MAX]])
        del case.probes[:-_PROBES_MAX]
        wait = min(_ROUND_MAX, self.probing.timeout(record.name) * _ROUND_GROWTH**case.round)
        case.round = min(case.round + 1, 32)
        left = case.since + self._config.silence_tolerance - attention
        if 0 < left < wait:
            wait = left + 1e-4  # wake when phi gets there, not half a second later
        self._timers.set(("case", record.name), now + wait, lambda at: self._step(record.name, at))

    def _helpers(self, name: str) -> list[Record]:
        """Random members of our own who could ask the silent one for this node."""

        def useful(other: str) -> bool:
            record = self._table.get(other)
            known = record is not None and record.own
            return known and other not in (name, self._name) and not self.suspects(other)

        names = self._table.rings.pick(self._rng, self._config.indirect_probes, useful)
        return [record for record in map(self._table.get, names) if record is not None]

    def _phi(self, name: str, case: _Case, now: float) -> float:
        attention, timeout = self._attention(now), self.probing.timeout(name)
        direct = max(self._usual_loss(name), self.probing.subjects[name].loss.share)
        through = 1 - (1 - direct) * (1 - self._usual_loss(name))
        overdue = [
            through if indirect else direct
            for _, sent, indirect in case.probes
            if attention - sent > (2 * timeout if indirect else timeout)
        ]
        return phi(attention - case.since, self._config.silence_tolerance, overdue)

    def _usual_loss(self, name: str) -> float:
        """What this node's other subjects lose."""
        others = [subject.loss.share for other, subject in self.probing.subjects.items() if other != name]
        return median(others) if others else LossEstimate().share

    def _close(self, name: str) -> _Case | None:
        case = self._cases.pop(name, None)
        if case is not None:
            self._timers.cancel(("case", name))
            self.probing.forget([seq for seq, _, _ in case.probes])
        return case
