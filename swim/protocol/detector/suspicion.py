"""What silence means: a member is doubted, until it answers or a verdict is reached. See `states`.

A case is opened when a regular ping is not answered in time. Its silence counts from the sending of
that first unanswered probe, never from the last sign of life: idle time between pings is not
silence. Each round probes again, directly, through others, over the kept stream and at the member's kernel,
and weighs phi:

    phi >= 3  suspected here, and the other observers are told to look (a hint)
    phi >= 8  this observer would declare the member dead: see `Polls`

How much silence makes phi 8 depends on what the member's kernel says (*triage*): it answers while the
process does not, so the process is paused (long tolerance); it is silent as well, so the host or the way
to it is lost (short tolerance).

A refusal proves nothing: a firewall refuses, too. But a firewall only answers. A process that dies ends its
kept streams by itself; so an end that this node did not ask for, and a refusal of what was sent to the
process after that, prove together that it is gone, and no silence needs to be waited for.
"""

from __future__ import annotations

import math

from swim.protocol.base.context import Context, Part
from swim.protocol.base.limits import keep_latest
from swim.protocol.detector.accrual import PHI_DEAD, PHI_SUSPECT, phi
from swim.protocol.detector.explaining import KERNEL_FRESH_S, explain
from swim.protocol.detector.losses import Losses
from swim.protocol.detector.polls import Polls
from swim.protocol.detector.probes import Probes
from swim.protocol.detector.states import Evidence, State
from swim.protocol.detector.streamed import Streamed
from swim.protocol.detector.subjects import Subjects
from swim.protocol.detector.watch import Case, Probe, Watch
from swim.protocol.membership.links import OwnLinks
from swim.protocol.membership.updates import Membership
from swim.protocol.view.table import Record
from swim.types import Explanation
from swim.wire.messages import Ack, ObserverKind, ObserverMessage

__all__ = ["Suspicion"]

_ROUND_GROWTH = 1.6
"""Each round of probes in a case waits for so many times as long as the one before."""
_MUTE_ROUND_S = 1.0
"""The longest such wait at an observer to which most of its subjects are silent."""
_UNTRIAGED = 1.5
"""Of the silence tolerance: where the kernel was never heard, its silence says nothing."""
_AFTER_LONG_S, _AFTER_LONG_ROUNDS = 60.0, 4
"""For so long after a silence that no live member explains, so many rounds are enough: see `_long`."""
_MUTE_SHARE, _MUTE_SUBJECTS = 0.6, 4
"""An observer of so many, to which more than this share of them is silent, takes itself for ill."""
_ENDED_MAX = 1_024
_BLOCKED_S = 3.0
"""For so long a member answers over its stream only before the operator is told: some regular pings."""


class Suspicion(Part):
    """This node's own judgement of its subjects."""

    def __init__(
        self,
        context: Context,
        links: OwnLinks,
        membership: Membership,
        polls: Polls,
        streamed: Streamed,
        subjects: Subjects,
        probes: Probes,
    ) -> None:
        super().__init__(context)
        self._links = links
        self._membership = membership
        self._polls = polls
        self._streamed = streamed
        self._subjects = subjects
        self._probes = probes
        self._losses = Losses(context, links, polls, subjects, probes)
        self._long_silence_at = -math.inf

    # --- what others may ask

    def highest_phi(self, now: float) -> float:
        """Of all members that this node observes."""
        return max((self._phi(name, watch, now) for name, watch in self._subjects.items()), default=0.0)

    def explain(self, record: Record, now: float) -> Explanation:
        """All that this node knows of a member's health."""
        watch = self._subjects.get(record.name)
        level = 0.0 if watch is None else self._phi(record.name, watch, now)
        return explain(self._table, record, watch, level, self._attention(now))

    def taken_up(self, name: str, watch: Watch, now: float) -> None:
        """This node observes it from now on; it may have heard already that a stream of it has ended."""
        boot, when = self._subjects.ended.pop(name, (None, -math.inf))
        if boot == watch.boot and self._attention(now) - when < _AFTER_LONG_S:
            watch.ended = when
            self._timers.set(("case", name), now, lambda at: self._look_at(name, Evidence.STREAM_ENDED, at))

    def dismissed(self, name: str, watch: Watch, now: float) -> None:
        """Others observe it now, or it is gone."""
        suspected = watch.suspected
        self._close(name, watch)
        if suspected:
            self._membership.let_go(name, now)
        record = self._table.get(name)
        if record is not None:
            self._streamed.end(record.address)
        if watch.stream_only:
            self._streamed.weigh(now)

    # --- evidence of life

    def asked(self, name: str, now: float) -> None:
        """A regular ping went out."""
        self._timers.set(
            ("case", name), now + self._subjects.timeout(name), lambda at: self._overdue(name, at)
        )

    def answered(self, name: str, probe: Probe, ack: Ack, now: float) -> None:
        """An ack, and only an ack, closes a case: a deaf member goes on sending."""
        record, watch = self._table.get(name), self._subjects[name]
        if record is None:
            return
        if ack.boot and record.own and ack.boot != record.packed_boot:
            watch.learn(Evidence.REPLACED, self._attention(now))
            self._polls.conclude(record, watch, "process-gone", now)
            return
        watch.ended = None
        if self._losses.answered(probe):
            return
        if probe.way == "stream":
            self._answered_over_stream(record, watch, probe, now)
        elif probe.way == "udp" or not watch.stream_only:
            self._answered_by_udp(record, watch, probe, now)

    def _answered_by_udp(self, record: Record, watch: Watch, probe: Probe, now: float) -> None:
        name, case = record.name, watch.case
        if case is not None and probe in case.probes:
            case.probes.remove(probe)
        if probe.way == "udp":
            watch.udp_lost = 0
            self._streamed.end(record.address)
        elif case is not None:
            watch.udp_lost += self._overdue_by_udp(name, watch, now)
        streamed = watch.stream_only
        watch.learn(Evidence.ACKED, self._attention(now))
        if streamed:
            self._streamed.weigh(now)
        if streamed and case is None:
            self._losses.lost(record, watch, now, single=False)
        elif case is None:
            self._links.pinged(now, answered=True)
            if probe.way == "udp":
                watch.loss.add(False)
        else:
            self._settle(record, watch, case, probe, now)
            self._reply(case, ObserverKind.VETO)
        self._close(name, watch)
        self._membership.recover(name, now)

    def _settle(self, record: Record, watch: Watch, case: Case, answered: Probe, now: float) -> None:
        """A case ends with an answer by UDP, or through another member: was anything lost?

        It does not count where UDP works with hardly any member, or may not work with this one, which has
        answered over the stream and not by UDP: that it is blocked is nobody's quality. A single ping may
        have been lost by this node's own links, if UDP is all that was answered.
        """
        by_udp, streamed = answered.way == "udp", case.alive > -math.inf
        lost = self._overdue_by_udp(record.name, watch, now)
        if not lost or self._streamed.everyone or (streamed and not by_udp):
            if by_udp:
                watch.loss.add(False)
            return
        if case.silence(self._attention(now)) < self._config.silence_tolerance / 2:
            watch.loss.average_in(lost - 1)
        single = by_udp and lost == 1
        if single and not streamed:
            self._links.lost()
        self._losses.lost(record, watch, now, single=single)

    def _answered_over_stream(self, record: Record, watch: Watch, probe: Probe, now: float) -> None:
        """The member lives, and is not to be suspected. Whether UDP reaches it is still in doubt."""
        in_time = watch.state is State.STREAM_ASKED
        watch.learn(Evidence.STREAM_ACKED, self._attention(now))
        if watch.case is not None:
            watch.case.alive = max(watch.case.alive, probe.sent)
            self._reply(watch.case, ObserverKind.VETO)
            self._polls.withdraw(record.name, watch)
            self._membership.recover(record.name, now)
        elif in_time:
            self._timers.cancel(("case", record.name))
            self._links.pinged(now, answered=True)
            watch.loss.add(False)
        self._judge_udp(record, watch, now)

    def _judge_udp(self, record: Record, watch: Watch, now: float) -> None:
        """Is it by chance that pings by UDP got lost, while those over the stream are answered?"""
        lost = watch.udp_lost + self._overdue_by_udp(record.name, watch, now)
        if watch.stream_only or lost * -math.log10(self._direct_loss(record.name, watch)) < PHI_SUSPECT:
            return
        watch.udp_lost = lost
        if watch.learn(Evidence.UDP_SILENT, self._attention(now)):
            self._close(record.name, watch)
            self._streamed.begin(record)
            self._streamed.weigh(now)
            told_at = now + _BLOCKED_S
            self._timers.set(("stream-only", record.name), told_at, lambda at: self._warn(record.name, at))

    def _warn(self, name: str, now: float) -> None:
        """Tell the operator, unless UDP has worked meanwhile: after a cut, TCP only works again sooner."""
        record, watch = self._table.get(name), self._subjects.get(name)
        if record is not None and watch is not None and watch.stream_only:
            text = f"{record.name} ({record.address}) answers over TCP, but not by UDP: is it blocked?"
            self._outbox.warn("stream-only", record.name, text, now)

    def _overdue_by_udp(self, name: str, watch: Watch, now: float) -> int:
        timeout = self._subjects.timeout(name)
        overdue = watch.case.overdue(self._attention(now), timeout) if watch.case else []
        return sum(probe.way == "udp" for probe in overdue)

    def _reply(self, case: Case, kind: ObserverKind) -> None:
        for asker, poll in case.askers.items():
            self._polls.answer(asker, poll, kind)
        case.askers.clear()

    def kernel_answered(self, name: str, now: float) -> None:
        """The member's kernel took something from us: if the process is silent, it is paused."""
        watch = self._subjects.get(name)
        if watch is not None:
            watch.kernel_known = True
            watch.learn(Evidence.KERNEL_ANSWERED, self._attention(now))
            if watch.case is not None:
                watch.case.kernel_answered = self._attention(now)

    # --- evidence of death

    def refused(self, name: str, now: float) -> None:
        """What was sent to it was refused: by the kernel of its host, or by a firewall."""
        watch = self._subjects.get(name)
        if watch is None:
            return
        proven, watch.refused = watch.proven, self._attention(now)
        watch.learn(Evidence.REFUSED, self._attention(now))
        if watch.case is not None:
            self._consent(watch.case)
        if watch.proven and not proven:
            self._step(name, now)

    def _consent(self, case: Case) -> None:
        """Observers that ask and are certain: it is refused here as well, so nothing speaks against that."""
        for asker, poll in list(case.askers.items()):
            if poll.certain:
                self._polls.answer(asker, poll, ObserverKind.AGREE)
                del case.askers[asker]

    def stream_ended(self, name: str, now: float) -> None:
        """A stream with its process ended unasked: it may be gone, so ping at once.

        A node that does not observe it only remembers that: it may have to observe it soon, when all that do
        have died as well.
        """
        watch, record = self._subjects.get(name), self._table.get(name)
        if watch is None and record is not None and record.boot is not None:
            self._subjects.ended[name] = record.boot, self._attention(now)
            keep_latest(self._subjects.ended, _ENDED_MAX)
        elif watch is not None and watch.ended is None:
            watch.ended = self._attention(now)
            self._look_at(name, Evidence.STREAM_ENDED, now)

    def succeeded(self, name: str, now: float) -> None:
        """Another process of its name asks to be let in, elsewhere: it was most likely started in its place.

        So it is not this node that hears nobody, and others that are silent, too, need not agree: where most
        members are lost at once and started anew at other addresses, they are back as soon as one would be.
        Anybody can ask under any name, so this does not shorten the silence that is waited for.
        """
        watch = self._subjects.get(name)
        if watch is not None and watch.case is not None:
            watch.case.succeeded = True
            watch.learn(Evidence.SUCCEEDED, self._attention(now))

    def _overdue(self, name: str, now: float) -> None:
        """A regular ping was not answered in time."""
        self._links.pinged(now, answered=False)
        self._look_at(name, Evidence.OVERDUE, now)

    def _look_at(self, name: str, evidence: Evidence, now: float) -> None:
        self._open(self._subjects[name], evidence, now)
        self._step(name, now)

    def hint(self, accuser: str, hint: ObserverMessage, now: float) -> None:
        """Another observer hears nothing from it: look, and count the silence from when that began."""
        watch = self._subjects.get(hint.node)
        if watch is None:
            return
        fresh = watch.case is None
        case = self._open(watch, Evidence.ACCUSED, now)
        self._date_back(case, watch, hint, now)
        case.accusers.setdefault(accuser, "hint")
        if fresh:
            self._step(hint.node, now)

    def polled(self, asker: str, poll: ObserverMessage, now: float) -> None:
        """Another observer wants to declare it dead: agree, veto, or look and answer then."""
        watch = self._subjects.get(poll.node)
        if watch is None:
            return
        recently = self._attention(now) - watch.heard < self._config.silence_tolerance / 2
        if recently and not watch.suspected and not poll.certain:
            self._polls.answer(asker, poll, ObserverKind.VETO)
            return
        if watch.case is not None and self._convinced(poll.node, watch, now):
            self._polls.answer(asker, poll, ObserverKind.AGREE)
            return
        fresh = watch.case is None
        case = self._open(watch, Evidence.ACCUSED, now)
        self._date_back(case, watch, poll, now)
        case.ask(asker, poll)
        if watch.refused >= case.since:
            self._consent(case)
        if asker in case.askers:
            self._polls.answer(asker, poll, ObserverKind.LOOKING)
        if fresh:
            self._step(poll.node, now)

    def _date_back(self, case: Case, watch: Watch, message: ObserverMessage, now: float) -> None:
        """Its silence counts from when another observer noticed it, but not from before it was heard here.

        So the observers that take the place of dead ones do not begin anew.
        """
        case.since = min(case.since, max(self._attention(now) - message.age_ms / 1000, watch.heard))

    def _open(self, watch: Watch, evidence: Evidence, now: float) -> Case:
        case = watch.case
        if case is None:
            asked = list(watch.pinged) if watch.asked else []
            case = watch.case = Case(asked[0].sent if asked else self._attention(now), asked)
            if self._after_long(now) and (deserted := self._links.deserted()) is not None:
                case.since = min(case.since, deserted)  # since then no member was heard, so this one neither
        watch.learn(evidence, self._attention(now))
        return case

    # --- judgement

    def _step(self, name: str, now: float) -> None:
        record, watch = self._table.get(name), self._subjects.get(name)
        if watch is None or (case := watch.case) is None:
            return
        if record is None or not record.present:
            self._close(name, watch)
            return
        self._suspect(record, watch, now)
        if watch.suspected:
            self._polls.hint(record, case.silence(self._attention(now)), case.hinted)
            self._links.test(now)
            if self._most_silent():
                self._links.cut_off(now)
        if self._convinced(name, watch, now):
            self._reply(case, ObserverKind.AGREE)
            watch.learn(Evidence.CONVINCING, self._attention(now))
            self._polls.poll(
                record,
                watch,
                now,
                silence=case.silence(self._attention(now)),
                answering=self._answering,
                patience=self._subjects.patience(),
                excuses_silent=self._long(case, now) or not (watch.ever_heard or self._most_silent()),
                sound=case.succeeded or self._links.sound(now),
            )
        if watch.case is case and not watch.given_up:
            self._probe_again(record, watch, case, now)

    def _suspect(self, record: Record, watch: Watch, now: float) -> None:
        level, before = self._phi(record.name, watch, now), watch.suspected
        if watch.proven:
            watch.learn(Evidence.PROVEN, self._attention(now))
        elif level >= PHI_SUSPECT:
            watch.learn(Evidence.IMPROBABLE, self._attention(now))
        if watch.suspected and not before:
            self._membership.suspect_silent(record.name, None if watch.proven else level, now)

    def _answering(self, name: str) -> bool:
        """Can an observer be expected to answer, by all that is known here?"""
        watch = self._subjects.get(name)
        return watch is None or watch.case is None

    def _convinced(self, name: str, watch: Watch, now: float) -> bool:
        """Would this observer declare it dead?"""
        if watch.proven:
            return True
        if watch.case is None or self._phi(name, watch, now) < PHI_DEAD:
            return False
        return self._long(watch.case, now) or not self._mute()

    def _mute(self) -> bool:
        """When most of its subjects are silent, it is the observer that has the problem."""
        return len(self._subjects) >= _MUTE_SUBJECTS and self._most_silent()

    def _most_silent(self) -> bool:
        """Of those that have ever answered. Others may be made up: their silence is not this node's fault.

        Unless no subject has ever answered, as just after a join: then it is this node that hears nobody.
        """
        watches = list(self._subjects.values())
        subjects = [watch for watch in watches if watch.ever_heard] or watches
        return sum(watch.suspected for watch in subjects) > _MUTE_SHARE * len(subjects)

    def _long(self, case: Case, now: float) -> bool:
        """Nothing that a live member does takes so long, nor its observers to answer for it.

        Nor is it this node that hears nobody, where another process asks to be let in in the member's place.
        Once it has taken so long, whole parts of the cluster are gone, and members that are doubted next
        need not be waited for as long. But a node that has been cut off for long twice, and hears nobody once
        more, most likely is again.
        """
        if case.silence(self._attention(now)) >= self._links.patience(now, alone=self._mute()):
            self._long_silence_at = now
            return True
        return case.succeeded or (self._after_long(now) and case.round >= _AFTER_LONG_ROUNDS)

    def _after_long(self, now: float) -> bool:
        """Was there a silence of late that no live member explains, nor that this node was cut off?"""
        return now - self._long_silence_at < _AFTER_LONG_S and not self._links.explain(self._long_silence_at)

    def _probe_again(self, record: Record, watch: Watch, case: Case, now: float) -> None:
        name, attention = record.name, self._attention(now)
        probes = [self._probes.probe(record, now)]
        if case.round:  # most losses are single ones
            helpers = self._helpers(name, min(case.round, self._config.indirect_probes))
            probes += [self._probes.probe_through(record, helper, now) for helper in helpers]
            self._streamed.begin(record)
            if record.own:
                self._outbox.kernel_probes[record.address] = None
        if self._streamed.covers(record.address):
            probes.append(self._probes.probe(record, now, "stream"))
        self._probes.forget(case.add(probes))
        longest = _MUTE_ROUND_S if self._mute() else self._config.round_max
        wait = min(longest, self._subjects.timeout(name) * _ROUND_GROWTH**case.round)
        case.round = min(case.round + 1, 32)
        left = self._tolerance(watch, case, now) - case.silence(attention)
        if 0 < left < wait:
            wait = left + 1e-4  # wake when phi gets there, not a round later
        self._timers.set(("case", name), now + wait, lambda at: self._step(name, at))

    def _helpers(self, name: str, count: int) -> list[Record]:
        """Random members of our own that could ping the silent one for this node."""

        def useful(other: str) -> bool:
            record = self._table.get(other)
            known = record is not None and record.own
            return known and other not in (name, self._name) and not self._subjects.suspects(other)

        names = self._table.rings.pick(self._rng, count, useful)
        return [record for record in map(self._table.get, names) if record is not None]

    def _tolerance(self, watch: Watch, case: Case, now: float) -> float:
        """Seconds of silence until phi is `PHI_DEAD`, by what its kernel says."""
        if self._attention(now) - case.kernel_answered < KERNEL_FRESH_S:
            return self._config.pause_tolerance
        return self._config.silence_tolerance * (1.0 if watch.kernel_known else _UNTRIAGED)

    def _direct_loss(self, name: str, watch: Watch) -> float:
        return max(self._subjects.usual_loss(name), watch.loss.share)

    def _phi(self, name: str, watch: Watch, now: float) -> float:
        case = watch.case
        if case is None:
            return 0.0
        attention, timeout = self._attention(now), self._subjects.timeout(name)
        usual = self._subjects.usual_loss(name)
        direct = max(usual, watch.loss.share)
        through = 1 - (1 - direct) * (1 - usual)
        overdue = [probe for probe in case.overdue(attention, timeout) if probe.sent > case.alive]
        losses = [through if probe.way == "helper" else direct for probe in overdue]
        return phi(case.silence(attention), self._tolerance(watch, case, now), losses)

    def _close(self, name: str, watch: Watch) -> None:
        self._timers.cancel(("case", name))
        if watch.case is not None:
            self._probes.forget(watch.case.probes)
            watch.case = None
        self._polls.withdraw(name, watch)
