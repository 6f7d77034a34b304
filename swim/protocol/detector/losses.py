"""How many probes of a member were lost on the way, as far as that is the fault of its links.

A member to which most probes get lost is given up by its observers together (`Polls.lossy`). A link that is
down for a moment is not like that: nothing passes meanwhile, and everything afterwards. So an outage counts
as one loss, however many probes fell into it, and its end as one answer. On a link that loses most packets
the answer that ends a case stands alone: most probes that went out with it, or later, are lost. These are
waited for before the losses of the case are counted.
"""

from __future__ import annotations

import math

from swim.protocol.base.context import Context, Part
from swim.protocol.base.middle import median
from swim.protocol.detector.polls import Polls
from swim.protocol.detector.probes import Probes
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.watch import Case, Probe, Watch
from swim.protocol.membership.links import OwnLinks
from swim.protocol.view.table import Record

__all__ = ["Losses"]

_LATE_NOT_LOST_S = 0.5
"""The probes of a silence that lasted for longer were answered late, and are not counted as lost."""
_ANSWER_TIMEOUTS = 2
"""So many times the time for an answer may take one through another member."""


class Losses(Part):
    """Counts the probes of cases that were closed by an answer."""

    def __init__(
        self,
        context: Context,
        links: OwnLinks,
        polls: Polls,
        streamed: Streamed,
        subjects: Subjects,
        probes: Probes,
    ) -> None:
        super().__init__(context)
        self._links = links
        self._polls = polls
        self._streamed = streamed
        self._subjects = subjects
        self._probes = probes
        self._awaited: dict[int, None] = {}
        """Probes of cases that are closed, by their numbers, whose answers show whether losses go on."""

    def answered(self, probe: Probe) -> bool:
        """Is this an answer to a probe of a case that is closed?"""
        if probe.seq not in self._awaited:
            return False
        del self._awaited[probe.seq]
        return True

    def settle(self, record: Record, watch: Watch, case: Case, answered: Probe, now: float) -> None:
        """A case ends with an answer by UDP, or through another member: what became of its other probes?

        After a long silence only one counts: the member was paused, and a late ack is not a lost one. None
        where UDP works with hardly any member, or may not work with this one, which has answered over the
        stream and not by UDP: that it is blocked is nobody's quality. Nor does it say anything of this node's
        own links: for these only count losses where another ping by UDP is what was answered.
        """
        attention, timeout = self._attention(now), self._subjects.timeout(record.name)
        others = [probe for probe in case.probes if probe.seq != answered.seq and probe.way != "stream"]
        lost = sum(probe.way == "udp" and probe.sent < attention - timeout for probe in others)
        streamed = case.alive > -math.inf
        if self._streamed.everyone or (streamed and answered.way != "udp"):
            lost = 0
        if attention - case.since > _LATE_NOT_LOST_S:
            lost = min(lost, 1)
        elif lost and answered.way == "udp" and not streamed:
            self._links.lost()
        if not lost:
            self._count(record, watch, 0, now, answered=answered.way == "udp")
            return
        last = [probe for probe in others if probe.sent >= answered.sent]
        case.probes = [probe for probe in case.probes if probe not in last]  # they stay under way
        self._awaited.update(dict.fromkeys(probe.seq for probe in last))
        self._timers.set(
            ("losses", answered.seq),
            now + _ANSWER_TIMEOUTS * timeout,
            lambda at: self._settle_late(record, watch, lost, answered, last, at),
        )

    def _settle_late(
        self, record: Record, watch: Watch, lost: int, answered: Probe, last: list[Probe], now: float
    ) -> None:
        """Were others answered that went out with the one that was answered first? Then it was an outage.

        Not all of them need to be: one may have left a moment before the end of the outage.
        """
        missing = [probe for probe in last if self.answered(probe)]
        self._probes.forget(missing)
        if self._subjects.get(record.name) is not watch:
            return
        if 2 * len(missing) > len(last):
            self._count(record, watch, lost, now, answered=answered.way == "udp")
        else:
            self._count(record, watch, 1, now, answered=True)

    def _count(self, record: Record, watch: Watch, lost: int, now: float, *, answered: bool) -> None:
        for _ in range(lost):
            watch.loss.add(True)
        if lost and watch.loss.remarkable(self._others_loss(record.name)):
            self._polls.lossy(record, watch, now)
        if answered:
            watch.loss.add(False)

    def _others_loss(self, name: str) -> float:
        """As `Subjects.usual_loss`, but not smoothed, which lags behind while the probes are few.

        Else bursts of loss that all members have would seem, in a young cluster, to be one member's fault.
        """
        others = [watch.loss.measured for other, watch in self._subjects.items() if other != name]
        known = [share for share in others if share is not None]
        return median(known) if known else 0.0
