"""Pings, acks and ping-reqs: which members are pinged when, and what the answers say (SWIM section 3.1).

The rings decide which members a node pings; each subject decides when: in each ack it tells the observer
how long to wait until its next turn, so that the pings of all observers reach it one `probe_interval`
apart, whatever the phases they started with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from swim.protocol.base.context import Context, Part
from swim.protocol.base.loss import LossEstimate
from swim.protocol.base.outbox import Way
from swim.protocol.detector.freshness import Freshness
from swim.protocol.detector.states import Evidence
from swim.protocol.detector.watch import Probe, Watch
from swim.protocol.gossip.dissemination import Dissemination
from swim.protocol.gossip.myself import Myself
from swim.protocol.membership.links import Links
from swim.protocol.view.identity import pack_id
from swim.protocol.view.table import Record
from swim.types import Address
from swim.wire import pack_host, unpack_address
from swim.wire.messages import Ack, Nack, Ping, PingReq

__all__ = ["Probing"]

_NACK_AFTER = 0.5
_RELAYS_MAX = 1_024
_ASKED_MAX = 256
_LOSSY_MAX = 64
_WAIT_MIN, _WAIT_MAX = 0.25, 1.75  # of the period: a subject cannot shake its observers off

Answered = Callable[[Ack, float], None]
Silent = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class _Relay:
    """A ping sent on behalf of another member."""

    requester: Address
    seq: int


class Probing(Part):
    """Sends the probes and reads the answers; what silence means is decided by `Suspicion`."""

    def __init__(
        self,
        context: Context,
        myself: Myself,
        dissemination: Dissemination,
        links: Links,
        freshness: Freshness,
        *,
        view_at_rest: Callable[[float], bytes],
        asked: Callable[[str, float], None],
        answered: Callable[[str, Probe, Ack, float], None],
        taken_up: Callable[[str, Watch, float], None],
        dismissed: Callable[[str, Watch, float], None],
        overlooked: Callable[[str, float], None],
    ) -> None:
        """`asked`, `answered`: a regular ping went out; an ack came. `dismissed`: others observe it now."""
        super().__init__(context)
        self.subjects: dict[str, Watch] = {}
        self.pings = self.ping_reqs = self.acks = 0
        self._myself = myself
        self._dissemination = dissemination
        self._links = links
        self._freshness = freshness
        self._view_at_rest = view_at_rest
        self._asked_it = asked
        self._answered = answered
        self._overlooked = overlooked
        self._taken_up = taken_up
        self._dismissed = dismissed
        self._flights: dict[int, tuple[str, Probe]] = {}
        self._relays: dict[int, _Relay] = {}
        self._asked: dict[int, tuple[Answered, Silent]] = {}
        self._rings_version = -1
        self._lossy: dict[str, LossEstimate] = {}

    # --- which members

    def refresh(self, now: float) -> None:
        """Follow the rings: take up new subjects, let go of those that others observe now."""
        rings = self._table.rings
        if rings.version == self._rings_version:
            return
        self._rings_version = rings.version
        names = rings.subjects(self._name) if self._name in rings else ()
        for name in [name for name in self.subjects if name not in names]:
            self._let_go(name, now)
        for name in names:
            record = self._table.get(name)
            boot = None if record is None else record.boot
            if name in self.subjects and (self.subjects[name].boot != boot or self.subjects[name].given_up):
                self._let_go(name, now)  # another process has its name
            if name not in self.subjects:
                self.subjects[name] = subject = Watch(boot, now)
                subject.loss = self._lossy.pop(name, subject.loss)
                first = now + self._rng.random() * self._config.probe_interval
                self._timers.set(("ping", name), first, partial(self.ping, name))
                self._taken_up(name, subject, now)

    def _let_go(self, name: str, now: float) -> None:
        subject = self.subjects.pop(name)
        self._timers.cancel(("ping", name))
        self.forget(subject.pinged)
        self._dismissed(name, subject, now)
        if subject.loss.remarkable(0.0):
            # Removed for its losses: when it comes back as bad as it went, that is known at once.
            self._lossy[name] = subject.loss
            if len(self._lossy) > _LOSSY_MAX:
                del self._lossy[next(iter(self._lossy))]

    def observed_for(self, seconds: float, now: float) -> list[Record]:
        """The subjects that have been this node's for so long."""
        names = [name for name, subject in self.subjects.items() if now - subject.since >= seconds]
        return [record for record in map(self._table.get, names) if record is not None]

    def _period(self, record: Record) -> float:
        """Between two pings of this node to one subject.

        The observers of one of our own take turns; foreign members cannot tell us our turn and share
        this node's one ping per interval.
        """
        own = len(self._table.rings.observers(record.name)) if record.own else len(self.subjects)
        return self._config.probe_interval * max(1, own)

    def timeout(self, name: str) -> float:
        """Seconds in which an ack of this subject can be expected."""
        return self.subjects[name].round_trip.timeout(self._config.rtt_min, self._config.rtt_max)

    # --- asking

    def ping(self, name: str, now: float) -> None:
        """The regular ping of a subject, unless it is doubted, and pinged all the time."""
        record, subject = self._table.get(name), self.subjects.get(name)
        if record is None or subject is None:
            return
        self._timers.set(("ping", name), now + self._period(record), partial(self.ping, name))
        if subject.learn(Evidence.PINGED, self._attention(now)):
            self.forget(subject.pinged)
            ways: tuple[Way, ...] = ("udp", "stream") if subject.stream_only else ("udp",)
            subject.pinged = [self.probe(record, now, way) for way in ways]
            self._asked_it(name, now)

    def probe(self, record: Record, now: float, way: Way = "udp") -> Probe:
        """One direct ping."""
        probe = self._fly(record.name, now, way)
        self._dissemination.send(record.address, self._make_ping(probe.seq, record, now), way)
        return probe

    def probe_through(self, record: Record, helper: Record, now: float) -> Probe:
        """One ping-req."""
        probe = self._fly(record.name, now, "helper")
        target, port = pack_host(record.address.host), record.address.port
        self._dissemination.send(helper.address, PingReq(probe.seq, record.name, target, port))
        return probe

    def forget(self, probes: Iterable[Probe]) -> None:
        """Answers to these will not be waited for any more."""
        for probe in probes:
            self._flights.pop(probe.seq, None)

    def ask(
        self,
        name: str,
        address: Address,
        now: float,
        answered: Answered,
        silent: Silent,
        *,
        tries: int = 1,
        within: float | None = None,
    ) -> bool:
        """Ping an address that need not be a member's; one of the two is called `within` seconds (`rtt_max`).

        False (and neither is called) when too many are being asked already.
        """
        if len(self._asked) >= _ASKED_MAX:
            self._outbox.drop("asked-max")
            return False
        seq = self._next_seq()
        self._asked[seq] = (answered, silent)
        # A stranger is answered with no more than it sent: naming ourselves leaves room for the answer.
        sender = pack_id(self._myself.id) or bytes(16)
        ping = Ping(seq, name, source_node=self._name, sender_id=sender)
        interval = (within or self._config.rtt_max) / tries

        def again(left: int, at: float) -> None:
            if left == 0:
                self._asked.pop(seq)[1](at)
                return
            self._outbox.send(address, ping)
            self._timers.set(("asked", seq), at + interval, partial(again, left - 1))

        again(tries, now)
        return True

    def _fly(self, name: str, now: float, way: Way) -> Probe:
        probe = Probe(self._next_seq(), self._attention(now), way)
        self._flights[probe.seq] = (name, probe)
        if way == "helper":
            self.ping_reqs += 1
        else:
            self.pings += 1
        return probe

    def _next_seq(self) -> int:
        """A random number, so that an ack can only be forged by those who have seen the ping."""
        while True:
            seq = self._rng.getrandbits(32)
            if seq not in self._flights and seq not in self._relays and seq not in self._asked:
                return seq

    def _make_ping(self, seq: int, record: Record, now: float) -> Ping:
        if not record.own or self._myself.id is None:
            return Ping(seq, record.name)
        count, view = self._freshness.next_count(), self._view_at_rest(now)
        return Ping(seq, record.name, sender_id=pack_id(self._myself.id), view=view, count=count)

    # --- answering

    def receive_ping(self, ping: Ping, sender: Record | None, source: Address, now: float) -> None:
        """Acks go to where the ping came from, never to an address that it names (memberlist#371)."""
        if ping.node not in ("", self._name):
            self._outbox.drop("ping-name")
            if ping.sender_id:  # one of our own: tell it that another process is here
                self._outbox.send(source, Nack(ping.seq))
            return
        if not ping.sender_id:
            ack = Ack(ping.seq)
        else:
            # An observer needs the boot only; a node that names itself asks about a claim.
            own_id = self._myself.id if ping.source_node else None
            ack = Ack(
                ping.seq,
                sender_id=pack_id(own_id),
                boot=self._myself.boot.encode(),
                wait_ms=0 if sender is None else self._wait_ms(sender.name, now),
                bare=True,
                unknown=bool(ping.source_node) and not (self._myself.speaks and self._knows(ping, source)),
            )
        if sender is not None:
            self._dissemination.send(source, ack)
            return
        # A stranger gets no more than it sent (see `Node._trim`): what is not needed is left out.
        part = self._outbox.codec.part
        bare = Ack(ping.seq, bare=True)
        fits = len(part(ack)) <= len(part(ping))
        self._outbox.send(source, ack if fits else bare)

    def _knows(self, ping: Ping, source: Address) -> bool:
        """Is the node that names itself a member of this cluster? (Before it has one, no node is unknown.)"""
        record = self._table.get(ping.source_node)
        if record is None or not record.present:
            return self._myself.record is None
        return record.address == source or pack_id(record.id) == ping.sender_id

    def _wait_ms(self, observer: str, now: float) -> int:
        """Until this observer's next turn, by this node's clock."""
        observers = self._table.rings.observers(self._name)
        if observer not in observers:
            return 0
        interval = self._config.probe_interval
        period = interval * len(observers)
        wait = (observers.index(observer) * interval - now) % period
        if wait < interval / 2:
            wait += period
        return max(1, int(wait * 1000))

    def receive_ping_req(self, request: PingReq, requester: Address, now: float) -> None:
        """Only for members, about members: so this node cannot be made to ping strangers."""
        target = self._table.at(unpack_address(request.target, request.port))
        if target is None or target.name != request.node:
            self._outbox.drop("ping-req-target")
            return
        if len(self._relays) >= _RELAYS_MAX:
            self._outbox.drop("relays-max")
            return
        seq = self._next_seq()
        self._relays[seq] = _Relay(requester, request.seq)
        self._outbox.send(target.address, self._make_ping(seq, target, now))
        self._timers.set(("relay", seq), now + _NACK_AFTER, lambda at: self._give_up(seq, request.nack))

    def _give_up(self, seq: int, nack: bool) -> None:
        relay = self._relays.pop(seq)
        if nack:
            self._outbox.send(relay.requester, Nack(relay.seq))

    def receive_nack(self, nack: Nack, now: float) -> str | None:
        """Another process has the address that was pinged. Returns the subject that was expected, if any."""
        if (asked := self._asked.pop(nack.seq, None)) is not None:
            self._timers.cancel(("asked", nack.seq))
            asked[1](now)
        name, probe = self._flights.get(nack.seq, (None, None))
        return None if probe is None or probe.way == "helper" else name

    def receive_ack(self, ack: Ack, now: float, *, streamed: bool = False) -> str | None:
        """Returns the name of the member whose own answer to a direct ping this is."""
        if ack.seq in self._flights:
            name, probe = self._flights[ack.seq]
            if streamed and probe.way == "udp":
                probe = replace(
                    probe, way="stream"
                )  # which does not show that UDP works: that ack may yet come
            else:
                del self._flights[ack.seq]
            self.acks += 1
            self._landed(name, probe, ack, now)
            return None if probe.way == "helper" else name
        if (relay := self._relays.pop(ack.seq, None)) is not None:
            self._timers.cancel(("relay", ack.seq))
            self._outbox.send(relay.requester, replace(ack, seq=relay.seq, payload=None, wait_ms=0))
        elif (asked := self._asked.pop(ack.seq, None)) is not None:
            self._timers.cancel(("asked", ack.seq))
            asked[0](ack, now)
        return None

    def _landed(self, name: str, probe: Probe, ack: Ack, now: float) -> None:
        subject = self.subjects.get(name)
        if subject is None:
            return
        if subject.ended is not None and probe.sent <= subject.ended:
            return  # the last breath of a process that may have died since
        subject.heard = self._attention(now)
        self._links.answered(now)
        if probe.way != "helper":
            self._table.meet(name)
            subject.round_trip.add(max(0.0, self._attention(now) - probe.sent))
            self._follow_turn(name, ack.wait_ms / 1000, now)
        self._answered(name, probe, ack, now)
        if ack.boot and not ack.wait_ms and probe.way != "helper":
            self._overlooked(name, now)

    def _follow_turn(self, name: str, wait: float, now: float) -> None:
        record = self._table.get(name)
        if record is None or not wait:
            return
        period = self._period(record)
        wait = min(max(wait, _WAIT_MIN * period), _WAIT_MAX * period)
        self._timers.set(("ping", name), now + wait, partial(self.ping, name))
