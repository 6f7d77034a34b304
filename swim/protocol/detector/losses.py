"""How many pings of a member get lost on the way, as far as that is the fault of its links.

A member to which most get lost is given up by its observers together (`Polls.lossy`). A link that is down for
a moment is not like that: nothing passes meanwhile, and everything afterwards. So of a case one loss counts,
however many of its probes were lost, and what the link is like is asked when it is over: by one more ping, or
by two where more than two were lost already, and far fewer to others. Each of these counts. On a link that
loses most packets most of these are lost, too.

With a regular ping every eight seconds it would take most of a minute until enough is known of such a link.
So while most pings to a member get lost, and far fewer to others, more follow, so much later that an outage
which lasted for as long would have been taken for its death.

The probes of the case itself do not tell. They were sent because others had been lost, and which of them was
answered first does not show when the link was up again: it may have waited for that in a stream, or at
another member. Only where a single ping was lost, and the next one answered, that answer is enough, unless
the member stands out by what it lost before.

Where others lose as much it is no member's quality, and nothing is asked, unless all lose much: this may be
the fault of this node's own links, which it has to know about before others give it up for them. Of the pings
after one case one loss counts there (`OwnLinks.lost`).
"""

from __future__ import annotations

from swim.protocol.base.context import Context, Part
from swim.protocol.base.middle import median
from swim.protocol.detector.polls import Polls
from swim.protocol.detector.probes import Probes
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.watch import Probe, Watch
from swim.protocol.membership.links import OwnLinks
from swim.protocol.view.table import Record

__all__ = ["Losses"]

_MUCH = 0.25
"""When others lose such a share of their pings, it may be the fault of this node's own links."""
_PATIENCE_S = 0.5
"""An answer that takes longer is counted as lost; one that is only late should not be."""


class Losses(Part):
    """Counts what was lost before a case was closed by an answer, and the pings after it."""

    def __init__(
        self, context: Context, links: OwnLinks, polls: Polls, subjects: Subjects, probes: Probes
    ) -> None:
        super().__init__(context)
        self._links = links
        self._polls = polls
        self._subjects = subjects
        self._probes = probes
        self._awaited: dict[int, None] = {}
        """The numbers of the pings after cases."""

    def answered(self, probe: Probe) -> bool:
        """Is this an answer to a ping after a case? One over the stream does not tell that it arrived."""
        awaited = probe.seq in self._awaited
        if probe.way == "udp":
            self._awaited.pop(probe.seq, None)
        return awaited

    def lost(self, record: Record, watch: Watch, now: float, *, single: bool) -> None:
        """A case is over in which something was lost. `single`: only one ping, and the next was answered."""
        watch.loss.add(True)
        if single:
            watch.loss.add(False)
            self._judge(record, watch, now)
        others = self._others_loss(record.name)
        if watch.loss.stands_out(others) or (not single and (watch.loss.unlike(others) or others > _MUCH)):
            self._ask(record, watch, now, own=not single)

    def _ask(self, record: Record, watch: Watch, now: float, *, own: bool) -> None:
        count = 2 if watch.loss.stands_out(self._others_loss(record.name)) else 1
        pings = [self._probes.probe(record, now) for _ in range(count)]
        self._awaited.update(dict.fromkeys(ping.seq for ping in pings))
        key = ("losses", pings[0].seq)
        self._timers.set(key, now + _PATIENCE_S, lambda at: self._count(record, watch, pings, at, own=own))

    def _count(self, record: Record, watch: Watch, pings: list[Probe], now: float, *, own: bool) -> None:
        """`own`: what is lost may be the fault of this node's own links, and has not been counted there."""
        missing = [ping for ping in pings if self.answered(ping)]
        self._probes.forget(missing)
        if missing and own:
            self._links.lost()  # once: most of this node's pings are of other members
        if self._subjects.get(record.name) is not watch:
            return
        for ping in pings:
            watch.loss.add(ping in missing)
        self._judge(record, watch, now)
        mostly = len(missing) == len(pings) or watch.loss.lately > 0.5
        if mostly and watch.loss.unlike(self._others_loss(record.name)):
            later = now + self._config.silence_tolerance
            self._timers.set(("losses", record.name), later, lambda at: self._ask_again(record, watch, at))

    def _ask_again(self, record: Record, watch: Watch, now: float) -> None:
        """Unless there is a case: when that is over, it asks by itself."""
        if self._subjects.get(record.name) is watch and watch.case is None:
            self._ask(record, watch, now, own=False)

    def _judge(self, record: Record, watch: Watch, now: float) -> None:
        if watch.loss.remarkable(self._others_loss(record.name)):
            self._polls.lossy(record, watch, now)

    def _others_loss(self, name: str) -> float:
        """As `Subjects.usual_loss`, but not smoothed, which lags behind while the probes are few.

        Else bursts of loss that all members have would seem, in a young cluster, to be one member's fault.
        """
        others = [watch.loss.measured for other, watch in self._subjects.items() if other != name]
        known = [share for share in others if share is not None]
        return median(known) if known else 0.0
